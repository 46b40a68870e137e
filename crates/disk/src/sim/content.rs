//! The bytes of one simulated file: what a reader sees now, and what a crash would leave of it.
//!
//! Unsynced writes reach the medium sector by sector, in any order of sectors; within one sector later writes never
//! overtake earlier ones, as in a page cache. Blocks of zeros are not stored, so a zero-filled file costs nothing.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::random::{SplitMix64, Survival, mix};

/// What a disk writes all or nothing, in bytes.
pub(super) const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: u64 = 4096;

/// A file, shared by its name and its open handles.
pub(super) type SharedContent = Arc<Mutex<Content>>;

/// One file and the faults planted in it.
#[derive(Debug, Default)]
pub(super) struct Content {
    seen: Image,
    durable: Image,
    unsynced: Vec<Change>,
    /// Every sync from now on fails, until the next crash.
    pub(super) sync_fails: bool,
    /// Reads that touch one of these fail.
    pub(super) unreadable: Vec<Range<u64>>,
    /// The next write lands there instead.
    pub(super) misdirect: Option<(SharedContent, u64)>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    Zeros { offset: u64, len: u64 },
    Len(u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.seen.len
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        if self.unreadable.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(io::Error::other("simulated read error"));
        }
        if end > self.seen.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.seen.read(offset, buf);
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.seen.write(offset, data);
        self.unsynced.push(if is_zero(data) {
            Change::Zeros { offset, len: data.len() as u64 }
        } else {
            Change::Write { offset, data: data.to_vec() }
        });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.seen.set_len(len);
        self.unsynced.push(Change::Len(len));
    }

    /// Everything written so far outlives a crash.
    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// Leaves what the medium holds after a loss of power; it is what a reader sees from then on.
    pub(super) fn crash(&mut self, random: &mut SplitMix64) {
        match Survival::draw(random) {
            Survival::Everything => self.sync(),
            Survival::Nothing => {}
            Survival::Some => self.keep_some(random),
        }
        self.unsynced.clear();
        self.sync_fails = false;
        self.seen = self.durable.clone();
    }

    /// Changes the medium itself.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        for image in [&mut self.seen, &mut self.durable] {
            let mut byte = [0];
            image.read(offset, &mut byte);
            if offset < image.len {
                image.write(offset, &[byte[0] ^ (1 << bit)]);
            }
        }
    }

    /// Each sector has a moment, counted in changes, at which it was last written back.
    fn keep_some(&mut self, random: &mut SplitMix64) {
        let changes = std::mem::take(&mut self.unsynced);
        let (salt, moments) = (random.next_u64(), changes.len() as u64 + 1);
        let moment_of = |sector: u64| mix(salt ^ sector) % moments;
        for (i, change) in (0..).zip(&changes) {
            match change {
                Change::Len(_) if random.coin() => self.durable.apply(change),
                Change::Len(_) => {}
                Change::Write { offset, data } => {
                    for piece in sectors(*offset, data.len() as u64) {
                        if i < moment_of(piece.start / SECTOR_BYTES) {
                            let from = (piece.start - offset) as usize;
                            let to = (piece.end - offset) as usize;
                            self.durable.write(piece.start, &data[from..to]);
                        }
                    }
                }
                Change::Zeros { offset, len } => {
                    for piece in sectors(*offset, *len) {
                        if i < moment_of(piece.start / SECTOR_BYTES) {
                            self.durable.zero(piece.start, piece.end - piece.start);
                        }
                    }
                }
            }
        }
    }
}

