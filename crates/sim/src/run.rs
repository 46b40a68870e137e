//! One run: a member, its clients, and the faults that end its lives.
//!
//! ```text
//!   workload ─▶ in flight ─▶ Member (one random step after the other) ─▶ answers ─▶ compared with the model
//!                  │            │ killed, restarted                                   ▲
//!                  └────────────┴── after a restart: how many of these happened? ─────┘
//! ```
//!
//! A command is in flight until it is applied. Commands are written to the WAL in the order in which they
//! were sent. So after a crash, a prefix of the commands in flight has taken effect, and none after it. The
//! revisions and tables of the store tell how long that prefix is. The whole store must then equal the model.

mod commands;
mod life;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use disk::{Disk as _, SimDisk};
use node::{Answer, Fatal, Input, LeaseAnswer, LeaseQuery, Note, Proposal, Unserved};
use store::Request;

use crate::checks;
use crate::leases::Leases;
use crate::member::{Member, RETRY_TICKS, Step, StepResult, Ticket, WAL_DIR};
use crate::model::Model;
use crate::plan::{Fault, Kill, Plan};
use crate::random::Random;
use crate::report::{Failure, Report};
use crate::trace::Trace;
use crate::watchers::Watchers;
use crate::workload::{self, Horizon};
use commands::Applied;

/// The longest time for which nothing happens.
const PAUSE_MAX_MS: u64 = 6000;
/// Longer than most leases live.
const LEASES_END: Duration = Duration::from_secs(60);
/// Bytes that a defragmentation leaves beside those in use: heads of segments, tombstones that a restart
/// needs.
const WASTED_BYTES_MAX: u64 = 512;
/// Steps within which a member must have recovered, become idle, or accepted writes again.
const STEPS_MAX: u32 = 20_000;

/// Why a life of the member has ended.
enum Death {
    /// It was killed, or its disk lost power.
    Killed,
    /// It stopped by itself.
    Stopped(Fatal),
}

/// Carries out a plan.
pub fn simulate(plan: &Plan) -> Result<Report, Failure> {
    let mut run = Run::new(plan);
    match run.run() {
        Ok(()) => Ok(run.report()),
        Err(what) => Err(Failure { what, trace: run.trace.last_lines() }),
    }
}

/// A command that is not applied yet.
#[derive(Debug)]
struct InFlight {
    /// Who sent it; `None` if the member proposed it by itself.
    ticket: Option<Ticket>,
    /// Whether its sender was told that it took too long.
    is_late: bool,
    /// Request id, which identifies it in the raft log.
    id: u64,
    request: Request,
    len: usize,
    is_logged: bool,
}

