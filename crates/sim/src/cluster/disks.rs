//! Disks that are full for a while, and disks that are damaged while their member does not run.
//!
//! A member that finds damage when it starts does not start. Then an operator removes it and adds another one with an
//! empty disk. There is one damaged member at a time. It is damaged only while all other voters are known to start with
//! the present members: so they have a majority without it, also if all of them lose power.

use std::path::{Path, PathBuf};

use disk::Disk as _;
use store::MemberChange;

use super::Cluster;
use super::faults::{BROKEN_MS_MAX, Broken, Repair};
use super::host::{Host, Standing};
use super::members::place_of;
use crate::member::{DATA_DIR, ID, WAL_DIR};

/// Voters of a cluster that goes on without one.
const VOTERS_MIN: usize = 3;
/// Bytes that a disk has left when it is said to be full, at most.
const ROOM_MAX: u64 = 1 << 15;

impl Cluster<'_> {
    /// The disk at `place` has hardly any room for some time.
    pub(super) fn fill_disk(&mut self, place: usize) {
        let room = self.faults_random.below(ROOM_MAX);
        let at = self.now + self.some_time(BROKEN_MS_MAX);
        let disk = &self.hosts[place].disk;
        disk.set_capacity(Some(disk.used() + room));
        self.repairs.push(Repair { at, what: Broken::Disk(place) });
    }

    /// The member at `place` loses power, and a bit of its WAL or of its checkpoint changes.
    pub(super) fn damage_disk(&mut self, place: usize) -> Result<(), String> {
        if !self.may_lose(place) {
            return Ok(());
        }
        if self.hosts[place].member.is_some() {
            self.lose_power(place)?;
        }
        let host = &self.hosts[place];
        let files = files_needed(host);
        if files.is_empty() {
            return Ok(());
        }
        let file = &files[self.faults_random.index(files.len())];
        let len = host.disk.open(file).and_then(|file| file.len());
        let len = len.map_err(|error| format!("{} cannot be opened: {error}", file.display()))?;
        if len == 0 {
            return Ok(());
        }
        let (offset, bit) = (self.faults_random.below(len), self.faults_random.below(8));
        self.trace.note(format_args!("{place}: bit {bit} of byte {offset} of {} flips", file.display()));
        let flipped = host.disk.flip_bit(file, offset, u8::try_from(bit).expect("less than 8"));
        self.hosts[place].is_damaged = true;
        flipped.map_err(|error| format!("{} cannot be damaged: {error}", file.display()))
    }

    /// Whether the cluster goes on whatever becomes of the data of the voter at `place`.
    fn may_lose(&self, place: usize) -> bool {
        let membership = self.history.membership();
        let is_sound = |id: u64| {
            let host = &self.hosts[place_of(id)];
            let knows_members = host.checkpoint >= self.history.last_change();
            knows_members && !host.is_damaged && !host.is_removal_asked
        };
        let mut others = membership.voters().filter(|id| *id != ID + place as u64);
        membership.is_voter(ID + place as u64)
            && membership.voters().count() >= VOTERS_MIN
            && self.hosts.iter().all(|host| host.standing != Standing::Lost)
            && others.all(is_sound)
    }

    /// The member at `place` does not start, since its disk is damaged.
    pub(super) fn give_up(&mut self, place: usize) {
        self.report.damage_found += 1;
        self.hosts[place].standing = Standing::Lost;
        self.hosts[place].is_removal_asked = true;
    }

    /// The place of a member whose data is lost and that was not removed yet.
    pub(super) fn lost_member(&self) -> Option<usize> {
        let is_lost = |host: &&Host| {
            let id = ID + host.place as u64;
            host.standing == Standing::Lost && self.history.membership().contains(id)
        };
        self.hosts.iter().find(is_lost).map(|host| host.place)
    }

    /// An operator has a lost member removed, as often as it takes.
    pub(super) fn remove_lost(&mut self, place: usize) {
        let asked = self.leader().unwrap_or_else(|| self.faults_random.index(self.hosts.len()));
        self.send_change(asked, MemberChange::Remove(ID + place as u64));
    }
}

/// The files that a member reads as a whole when it starts.
fn files_needed(host: &Host) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (dir, ending) in [(WAL_DIR, ".wal"), (DATA_DIR, "checkpoint")] {
        // The directory may not be there yet.
        let names = host.disk.list(Path::new(dir)).unwrap_or_default();
        files
            .extend(names.iter().filter(|name| name.ends_with(ending)).map(|name| Path::new(dir).join(name)));
    }
    files
}
