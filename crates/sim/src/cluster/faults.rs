//! What goes wrong in a cluster, and when it is mended.
//!
//! Faults of the network concern each message; [`super::network`] carries them out. All others happen at a
//! moment that is drawn here, and most of them end some seconds later.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk::Disk as _;
use proto::raftpb::{Message, MessageType};

use super::Cluster;
use super::host::TRUE_RATE_PPM;
use crate::member::{DATA_DIR, WAL_DIR};
use crate::random::Random;

/// The longest time for which something is broken, in milliseconds, and for which a member is down.
pub(super) const BROKEN_MS_MAX: u64 = 6000;
const DOWN_MS_MAX: u64 = 3000;
/// Effects on the disk within which a member dies whose death is drawn.
const EFFECTS_TO_DEATH_MAX: u64 = 30;
/// More effects than any run has.
const NEVER: u64 = 1 << 60;
/// In how many cases of a hundred a member that loses power now and then does so when it votes.
const DEATH_OF_PROMISE_PERCENT: u64 = 15;
/// The most by which a clock runs fast or slow, in parts of a million.
pub(super) const SKEW_PPM_MAX: u64 = 50_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Some messages are lost.
    LostMessages,
    /// Some messages arrive twice.
    RepeatedMessages,
    /// Some messages take up to two seconds.
    DelayedMessages,
    /// Messages overtake each other.
    ReorderedMessages,
    /// No message passes between two groups of members.
    Partition,
    /// No message passes from one member to another.
    OneWayCut,
    /// The links between two members work and fail again and again.
    FlappingLink,
    /// The process of a member is killed.
    KilledProcess,
    /// A member loses power, and with it some of what it had not synced.
    PowerLoss,
    /// All members lose power at once.
    Blackout,
    /// A sync fails, and with it the member.
    FailedSync,
    /// A member stands still while its clock goes on.
    PausedMember,
    /// The node's thread stands still. Other threads of the member go on.
    StalledNode,
    /// The WAL's thread stands still, as with a slow disk.
    StalledWal,
    /// Clocks run at different rates.
    ClockSkew,
    /// Members are added, promoted, moved and removed. Machines of removed ones come back.
    MemberChange,
    /// Leadership is handed over on request.
    LeaderTransfer,
    /// A disk has no room for a while.
    FullDisk,
    /// A bit of what a stopped member needs to start is flipped.
    DamagedDisk,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 19] = [
        Fault::LostMessages,
        Fault::RepeatedMessages,
        Fault::DelayedMessages,
        Fault::ReorderedMessages,
        Fault::Partition,
        Fault::OneWayCut,
        Fault::FlappingLink,
        Fault::KilledProcess,
        Fault::PowerLoss,
        Fault::Blackout,
        Fault::FailedSync,
        Fault::PausedMember,
        Fault::StalledNode,
        Fault::StalledWal,
        Fault::ClockSkew,
        Fault::MemberChange,
        Fault::LeaderTransfer,
        Fault::FullDisk,
        Fault::DamagedDisk,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::LostMessages => "lost-messages",
            Fault::RepeatedMessages => "repeated-messages",
            Fault::DelayedMessages => "delayed-messages",
            Fault::ReorderedMessages => "reordered-messages",
            Fault::Partition => "partition",
            Fault::OneWayCut => "one-way-cut",
            Fault::FlappingLink => "flapping-link",
            Fault::KilledProcess => "killed-process",
            Fault::PowerLoss => "power-loss",
            Fault::Blackout => "blackout",
            Fault::FailedSync => "failed-sync",
            Fault::PausedMember => "paused-member",
            Fault::StalledNode => "stalled-node",
            Fault::StalledWal => "stalled-wal",
            Fault::ClockSkew => "clock-skew",
            Fault::MemberChange => "member-changes",
            Fault::LeaderTransfer => "leader-transfers",
            Fault::FullDisk => "full-disk",
            Fault::DamagedDisk => "damaged-disk",
        }
    }

    /// Whether it happens at a moment, and does not concern each message.
    fn is_momentary(self) -> bool {
        !matches!(
            self,
            Fault::LostMessages | Fault::RepeatedMessages | Fault::DelayedMessages | Fault::ReorderedMessages
        )
    }
}

/// Some kinds of faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultSet(u32);

impl FaultSet {
    /// Adds a fault.
    pub fn insert(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u32;
    }

    /// Takes a fault out.
    pub fn remove(&mut self, fault: Fault) {
        self.0 &= !(1 << fault as u32);
    }

    /// The faults of these names, separated by commas; `none` is the name of no fault.
    pub fn parse(names: &str) -> Result<FaultSet, String> {
        let mut faults = FaultSet::default();
        for name in names.split(',').filter(|name| *name != "none") {
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            faults.insert(fault.ok_or_else(|| format!("{name}: no such fault"))?);
        }
        Ok(faults)
    }

