//! Records from bytes: the reading half of the log's format, which tells a torn tail from damage.
//!
//! A write that was cut short by a loss of power leaves at least one 512-byte sector of the record zero, since records are
//! written over durable zeros and a disk writes sectors whole. Everything else that does not decode is damage: bytes that
//! were once durable have changed. Three rules are stricter than etcd's, which takes these for a torn tail and drops what
//! follows: an intact record behind a wrong length is damage, and so is an end of the log in the middle of a written
//! sector, and so is a bad record that a *sync mark* follows.
//!
//! A sync mark is a checksum record in the middle of a file. The writer begins with one the first batch after a sync, so
//! what lies before it was durable.

use std::borrow::Cow;

use prost::encoding::decode_varint;

use super::encode::{Kind, LENGTH_BYTES, RECORD_CRC, RECORD_DATA, RECORD_TYPE, length_word, padding};

/// What a disk writes all or nothing, in bytes.
pub(super) const SECTOR_BYTES: usize = 512;

/// One record, borrowed from the file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    crc: u32,
    pub(super) data: &'a [u8],
}

/// Why no record could be read at the reader's offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A write that never finished: nothing behind it was ever durable.
    Torn,
    /// What was durable has changed; says what should stand there.
    Damaged(Cow<'static, str>),
}

/// Walks the records of one file.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    chain: u32,
}

impl<'a> Reader<'a> {
    /// Reads the file's first record, which starts the chain of checksums. `chain` is where the file before left it,
    /// or `None` if that file was not read.
    pub(super) fn new(bytes: &'a [u8], chain: Option<u32>) -> Result<Reader<'a>, Flaw> {
        let damaged = || Flaw::Damaged("the checksum record that begins a log file".into());
        let len = bytes.first_chunk().map(|word| u64::from_le_bytes(*word)).and_then(record_len);
        let frame =
            len.and_then(|len| bytes.get(..LENGTH_BYTES + len + padding(len)).map(|frame| (frame, len)));
        let (frame, len) = frame.ok_or_else(damaged)?;
        let body = &frame[LENGTH_BYTES..LENGTH_BYTES + len];
        match parse(body) {
            Some((Record { kind: Kind::Crc, crc, data: [] }, len)) if len == body.len() => {
                if chain.is_some_and(|chain| chain != crc) {
                    return Err(Flaw::Damaged("the checksum at which the file before ends".into()));
                }
                Ok(Reader { bytes, offset: frame.len(), chain: crc })
            }
            _ => Err(damaged()),
        }
    }

    /// Where the next record starts: after an error the offset of what is wrong, after the last record the end.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The checksum over all records read so far.
    pub(super) fn chain(&self) -> u32 {
        self.chain
    }

    /// The next record, or `None` at the end of the log.
    pub(super) fn next(&mut self) -> Result<Option<Record<'a>>, Flaw> {
        let rest = &self.bytes[self.offset..];
        let Some(word) = rest.first_chunk().map(|word| u64::from_le_bytes(*word)) else {
            return if is_zero(rest) { Ok(None) } else { Err(Flaw::Torn) };
        };
        if word == 0 {
            return self.end();
        }
        let len = record_len(word).ok_or(Flaw::Damaged("the length of a record".into()))?;
        let frame_len = LENGTH_BYTES + len + padding(len);
        let body = rest.get(..frame_len).map(|frame| &frame[LENGTH_BYTES..LENGTH_BYTES + len]);
        match body.and_then(|body| self.check(body)) {
            Some((record, used)) if used == len => {
                self.chain = record.crc;
                self.offset += frame_len;
                Ok(Some(record))
            }
            _ => Err(self.judge(len, frame_len)),
        }
    }

