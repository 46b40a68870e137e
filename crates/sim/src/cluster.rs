//! A cluster in one thread: members on simulated disks, a simulated network between them, clocks that differ,
//! and clients that send to any member.
//!
//! ```text
//!   clients ─▶ Host 0 ◀─┐
//!      │       Host 1 ◀─┼─ Network          one random event after the other:
//!      └────▶  Host 2 ◀─┘                   a client acts, a member takes a small step, a message arrives,
//!                │                          time passes, something breaks or is mended
//!                ▼
//!             History: the committed entries, in order ─▶ Model ─▶ what each answer must be
//! ```
//!
//! Checks, after each step: see [`history`] for the raft log, [`clients`] for answers and their order in real
//! time, [`leases`] for the time of leases, [`watches`] for events. At the end everything is mended. Then the
//! cluster must elect a leader, answer whatever still waits, and hold the same on every member.

mod clients;
mod connection;
mod disks;
mod faults;
mod history;
mod host;
mod leases;
mod life;
mod members;
mod membership;
mod network;
mod plan;
mod report;
mod settle;
mod shrink;
mod snapshots;
mod watches;
mod workload;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use node::Note;
use proto::raftpb::{Entry, Message, MessageType};

use self::clients::Operation;
use self::faults::Repair;
pub use self::faults::{Fault as ClusterFault, FaultSet};
use self::history::History;
use self::host::Host;
use self::leases::Leases;
use self::life::Death;
use self::members::place_of;
use self::network::Network;
pub use self::plan::ClusterPlan;
pub use self::report::ClusterReport;
pub use self::shrink::shrink;
use self::snapshots::Transfer;
use self::watches::WatchClients;
use crate::checks;
use crate::member::{ID, Step, StepResult, Ticket};
use crate::random::Random;
use crate::report::{Failure, panic_text};
use crate::trace::Trace;

/// Make the choices of faults, of the network and of clients independent of those of steps: a plan with one fault
/// less gives a similar run.
const FAULTS_SALT: u64 = 0xfa17;
const NETWORK_SALT: u64 = 0x2e70;

/// Carries out a plan, and once more with a trace if it fails. In a build that unwinds, a panic is a failure like any
/// other.
pub fn simulate_cluster(plan: &ClusterPlan) -> Result<ClusterReport, Failure> {
    simulate_with(plan, Trace::off()).map_err(|failure| match trace_cluster(plan) {
        Err(traced) if traced.what == failure.what => traced,
        result => Failure { what: format!("{}, and then {result:?}", failure.what), trace: Vec::new() },
    })
}

/// Carries out a plan with a trace, which takes longer.
pub fn trace_cluster(plan: &ClusterPlan) -> Result<ClusterReport, Failure> {
    simulate_with(plan, Trace::new())
}

fn simulate_with(plan: &ClusterPlan, trace: Trace) -> Result<ClusterReport, Failure> {
    let cluster = Cluster::new(plan, trace);
    let mut cluster = cluster.map_err(|what| Failure { what, trace: Vec::new() })?;
    let result = panic::catch_unwind(AssertUnwindSafe(|| cluster.run()));
    match result.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
        Ok(()) => Ok(cluster.report()),
        Err(what) => Err(Failure { what, trace: cluster.trace.last_lines() }),
    }
}

struct Cluster<'a> {
    plan: &'a ClusterPlan,
    random: Random,
    faults_random: Random,
    /// True time.
    now: Duration,
    hosts: Vec<Host>,
    network: Network,
    history: History,
    leases: Leases,
    watches: WatchClients,
    /// What clients wait for.
    operations: BTreeMap<Ticket, Operation>,
    /// When clients sent their commands, by request id.
    sent_at: BTreeMap<u64, Duration>,
    next_ticket: Ticket,
    repairs: Vec<Repair>,
    transfers: Vec<Transfer>,
    are_faults_over: bool,
    trace: Trace,
    report: ClusterReport,
}

