//! The results of a cluster's run.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use super::faults::Fault;

/// Counts of one run, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterReport {
    /// Runs.
    pub runs: u64,
    /// Commands that clients sent.
    pub commands: u64,
    /// Commands of which the answer was compared.
    pub answered: u64,
    /// Requests that got no answer, or none that tells whether they took effect.
    pub unknown: u64,
    /// Questions about leases to a member that does not lead.
    pub not_leader: u64,
    /// Renewals of leases by a leader that had not applied their end.
    pub late_renewals: u64,
    /// States that members have sent each other, failed to send, and taken over.
    pub snapshots_sent: u64,
    /// Those that did not arrive.
    pub snapshots_failed: u64,
    /// Those that a member has taken over.
    pub snapshots_installed: u64,
    /// Members that were added, that stopped since they were removed, and that came back after that.
    pub joined: u64,
    /// Those that stopped.
    pub retired: u64,
    /// Those that came back.
    pub brought_back: u64,
    /// Changes of members that were answered.
    pub changes_answered: u64,
    /// Messages that were refused, since their sender was removed.
    pub refused: u64,
    /// Leaders that handed over on request.
    pub transferred: u64,
    /// Members that did not start on a damaged disk, and disks that got room so that their member starts.
    pub damage_found: u64,
    /// Those disks.
    pub room_made: u64,
    /// Running members that stopped since their disk was full.
    pub stopped_full: u64,
    /// Linearizable reads compared.
    pub linearizable_reads: u64,
    /// Other reads and hashes compared, and answers about leases.
    pub reads: u64,
    /// Watch events compared.
    pub events: u64,
    /// Elections won.
    pub elections: u64,
    /// Entries committed.
    pub entries: u64,
    /// Checkpoints that became durable.
    pub checkpoints: u64,
    /// Compactions that finished.
    pub compactions: u64,
    /// Starts of members, the first ones left out.
    pub restarts: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Faults, by their number.
    pub faults: [u64; Fault::ALL.len()],
    /// Simulated time.
    pub simulated: Duration,
    /// A hash of the whole trace.
    pub trace: u64,
}

impl AddAssign for ClusterReport {
    fn add_assign(&mut self, other: ClusterReport) {
        self.runs += other.runs;
        self.commands += other.commands;
        self.answered += other.answered;
        self.unknown += other.unknown;
        self.not_leader += other.not_leader;
        self.late_renewals += other.late_renewals;
        self.snapshots_sent += other.snapshots_sent;
        self.snapshots_failed += other.snapshots_failed;
        self.snapshots_installed += other.snapshots_installed;
        self.joined += other.joined;
        self.retired += other.retired;
        self.brought_back += other.brought_back;
        self.changes_answered += other.changes_answered;
        self.refused += other.refused;
        self.transferred += other.transferred;
        self.damage_found += other.damage_found;
        self.room_made += other.room_made;
        self.stopped_full += other.stopped_full;
        self.linearizable_reads += other.linearizable_reads;
        self.reads += other.reads;
        self.events += other.events;
        self.elections += other.elections;
        self.entries += other.entries;
        self.checkpoints += other.checkpoints;
        self.compactions += other.compactions;
        self.restarts += other.restarts;
        self.messages += other.messages;
        for (sum, count) in self.faults.iter_mut().zip(other.faults) {
            *sum += count;
        }
        self.simulated += other.simulated;
        self.trace ^= other.trace;
    }
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} commands, {} answers, {} of unknown outcome, {} linearizable reads, {} others, {} watch events",
            self.commands, self.answered, self.unknown, self.linearizable_reads, self.reads, self.events
        )?;
        writeln!(
            f,
            "{} questions to a member that did not lead, {} late renewals, snapshots: {} sent, {} failed, {} installed",
            self.not_leader,
            self.late_renewals,
            self.snapshots_sent,
            self.snapshots_failed,
            self.snapshots_installed
        )?;
        writeln!(
            f,
            "{} elections, {} entries, {} messages, {} restarts, {} checkpoints, {} compactions",
            self.elections, self.entries, self.messages, self.restarts, self.checkpoints, self.compactions
        )?;
        writeln!(
            f,
            "{} members joined, {} retired, {} came back, {} changes answered, {} messages refused, {} leaders handed over",
            self.joined,
            self.retired,
            self.brought_back,
            self.changes_answered,
            self.refused,
            self.transferred
        )?;
        writeln!(
            f,
            "{} damaged members, {} full disks that got room, {} of them since their member had stopped",
            self.damage_found, self.room_made, self.stopped_full
        )?;
        let faults =
            Fault::ALL.iter().map(|fault| format!("{} {}", self.faults[*fault as usize], fault.name()));
        write!(f, "{}", faults.collect::<Vec<_>>().join(", "))
    }
}
