//! A file system in memory that crashes, tears, lies and fills up on command.
//!
//! Owns every file and name, what of them is durable, and the faults planted so far. Deterministic: the same seed and
//! the same calls give the same bytes. In a crash unsynced writes survive by 512-byte sector, unsynced names one
//! change at a time. Offers no directory permissions and no limit on names.
//!
//! [`SimDisk::crash`] is a loss of power, [`SimDisk::kill`] the death of a process. After both the handles and locks of
//! before are dead.

mod content;
mod random;
mod tree;

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{Dir, Disk, File};
use content::SharedContent;
pub use random::SplitMix64;
use tree::{NodeId, Tree};

/// A simulated disk; clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// How often each operation was asked for and carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ops {
    /// Reads of file contents.
    pub reads: u64,
    /// Writes of file contents.
    pub writes: u64,
    /// Bytes in those writes.
    pub written_bytes: u64,
    /// Changes of a file's length, reservations included.
    pub resizes: u64,
    /// Syncs of file contents.
    pub syncs: u64,
    /// Creations, renames and removals.
    pub renames: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
}

impl Ops {
    /// Operations that change something or make it durable: what [`SimDisk::crash_at_op`] counts.
    pub fn effects(&self) -> u64 {
        self.writes + self.resizes + self.syncs + self.renames + self.dir_syncs
    }
}

impl SimDisk {
    /// An empty disk of unlimited size.
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            tree: Tree::new(),
            random: SplitMix64::new(seed),
            ops: Ops::default(),
            crash_at: None,
            capacity: None,
            locks: BTreeSet::new(),
            boot: 0,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Loses power and comes back: what was not synced is lost, kept, or kept in part.
    pub fn crash(&self) {
        let mut state = lock(&self.state);
        let State { tree, random, .. } = &mut *state;
        tree.crash(random);
        state.locks.clear();
        state.crash_at = None;
        state.boot += 1;
    }

    /// The process that uses the disk dies, and power is not lost: its handles and locks are dead. Everything it did
    /// can be read, and what of it was not synced can still be lost by a later [`SimDisk::crash`].
    pub fn kill(&self) {
        let mut state = lock(&self.state);
        state.locks.clear();
        state.crash_at = None;
        state.boot += 1;
    }

    /// After `n` more effects (see [`Ops::effects`]) every operation fails, until [`SimDisk::crash`] or
    /// [`SimDisk::kill`].
    pub fn crash_at_op(&self, n: u64) {
        let mut state = lock(&self.state);
        state.crash_at = Some(state.ops.effects() + n);
    }

    /// Whether the point set by [`SimDisk::crash_at_op`] is reached: a failure is then the crash, no fault.
    pub fn has_crashed(&self) -> bool {
        lock(&self.state).has_crashed()
    }

    /// What was done so far.
    pub fn ops(&self) -> Ops {
        lock(&self.state).ops
    }

