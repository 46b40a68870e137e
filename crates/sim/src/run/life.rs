//! How the member dies and starts again.
//!
//! A restart may itself be cut short, again and again. Once the member serves, the fate of the commands in
//! flight is decided: a prefix of them has taken effect, and the store equals the model after that prefix.

use std::path::{Path, PathBuf};

use disk::Disk as _;
use node::{Fatal, Input};

use super::{Death, Run, STEPS_MAX};
use crate::checks;
use crate::leases::Leases;
use crate::member::{Birth, DATA_DIR, Member, WAL_DIR};
use crate::plan::{Fault, Kill};

/// Restarts in a row that may fail.
const STARTS_MAX: u32 = 100;
/// Effects within which power is lost after the start that follows a kill.
const EFFECTS_AFTER_KILL_MAX: u64 = 12;
/// Steps after which the simulator makes room for a member that recovers on a full disk.
const STEPS_WITHOUT_SPACE: u32 = 2000;
/// Restarts while the disk is full, at most.
const STARTS_WHILE_FULL_MAX: u32 = 3;

impl Run<'_> {
    /// Restarts the member until it serves, and decides which commands in flight have taken effect.
    pub(super) fn boot(&mut self) -> Result<Member, String> {
        for _ in 0..STARTS_MAX {
            self.lives += 1;
            (self.is_sync_failing, self.has_had_space) = (false, false);
            self.trace.note(format_args!("start {}", self.lives));
            // Every start writes to the WAL, so a full disk does not allow any number of them.
            self.starts_while_full += 1;
            if self.starts_while_full > STARTS_WHILE_FULL_MAX {
                self.lift_capacity();
            }
            if self.plan.kill == Kill::AtRandom && self.random.percent(25) {
                self.disk.crash_at_op(self.random.below(40));
            }
            match self.start()? {
                Ok(member) => {
                    self.settle_in_flight(&member)?;
                    if self.is_power_to_be_lost {
                        self.disk.crash_at_op(self.random.below(EFFECTS_AFTER_KILL_MAX));
                    }
                    return Ok(member);
                }
                Err(death) => self.bury(death)?,
            }
        }
        Err(format!("the member is not back after {STARTS_MAX} starts"))
    }

    fn start(&mut self) -> Result<Result<Member, Death>, String> {
        let (seed, life, now) = (self.plan.seed, self.lives, self.now);
        let birth = Birth { place: 0, members: 1, life, seed, now };
        match Member::start(&self.disk, &self.plan.settings(), birth) {
            Ok(mut member) => Ok(self.recover(&mut member)?.map(|()| member)),
            Err(_) if self.disk.has_crashed() => Ok(Err(Death::Killed)),
            Err(fatal) => Ok(Err(Death::Stopped(fatal))),
        }
    }

    /// Whether a full disk excuses a stop for want of space in this file: each start writes to the WAL, of
    /// whose spare files a crash may leave none. Once the member has taken writes in this life it must go on,
    /// and what it applies never stops it.
    fn may_lack_space(&self, path: &Path) -> bool {
        self.plan.fault == Fault::FullDisk && !self.has_had_space && path.starts_with(WAL_DIR)
    }

    /// Notes a death. The member may stop by itself only after a failed sync or at a start on a full disk.
    pub(super) fn bury(&mut self, death: Death) -> Result<(), String> {
        match death {
            Death::Killed => {
                self.report.kills += 1;
                self.note(format_args!("killed"));
            }
            Death::Stopped(fatal) if self.is_sync_failing => {
                self.report.fatal_stops += 1;
                self.note(format_args!("stopped: {fatal}"));
            }
            Death::Stopped(Fatal::Disk(disk::Error::NoSpace { path })) if self.may_lack_space(&path) => {
                self.report.late_starts += 1;
                self.lift_capacity();
                self.note(format_args!("stopped: no space for {}", path.display()));
            }
            Death::Stopped(fatal) => return Err(format!("the member stopped: {fatal}")),
        }
        self.watchers.disconnect();
        self.unanswered.clear();
        self.sent_at.clear();
        self.end_process();
        Ok(())
    }

    /// The process ends, mostly because power is lost. Without that whatever it has written can be read by
    /// the next one, and may yet be lost with the power. What a file holds after a failed sync is not
    /// simulated, so then power is always lost.
    fn end_process(&mut self) {
        let is_power_kept = match self.plan.kill {
            Kill::ProcessAtEffect(_) => !self.is_power_to_be_lost,
            Kill::AtRandom => !self.is_sync_failing && self.random.percent(40),
            Kill::Never | Kill::AtEffect(_) => false,
        };
        self.is_power_to_be_lost = is_power_kept && self.plan.kill != Kill::AtRandom;
        if is_power_kept {
            self.note(format_args!("the process is killed, power is not lost"));
            self.disk.kill();
        } else {
            self.disk.crash();
        }
    }

    /// Lets the member run until it serves. Clients send nothing meanwhile.
    fn recover(&mut self, member: &mut Member) -> Result<Result<(), Death>, String> {
        for step in 0..STEPS_MAX {
            if self.disk.has_crashed() {
                return Ok(Err(Death::Killed));
            }
            if self.is_full && step == STEPS_WITHOUT_SPACE {
                // What was committed may need more room than there is: then the member waits for it.
                self.report.late_starts += 1;
                self.lift_capacity();
                self.note(format_args!("the disk holds whatever is written"));
            }
            if member.serves() {
                return Ok(Ok(()));
            }
            let Some(step) = member.choose(&mut self.random, self.plan.pace()) else {
                member.send(Input::Tick);
                continue;
            };
            self.note(format_args!("recovery: {step:?}"));
            match member.step(step) {
                Ok(news) if news.answers.is_empty() => self.take_notes(&news.notes),
                Ok(news) => return Err(format!("answers nobody waits for: {:?}", news.answers)),
                Err(_) if self.disk.has_crashed() => return Ok(Err(Death::Killed)),
                Err(fatal) => return Ok(Err(Death::Stopped(fatal))),
            }
        }
        Err(format!("the member does not serve after {STEPS_MAX} steps"))
    }

    /// Finds out which of the commands in flight have taken effect. The others never will.
    fn settle_in_flight(&mut self, member: &Member) -> Result<(), String> {
        let sent = self.in_flight.len();
        while checks::position(member, &self.model).is_err() {
            let Some(command) = self.in_flight.pop_front() else {
                let found = checks::position(member, &self.model);
                return found
                    .map_err(|error| format!("no part of {sent} commands in flight explains it: {error}"));
            };
            // No client got an answer, so any outcome is right.
            let _ = self.model.apply(&command.request);
        }
        self.trace.note(format_args!("of {sent} commands in flight {} are lost", self.in_flight.len()));
        self.in_flight.clear();
        checks::everything(member, &self.model)?;
        self.leases = Leases::restart(self.now, &self.model);
        self.watchers.resume(member)
    }

    /// Removes all faults and lets the member finish everything that it has begun.
    pub(super) fn settle(&mut self, mut member: Member) -> Result<Member, String> {
        for _ in 0..STEPS_MAX {
            let is_silent = member.choose(&mut self.random, self.plan.pace()).is_none();
            let is_awaited =
                self.in_flight.iter().any(|command| command.ticket.is_some() && !command.is_late);
            let is_answered = !is_awaited && self.unanswered.is_empty();
            if is_silent && is_answered && member.has_space() {
                return Ok(member);
            }
            if is_silent {
                member.tick();
            }
            if let Err(death) = self.step(&mut member)? {
                drop(member);
                self.bury(death)?;
                member = self.boot()?;
            }
        }
        Err(format!("not everything is answered after {STEPS_MAX} steps, or there is no space"))
    }

    /// Begins or ends the fault of the plan.
    pub(super) fn break_something(&mut self) -> Result<(), String> {
        if self.plan.kill == Kill::AtRandom && self.random.below(1000) < self.plan.kills_per_mille {
            let effects = if self.random.percent(40) { 0 } else { self.random.below(30) };
            self.disk.crash_at_op(effects);
            self.note(format_args!("power fails after {effects} effects"));
        }
        match self.plan.fault {
            Fault::FullDisk if !self.is_full && self.random.below(1000) < 6 => {
                let spare =
                    if self.random.percent(70) { 0 } else { self.random.below(self.plan.segment_bytes) };
                let capacity = self.disk.used() + spare;
                self.disk.set_capacity(Some(capacity));
                (self.is_full, self.starts_while_full) = (true, 0);
                self.note(format_args!("the disk holds {capacity} bytes"));
            }
            Fault::FullDisk if self.random.below(1000) < 3 => {
                self.lift_capacity();
                self.note(format_args!("the disk holds whatever is written"));
            }
            Fault::FailedSync if self.random.below(1000) < 5 => self.fail_a_sync()?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn lift_capacity(&mut self) {
        self.disk.set_capacity(None);
        self.is_full = false;
    }

    fn fail_a_sync(&mut self) -> Result<(), String> {
        let mut files: Vec<PathBuf> = Vec::new();
        for dir in [WAL_DIR, DATA_DIR] {
            let names = self.disk.list(Path::new(dir));
            // The disk may have lost power, or the directory may not be there yet.
            files.extend(names.unwrap_or_default().iter().map(|name| Path::new(dir).join(name)));
        }
        if files.is_empty() {
            return Ok(());
        }
        let file = &files[self.random.index(files.len())];
        self.disk
            .fail_syncs(file)
            .map_err(|error| format!("{} cannot be broken: {error}", file.display()))?;
        self.is_sync_failing = true;
        self.note(format_args!("syncs of {} fail", file.display()));
        Ok(())
    }
}
