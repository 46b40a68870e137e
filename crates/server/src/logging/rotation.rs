//! A log file that is rotated when it is full, as by lumberjack, which etcd uses.
//!
//! `etcd.log` becomes `etcd-2006-01-02T15-04-05.000.log`, compressed to `….log.gz` if that is configured. Old
//! files beyond a number or an age are removed. A line is never split between files. All of this happens on
//! the thread of the output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::Rotation;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The name of an old file tells its time in this form.
const TIME_FORMAT: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    len: u64,
}

impl RotatingFile {
    /// Opens or creates the file.
    pub(super) fn open(path: PathBuf, rotation: Rotation) -> io::Result<RotatingFile> {
        let file = append_to(&path)?;
        let len = file.metadata()?.len();
        Ok(RotatingFile { path, rotation, file, len })
    }

    /// Renames the file and begins another.
    fn rotate(&mut self) -> io::Result<()> {
        let backup = self.backup_path();
        fs::rename(&self.path, &backup)?;
        self.file = append_to(&self.path)?;
        self.len = 0;
        if self.rotation.is_compressed {
            compress(&backup)?;
        }
        self.remove_backups()
    }

    fn backup_path(&self) -> PathBuf {
        let zone = if self.rotation.is_local_time { TimeZone::system() } else { TimeZone::UTC };
        let time = Timestamp::now().to_zoned(zone).strftime(TIME_FORMAT).to_string();
        let (stem, extension) = self.name_parts();
        self.path.with_file_name(format!("{stem}-{time}{extension}"))
    }

    /// Stem and extension of the file's name, the latter with its dot.
    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = self.path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
        (text(self.path.file_stem()), extension.unwrap_or_default())
    }

    /// Removes old files beyond the number and the age that are kept.
    fn remove_backups(&self) -> io::Result<()> {
        let mut backups = self.backups()?;
        backups.sort_unstable_by(|a, b| b.cmp(a));
        let age_max = DAY.saturating_mul(u32::try_from(self.rotation.age_days_max).unwrap_or(u32::MAX));
        for (at, path) in backups.iter().enumerate() {
            let is_surplus = self.rotation.backups_max > 0 && at >= self.rotation.backups_max;
            let is_old = || {
                let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
                let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
                self.rotation.age_days_max > 0 && age.is_ok_and(|age| age > age_max)
            };
            if is_surplus || is_old() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The old files, told by their names, which sort by time.
    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (stem, extension) = self.name_parts();
        let is_backup = |name: &str| {
            let name = name.strip_suffix(".gz").unwrap_or(name);
            let time = name.strip_prefix(&format!("{stem}-")).and_then(|name| name.strip_suffix(&extension));
            time.is_some_and(|time| jiff::civil::DateTime::strptime(TIME_FORMAT, time).is_ok())
        };
        let names = fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| is_backup(name)).map(|name| dir.join(name)).collect())
    }
}

impl Write for RotatingFile {
    /// Takes as many whole lines as fit, or the next one if the file is empty.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.rotation.bytes_max.saturating_sub(self.len)).unwrap_or(usize::MAX);
        let end = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
        let fitting_len = if lines.len() <= room { Some(lines.len()) } else { end(&lines[..room]) };
        let len = match fitting_len {
            Some(len) => len,
            None => {
                if self.len > 0 {
                    self.rotate()?;
                    return self.write(lines);
                }
                lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1)
            }
        };
        self.file.write_all(&lines[..len])?;
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Replaces a file by its compressed form.
fn compress(path: &Path) -> io::Result<()> {
    let mut packed_path = path.as_os_str().to_owned();
    packed_path.push(".gz");
    let packed = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&packed_path)?;
    let mut encoder = GzEncoder::new(packed, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    const ROTATION: Rotation = Rotation {
        bytes_max: 10,
        age_days_max: 0,
        backups_max: 0,
        is_local_time: false,
        is_compressed: false,
    };

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn full_file_is_put_aside_between_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.log");
        let mut file = RotatingFile::open(path.clone(), ROTATION).unwrap();
        file.write_all(b"four\nfour\nmore\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "more\n");
        let names = names(dir.path());
        assert_eq!(names.len(), 2);
        assert_eq!(names[0].len(), "etcd-2006-01-02T15-04-05.000.log".len());
        assert_eq!(fs::read_to_string(dir.path().join(&names[0])).unwrap(), "four\nfour\n");
    }

    #[test]
    fn line_longer_than_a_file_gets_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "before\n").unwrap();
        let mut file = RotatingFile::open(path.clone(), ROTATION).unwrap();
        file.write_all(b"longer than ten bytes\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "longer than ten bytes\n");
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn surplus_files_go_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let old = |year: &str| dir.path().join(format!("etcd-{year}-01-02T15-04-05.000.log"));
        fs::write(old("2007"), "").unwrap();
        fs::write(old("2006"), "").unwrap();
        fs::write(dir.path().join("etcd-notes.log"), "").unwrap();
        let path = dir.path().join("etcd.log");
        let mut file = RotatingFile::open(path, Rotation { backups_max: 2, ..ROTATION }).unwrap();
        file.write_all(b"nine_byte\nnine_byte\n").unwrap();
        let names = names(dir.path());
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(old("2007").exists() && !old("2006").exists());
    }

    #[test]
    fn old_file_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.log");
        let mut file = RotatingFile::open(path, Rotation { is_compressed: true, ..ROTATION }).unwrap();
        file.write_all(b"nine_byte\nnine_byte\n").unwrap();
        let names = names(dir.path());
        assert!(names[0].ends_with(".log.gz"), "{names:?}");
        let mut text = String::new();
        let packed = File::open(dir.path().join(&names[0])).unwrap();
        GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "nine_byte\n");
    }
}