struct Run<'a> {
    plan: &'a Plan,
    random: Random,
    disk: SimDisk,
    model: Model,
    leases: Leases,
    watchers: Watchers,
    in_flight: VecDeque<InFlight>,
    /// When what waits for an answer was sent.
    sent_at: BTreeMap<Ticket, Duration>,
    /// Commands that were applied and are to be answered later.
    unanswered: BTreeMap<Ticket, Applied>,
    /// Whether the step under way applied the member's own alarm.
    is_own_alarm_applied: bool,
    next_ticket: Ticket,
    /// The time; it goes on over all lives.
    now: Duration,
    lives: u64,
    is_full: bool,
    /// Whether a put was accepted in this life: then there was room.
    has_had_space: bool,
    starts_while_full: u32,
    /// Whether a sync was made to fail in this life.
    is_sync_failing: bool,
    /// Whether the process was killed by the plan, and power is to be lost after the next start.
    is_power_to_be_lost: bool,
    /// Effects that creating the disk took.
    effects_before: u64,
    trace: Trace,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Run<'a> {
        Run {
            plan,
            random: Random::new(plan.seed),
            disk: SimDisk::new(plan.seed),
            model: Model::new(),
            leases: Leases::default(),
            watchers: Watchers::new(),
            in_flight: VecDeque::new(),
            sent_at: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            is_own_alarm_applied: false,
            next_ticket: 1,
            now: Duration::ZERO,
            lives: 0,
            is_full: false,
            has_had_space: false,
            starts_while_full: 0,
            is_sync_failing: false,
            is_power_to_be_lost: false,
            effects_before: 0,
            trace: Trace::new(),
            report: Report::default(),
        }
    }

    fn report(&self) -> Report {
        let (effects, trace) = (self.disk.ops().effects() - self.effects_before, self.trace.hash());
        Report { effects, trace, events: self.watchers.events, restarts: self.lives - 1, ..self.report }
    }

    fn run(&mut self) -> Result<(), String> {
        self.make_disk()?;
        self.effects_before = self.disk.ops().effects();
        if let Kill::AtEffect(n) | Kill::ProcessAtEffect(n) = self.plan.kill {
            self.disk.crash_at_op(n);
        }
        let mut member = self.boot()?;
        while self.report.commands < self.plan.commands {
            if let Err(death) = self.turn(&mut member)? {
                member = self.bury(death).and_then(|()| self.boot())?;
            }
        }
        self.lift_capacity();
        member = self.settle(member)?;
        while let Some(alarm) = Horizon::of(&self.model).alarm {
            self.send(&mut member, workload::clear(alarm));
            member = self.settle(member)?;
        }
        member.now += LEASES_END;
        member.tick();
        member = self.settle(member)?;
        self.leases.none_is_overdue(self.now, &self.model)?;
        self.watchers.drain(&self.model)?;
        member = self.defragment(member)?;
        if self.plan.kill == Kill::AtRandom {
            drop(member);
            self.bury(Death::Killed)?;
            member = self.boot()?;
            member = self.settle(member)?;
            checks::bytes_in_use(&member, &self.model)?;
            self.watchers.drain(&self.model)?;
        }
        checks::everything(&member, &self.model)
    }

    /// After a defragmentation hardly any byte is dead.
    fn defragment(&mut self, mut member: Member) -> Result<Member, String> {
        let lives = self.lives;
        let ticket = self.send_defragment(&mut member);
        for _ in 0..RETRY_TICKS + 2 {
            // The member retries what failed for want of space.
            member.tick();
            member = self.settle(member)?;
        }
        if lives == self.lives && self.sent_at.contains_key(&ticket) {
            return Err(format!("defragmentation {ticket} does not come to its end"));
        }
        checks::bytes_in_use(&member, &self.model)?;
        let (bytes, in_use) = (member.size_bytes(), member.size_in_use_bytes());
        if lives == self.lives && bytes > in_use + WASTED_BYTES_MAX {
            return Err(format!("{bytes} bytes are left by a defragmentation, {in_use} of them in use"));
        }
        Ok(member)
    }

    fn make_disk(&mut self) -> Result<(), String> {
        let dir = Path::new(WAL_DIR).parent().expect("the log lies in a directory");
        let made = self.disk.create_dir(dir).and_then(|()| self.disk.sync_dir(Path::new("/")));
        made.map_err(|error| format!("a new disk fails: {error}"))
    }

    /// One random event: a client acts, the member takes a step, or a fault occurs.
    fn turn(&mut self, member: &mut Member) -> Result<Result<(), Death>, String> {
        self.break_something()?;
        if self.disk.has_crashed() {
            return Ok(Err(Death::Killed));
        }
        match self.random.below(100) {
            0..20 => self.send_command(member),
            // The clock stands still between the two phases of a call, decide and apply.
            20..26 if !member.may_pass_time() => return self.step(member),
            20..25 => member.tick(),
            25 if self.random.percent(20) => {
                self.send_defragment(member);
            }
            25 => member.now += Duration::from_millis(self.random.below(PAUSE_MAX_MS)),
            26..28 => self.send_read(member),
            28..30 => self.send_lease_query(member)?,
            30..36 => self.read(member)?,
            36..50 => {
                let line = self.watchers.turn(&mut self.random, member, &self.model);
                if let Err(error) = &line
                    && self.disk.has_crashed()
                {
                    self.note(format_args!("power is lost: {error}"));
                    return Ok(Err(Death::Killed));
                }
                let line = line?;
                self.note(format_args!("{line}"));
            }
            _ => return self.step(member),
        }
        if self.disk.has_crashed() { Ok(Err(Death::Killed)) } else { Ok(Ok(())) }
    }

    /// One step of the member.
    fn step(&mut self, member: &mut Member) -> Result<Result<(), Death>, String> {
        let Some(step) = member.choose(&mut self.random, self.plan.pace()) else { return Ok(Ok(())) };
        match step {
            Step::Job(id) => self.trace.note(format_args!("job: {}", member.job_name(id))),
            step => self.trace.note(format_args!("{step:?}")),
        }
        let done = member.step(step);
        let has_crashed = self.disk.has_crashed();
        match done {
            Ok(result) => {
                self.take(member, result)?;
                Ok(if has_crashed { Err(Death::Killed) } else { Ok(()) })
            }
            Err(_) if has_crashed => Ok(Err(Death::Killed)),
            Err(fatal) => Ok(Err(Death::Stopped(fatal))),
        }
    }

    fn send_command(&mut self, member: &mut Member) {
        let writes_more = self.plan.fault == Fault::FullDisk;
        let horizon = Horizon::of(&self.model);
        let request = workload::command(&mut self.random, horizon, self.plan.value_len_max, writes_more);
        self.send(member, request);
    }

    /// Sends a command, unless too much is in flight.
    fn send(&mut self, member: &mut Member, request: Request) {
        let id = member.request_id();
        let proposal = Proposal::new(id, request.clone());
        let len = proposal.len();
        let bytes: usize = self.in_flight.iter().map(|command| command.len).sum();
        if bytes > 0 && bytes + len > self.plan.in_flight_bytes_max() {
            return;
        }
        let ticket = self.ticket();
        self.trace.note(format_args!("{ticket}: {}", checks::describe(&request)));
        self.sent_at.insert(ticket, member.now);
        member.send(Input::Propose(proposal, ticket));
        let sender = Some(ticket);
        self.in_flight.push_back(InFlight {
            ticket: sender,
            is_late: false,
            id,
            request,
            len,
            is_logged: false,
        });
        self.report.commands += 1;
    }

    fn send_defragment(&mut self, member: &mut Member) -> Ticket {
        let ticket = self.ticket();
        self.note(format_args!("{ticket}: defragment"));
        self.sent_at.insert(ticket, member.now);
        member.send(Input::Defragment(ticket));
        ticket
    }

    fn send_read(&mut self, member: &mut Member) {
        let ticket = self.ticket();
        self.note(format_args!("{ticket}: read index"));
        self.sent_at.insert(ticket, member.now);
        member.send(Input::ReadIndex(ticket));
    }

    fn send_lease_query(&mut self, member: &mut Member) -> Result<(), String> {
        let ticket = self.ticket();
        let query = self.leases.ask(&mut self.random, ticket);
        self.note(format_args!("{ticket}: {query:?} at {:?}", member.now));
        // A renewal may bypass the node, as on any thread of the server.
        if let LeaseQuery::Renew { id } = query
            && ticket.is_multiple_of(2)
            && let Some(ttl_s) = member.renew_lease(id)
        {
            return self.leases.answered(ticket, &LeaseAnswer::Renewed(ttl_s), member.now, &self.model);
        }
        self.sent_at.insert(ticket, member.now);
        member.send(Input::Lease(query, ticket));
        Ok(())
    }

    /// Reads without asking the node, as any thread may.
    fn read(&mut self, member: &Member) -> Result<(), String> {
        let horizon = Horizon::of(&self.model);
        let read = checks::random_read(&mut self.random, horizon, &member.view, &self.model);
        if self.disk.has_crashed() {
            return Ok(());
        }
        let line = read?;
        self.report.reads += 1;
        self.note(format_args!("{line}"));
        Ok(())
    }

    /// Takes what the member has reported. The member answers questions about leases before it applies
    /// anything.
    fn take(&mut self, member: &Member, result: StepResult) -> Result<(), String> {
        assert!(result.messages.is_empty(), "a lone member has nobody to write to");
        self.now = member.now;
        self.take_notes(&result.notes);
        self.take_logged(&result.logged);
        let (mut readable, mut results) = (0, Vec::new());
        for (ticket, answer) in result.answers {
            self.note(format_args!("{ticket} answered"));
            let sent_at = self.sent_at.remove(&ticket);
            match answer {
                Answer::Unserved(Unserved::TimedOut) => self.timed_out(ticket, sent_at)?,
                Answer::Readable => readable += 1,
                Answer::Defragmented => self.report.defragmentations += 1,
                Answer::Lease(answer) => {
                    self.leases.answered(ticket, &answer, self.now, &self.model)?;
                    self.report.reads += 1;
                }
                Answer::Export(_) | Answer::Transferred => {
                    return Err(format!("{ticket} is answered with {answer:?}"));
                }
                Answer::Unserved(why) => return Err(format!("{ticket} is not served: {why:?}")),
                Answer::Applied(result) => results.push((ticket, result)),
            }
        }
        self.apply(result.applied)?;
        results.iter().try_for_each(|(ticket, result)| self.answered(*ticket, result))?;
        self.nobody_is_forgotten()?;
        checks::position(member, &self.model)?;
        (0..readable).try_for_each(|_| self.read(member))
    }

    fn take_notes(&mut self, notes: &[Note]) {
        for note in notes {
            self.note(format_args!("{note:?}"));
            self.report.checkpoints += u64::from(matches!(note, Note::Checkpoint { .. }));
            self.report.compactions += u64::from(matches!(note, Note::Compacted { .. }));
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(what);
    }
}
