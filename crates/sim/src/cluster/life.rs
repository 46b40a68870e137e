//! How members die and start again.

use node::Fatal;

use super::Cluster;
use super::faults::Broken;
use super::host::Standing;
use crate::member::ID;

/// Starts of a member, at most.
const LIVES_MAX: u64 = 1000;

/// Why a life of a member has ended.
#[derive(Debug)]
pub(super) enum Death {
    /// It was killed, or its disk lost power.
    Killed,
    /// It stopped by itself.
    Stopped(Fatal),
    /// It was removed from the cluster, and has ended as it should.
    Retired,
}

impl Cluster<'_> {
    /// Starts the members whose time has come.
    pub(super) fn start_members(&mut self) -> Result<(), String> {
        for place in 0..self.hosts.len() {
            let host = &mut self.hosts[place];
            let is_waiting = host.member.is_none() && host.standing == Standing::Member;
            if !is_waiting || host.starts_at > self.now {
                continue;
            }
            if host.lives >= LIVES_MAX {
                return Err(format!("member {place} does not stay after {LIVES_MAX} starts"));
            }
            let started = host.start(self.plan);
            let has_crashed = host.disk.has_crashed();
            self.note(format_args!("{place}: started: {started:?}"));
            match started {
                Ok(()) => self.may_be_removed(place),
                Err(_) if has_crashed => self.bury(place, Death::Killed)?,
                Err(_) if self.hosts[place].is_damaged => {
                    self.give_up(place);
                    self.bury(place, Death::Killed)?;
                }
                Err(_) if self.make_room(place) => self.bury(place, Death::Killed)?,
                Err(fatal) => self.bury(place, Death::Stopped(fatal))?,
            }
        }
        Ok(())
    }

    /// Whether the disk of a member that does not start is full; it has room from now on.
    fn make_room(&mut self, place: usize) -> bool {
        let is_full =
            self.repairs.iter().any(|repair| matches!(repair.what, Broken::Disk(full) if full == place));
        self.hosts[place].disk.set_capacity(None);
        self.repairs.retain(|repair| !matches!(repair.what, Broken::Disk(full) if full == place));
        self.report.room_made += u64::from(is_full);
        is_full
    }

    /// A member that finds on its disk that it was removed stops.
    fn may_be_removed(&mut self, place: usize) {
        let Some(member) = &self.hosts[place].member else { return };
        let is_removed = member.published().control().is_removed(ID + place as u64);
        if is_removed {
            self.note_removed(place);
        }
    }

    /// Whether a running member has stopped since its disk is full. It should not: this gap is known and counted.
    fn has_stopped_full(&mut self, place: usize, death: &Death) -> bool {
        let is_full = matches!(death, Death::Stopped(Fatal::Disk(disk::Error::NoSpace { .. })));
        let has_stopped = is_full && self.make_room(place);
        self.report.stopped_full += u64::from(has_stopped);
        has_stopped
    }

    /// Notes a death. A member may stop by itself only after a failed sync.
    pub(super) fn bury(&mut self, place: usize, death: Death) -> Result<(), String> {
        let has_stopped_full = self.has_stopped_full(place, &death);
        let host = &mut self.hosts[place];
        let (is_sync_failing, keeps_power) = (host.is_sync_failing, host.keeps_power);
        host.keeps_power = false;
        match death {
            Death::Killed | Death::Retired => {}
            Death::Stopped(_) if is_sync_failing || has_stopped_full => {}
            Death::Stopped(fatal) => return Err(format!("member {place} stopped: {fatal}")),
        }
        self.note(format_args!("{place}: ends: {death:?}, keeps power: {keeps_power}"));
        // What a file holds after a failed sync is not simulated, so then power is always lost.
        if keeps_power && !is_sync_failing {
            self.end_process(place);
            self.hosts[place].disk.kill();
        } else {
            self.end_process(place);
            self.hosts[place].disk.crash();
        }
        Ok(())
    }

    /// A member loses power at once.
    pub(super) fn lose_power(&mut self, place: usize) -> Result<(), String> {
        self.hosts[place].keeps_power = false;
        self.bury(place, Death::Killed)
    }

    /// The process ends. Nobody learns what becomes of the requests that it has taken.
    fn end_process(&mut self, place: usize) {
        let down_time = self.down_time();
        let host = &mut self.hosts[place];
        host.member = None;
        host.applied = None;
        host.starts_at = self.now + down_time;
        self.watches.disconnect(place);
        let before = self.operations.len();
        self.operations.retain(|_, operation| operation.place != place);
        self.report.unknown += (before - self.operations.len()) as u64;
    }
}