    /// Limits the sum of all file lengths, in bytes; growth beyond fails with `StorageFull`. `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.state).capacity = bytes;
    }

    /// Sum of all file lengths in bytes.
    pub fn used(&self) -> u64 {
        lock(&self.state).used()
    }

    /// The next sync of this file fails, and each one after it, until [`SimDisk::crash`].
    pub fn fail_syncs(&self, path: &Path) -> io::Result<()> {
        lock(&*self.content(path)?).sync_fails = true;
        Ok(())
    }

    /// Reads that touch `range` of this file fail.
    pub fn fail_reads(&self, path: &Path, range: Range<u64>) -> io::Result<()> {
        lock(&*self.content(path)?).unreadable.push(range);
        Ok(())
    }

    /// Changes one bit (0 to 7) of the byte at `offset`, as a failing medium does.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        lock(&*self.content(path)?).flip_bit(offset, bit);
        Ok(())
    }

    /// The next write to `path` lands at `offset` of the file `at` instead.
    pub fn misdirect_next_write(&self, path: &Path, at: &Path, offset: u64) -> io::Result<()> {
        let victim = self.content(at)?;
        lock(&*self.content(path)?).misdirect = Some((victim, offset));
        Ok(())
    }

    /// The state, for a handle that was opened in `boot`: it is dead if its process is.
    fn state_in(&self, boot: u64) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.state);
        state.check_alive()?;
        if state.boot == boot { Ok(state) } else { Err(io::Error::other("handle of before the crash")) }
    }

    fn content(&self, path: &Path) -> io::Result<SharedContent> {
        lock(&self.state).tree.file(path)
    }

    fn handle(&self, content: SharedContent, boot: u64) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.clone(), content, boot })
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        state.check_alive()?;
        let content = state.tree.create_file(path)?;
        state.ops.renames += 1;
        Ok(self.handle(content, state.boot))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let state = lock(&self.state);
        state.check_alive()?;
        Ok(self.handle(state.tree.file(path)?, state.boot))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.check_alive()?;
        state.tree.rename(from, to)?;
        state.ops.renames += 1;
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.check_alive()?;
        state.tree.remove(path)?;
        state.ops.renames += 1;
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        state.check_alive()?;
        state.tree.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.check_alive()?;
        state.tree.create_dir(dir)?;
        state.ops.renames += 1;
        Ok(())
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn Dir>> {
        let state = lock(&self.state);
        state.check_alive()?;
        let node = state.tree.dir(dir)?;
        Ok(Arc::new(SimDir { disk: self.clone(), node, boot: state.boot }))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>> {
        let mut state = lock(&self.state);
        state.check_alive()?;
        if state.locks.contains(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if state.tree.file(path).is_err() {
            state.tree.create_file(path)?;
            state.ops.renames += 1;
        }
        state.locks.insert(path.to_path_buf());
        Ok(Box::new(Guard { disk: self.clone(), path: path.to_path_buf(), boot: state.boot }))
    }
}

#[derive(Debug)]
struct State {
    tree: Tree,
    random: SplitMix64,
    ops: Ops,
    crash_at: Option<u64>,
    capacity: Option<u64>,
    locks: BTreeSet<PathBuf>,
    /// Counts the crashes and kills: a handle or lock of before is dead.
    boot: u64,
}

impl State {
    fn has_crashed(&self) -> bool {
        self.crash_at.is_some_and(|limit| self.ops.effects() >= limit)
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.has_crashed() { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.tree.files().iter().map(|content| lock(content).len()).sum()
    }

    fn check_space(&self, old_len: u64, new_len: u64) -> io::Result<()> {
        let growth = new_len.saturating_sub(old_len);
        match self.capacity {
            Some(capacity) if growth > 0 && self.used() + growth > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct SimDir {
    disk: SimDisk,
    node: NodeId,
    boot: u64,
}

impl Dir for SimDir {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state_in(self.boot)?;
        state.tree.sync_dir(self.node);
        state.ops.dir_syncs += 1;
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    content: SharedContent,
    boot: u64,
}

impl SimFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, State>> {
        self.disk.state_in(self.boot)
    }

    fn resize(&self, len_of: impl FnOnce(u64) -> u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        let old_len = lock(&self.content).len();
        let len = len_of(old_len);
        disk.check_space(old_len, len)?;
        disk.ops.resizes += 1;
        lock(&self.content).set_len(len);
        Ok(())
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let _disk = self.disk()?;
        Ok(lock(&self.content).len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk()?.ops.reads += 1;
        lock(&self.content).read(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let elsewhere = lock(&self.content).misdirect.take();
        let (content, offset) = elsewhere.unwrap_or_else(|| (Arc::clone(&self.content), offset));
        let len = lock(&content).len();
        disk.check_space(len, offset + data.len() as u64)?;
        disk.ops.writes += 1;
        disk.ops.written_bytes += data.len() as u64;
        lock(&content).write(offset, data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.ops.syncs += 1;
        let mut content = lock(&self.content);
        if content.sync_fails {
            return Err(io::Error::other("simulated sync failure"));
        }
        content.sync();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(|_| len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.resize(|old_len| old_len.max(len))
    }
}

#[derive(Debug)]
struct Guard {
    disk: SimDisk,
    path: PathBuf,
    boot: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = lock(&self.disk.state);
        if state.boot == self.boot {
            state.locks.remove(&self.path);
        }
    }
}

/// Locks without regard to a panic elsewhere: a test that failed has already said why.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_file(path: &str) -> (SimDisk, Arc<dyn File>) {
        let disk = SimDisk::new(1);
        let file = disk.create(Path::new(path)).unwrap();
        file.write_at(0, b"content").unwrap();
        (disk, file)
    }

    #[test]
    fn a_crash_at_an_effect_stops_everything_until_power_returns() {
        let (disk, file) = disk_with_file("/f");
        disk.sync_dir(Path::new("/")).unwrap();
        disk.crash_at_op(1);
        file.sync().unwrap();
        assert!(disk.has_crashed());
        assert!(file.read_at(0, &mut [0; 7]).is_err());
        disk.crash();
        assert!(file.len().is_err(), "a handle of before the crash is dead");
        assert_eq!(&disk.open(Path::new("/f")).unwrap().read(0, 7).unwrap()[..], b"content");
    }

    #[test]
    fn a_killed_process_loses_nothing_and_a_later_loss_of_power_what_was_not_synced() {
        let mut n_lost = 0;
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let file = disk.create(Path::new("/f")).unwrap();
            file.write_at(0, b"content").unwrap();
            disk.kill();
            assert!(file.len().is_err(), "a handle of the dead process");
            assert_eq!(&disk.open(Path::new("/f")).unwrap().read(0, 7).unwrap()[..], b"content");
            disk.crash();
            n_lost += u32::from(disk.open(Path::new("/f")).is_err());
        }
        assert!(n_lost > 0, "its name was never made durable");
    }

    #[test]
    fn a_full_disk_refuses_growth_but_not_overwriting() {
        let (disk, file) = disk_with_file("/f");
        file.reserve(100).unwrap();
        disk.set_capacity(Some(disk.used()));
        file.write_at(90, b"0123456789").unwrap();
        for refused in [file.write_at(91, b"0123456789"), file.reserve(101), file.set_len(101)] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        disk.set_capacity(None);
        file.reserve(101).unwrap();
    }

    #[test]
    fn a_failed_sync_stays_failed() {
        let (disk, file) = disk_with_file("/f");
        disk.fail_syncs(Path::new("/f")).unwrap();
        assert!(file.sync().is_err());
        assert!(file.sync().is_err());
    }

    #[test]
    fn faults_of_the_medium_show_when_read() {
        let (disk, file) = disk_with_file("/f");
        let other = disk.create(Path::new("/g")).unwrap();
        disk.flip_bit(Path::new("/f"), 0, 0).unwrap();
        assert_eq!(&file.read(0, 7).unwrap()[..], b"bontent");
        disk.misdirect_next_write(Path::new("/f"), Path::new("/g"), 2).unwrap();
        file.write_at(0, b"lost").unwrap();
        assert_eq!(&other.read(0, 6).unwrap()[..], b"\0\0lost");
        disk.fail_reads(Path::new("/f"), 3..4).unwrap();
        file.read_at(0, &mut [0; 3]).unwrap();
        assert!(file.read_at(0, &mut [0; 4]).is_err());
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped_or_power_is_lost() {
        let disk = SimDisk::new(1);
        let path = Path::new("/lock");
        let held = disk.lock(path).unwrap();
        assert_eq!(disk.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        let held = disk.lock(path).unwrap();
        disk.crash();
        let again = disk.lock(path).unwrap();
        drop(held);
        assert!(disk.lock(path).is_err(), "a dead guard frees nothing");
        drop(again);
    }

    #[test]
    fn equal_seeds_crash_alike() {
        let run = |seed| {
            let disk = SimDisk::new(seed);
            for i in 0..20_u8 {
                let file = disk.create(Path::new(&format!("/{i}"))).unwrap();
                file.write_at(0, &[i + 1; 3000]).unwrap();
            }
            disk.crash();
            let names = disk.list(Path::new("/")).unwrap();
            let read = |name: &String| {
                let file = disk.open(&Path::new("/").join(name)).unwrap();
                file.read(0, file.len().unwrap() as usize).unwrap()
            };
            names.iter().map(|name| (name.clone(), read(name))).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert!((1..20).any(|seed| run(0) != run(seed)));
    }
}