    /// The log ends at a length of zero. Had a later record been written, the rest of this sector would not be zero.
    fn end(&self) -> Result<Option<Record<'a>>, Flaw> {
        let sector_end = self.bytes.len().min((self.offset / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if is_zero(&self.bytes[self.offset..sector_end]) {
            Ok(None)
        } else {
            Err(Flaw::Damaged("the length of a record, or zeros after the last one".into()))
        }
    }

    /// The record at the head of `bytes` and its length, if its checksum continues the chain.
    fn check(&self, bytes: &'a [u8]) -> Option<(Record<'a>, usize)> {
        parse(bytes).filter(|(record, _)| record.crc == crc32c::crc32c_append(self.chain, record.data))
    }

    /// Why the record of `len` bytes at the offset is not good.
    fn judge(&self, len: usize, frame_len: usize) -> Flaw {
        let rest = &self.bytes[self.offset..];
        if self.check(&rest[LENGTH_BYTES..]).is_some_and(|(_, used)| used != len) {
            return Flaw::Damaged("the length of the intact record behind it".into());
        }
        let looks_torn = rest.len() < frame_len || self.has_zero_sector(self.offset + frame_len);
        if crate::seeded_bug!("damage-taken-for-torn-end") || looks_torn && !self.is_sync_mark_behind() {
            return Flaw::Torn;
        }
        Flaw::Damaged(format!("a record whose checksum continues {:08x}", self.chain).into())
    }

    /// Whether a sync mark follows the record at the offset, which is not good: then the record was durable.
    ///
    /// Goes from length to length. In a batch that was never synced each is as written or zero, so that this ends with
    /// the batch, which holds no mark but at its beginning; and it never looks for one within the data of a record,
    /// which clients choose.
    fn is_sync_mark_behind(&self) -> bool {
        let mut frames = Frames { bytes: self.bytes, offset: self.offset };
        let is_sync_mark = |body: &[u8]| {
            parse(body).is_some_and(|(record, used)| record.kind == Kind::Crc && used == body.len())
        };
        frames.next();
        frames.any(is_sync_mark)
    }

    /// Whether some sector's share of the record up to `end` is all zero.
    fn has_zero_sector(&self, end: usize) -> bool {
        let mut start = self.offset;
        while start < end {
            let sector_end = end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
            if is_zero(&self.bytes[start..sector_end]) {
                return true;
            }
            start = sector_end;
        }
        false
    }
}

/// The records of a file by their lengths alone, unverified.
struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.offset..)?;
        let len = record_len(u64::from_le_bytes(*rest.first_chunk()?))?;
        let frame = rest.get(..LENGTH_BYTES + len + padding(len))?;
        self.offset += frame.len();
        Some(&frame[LENGTH_BYTES..LENGTH_BYTES + len])
    }
}

/// The record length in a length word, if the word is one that a writer makes.
fn record_len(word: u64) -> Option<usize> {
    let len = (word & 0x00ff_ffff_ffff_ffff) as usize;
    (len > 0 && length_word(len) == word).then_some(len)
}

/// Reads the message at the head of `bytes`; no field may be missing, doubled or unknown. Returns its length too.
fn parse(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let mut rest = bytes;
    let kind = match field(&mut rest, RECORD_TYPE)? {
        1 => Kind::Metadata,
        2 => Kind::Entry,
        3 => Kind::State,
        4 => Kind::Crc,
        5 => Kind::Snapshot,
        _ => return None,
    };
    let crc = u32::try_from(field(&mut rest, RECORD_CRC)?).ok()?;
    let mut data: &[u8] = &[];
    if kind != Kind::Crc && rest.first() == Some(&RECORD_DATA) {
        let len = usize::try_from(field(&mut rest, RECORD_DATA)?).ok()?;
        (data, rest) = rest.split_at_checked(len)?;
    }
    Some((Record { kind, crc, data }, bytes.len() - rest.len()))
}

