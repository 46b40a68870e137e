//! The WAL (write-ahead log): entries, votes and commit indexes that a member must not forget, in etcd's format.
//!
//! Owns the WAL files of one directory. Entries, states and checkpoint marks flow in; they come back when the log is
//! opened.
//!
//! ```text
//! 0000000000000000-0000000000000000.wal     sequence number - index of the next entry when the file was begun
//! 0000000000000001-00000000000003e9.wal
//!   crc | metadata | state | entry entry .. state | snapshot | entry ..  zeros to 16 MiB
//!   `-- head of each file -'                                             (of the last file alone; in one that is
//!                                                                         used again fewer, then old records)
//!
//! frame:  length word (8, little-endian: length, padding) | walpb.Record { type, crc, data } | 0 to 7 zeros
//! crc:    CRC-32C over the data of all records since the first file, carried from file to file
//! sync mark: a crc record in the middle of a file; everything before it was durable when it was written
//! ```
//!
//! Invariants: a file is durable to its end before the next one has its name; zeros follow the last record; the first batch
//! after a sync begins with a sync mark; a log that failed to write or sync is never written again. Does not decide what
//! is durable when: [`Wal::append`] writes, [`Wal::sync`] makes durable, and the node answers only after that. See
//! `docs/wal.md`.

mod active_file;
mod decode;
mod encode;
mod file_name;
mod metadata;
mod recover;
mod replay;
mod spare_file;

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use proto::raftpb::{Entry, HardState};
use proto::{etcdserverpb, walpb};

use crate::directory::{self, Directory};
use crate::error::Error;
use crate::files::Disk;
use active_file::ActiveFile;
use encode::{Kind, push_entry, push_record};
use file_name::FileName;
use replay::Replay;

pub use metadata::read_metadata;
pub use recover::Repair;
pub use spare_file::{PrepareFile, SpareFile};

/// Length of a log file in bytes. Each is zero-filled once, so that small ones, released soon, cost little.
pub const FILE_BYTES: u64 = 16 << 20;

/// Released files that are kept for use again: about what a checkpoint releases at a time.
const SPARES_MAX: usize = 6;

/// Files that a log has open at most: the released ones and one that was prepared meanwhile, the one being written, the next
/// while it is being made, in a hurry too, a copy of a torn one, and the directory.
pub(crate) const OPEN_FILES_MAX: usize = SPARES_MAX + 6;

/// Memory that the write buffer keeps for the next batch. A single large one must not hold on to its own for ever.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// The member.
    pub member_id: u64,
    /// Its cluster.
    pub cluster_id: u64,
}

/// What an opened log holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// Whose log it is.
    pub metadata: Metadata,
    /// The last state; its term is at least that of every entry.
    pub hard_state: HardState,
    /// Entries above the index asked for, without a gap.
    pub entries: Vec<Entry>,
    /// Checkpoint marks in the files read, in the order they were recorded.
    pub snapshots: Vec<walpb::Snapshot>,
    /// The torn tail that was cut off, if there was one.
    pub repaired: Option<Repair>,
}

/// A log open for appending; owned by one thread.
///
/// After an error that [`Error::may_be_retried`] the log is as it was and the call may be repeated. Any other error of a write or a sync is
/// final: every later one fails with [`Error::Failed`].
#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: Directory,
    file_bytes: u64,
    metadata: Metadata,
    /// From the oldest to the one that is appended to.
    files: Vec<FileName>,
    active: ActiveFile,
    chain: u32,
    hard_state: HardState,
    last_index: u64,
    /// The next files.
    spares: Vec<SpareFile>,
    buffer: Vec<u8>,
    written_bytes: u64,
    /// Whether records were written that no sync mark stands behind: since the last sync, and before it.
    has_unsynced: bool,
    has_unmarked: bool,
    failed: bool,
}

impl Wal {
    /// Creates a log in `dir`, which may exist without log files in it; its parent must exist. Durable when it returns; a
    /// crash before leaves no log file.
    pub fn create(disk: Arc<dyn Disk>, dir: &Path, metadata: Metadata) -> Result<Wal, Error> {
        Wal::create_sized(disk, dir, metadata, FILE_BYTES)
    }

