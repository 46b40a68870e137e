//! How a Rust file is named, how it begins and how long it may be.

use super::{Finding, Source};

/// A longer file fails the check.
const LINES_MAX: usize = 1_000;

/// A longer file is listed: it should be split before it fails.
const LINES_LONG: usize = 800;

/// Names that say nothing about what the file holds.
const EMPTY_NAMES: [&str; 5] = ["common.rs", "helpers.rs", "types.rs", "util.rs", "utils.rs"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| source.is_rust())
        .flat_map(|source| [length(source), name(source), doc(source)])
        .flatten()
        .collect()
}

/// Files that are near the limit.
pub(super) fn long_files(sources: &[Source]) -> impl Iterator<Item = String> {
    let long = sources.iter().map(|source| (source, source.lines().count()));
    long.filter(|(source, lines)| source.is_rust() && (LINES_LONG + 1..=LINES_MAX).contains(lines))
        .map(|(source, lines)| format!("{}: {lines} lines: split it soon", source.path))
}

fn length(source: &Source) -> Option<Finding> {
    let advice = format!("split the file: more than {LINES_MAX} lines");
    (source.lines().count() > LINES_MAX).then(|| Finding::new(&source.path, LINES_MAX, "file-length", advice))
}

fn name(source: &Source) -> Option<Finding> {
    let advice = match source.file_name() {
        "mod.rs" => "move the file to `foo.rs` beside `foo/`",
        name if EMPTY_NAMES.contains(&name) => "name the file after what it holds",
        _ => return None,
    };
    Some(Finding::new(&source.path, 1, "file-name", advice))
}

fn doc(source: &Source) -> Option<Finding> {
    let advice = "begin the file with `//!` and a sentence that says what it is";
    (!source.text.starts_with("//! ")).then(|| Finding::new(&source.path, 1, "module-doc", advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(&[Source::new(path, text)]).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_documented_short_file_passes() {
        assert_eq!(rules("a/src/b.rs", "//! What it is.\n"), [""; 0]);
    }

    #[test]
    fn a_file_of_more_than_a_thousand_lines_fails() {
        let lines = |count: usize| "//! Line.\n".repeat(count);
        assert_eq!(rules("a/src/b.rs", &lines(1_000)), [""; 0]);
        assert_eq!(rules("a/src/b.rs", &lines(1_001)), ["file-length"]);
        assert_eq!(rules("crates/proto/src/gen/b.rs", &lines(1_001)), [""; 0]);
    }

    #[test]
    fn a_file_near_the_limit_is_listed() {
        let sources = [800, 801, 1_001].map(|n| Source::new(&format!("{n}.rs"), &"//!\n".repeat(n)));
        assert_eq!(long_files(&sources).collect::<Vec<_>>(), ["801.rs: 801 lines: split it soon"]);
    }

    #[test]
    fn names_that_say_nothing_fail() {
        for path in
            ["a/src/b/mod.rs", "a/src/util.rs", "a/src/common.rs", "a/src/helpers.rs", "a/src/types.rs"]
        {
            assert_eq!(rules(path, "//! What it is.\n"), ["file-name"], "{path}");
        }
    }

    #[test]
    fn a_file_without_a_module_doc_fails() {
        assert_eq!(rules("a/src/b.rs", "use std::io;\n"), ["module-doc"]);
        assert_eq!(rules("a/src/b.rs", ""), ["module-doc"]);
    }
}