/// Takes `key` and the varint behind it off `rest`.
fn field(rest: &mut &[u8], key: u8) -> Option<u64> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    if *first == key { decode_varint(rest).ok() } else { None }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::super::encode::push_record;
    use super::*;

    /// A file of a head and one record with each of `data`, zero-filled to 4096 bytes.
    fn file(data: &[&[u8]]) -> Vec<u8> {
        let (mut bytes, mut chain) = (Vec::new(), 0);
        push_record(&mut bytes, &mut chain, Kind::Crc, [&[], &[]]);
        for data in data {
            push_record(&mut bytes, &mut chain, Kind::Entry, [data, &[]]);
        }
        bytes.resize(4096, 0);
        bytes
    }

    /// What a reader makes of `bytes`: the data it read and how it ended.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<usize, Flaw>) {
        let mut reader = Reader::new(bytes, Some(0)).unwrap();
        let mut data = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(record)) => data.push(record.data.to_vec()),
                Ok(None) => return (data, Ok(reader.offset())),
                Err(flaw) => return (data, Err(flaw)),
            }
        }
    }

    #[test]
    fn a_first_record_whose_padding_is_cut_off_is_damage() {
        let mut bytes = file(&[]);
        bytes.truncate(12);
        bytes[..8].copy_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0x84]);
        bytes[8..].copy_from_slice(&[8, 4, 0x10, 0]);
        assert!(matches!(Reader::new(&bytes, None), Err(Flaw::Damaged(_))));
    }

    #[test]
    fn records_are_read_up_to_the_zeros() {
        let bytes = file(&[b"one", &[7; 600], b""]);
        let (data, end) = read(&bytes);
        assert_eq!(data, [b"one".to_vec(), vec![7; 600], vec![]]);
        assert_eq!(end, Ok(bytes.iter().rposition(|&byte| byte != 0).unwrap() / 8 * 8 + 8));
    }

    #[test]
    fn a_zero_sector_within_a_record_is_a_torn_end() {
        let mut bytes = file(&[b"kept", &[7; 2000]]);
        bytes[1024..1536].fill(0);
        assert_eq!(read(&bytes), (vec![b"kept".to_vec()], Err(Flaw::Torn)));
    }

    #[test]
    fn a_record_that_reaches_past_the_file_is_a_torn_end() {
        let bytes = file(&[b"kept", &[7; 2000]]);
        assert_eq!(read(&bytes[..1999]), (vec![b"kept".to_vec()], Err(Flaw::Torn)));
    }

    #[test]
    fn a_changed_byte_is_damage() {
        let mut bytes = file(&[b"kept", &[7; 2000]]);
        bytes[1000] ^= 1;
        assert!(matches!(read(&bytes), (data, Err(Flaw::Damaged(_))) if data.len() == 1));
    }

    #[test]
    fn a_changed_length_is_damage_even_if_it_reaches_into_the_zeros() {
        for bit in 0..56 {
            let mut bytes = file(&[b"kept", &[7; 2000]]);
            let second = read(&file(&[b"kept"])).1.unwrap();
            bytes[second + bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&bytes), (_, Err(Flaw::Damaged(_)))), "bit {bit}");
        }
    }

    #[test]
    fn a_record_that_looks_torn_is_damage_if_a_sync_mark_follows() {
        for (is_marked, lost) in
            [(false, 512..1024), (true, 512..1024), (false, 1500..1501), (true, 1500..1501)]
        {
            let (mut bytes, mut chain) = (Vec::new(), 0);
            push_record(&mut bytes, &mut chain, Kind::Crc, [&[], &[]]);
            let mut zeros = vec![0; 2000];
            zeros[600] = 7;
            push_record(&mut bytes, &mut chain, Kind::Entry, [&zeros, &[]]);
            push_record(&mut bytes, &mut chain, Kind::Entry, [b"in the same batch", &[]]);
            if is_marked {
                push_record(&mut bytes, &mut chain, Kind::Crc, [&[], &[]]);
            }
            push_record(&mut bytes, &mut chain, Kind::Entry, [b"last", &[]]);
            bytes.resize(4096, 0);
            let n_read = read(&bytes).0.len();
            assert_eq!(n_read, if is_marked { 4 } else { 3 }, "the mark reads as a record without data");
            let filler = if lost.len() == 1 { 1 } else { 0 };
            bytes[lost.clone()].fill(filler);
            match read(&bytes).1 {
                Err(Flaw::Torn) => assert!(!is_marked, "{lost:?}"),
                Err(Flaw::Damaged(_)) => assert!(is_marked, "{lost:?}"),
                Ok(_) => panic!("{lost:?} goes unnoticed"),
            }
        }
    }

    #[test]
    fn an_end_within_a_written_sector_is_damage() {
        let mut bytes = file(&[b"kept", b"lost"]);
        let second = read(&file(&[b"kept"])).1.unwrap();
        bytes[second..second + 8].fill(0);
        assert!(matches!(read(&bytes), (_, Err(Flaw::Damaged(_)))));
    }

    #[test]
    fn a_file_that_does_not_continue_the_chain_is_damage() {
        assert!(matches!(Reader::new(&file(&[]), Some(1)), Err(Flaw::Damaged(_))));
        assert!(Reader::new(&file(&[]), None).is_ok());
        assert!(matches!(Reader::new(&[0; 512], None), Err(Flaw::Damaged(_))));
    }
}
