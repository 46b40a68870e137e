//! What is to be written to the socket: small pieces copied together, big ones shared.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// From this length on a piece is shared instead of copied: cheaper than copying it twice.
const SHARE_LEN_MIN: usize = 4096;

/// An empty buffer keeps at most this much memory, in bytes, so that idle connections stay cheap.
const IDLE_CAPACITY_MAX: usize = 16 << 10;

/// Written bytes at the front of the buffer that are worth moving the rest for.
const COMPACT_LEN: usize = 64 << 10;

/// Bytes in the order they go on the wire.
#[derive(Debug, Default)]
pub struct Output {
    /// The small pieces.
    copied: Vec<u8>,
    /// How much of the front of `copied` is written.
    written_len: usize,
    /// The big pieces, each with the position in `copied` before which it is sent.
    shared: VecDeque<(usize, Bytes)>,
    /// Unwritten bytes of `shared`.
    shared_len: usize,
}

impl Output {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.shared_len + self.copied.len() - self.written_len
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `slices` from the front with what is to be written next; returns how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut copied_from = self.written_len;
        let until_last = self.shared.iter().flat_map(|(at, piece)| {
            let from = std::mem::replace(&mut copied_from, *at);
            [&self.copied[from..*at], &piece[..]]
        });
        let last_at = self.shared.back().map_or(self.written_len, |(at, _)| *at);
        let chunks = until_last.chain([&self.copied[last_at..]]).filter(|chunk| !chunk.is_empty());
        let pairs = slices.iter_mut().zip(chunks);
        pairs.map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    /// Takes `len` bytes off the front: they are written.
    pub fn advance(&mut self, mut len: usize) {
        while let Some((at, piece)) = self.shared.front_mut() {
            let copied = len.min(*at - self.written_len);
            let shared = (len - copied).min(piece.len());
            self.written_len += copied;
            self.shared_len -= shared;
            piece.advance(shared);
            len -= copied + shared;
            if !piece.is_empty() {
                return self.compact();
            }
            self.shared.pop_front();
        }
        self.written_len += len;
        assert!(self.written_len <= self.copied.len(), "only what was there is written");
        self.compact();
    }

    /// Where to append small pieces.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends a piece, by copy if it is small.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_LEN_MIN {
            return self.copied.extend_from_slice(bytes);
        }
        self.shared.push_back((self.copied.len(), bytes.clone()));
        self.shared_len += bytes.len();
    }

    /// Gives back the room of what is written.
    fn compact(&mut self) {
        if self.is_empty() {
            self.copied.clear();
            self.copied.shrink_to(IDLE_CAPACITY_MAX);
            self.written_len = 0;
        } else if self.written_len >= COMPACT_LEN {
            self.copied.drain(..self.written_len);
            self.shared.iter_mut().for_each(|(at, _)| *at -= self.written_len);
            self.written_len = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything in steps of `step` bytes through at most two slices.
    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]), IoSlice::new(&[])];
            let n = output.slices(&mut slices);
            let mut bytes: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!bytes.is_empty());
            bytes.truncate(step);
            output.advance(bytes.len());
            written.extend(bytes);
        }
        written
    }

    #[test]
    fn order_survives_any_step() {
        for step in [1, 7, 4096, 4097, 1 << 20] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (number, len) in
                [5, SHARE_LEN_MIN, 0, 3, SHARE_LEN_MIN + 1, SHARE_LEN_MIN, 9].into_iter().enumerate()
            {
                let piece = vec![number as u8; len];
                output.push(&piece.clone().into());
                expected.extend(piece);
            }
            assert_eq!(output.len(), expected.len());
            assert_eq!(drain(&mut output, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn big_piece_is_shared() {
        let mut output = Output::default();
        let big = Bytes::from(vec![1; SHARE_LEN_MIN]);
        output.push(&big);
        let mut slices = [IoSlice::new(&[])];
        assert_eq!(output.slices(&mut slices), 1);
        assert_eq!(slices[0].as_ptr(), big.as_ptr());
    }

    #[test]
    fn piece_after_a_part_was_written_keeps_the_order() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"abc");
        output.advance(2);
        output.push(&Bytes::from(vec![b'x'; SHARE_LEN_MIN]));
        assert_eq!(output.len(), 1 + SHARE_LEN_MIN);
        assert_eq!(drain(&mut output, 1 << 20)[..2], *b"cx");
    }

    #[test]
    fn written_bytes_do_not_pile_up() {
        let mut output = Output::default();
        for _ in 0..1000 {
            output.buffer().extend_from_slice(&[0; 1000]);
            output.advance(999);
        }
        assert!(output.copied.len() <= COMPACT_LEN + 2000);
        assert_eq!(output.len(), 1000);
    }

    #[test]
    fn order_survives_the_room_of_written_bytes_being_given_back() {
        let mut output = Output::default();
        let (mut expected, mut written) = (Vec::new(), Vec::new());
        for number in 0..100 {
            let small = [number; 1000];
            let big = Bytes::from(vec![!number; SHARE_LEN_MIN]);
            output.buffer().extend_from_slice(&small);
            output.push(&big);
            expected.extend(small.iter().chain(&big));
            let mut slices = [IoSlice::new(&[])];
            output.slices(&mut slices);
            let first = slices[0].to_vec();
            output.advance(first.len());
            written.extend(first);
        }
        written.extend(drain(&mut output, 4096));
        assert_eq!(written, expected);
    }
}