    /// Whether a fault is among them.
    pub fn contains(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }

    /// Those that it has.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.contains(*fault))
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Fault::name).collect();
        if names.is_empty() { f.write_str("none") } else { f.write_str(&names.join(",")) }
    }
}

/// Something that is broken until some time.
#[derive(Debug)]
pub(super) struct Repair {
    pub(super) at: Duration,
    pub(super) what: Broken,
}

/// What is broken.
#[derive(Debug)]
pub(super) enum Broken {
    /// These links are cut.
    Links(Vec<(usize, usize)>),
    /// The links between two members fail now and then.
    Flapping(usize, usize),
    /// The disk of a member is full.
    Disk(usize),
}

impl Cluster<'_> {
    /// Now and then something breaks, and what was broken is mended in time.
    pub(super) fn break_something(&mut self) -> Result<(), String> {
        self.mend();
        if self.faults_random.below(self.plan.fault_interval) > 0 {
            return Ok(());
        }
        let momentary: Vec<Fault> = self.plan.faults.iter().filter(|fault| fault.is_momentary()).collect();
        if momentary.is_empty() {
            return Ok(());
        }
        let fault = momentary[self.faults_random.index(momentary.len())];
        let place = self.victim();
        self.report.faults[fault as usize] += 1;
        self.note(format_args!("{}: member {place}", fault.name()));
        match fault {
            Fault::Partition => self.partition(place),
            Fault::OneWayCut => {
                let other = self.faults_random.index(self.hosts.len());
                let is_outward = self.faults_random.percent(50);
                self.cut(vec![if is_outward { (place, other) } else { (other, place) }]);
            }
            Fault::FlappingLink => {
                let other = self.faults_random.index(self.hosts.len());
                let at = self.now + self.some_time(BROKEN_MS_MAX);
                self.repairs.push(Repair { at, what: Broken::Flapping(place, other) });
            }
            Fault::KilledProcess | Fault::PowerLoss => {
                let at_once = self.faults_random.percent(40);
                let effects = if at_once { 0 } else { self.faults_random.below(EFFECTS_TO_DEATH_MAX) };
                self.hosts[place].disk.crash_at_op(effects);
                self.hosts[place].keeps_power = fault == Fault::KilledProcess;
            }
            Fault::Blackout => (0..self.hosts.len()).try_for_each(|place| self.lose_power(place))?,
            Fault::FailedSync => self.fail_a_sync(place)?,
            Fault::PausedMember => {
                let until = self.now + self.some_time(BROKEN_MS_MAX);
                let host = &mut self.hosts[place];
                host.paused_until = until;
            }
            Fault::StalledNode => {
                self.hosts[place].node_stalls_until = self.now + self.some_time(BROKEN_MS_MAX);
            }
            Fault::StalledWal => {
                self.hosts[place].wal_stalls_until = self.now + self.some_time(BROKEN_MS_MAX);
            }
            Fault::ClockSkew => {
                let rate_ppm = TRUE_RATE_PPM - SKEW_PPM_MAX + self.faults_random.below(2 * SKEW_PPM_MAX);
                self.hosts[place].rate_ppm = rate_ppm;
            }
            Fault::MemberChange => self.change_some_member()?,
            Fault::LeaderTransfer => self.transfer_leader(),
            Fault::FullDisk => self.fill_disk(place),
            Fault::DamagedDisk => self.damage_disk(place)?,
            Fault::LostMessages
            | Fault::RepeatedMessages
            | Fault::DelayedMessages
            | Fault::ReorderedMessages => {}
        }
        Ok(())
    }

    /// Mends everything: from now on nothing goes wrong.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.note(format_args!("everything is mended"));
        self.network.heal();
        self.repairs.clear();
        self.are_faults_over = true;
        for place in 0..self.hosts.len() {
            let host = &mut self.hosts[place];
            if host.member.is_some() && (host.is_sync_failing || host.disk.has_crashed()) {
                self.lose_power(place)?;
            }
        }
        for host in &mut self.hosts {
            host.disk.crash_at_op(NEVER);
            host.disk.set_capacity(None);
            host.node_stalls_until = Duration::ZERO;
            host.wal_stalls_until = Duration::ZERO;
            host.paused_until = Duration::ZERO;
            host.rate_ppm = TRUE_RATE_PPM;
            host.starts_at = host.starts_at.min(self.now);
        }
        Ok(())
    }

    /// A member may lose power just when it has promised something: what it did not sync before must not matter.
    pub(super) fn may_die_of_promise(&mut self, place: usize, messages: &[Message]) {
        let is_promise = |message: &Message| {
            matches!(message.r#type(), MessageType::MsgVote | MessageType::MsgVoteResp) && !message.reject
        };
        let may_die = self.plan.faults.contains(Fault::PowerLoss) && !self.are_faults_over;
        if may_die && messages.iter().any(is_promise) && self.faults_random.percent(DEATH_OF_PROMISE_PERCENT)
        {
            self.report.faults[Fault::PowerLoss as usize] += 1;
            self.hosts[place].disk.crash_at_op(0);
        }
    }

    /// How long a member is down.
    pub(super) fn down_time(&mut self) -> Duration {
        if self.are_faults_over { Duration::ZERO } else { self.some_time(DOWN_MS_MAX) }
    }

    /// Often the leader, otherwise any member.
    fn victim(&mut self) -> usize {
        let leader = self.leader();
        match leader {
            Some(leader) if self.faults_random.percent(40) => leader,
            _ => self.faults_random.index(self.hosts.len()),
        }
    }

    /// Cuts `place` with some others, mostly a minority, off from the rest.
    fn partition(&mut self, place: usize) {
        let members = self.hosts.len();
        let size = match self.faults_random.percent(80) {
            true => 1 + self.faults_random.index(members.div_ceil(2)),
            false => 1 + self.faults_random.index(members),
        };
        let mut group = vec![false; members];
        group[place] = true;
        for _ in 1..size {
            let other = self.faults_random.index(members);
            group[other] = true;
        }
        let pairs = (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
        self.cut(pairs.filter(|(from, to)| group[*from] != group[*to]).collect());
    }

    fn cut(&mut self, links: Vec<(usize, usize)>) {
        links.iter().for_each(|(from, to)| self.network.cut(*from, *to));
        let at = self.now + self.some_time(BROKEN_MS_MAX);
        self.repairs.push(Repair { at, what: Broken::Links(links) });
    }

    fn mend(&mut self) {
        let (due, later) =
            std::mem::take(&mut self.repairs).into_iter().partition(|r: &Repair| r.at <= self.now);
        self.repairs = later;
        for repair in due {
            match repair.what {
                Broken::Links(links) => links.iter().for_each(|(from, to)| self.network.mend(*from, *to)),
                Broken::Disk(place) => self.hosts[place].disk.set_capacity(None),
                Broken::Flapping(a, b) => {
                    self.network.mend(a, b);
                    self.network.mend(b, a);
                }
            }
        }
        for repair in &self.repairs {
            if let Broken::Flapping(a, b) = repair.what
                && self.faults_random.percent(2)
            {
                let (from, to) = if self.faults_random.percent(50) { (a, b) } else { (b, a) };
                match self.faults_random.percent(50) {
                    true => self.network.cut(from, to),
                    false => self.network.mend(from, to),
                }
            }
        }
    }

    fn fail_a_sync(&mut self, place: usize) -> Result<(), String> {
        let host = &mut self.hosts[place];
        let mut files: Vec<PathBuf> = Vec::new();
        for dir in [WAL_DIR, DATA_DIR] {
            let names = host.disk.list(Path::new(dir));
            // The disk may have lost power, or the directory may not be there yet.
            files.extend(names.unwrap_or_default().iter().map(|name| Path::new(dir).join(name)));
        }
        if files.is_empty() || host.member.is_none() {
            return Ok(());
        }
        let file = &files[self.faults_random.index(files.len())];
        host.is_sync_failing = true;
        host.disk.fail_syncs(file).map_err(|error| format!("{} cannot be broken: {error}", file.display()))
    }

    pub(super) fn some_time(&mut self, ms_max: u64) -> Duration {
        some_time(&mut self.faults_random, ms_max)
    }
}

/// Mostly short, sometimes long.
fn some_time(random: &mut Random, ms_max: u64) -> Duration {
    let ms_max = random.weighted(&[(1, ms_max / 20), (2, ms_max / 3), (2, ms_max)]);
    Duration::from_millis(random.below(ms_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = FaultSet::default();
        Fault::ALL.into_iter().for_each(|fault| set.insert(fault));
        assert!(set.iter().eq(Fault::ALL));
        set.remove(Fault::Blackout);
        assert!(!set.contains(Fault::Blackout) && set.contains(Fault::ClockSkew));
        assert_eq!(set.iter().count(), Fault::ALL.len() - 1);
        for set in [set, FaultSet::default()] {
            assert_eq!(FaultSet::parse(&set.to_string()), Ok(set));
        }
        assert!(FaultSet::parse("blackout,nonsense").is_err());
    }

    #[test]
    fn each_fault_has_its_own_number_and_name() {
        let names: std::collections::BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().enumerate().all(|(i, fault)| *fault as usize == i));
    }
}