/// The contents at one moment.
#[derive(Debug, Clone, Default)]
struct Image {
    len: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK_BYTES as usize]>>,
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, data } => self.write(*offset, data),
            Change::Zeros { offset, len } => self.zero(*offset, *len),
            Change::Len(len) => self.set_len(*len),
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut at = 0;
        for piece in pieces(offset, buf.len() as u64, BLOCK_BYTES) {
            let n = (piece.end - piece.start) as usize;
            let within = (piece.start % BLOCK_BYTES) as usize;
            match self.blocks.get(&(piece.start / BLOCK_BYTES)) {
                Some(block) => buf[at..at + n].copy_from_slice(&block[within..within + n]),
                None => buf[at..at + n].fill(0),
            }
            at += n;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut rest = data;
        for piece in pieces(offset, data.len() as u64, BLOCK_BYTES) {
            let (head, tail) = rest.split_at((piece.end - piece.start) as usize);
            rest = tail;
            if is_zero(head) {
                self.zero(piece.start, head.len() as u64);
                continue;
            }
            let within = (piece.start % BLOCK_BYTES) as usize;
            let block = self
                .blocks
                .entry(piece.start / BLOCK_BYTES)
                .or_insert_with(|| Arc::new([0; BLOCK_BYTES as usize]));
            Arc::make_mut(block)[within..within + head.len()].copy_from_slice(head);
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    fn zero(&mut self, offset: u64, len: u64) {
        for piece in pieces(offset, len, BLOCK_BYTES) {
            let number = piece.start / BLOCK_BYTES;
            if piece.end - piece.start == BLOCK_BYTES {
                self.blocks.remove(&number);
            } else if let Some(block) = self.blocks.get_mut(&number) {
                let within = (piece.start % BLOCK_BYTES) as usize;
                Arc::make_mut(block)[within..within + (piece.end - piece.start) as usize].fill(0);
            }
        }
        self.len = self.len.max(offset + len);
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, self.len - len);
        }
        self.len = len;
    }
}

fn sectors(offset: u64, len: u64) -> impl Iterator<Item = Range<u64>> {
    pieces(offset, len, SECTOR_BYTES)
}

/// Cuts `len` bytes at `offset` at every multiple of `unit`.
fn pieces(offset: u64, len: u64, unit: u64) -> impl Iterator<Item = Range<u64>> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        let start = at;
        at = end.min((start / unit + 1) * unit);
        (start < end).then_some(start..at)
    })
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(content: &Content) -> Vec<u8> {
        let mut bytes = vec![0; content.len() as usize];
        content.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn synced_bytes_outlive_every_crash() {
        for seed in 0..50 {
            let mut content = Content::default();
            content.write(3, b"kept");
            content.sync();
            content.write(4096, b"maybe");
            content.crash(&mut SplitMix64::new(seed));
            assert_eq!(&bytes_of(&content)[..7], b"\0\0\0kept", "seed {seed}");
        }
    }

    #[test]
    fn a_torn_write_is_torn_at_sectors() {
        let mut torn = 0;
        for seed in 0..100 {
            let mut content = Content::default();
            content.write(0, &[0; 4096]);
            content.sync();
            content.write(100, &[7; 2000]);
            content.crash(&mut SplitMix64::new(seed));
            let bytes = bytes_of(&content);
            let written = |sector: Range<usize>| bytes[sector].iter().filter(|&&byte| byte == 7).count();
            let kept = [100..512, 512..1024, 1024..1536, 1536..2048, 2048..2100].map(|sector| {
                let n = written(sector.clone());
                assert!(n == 0 || n == sector.len(), "seed {seed}: half of {sector:?}");
                n > 0
            });
            torn += u32::from(kept.contains(&true) && kept.contains(&false));
        }
        assert!(torn > 20, "only {torn} crashes tore the write");
    }

    #[test]
    fn later_writes_never_overtake_earlier_ones_within_a_sector() {
        for seed in 0..100 {
            let mut content = Content::default();
            content.write(0, b"first");
            content.write(5, b"second");
            content.crash(&mut SplitMix64::new(seed));
            let bytes = bytes_of(&content);
            assert!(b"firstsecond".starts_with(&bytes), "seed {seed}: {bytes:?}");
        }
    }

    #[test]
    fn cutting_a_file_zeroes_what_it_held() {
        let mut content = Content::default();
        content.write(0, &[9; 5000]);
        content.set_len(10);
        content.set_len(20);
        assert_eq!(bytes_of(&content), [[9; 10], [0; 10]].concat());
    }
}
