//! The text files of the repository: what is committed, and what would be.

use std::process::Command;

/// One text file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the root of the repository, with `/` between its parts.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether people wrote it in Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.path.starts_with("crates/proto/src/gen/")
    }

    /// Its lines, counted from one.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    /// Its last path component.
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The directory of the crate it belongs to; the root package has none.
    pub(super) fn crate_dir(&self) -> Option<&str> {
        ["/src/", "/tests/", "/fuzz_targets/"].iter().find_map(|dir| Some(self.path.split_once(dir)?.0))
    }
}

/// What a rule finds in made-up files, as `path:line: rule`.
#[cfg(test)]
pub(super) fn found(files: &[(&str, &str)], check: fn(&[Source]) -> Vec<super::Finding>) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources).iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.rule)).collect()
}

/// Reads every text file that git tracks or would add. Files that are not UTF-8 are left out, and so are
/// those that were deleted but not yet committed.
pub(super) fn load() -> Result<Vec<Source>, String> {
    let root = crate::root();
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let paths = String::from_utf8(output.stdout).map_err(|e| format!("a path is not UTF-8: {e}"))?;
    let read = |path| Some(Source::new(path, &std::fs::read_to_string(root.join(path)).ok()?));
    Ok(paths.split_terminator('\0').filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_read() {
        let sources = load().unwrap();
        assert!(sources.iter().any(|s| s.path == "xtask/src/tidy/source.rs" && s.is_rust()));
        assert!(sources.iter().all(|s| !s.path.starts_with("target/")));
    }

    #[test]
    fn generated_code_is_not_written_by_people() {
        assert!(!Source::new("crates/proto/src/gen/a.rs", "").is_rust());
    }

    #[test]
    fn a_file_knows_its_crate() {
        assert_eq!(Source::new("crates/a/src/b/c.rs", "").crate_dir(), Some("crates/a"));
        assert_eq!(Source::new("xtask/tests/it/main.rs", "").crate_dir(), Some("xtask"));
        assert_eq!(Source::new("docs/README.md", "").crate_dir(), None);
    }
}
