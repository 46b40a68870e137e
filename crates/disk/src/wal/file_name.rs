//! The names of log files: which file is which, and where reading starts.

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::files::Disk;

/// `%016x-%016x.wal`: sequence number, and the index of the first entry written after the file was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    pub(super) seq: u64,
    pub(super) first_index: u64,
}

impl FileName {
    /// Name of the same file once it was released and waits for its next use.
    pub(super) fn of_spare(self) -> String {
        self.to_string().replace(".wal", ".tmp")
    }

    fn parse(name: &str) -> Option<FileName> {
        let (seq, first_index) = name.strip_suffix(".wal")?.split_once('-')?;
        let parsed = FileName {
            seq: u64::from_str_radix(seq, 16).ok()?,
            first_index: u64::from_str_radix(first_index, 16).ok()?,
        };
        // Only the exact form, so that no two names mean the same file.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.seq, self.first_index)
    }
}

/// The log files in `dir` from the oldest to the newest; other names are ignored.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<FileName>, Error> {
    let names = disk.list(dir).map_err(Error::io("list", dir))?;
    let mut files: Vec<FileName> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    files.sort_unstable();
    Ok(files)
}

/// Names of released files in `dir`; see [`FileName::of_spare`].
pub(super) fn list_spares(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = disk.list(dir).map_err(Error::io("list", dir))?;
    names.retain(|name| {
        FileName::parse(&name.replace(".tmp", ".wal")).is_some_and(|file| file.of_spare() == *name)
    });
    Ok(names)
}

/// Position of the file where reading for entries above `from_index` starts: the last one whose first index is at
/// most `from_index`. The checkpoint's own record cannot stand in an earlier file. From there on no sequence number
/// may be missing.
pub(super) fn start(dir: &Path, files: &[FileName], from_index: u64) -> Result<usize, Error> {
    let missing = |expected| Error::Missing { dir: dir.to_path_buf(), expected };
    let Some(start) = files.iter().rposition(|file| file.first_index <= from_index) else {
        return Err(missing(match files.first() {
            Some(oldest) => {
                format!("a log file that begins at index {from_index} or before; the oldest is {oldest}")
            }
            None => "any log file".to_owned(),
        }));
    };
    match files[start..].windows(2).find(|pair| pair[1].seq - pair[0].seq != 1) {
        Some(pair) => Err(missing(format!(
            "the log file {:016x}-*.wal, which follows {}",
            pair[0].seq.wrapping_add(1),
            pair[0]
        ))),
        None => Ok(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[(u64, u64)]) -> Vec<FileName> {
        names.iter().map(|&(seq, first_index)| FileName { seq, first_index }).collect()
    }

    fn start_of(names: &[(u64, u64)], from_index: u64) -> Result<usize, String> {
        start(Path::new("/wal"), &files(names), from_index).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_round_trips_and_no_other_form_is_taken() {
        let name = "000000000000000a-00000000000003e8.wal";
        assert_eq!(FileName::parse(name), Some(FileName { seq: 10, first_index: 1000 }));
        assert_eq!(FileName { seq: 10, first_index: 1000 }.to_string(), name);
        let spare = FileName { seq: 10, first_index: 1000 }.of_spare();
        assert_eq!(spare, "000000000000000a-00000000000003e8.tmp");
        for other in
            [&spare, "a-3e8.wal", "000000000000000A-00000000000003e8.wal", "0.tmp", &format!("{name}.broken")]
        {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn reading_starts_at_the_last_file_that_begins_at_or_before_the_index() {
        let names = [(3, 10), (4, 20), (5, 30)];
        assert_eq!(start_of(&names, 10), Ok(0));
        assert_eq!(start_of(&names, 29), Ok(1));
        assert_eq!(start_of(&names, 99), Ok(2));
    }

    #[test]
    fn a_missing_file_is_named() {
        assert_eq!(
            start_of(&[(3, 10)], 9).unwrap_err(),
            "/wal lacks a log file that begins at index 9 or before; \
             the oldest is 0000000000000003-000000000000000a.wal"
        );
        assert_eq!(
            start_of(&[(3, 10), (5, 30)], 10).unwrap_err(),
            "/wal lacks the log file 0000000000000004-*.wal, \
             which follows 0000000000000003-000000000000000a.wal"
        );
        assert_eq!(start_of(&[], 0).unwrap_err(), "/wal lacks any log file");
        assert_eq!(start_of(&[(3, 10), (5, 30)], 30), Ok(1), "gaps before the start do not matter");
    }
}