impl<'a> Cluster<'a> {
    fn new(plan: &'a ClusterPlan, trace: Trace) -> Result<Cluster<'a>, String> {
        let hosts: Result<Vec<Host>, String> = (0..plan.members).map(|at| Host::new(at, plan.seed)).collect();
        let network_seed = plan.seed ^ NETWORK_SALT;
        Ok(Cluster {
            plan,
            random: Random::new(plan.seed),
            faults_random: Random::new(plan.seed ^ FAULTS_SALT),
            now: Duration::ZERO,
            hosts: hosts?,
            network: Network::new(network_seed, plan.faults, plan.bad_messages_percent),
            history: History::new(plan.members),
            leases: Leases::new(plan),
            watches: WatchClients::new(),
            operations: BTreeMap::new(),
            sent_at: BTreeMap::new(),
            next_ticket: 1,
            repairs: Vec::new(),
            transfers: Vec::new(),
            are_faults_over: false,
            trace,
            report: ClusterReport::default(),
        })
    }

    fn report(&self) -> ClusterReport {
        let counts = self.network.counts;
        let mut faults = self.report.faults;
        faults[ClusterFault::LostMessages as usize] += counts.lost;
        faults[ClusterFault::RepeatedMessages as usize] += counts.repeated;
        faults[ClusterFault::DelayedMessages as usize] += counts.delayed;
        let started = self.hosts.iter().filter(|host| host.lives > 0).count();
        let lives: u64 = self.hosts.iter().map(|host| host.lives).sum();
        ClusterReport {
            runs: 1,
            events: self.watches.events,
            late_renewals: self.leases.late,
            elections: self.history.elections(),
            entries: self.history.len(),
            restarts: lives - started as u64,
            messages: counts.delivered,
            faults,
            simulated: self.now,
            trace: self.trace.hash(),
            ..self.report
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut asked = 0;
        while asked < self.plan.operations {
            self.break_something()?;
            self.retire_members()?;
            self.start_members()?;
            asked += u64::from(self.turn()?);
        }
        self.end()
    }

    /// One random event; true if a client has asked for something.
    fn turn(&mut self) -> Result<bool, String> {
        match self.random.below(100) {
            0..4 => return self.act(),
            4..8 => self.watch()?,
            8..17 => self.pass_some_time(),
            17 => {
                self.end_transfer();
            }
            18..45 => {
                self.deliver();
            }
            _ => {
                if !self.step_any()? && !self.deliver() && !self.end_transfer() {
                    self.pass_some_time();
                }
            }
        }
        Ok(false)
    }

    fn pass_some_time(&mut self) {
        let ms = self.random.below(self.plan.step_ms_max) + 1;
        let time = Duration::from_micros(self.random.below(1000 * ms));
        self.pass(time);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hosts.iter_mut().for_each(|host| host.pass(time));
    }

    /// A message arrives; false if none is due. One for a member that does not run is lost.
    fn deliver(&mut self) -> bool {
        let Some((to, message)) = self.network.receive(self.now) else { return false };
        self.trace.note(format_args!("message {}", describe(&message)));
        let from = place_of(message.from);
        let Some(member) = &mut self.hosts[to].member else { return true };
        if member.published().control().is_removed(message.from) {
            // Members refuse what a removed member sends, and tell it why.
            self.report.refused += 1;
            if self.hosts[from].member.is_some() {
                self.note_removed(from);
            }
            return true;
        }
        member.send(node::Input::Message(Box::new(message)));
        true
    }

    /// Some member that can takes a step; false if none can.
    fn step_any(&mut self) -> Result<bool, String> {
        let first = self.random.index(self.hosts.len());
        for i in 0..self.hosts.len() {
            if self.step((first + i) % self.hosts.len())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The member at `place` takes a step, if it can.
    fn step(&mut self, place: usize) -> Result<bool, String> {
        let host = &mut self.hosts[place];
        if host.disk.has_crashed() {
            return self.bury(place, Death::Killed).map(|()| true);
        }
        let pace = host.pace(self.now, self.plan);
        let Some(member) = &mut host.member else { return Ok(false) };
        let Some(step) = member.choose(&mut self.random, pace) else { return Ok(false) };
        match step {
            Step::Job(id) => self.trace.note(format_args!("{place}: {}", member.job_name(id))),
            step => self.trace.note(format_args!("{place}: {step:?}")),
        }
        let result = member.step(step);
        let has_crashed = host.disk.has_crashed();
        match result {
            Ok(result) => {
                self.take(place, result, step == Step::Apply)?;
                if has_crashed {
                    self.bury(place, Death::Killed)?;
                }
            }
            Err(_) if has_crashed => self.bury(place, Death::Killed)?,
            Err(fatal) => self.bury(place, Death::Stopped(fatal))?,
        }
        Ok(true)
    }

    /// Takes what a member has reported of a step.
    fn take(&mut self, place: usize, result: StepResult, has_applied: bool) -> Result<(), String> {
        let applied_before = self.hosts[place].applied.as_ref().map_or(0, |applied| applied.index);
        self.take_entries(place, &result.logged, &result.messages)?;
        self.take_notes(place, &result.notes)?;
        for message in &result.messages {
            if message.r#type() == MessageType::MsgSnap {
                self.begin_transfer(place, message.clone());
                continue;
            }
            self.network.send(place, place_of(message.to), message, self.now)?;
        }
        self.may_die_of_promise(place, &result.messages);
        if has_applied {
            self.take_progress(place)?;
        }
        for (ticket, answer) in result.answers {
            self.note(format_args!("{place}: {ticket} is answered"));
            self.take_answer(place, ticket, answer, applied_before)?;
        }
        if has_applied {
            self.nobody_is_forgotten(place)?;
        }
        Ok(())
    }

    fn take_entries(&mut self, place: usize, logged: &[Entry], messages: &[Message]) -> Result<(), String> {
        let Some(member) = &self.hosts[place].member else { return Ok(()) };
        if let (Some(first), Some(last)) = (logged.first(), logged.last()) {
            let (from, to) = ((first.index, first.term), (last.index, last.term));
            self.trace.note(format_args!("{place}: entries {from:?} to {to:?} for the WAL"));
        }
        let mut before: Option<&Entry> = None;
        for entry in logged {
            let follows = before.filter(|before| before.index + 1 == entry.index);
            let is_in_log = member.entry_term(entry.index) == Some(entry.term);
            let prev_term = match follows {
                Some(before) => Some(before.term),
                None => member.entry_term(entry.index - 1).filter(|_| is_in_log),
            };
            if self.history.note_appended(entry, prev_term)? {
                self.history.note_added(entry, member.published().applied())?;
            }
            before = Some(entry);
        }
        for message in messages.iter().filter(|message| message.r#type() == MessageType::MsgApp) {
            let mut prev_term = message.log_term;
            for entry in &message.entries {
                self.history.note_appended(entry, Some(prev_term))?;
                prev_term = entry.term;
            }
        }
        Ok(())
    }

    fn take_notes(&mut self, place: usize, notes: &[Note]) -> Result<(), String> {
        for note in notes {
            self.note(format_args!("{place}: {note:?}"));
            if let Note::Checkpoint { index } = note {
                self.report.checkpoints += 1;
                self.hosts[place].checkpoint = *index;
            }
            self.report.compactions += u64::from(matches!(note, Note::Compacted { .. }));
            self.note_snapshot(place, note)?;
            if *note == Note::Removed {
                self.note_removed(place);
            }
            if let (Note::Leader { id, term }, Some(member)) = (note, &self.hosts[place].member)
                && *id == ID + place as u64
            {
                self.history.note_leader(place, *term, member)?;
                self.may_lead(place)?;
            }
        }
        Ok(())
    }

    /// A member that has just been elected is a voter, or was removed since it stood for election.
    fn may_lead(&self, place: usize) -> Result<(), String> {
        let Some((_, applied)) = self.hosts[place].known() else { return Ok(()) };
        let (membership, id) = (self.history.membership_at(applied.index), ID + place as u64);
        if membership.is_voter(id) || membership.is_removed(id) {
            return Ok(());
        }
        Err(format!("member {place} leads, and is no voter after entry {}", applied.index))
    }

    /// Takes what the member at `place` says of the raft log, and compares its store with the model.
    fn take_progress(&mut self, place: usize) -> Result<(), String> {
        let host = &mut self.hosts[place];
        let Some(member) = &host.member else { return Ok(()) };
        let published = member.published();
        let (term, commit, applied) = (published.term(), published.committed(), published.applied());
        if term < host.term || commit < host.commit || applied > commit {
            let before = (host.term, host.commit);
            return Err(format!(
                "member {place} was in term {} with {} committed entries, and now: {term}, {commit}, {applied} applied",
                before.0, before.1
            ));
        }
        (host.term, host.commit) = (term, commit);
        let entry_term = member.entry_term(commit);
        let entry_term = entry_term.ok_or_else(|| format!("{place} lacks its committed entry {commit}"))?;
        let known = self.history.len();
        self.history.note_committed(commit, entry_term, term)?;
        let is_first_step = host.applied.is_none();
        let applied_before = host.apply_to(applied, &self.history);
        self.take_committed(known + 1)?;
        if applied > applied_before || is_first_step { self.compare_position(place) } else { Ok(()) }
    }

    /// The tables of the member's store are those of its model.
    fn compare_position(&self, place: usize) -> Result<(), String> {
        let Some((member, applied)) = self.hosts[place].known() else { return Ok(()) };
        let members = self.history.membership_at(applied.index);
        checks::position(member, &applied.model)
            .and_then(|()| members.compare(&member.published().control()))
            .map_err(|error| format!("member {place}: {error}"))
    }

    /// Who leads, as most members see it.
    fn leader(&self) -> Option<usize> {
        let published = self.hosts.iter().filter_map(|host| Some(host.member.as_ref()?.published()));
        let newest = published.filter(|p| p.leader() != 0).max_by_key(|p| p.term())?;
        usize::try_from(newest.leader() - ID).ok()
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(what);
    }
}

/// A message in a few words, for the trace.
fn describe(message: &Message) -> String {
    let Message { to, from, term, index, log_term, commit, reject, .. } = message;
    format!(
        "{} to {}: {:?} term {term}, {index}/{log_term}, {} entries, commit {commit}{}",
        from - ID,
        to - ID,
        message.r#type(),
        message.entries.len(),
        if *reject { ", rejected" } else { "" }
    )
}
