//! The trace of a run: a hash of all events, and the last of them as lines of text.
//!
//! Two runs of one plan must have the same hash. A failure is reported with the lines that led to it.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// Lines kept for a failure.
const LINES_KEPT: usize = 60;
/// Parameters of the 64-bit FNV-1a hash (Fowler, Noll & Vo).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Whether anything is written at all: text takes most of the time of a run.
    is_on: bool,
    hash: u64,
    lines: VecDeque<String>,
    written: u64,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace { is_on: true, hash: FNV_OFFSET, lines: VecDeque::new(), written: 0 }
    }

    /// A trace that stays empty.
    pub(crate) fn off() -> Trace {
        Trace { is_on: false, ..Trace::new() }
    }

    /// Adds a line.
    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        if !self.is_on {
            return;
        }
        // Reuse the memory of the oldest line.
        let full = self.lines.len() == LINES_KEPT;
        let mut line = if full { self.lines.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        write!(line, "{what}").expect("a String takes any text");
        self.add(line.as_bytes());
        self.lines.push_back(line);
        self.written += 1;
    }

    /// Adds bytes to the hash that are of no use to a reader.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines, oldest first, each with its number.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let first = self.written - self.lines.len() as u64;
        (first..).zip(&self.lines).map(|(number, line)| format!("{number:>6}  {line}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_covers_lines_that_are_forgotten() {
        let (mut a, mut b) = (Trace::new(), Trace::new());
        a.note(format_args!("first"));
        b.note(format_args!("another"));
        for n in 0..LINES_KEPT {
            a.note(format_args!("{n}"));
            b.note(format_args!("{n}"));
        }
        assert_ne!(a.hash(), b.hash());
        assert_eq!(a.last_lines(), b.last_lines());
        assert_eq!(a.last_lines().len(), LINES_KEPT);
    }
}
