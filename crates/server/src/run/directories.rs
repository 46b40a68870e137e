//! What is looked at before the data directory is used: whether it is one, and who else may read it.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tracing::warn;

/// The permissions of directories that hold data: for the owner alone.
const PRIVATE: u32 = 0o700;

/// Letters of a mode in Go's notation, from the highest bit on.
const SPECIAL_BITS: [(u32, char); 3] = [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')];
const PERMISSION_LETTERS: &str = "rwxrwxrwx";

/// Finds out whether `path`, given by the flag `flag`, is a directory or can become one. The error names what is in
/// the way.
pub(super) fn check(path: &Path, flag: &str) -> Result<(), String> {
    for ancestor in path.ancestors() {
        let problem = match fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => "is not a directory".to_owned(),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => format!("cannot be looked at: {error}"),
        };
        return Err(format!("cannot use {} as --{flag}: {} {problem}", path.display(), ancestor.display()));
    }
    Ok(())
}

/// Warns if others than the owner may use a directory that is there already.
pub(super) fn warn_of_permissions(dir: &Path) {
    let Ok(found) = fs::metadata(dir) else { return };
    if let Some(error) = excess_permissions(dir, &found) {
        warn!(error, "check file permission");
    }
}

/// The text of etcd's warning, if there is reason for it.
fn excess_permissions(dir: &Path, found: &Metadata) -> Option<String> {
    let mode = found.permissions().mode();
    (mode & 0o777 != PRIVATE).then(|| {
        format!(
            "directory {:?} exist, but the permission is {:?}. The recommended permission is {:?} to prevent \
             possible unprivileged access to the data",
            dir.display().to_string(),
            mode_text(mode, found.is_dir()),
            mode_text(PRIVATE, false)
        )
    })
}

/// A mode as Go writes it: `drwxr-xr-x`, `-rwx------`, `dtrwxrwxrwx`.
fn mode_text(mode: u32, is_dir: bool) -> String {
    let special = SPECIAL_BITS.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, letter)| *letter);
    let mut text: String = is_dir.then_some('d').into_iter().chain(special).collect();
    if text.is_empty() {
        text.push('-');
    }
    for (place, letter) in PERMISSION_LETTERS.chars().enumerate() {
        let is_set = mode & (0o400 >> place) != 0;
        text.push(if is_set { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn directory_may_be_there_or_be_made() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path(), "data-dir"), Ok(()));
        assert_eq!(check(&dir.path().join("a/b"), "data-dir"), Ok(()));
    }

    #[test]
    fn file_in_the_way_is_named_with_the_flag() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("a/b")] {
            let (path_text, file_text) = (path.display(), file.display());
            let error = format!("cannot use {path_text} as --wal-dir: {file_text} is not a directory");
            assert_eq!(check(&path, "wal-dir"), Err(error));
        }
    }

    #[test]
    fn open_permissions_are_told_as_etcd_tells_them() {
        let dir = tempfile::tempdir().unwrap();
        let told = |mode| {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            excess_permissions(dir.path(), &fs::metadata(dir.path()).unwrap())
        };
        assert_eq!(told(0o700), None);
        let text = told(0o755).unwrap();
        let expected = format!(
            "directory \"{}\" exist, but the permission is \"drwxr-xr-x\". The recommended permission is \
             \"-rwx------\" to prevent possible unprivileged access to the data",
            dir.path().display()
        );
        assert_eq!(text, expected);
        assert!(told(0o1777).unwrap().contains("\"dtrwxrwxrwx\""));
    }
}
