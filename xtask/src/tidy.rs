//! Checks the rules of the house that neither the compiler nor clippy knows.
//!
//! Every rule is a function from the text files of the repository ([`Source`]) or cargo's metadata
//! ([`Metadata`]) to its findings. All findings are reported at once, as `path:line: rule: what to do`.

mod determinism;
mod documents;
mod layering;
mod manifest;
mod reach;
mod shape;
mod source;
mod words;

use std::fmt::{self, Display, Formatter};

use self::source::Source;
use crate::metadata::Metadata;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from one.
    line: usize,
    rule: &'static str,
    /// What to do about it.
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Finding { path, line, rule, advice } = self;
        write!(f, "{path}:{line}: {rule}: {advice}")
    }
}

/// Prints every finding; an error if there is one. Long files are listed before they become a finding.
pub(crate) fn run() -> Result<(), String> {
    let sources = source::load()?;
    let metadata = Metadata::load()?;
    for long in shape::long_files(&sources) {
        println!("{long}");
    }
    let findings = check(&sources, &metadata);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        n => Err(format!("{n} findings")),
    }
}

fn check(sources: &[Source], metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(determinism::check(sources));
    findings.extend(documents::check(sources));
    findings.extend(layering::check(sources, metadata));
    findings.extend(manifest::check(sources));
    findings.extend(reach::check(sources));
    findings.extend(shape::check(sources));
    findings.extend(words::check(sources));
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rules_run_and_their_findings_come_in_order() {
        let sources = [
            Source::new("crates/b/src/util.rs", "fn f() {}\n"),
            Source::new("crates/a/src/lib.rs", "fn f() {}\n"),
        ];
        let lines: Vec<String> =
            check(&sources, &Metadata::default()).iter().map(Finding::to_string).collect();
        assert_eq!(
            lines,
            [
                "crates/a/src/lib.rs:1: module-doc: begin the file with `//!` and a sentence that says what it is",
                "crates/a/src/lib.rs:1: untested-crate: write a test: nothing under crates/a has one",
                "crates/b/src/util.rs:1: file-name: name the file after what it holds",
                "crates/b/src/util.rs:1: module-doc: begin the file with `//!` and a sentence that says what it is",
                "crates/b/src/util.rs:1: unreached-file: nothing declares `mod util`: declare it or delete the file",
                "crates/b/src/util.rs:1: untested-crate: write a test: nothing under crates/b has one",
            ]
        );
    }
}
