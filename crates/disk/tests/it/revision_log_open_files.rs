//! How many files a log has open, whatever it holds.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use disk::wal::Wal;
use disk::{Dir, Disk, File, Mapping, OPEN_FILES_MAX, Revision, RevisionLog, SimDisk, checkpoint};
use proto::checkpointpb::Checkpoint;
use proto::raftpb::HardState;

use crate::revision_log_rig::*;
use crate::wal_rig::{MEMBER, entry, snapshot};

/// Counts the handles of files and directories that are open, and refuses more than there may be.
#[derive(Debug, Clone)]
struct Counting {
    disk: SimDisk,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    limit: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Handle<T: ?Sized> {
    open: Arc<AtomicUsize>,
    inner: Arc<T>,
}

impl Counting {
    fn new() -> Counting {
        let limit = Arc::new(AtomicUsize::new(usize::MAX));
        Counting { disk: SimDisk::new(1), open: Arc::default(), most: Arc::default(), limit }
    }

    fn count<T: ?Sized>(&self, inner: io::Result<Arc<T>>) -> io::Result<Arc<Handle<T>>> {
        if self.open.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(24));
        }
        let inner = inner?;
        let now = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Ok(Arc::new(Handle { open: self.open.clone(), inner }))
    }
}

impl<T: ?Sized> Drop for Handle<T> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Dir for Handle<dyn Dir> {
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

impl File for Handle<dyn File> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.inner.reserve(len)
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        self.inner.map()
    }
}

impl Disk for Counting {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.count(self.disk.create(path))?)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.count(self.disk.open(path))?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn Dir>> {
        Ok(self.count(self.disk.open_dir(dir))?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>> {
        self.disk.lock(path)
    }
}

fn open_counted(disk: &Counting, listed: &[proto::checkpointpb::Segment]) -> RevisionLog {
    open_on(Arc::new(disk.clone()), Path::new(DIR), listed).unwrap()
}

/// Everything that a member does with its files, the write-ahead log included.
#[test]
fn thousands_of_segments_take_no_more_files_than_promised() {
    let disk = Counting::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut wal = Wal::create_sized(shared.clone(), Path::new("/wal"), MEMBER, 4096).unwrap();
    let mut log = open_counted(&disk, &[]);
    let mut index = 0;
    for round in 0..100 {
        let from = round * 250 + 2;
        fill(&mut log, from..=from + 249);
        for _ in 0..20 {
            index += 1;
            let state = HardState { term: 1, vote: MEMBER.member_id, commit: index - 1 };
            wal.append(&[entry(1, index, 900)], Some(&state)).unwrap();
        }
        wal.sync().unwrap();
        if log.needs_next() {
            let next = log.next_segment().run().unwrap();
            log.adopt(next);
        }
        if round % 10 == 9 {
            let segments = sync(&mut log).unwrap();
            let body = Checkpoint { segments, ..Checkpoint::default() };
            checkpoint::save(&*shared, Path::new(DIR), &body).unwrap();
            wal.record_snapshot(&snapshot(index - 1, 1)).unwrap();
            wal.release(index - 1).unwrap();
        }
    }
    let listed = sync(&mut log).unwrap();
    assert!(listed.len() > 2000, "{} segments", listed.len());
    assert_eq!(scan(&log, 0).len(), 25_000);
    drop((log, wal));
    assert_eq!(disk.open.load(Ordering::Relaxed), 0);

    let mut log = open_counted(&disk, &listed);
    let records = load(&log).unwrap();
    assert_eq!(records.len(), 25_000);
    for (_, _, at) in &records {
        log.read(*at).unwrap();
        log.mark_dead(*at);
    }
    let plan = log.reclaim_candidate(false).unwrap();
    let rewritten = plan.run(&|_, _| true).unwrap();
    log.install(&rewritten);
    log.retire(&rewritten);
    drop(rewritten);
    log.release(&[]).run().unwrap();
    let most = disk.most.load(Ordering::Relaxed);
    assert!((30..=OPEN_FILES_MAX).contains(&most), "{most} files were open");
}

#[test]
fn background_work_without_a_descriptor_left_may_be_retried() {
    let disk = Counting::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let wal = Wal::create_sized(shared.clone(), Path::new("/wal"), MEMBER, 4096).unwrap();
    let mut log = open_counted(&disk, &[]);
    let at = fill(&mut log, 2..=200);
    disk.limit.store(disk.open.load(Ordering::Relaxed), Ordering::Relaxed);

    let unavailable = |error: disk::Error| assert!(error.may_be_retried(), "{error}");
    unavailable(wal.next_file().run().map(|_| ()).unwrap_err());
    unavailable(log.next_segment().run().map(|_| ()).unwrap_err());
    let save = || checkpoint::save(&*shared, Path::new(DIR), &Checkpoint::default());
    unavailable(save().map(|_| ()).unwrap_err());
    // What is open already needs no more: segments are synced, only their sidecars are left out.
    sync(&mut log).unwrap();
    assert_eq!(scan(&log, 0).len(), 199);
    log.read(at[0]).unwrap();

    at.iter().for_each(|at| log.mark_dead(*at));
    let open = disk.open.load(Ordering::Relaxed);
    disk.limit.store(open, Ordering::Relaxed);
    let plan = log.reclaim_candidate(true).unwrap();
    unavailable(plan.run(&|_, revision: Revision| revision.main % 2 == 0).map(|_| ()).unwrap_err());

    disk.limit.store(usize::MAX, Ordering::Relaxed);
    save().unwrap();
    sync(&mut log).unwrap();
    assert_eq!(scan(&log, 0).len(), 199);
}
