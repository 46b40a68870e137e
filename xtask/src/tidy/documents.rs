//! Documents are found: links and named paths exist, and `docs/README.md` lists every page.

use std::collections::BTreeSet;

use super::{Finding, Source};

const CONTENTS: &str = "docs/README.md";

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust() || source.path.ends_with(".md")) {
        for (number, line) in source.lines() {
            let links = if source.is_rust() { Vec::new() } else { links(&source.path, line) };
            let dead = links.into_iter().chain(named_paths(line)).filter(|path| !exists(path, &paths));
            findings.extend(dead.map(|path| {
                let advice = format!("there is no {path}: name what is there, or write it");
                Finding::new(&source.path, number, "dead-link", advice)
            }));
        }
    }
    findings.extend(unlisted(sources));
    findings
}

fn exists(path: &str, paths: &BTreeSet<&str>) -> bool {
    let is_dir =
        || paths.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    path.is_empty() || paths.contains(path) || is_dir()
}

/// The files of the repository that a line of Markdown links to.
fn links(from: &str, line: &str) -> Vec<String> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.contains(':') && !target.starts_with('#'));
    local.map(|target| resolve(from, target.split('#').next().unwrap_or_default())).collect()
}

/// The path of `target` from the root of the repository, if the file `from` links to it.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// The pages of `docs/` and the files and folders of `crates/` that a line names in backquotes.
fn named_paths(line: &str) -> Vec<String> {
    let quoted = line.split('`').skip(1).step_by(2);
    let is_page = |text: &str| text.starts_with("docs/") && text.ends_with(".md");
    let is_code = |text: &str| {
        text.starts_with("crates/") && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    let named = quoted.filter(|text| is_page(text) || is_code(text));
    named.map(|text| text.trim_end_matches('/').to_owned()).collect()
}

fn unlisted(sources: &[Source]) -> Vec<Finding> {
    let listed: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.path == CONTENTS)
        .flat_map(|contents| contents.lines().flat_map(|(_, line)| links(CONTENTS, line)))
        .collect();
    let is_page = |path: &str| path.starts_with("docs/") && path.ends_with(".md") && path != CONTENTS;
    sources
        .iter()
        .filter(|source| is_page(&source.path) && !listed.contains(&source.path))
        .map(|source| Finding::new(&source.path, 1, "unlisted-page", format!("list it in {CONTENTS}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::source::found;
    use super::*;

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        found(files, check)
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let readme = "[a](a.md) [b](./a.md#top) [c](../crates/x) [d](https://example.com) [e](#here)\n";
        let files =
            [("docs/README.md", readme), ("docs/a.md", "[up](README.md)\n"), ("crates/x/src/lib.rs", "")];
        assert_eq!(lines(&files), [""; 0]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        assert_eq!(lines(&[("a.md", "Text.\n[b](docs/b.md)\n")]), ["a.md:2: dead-link"]);
        assert_eq!(
            lines(&[("a.rs", concat!("//! See `doc", "s/b.md`, not [b](docs/b.md).\n"))]),
            ["a.rs:1: dead-link"]
        );
    }

    #[test]
    fn a_path_of_code_that_is_not_there_is_found() {
        let crate_root = concat!("cra", "tes/x/src");
        let page = format!("See `{crate_root}/lib.rs`, `{crate_root}/` and `cra{}/<name>/src`.\n", "tes");
        let code = ("crates/x/src/lib.rs", "");
        assert_eq!(lines(&[("a.md", page.as_str()), code]), [""; 0]);
        assert_eq!(lines(&[("a.md", &format!("See `{crate_root}/old.rs`.\n")), code]), ["a.md:1: dead-link"]);
        assert_eq!(lines(&[("a.md", &format!("See `{crate_root}/old/`.\n")), code]), ["a.md:1: dead-link"]);
    }

    #[test]
    fn a_page_that_nobody_finds_is_found() {
        assert_eq!(lines(&[("docs/README.md", ""), ("docs/a.md", "")]), ["docs/a.md:1: unlisted-page"]);
    }
}