    /// [`Wal::create`] with files of `file_bytes`, for tests and simulations.
    pub fn create_sized(
        disk: Arc<dyn Disk>,
        dir: &Path,
        metadata: Metadata,
        file_bytes: u64,
    ) -> Result<Wal, Error> {
        disk.create_dir(dir).map_err(Error::io("create", dir))?;
        if !file_name::list(&*disk, dir)?.is_empty() {
            return Err(Error::io("create a log in", dir)(std::io::ErrorKind::AlreadyExists.into()));
        }
        create_first_file(&*disk, dir, metadata, file_bytes)?;
        // Opening makes the new names durable.
        Ok(Wal::open_sized(disk, dir, 0, file_bytes)?.0)
    }

    /// Opens the log in `dir` for appending and returns what it holds above `from_index`, the index of the checkpoint
    /// that the member starts from (0 without one). A torn tail is cut off, which is durable when it returns.
    ///
    /// Fails with [`Error::Missing`] if a file with entries needed is not there, with [`Error::Corrupt`] if something
    /// that was durable has changed.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, from_index: u64) -> Result<(Wal, Recovered), Error> {
        Wal::open_sized(disk, dir, from_index, FILE_BYTES)
    }

    /// [`Wal::open`] where new files are of `file_bytes`, for tests and simulations.
    pub fn open_sized(
        disk: Arc<dyn Disk>,
        dir: &Path,
        from_index: u64,
        file_bytes: u64,
    ) -> Result<(Wal, Recovered), Error> {
        let mut entries = Vec::new();
        let mut collect = |mut committed: Vec<Entry>| {
            entries.append(&mut committed);
            Ok(())
        };
        let (wal, mut recovered) = Wal::open_to(disk, dir, from_index, file_bytes, &mut collect)?;
        entries.append(&mut recovered.entries);
        Ok((wal, Recovered { entries, ..recovered }))
    }

    /// [`Wal::open_sized`] without the committed entries, which [`Wal::read_committed`] gives afterwards: there may be
    /// any number of them. Of what it returns only those above the committed index are part.
    pub fn open_for_replay(
        disk: Arc<dyn Disk>,
        dir: &Path,
        from_index: u64,
        file_bytes: u64,
    ) -> Result<(Wal, Recovered), Error> {
        Wal::open_to(disk, dir, from_index, file_bytes, &mut |_| Ok(()))
    }

    /// Reads the log again and hands the committed entries above `from_index` to `sink`, in order, in batches of about a
    /// megabyte. Ends at its first error. The log must not have been released beyond `from_index`.
    pub fn read_committed<E: From<Error>>(
        &self,
        from_index: u64,
        sink: &mut dyn FnMut(Vec<Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = file_name::start(self.dir.path(), &self.files, from_index)?;
        let mut replay = Replay::new(from_index);
        recover::read(&*self.disk, self.dir.path(), &self.files[start..], &mut replay, sink).map(|_| ())
    }

    fn open_to(
        disk: Arc<dyn Disk>,
        dir: &Path,
        from_index: u64,
        file_bytes: u64,
        committed: &mut dyn FnMut(Vec<Entry>) -> Result<(), Error>,
    ) -> Result<(Wal, Recovered), Error> {
        let directory = open_directory(&*disk, dir)?;
        let files = file_name::list(&*disk, dir)?;
        let start = file_name::start(dir, &files, from_index)?;
        let mut replay = Replay::new(from_index);
        let end = recover::read(&*disk, dir, &files[start..], &mut replay, committed)?;
        let (active, chain, repaired) = recover::resume(&*disk, dir, end)?;
        let metadata = replay.metadata.expect("each file read has begun with metadata");
        let spares = open_spares(&*disk, dir, file_bytes)?;
        let wal = Wal {
            disk,
            dir: directory,
            file_bytes,
            metadata,
            files,
            active,
            chain,
            hard_state: replay.hard_state,
            last_index: replay.last_index(),
            spares,
            buffer: Vec::new(),
            written_bytes: 0,
            has_unsynced: false,
            has_unmarked: replay.has_history(),
            failed: false,
        };
        let Replay { hard_state, entries, snapshots, .. } = replay;
        Ok((wal, Recovered { metadata, hard_state, entries, snapshots, repaired }))
    }

    /// Writes `entries`, then `hard_state`. Not durable before [`Wal::sync`]. The first entry must not leave a gap
    /// behind the last one written; an earlier index replaces what was written from there on.
    ///
    /// Panics if this is no history that raft can have, since the log could then not be opened again.
    pub fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), Error> {
        self.append_all(entries, hard_state, false)
    }

    /// [`Wal::append`] and [`Wal::sync`], in one system call if everything before is durable. An error is final unless
    /// it is [`Error::NoSpace`].
    pub fn append_synced(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), Error> {
        self.append_all(entries, hard_state, true)?;
        self.sync()
    }

    fn append_all(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
        is_sync_next: bool,
    ) -> Result<(), Error> {
        self.assert_history(entries, hard_state);
        self.write(is_sync_next, |buffer, chain| {
            for entry in entries {
                push_entry(buffer, chain, entry);
            }
            if let Some(state) = hard_state {
                push_record(buffer, chain, Kind::State, [&state.encode_to_vec(), &[]]);
            }
        })?;
        self.last_index = entries.last().map_or(self.last_index, |entry| entry.index);
        self.hard_state = hard_state.copied().unwrap_or(self.hard_state);
        Ok(())
    }

    /// Makes everything written so far durable. An error is final.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.check()?;
        let synced = self.active.sync();
        self.settle(synced)?;
        self.has_unmarked |= self.has_unsynced;
        self.has_unsynced = false;
        Ok(())
    }

    /// Records that a checkpoint at `snapshot` is durable, and makes the record durable. A checkpoint beyond the
    /// last entry (received from the leader) must be recorded before a state that commits it is appended.
    ///
    /// `snapshot.conf_state` must be there: etcd refuses the record without.
    pub fn record_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<(), Error> {
        assert!(snapshot.conf_state.is_some(), "a checkpoint names the members");
        let data = snapshot.encode_to_vec();
        self.write(false, |buffer, chain| push_record(buffer, chain, Kind::Snapshot, [&data, &[]]))?;
        self.last_index = self.last_index.max(snapshot.index);
        self.sync()
    }

    /// Whether it is time to prepare the next file: none is ready.
    pub fn needs_next(&self) -> bool {
        self.spares.is_empty()
    }

    /// The job that prepares the next file; run it on another thread, one at a time, and hand the result to
    /// [`Wal::adopt`]. Without one the log makes the file itself when it needs it, which stalls it.
    pub fn next_file(&self) -> PrepareFile {
        PrepareFile::new(Arc::clone(&self.disk), self.dir.path(), self.file_bytes)
    }

    /// Takes a prepared file for later use.
    pub fn adopt(&mut self, prepared: SpareFile) {
        self.spares.push(prepared);
    }

    /// Bytes of records written since the log was opened.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes that can be written without allocating, in whatever batches, of which none is ever split: the rest of the
    /// current file, or a spare one. A frame takes up to 64 bytes more than an entry's data.
    pub fn room(&self) -> u64 {
        let spare = self.spares.iter().map(|spare| spare.len).max().unwrap_or(0);
        spare.max(self.active.allocated.saturating_sub(self.active.offset))
    }

    /// Takes the files that hold no entry above `index` out of the log, never the one that begins at or before it last;
    /// returns them from the oldest on. Some are kept for use again, the others removed. A member may then open the log
    /// from `index` or above.
    pub fn release(&mut self, index: u64) -> Result<Vec<PathBuf>, Error> {
        self.check()?;
        let keep_from = self.files.iter().rposition(|file| file.first_index <= index).unwrap_or(0);
        let released: Vec<FileName> = self.files.drain(..keep_from).collect();
        let done = self.give_away(&released);
        self.settle(done)?;
        Ok(released.iter().map(|name| self.dir.path().join(name.to_string())).collect())
    }

    /// Keeps files of the log for use again, or removes them. An error is final: some may be gone.
    fn give_away(&mut self, released: &[FileName]) -> Result<(), Error> {
        let mut spares = Vec::new();
        for name in released {
            let path = self.dir.path().join(name.to_string());
            if self.spares.len() + spares.len() < SPARES_MAX {
                let spare = self.dir.path().join(name.of_spare());
                self.disk.rename(&path, &spare).map_err(Error::fatal("rename", &path))?;
                spares.push(spare);
            } else {
                self.disk.remove(&path).map_err(Error::fatal("remove", &path))?;
            }
        }
        if !released.is_empty() {
            self.dir.sync()?;
        }
        // Not before its new name is durable: a crash must not find new content under the old one.
        for spare in spares {
            match spare_file::reopen(&*self.disk, spare) {
                Ok(spare) => self.spares.push(spare),
                // It is found again when the log is opened next.
                Err(error) if error.may_be_retried() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes the files that wait for their next use, but for the longest, whose room may be promised already.
    pub fn remove_spares(&mut self) -> Result<(), Error> {
        self.check()?;
        self.spares.sort_by_key(|spare| Reverse(spare.len));
        let surplus = self.spares.split_off(1.min(self.spares.len()));
        let removed = surplus
            .iter()
            .try_for_each(|spare| self.disk.remove(&spare.path).map_err(Error::fatal("remove", &spare.path)));
        self.settle(removed)
    }

    fn assert_history(&self, entries: &[Entry], hard_state: Option<&HardState>) {
        let HardState { term, commit, .. } = self.hard_state;
        if let Some(first) = entries.first() {
            assert!(first.index <= self.last_index + 1, "entry {} leaves a gap", first.index);
            assert!(first.index > commit, "entry {} replaces a committed one", first.index);
        }
        if let Some(state) = hard_state {
            assert!(state.term >= term && state.commit >= commit, "{state:?} goes back");
            let last_index = entries.last().map_or(self.last_index, |entry| entry.index);
            assert!(state.commit <= last_index, "{state:?} commits what is not in the log");
        }
    }

    /// Writes the records that `push` appends to the buffer; it may be called twice. A full file is ended before, not
    /// after, so that a full disk changes nothing. A batch that does not fit overshoots, as in etcd, unless the disk
    /// has no room for that: then a spare file takes it.
    fn write(&mut self, is_sync_next: bool, push: impl Fn(&mut Vec<u8>, &mut u32)) -> Result<(), Error> {
        self.check()?;
        if self.active.offset >= self.file_bytes {
            self.cut()?;
        }
        match self.write_to_active(is_sync_next, &push) {
            Err(Error::NoSpace { .. }) if !self.spares.is_empty() => {
                self.cut()?;
                self.write_to_active(is_sync_next, &push)
            }
            written => written,
        }
    }

    fn write_to_active(
        &mut self,
        is_sync_next: bool,
        push: &impl Fn(&mut Vec<u8>, &mut u32),
    ) -> Result<(), Error> {
        let (mut chain, start) = (self.chain, self.active.offset);
        self.buffer.clear();
        let is_mark_due = self.has_unmarked && !self.has_unsynced;
        if is_mark_due {
            push_sync_mark(&mut self.buffer, &mut chain);
        }
        push(&mut self.buffer, &mut chain);
        let written = self.active.write(&mut self.buffer, is_sync_next);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.settle(written)?;
        self.written_bytes += self.active.offset - start;
        self.chain = chain;
        self.has_unmarked &= !is_mark_due;
        self.has_unsynced = true;
        Ok(())
    }

    /// Ends the current file and begins the next. The old file is cut to its records and durable before the new one
    /// has its name, so that a log always reads without a gap.
    fn cut(&mut self) -> Result<(), Error> {
        let next = match self.spares.pop() {
            Some(next) => next,
            None => PrepareFile::hurried(Arc::clone(&self.disk), self.dir.path(), self.file_bytes).run()?,
        };
        let begun = self.begin_file(next);
        self.settle(begun)
    }

    fn begin_file(&mut self, next: SpareFile) -> Result<(), Error> {
        let mut chain = self.chain;
        self.buffer.clear();
        push_head(&mut self.buffer, &mut chain, self.metadata);
        if self.hard_state != HardState::default() {
            push_record(&mut self.buffer, &mut chain, Kind::State, [&self.hard_state.encode_to_vec(), &[]]);
        }
        let mut next = ActiveFile::start(next);
        next.write(&mut self.buffer, false)?;
        next.sync()?;

        let last = self.files.last().expect("a log has a file");
        let name = FileName { seq: last.seq + 1, first_index: self.last_index + 1 };
        let path = self.dir.path().join(name.to_string());
        let renamed = self
            .active
            .seal()
            .and_then(|()| self.disk.rename(&next.path, &path).map_err(Error::io("rename", &next.path)));
        if let Err(error) = renamed {
            // Nothing has changed but that the current file may end at its last record.
            self.spares.push(next.into_spare());
            return Err(error);
        }
        // From here on a failure is final, whatever it is: it is unknown which name a loss of power would leave.
        self.dir.sync()?;

        next.path = path;
        self.active = next;
        self.files.push(name);
        self.chain = chain;
        self.has_unsynced = false;
        self.has_unmarked = false;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.failed { Err(Error::Failed { path: self.dir.path().to_path_buf() }) } else { Ok(()) }
    }

    /// Remembers a failure after which the log must not be used.
    fn settle(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.failed |= result.as_ref().is_err_and(|error| !error.may_be_retried());
        result
    }
}

impl Metadata {
    fn encode(self) -> Vec<u8> {
        etcdserverpb::Metadata { node_id: self.member_id, cluster_id: self.cluster_id }.encode_to_vec()
    }

    fn decode(data: &[u8]) -> Option<Metadata> {
        let message = etcdserverpb::Metadata::decode(data).ok()?;
        Some(Metadata { member_id: message.node_id, cluster_id: message.cluster_id })
    }
}

/// Opens the directory of a log that exists, and makes durable its name and those of its files: a process may have been
/// killed between renaming a file and syncing the directory. What is appended from now on must not be lost with that name.
fn open_directory(disk: &dyn Disk, dir: &Path) -> Result<Directory, Error> {
    let directory = Directory::open(disk, dir)?;
    let is_sync_skipped = crate::seeded_bug!("wal-names-not-synced-at-start");
    if !is_sync_skipped {
        directory.sync()?;
        directory::sync_name(disk, dir)?;
    }
    Ok(directory)
}

/// Makes the first file of a new log. It gets its name when it is whole, so that a log that is found can be opened.
fn create_first_file(disk: &dyn Disk, dir: &Path, metadata: Metadata, file_bytes: u64) -> Result<(), Error> {
    let (mut buffer, mut chain) = (Vec::new(), 0);
    push_head(&mut buffer, &mut chain, metadata);
    push_record(&mut buffer, &mut chain, Kind::Snapshot, [&[], &[]]);

    let staged = dir.join(spare_file::PREPARED_NAME);
    let file = spare_file::create(disk, &staged, file_bytes)?;
    file.write_at(0, &buffer).map_err(Error::io("write", &staged))?;
    file.sync().map_err(Error::io("sync", &staged))?;
    let path = dir.join(FileName { seq: 0, first_index: 0 }.to_string());
    disk.rename(&staged, &path).map_err(Error::io("rename", &staged))
}

/// Opens the files that an earlier life of the log released and did not use; those it cannot use are removed.
fn open_spares(disk: &dyn Disk, dir: &Path, file_bytes: u64) -> Result<Vec<SpareFile>, Error> {
    let mut spares = Vec::new();
    for name in file_name::list_spares(disk, dir)? {
        let spare = spare_file::reopen(disk, dir.join(name))?;
        if spare.len >= file_bytes && spares.len() < SPARES_MAX {
            spares.push(spare);
        } else {
            disk.remove(&spare.path).map_err(Error::io("remove", &spare.path))?;
        }
    }
    Ok(spares)
}

/// The records that begin each file: the chain so far, and whose log it is.
fn push_head(buffer: &mut Vec<u8>, chain: &mut u32, metadata: Metadata) {
    push_record(buffer, chain, Kind::Crc, [&[], &[]]);
    push_record(buffer, chain, Kind::Metadata, [&metadata.encode(), &[]]);
}

/// The record that proves everything before it in the file to have been durable when it was written. Readers take it for
/// a repetition of the checksum so far, as etcd does.
fn push_sync_mark(buffer: &mut Vec<u8>, chain: &mut u32) {
    push_record(buffer, chain, Kind::Crc, [&[], &[]]);
}

#[cfg(test)]
mod tests;
