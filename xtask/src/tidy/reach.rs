//! Nothing is unreachable: every file is compiled, every script is run, every crate has a test.

use std::collections::BTreeSet;

use super::{Finding, Source};

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let rust: Vec<&Source> = sources.iter().filter(|source| source.is_rust()).collect();
    let mut findings = Vec::new();
    findings.extend(rust.iter().filter_map(|source| unreached(source, &rust)));
    findings.extend(rust.iter().flat_map(|source| ignored(source)));
    findings.extend(scripts(sources, &rust));
    findings.extend(untested_crates(&rust));
    findings
}

/// A file that no other file declares is not compiled, and its tests never run.
fn unreached(source: &Source, rust: &[&Source]) -> Option<Finding> {
    let (dir, name) = source.path.rsplit_once('/')?;
    let module = name.trim_end_matches(".rs");
    if dir.ends_with("/tests") {
        let advice = "move it to tests/it/: one test binary a crate links faster than many";
        return Some(Finding::new(&source.path, 1, "test-binary", advice));
    }
    if is_root(dir, name) {
        return None;
    }
    let parents = match dir.rsplit_once('/') {
        Some((_, "src")) => vec![format!("{dir}/lib.rs"), format!("{dir}/main.rs")],
        Some(_) if is_target(dir) => vec![format!("{dir}/main.rs")],
        _ => vec![format!("{dir}.rs")],
    };
    let is_declared = rust
        .iter()
        .filter(|other| parents.contains(&other.path))
        .any(|other| other.lines().any(|(_, line)| declares(line, module)));
    let advice = format!("nothing declares `mod {module}`: declare it or delete the file");
    (!is_declared).then(|| Finding::new(&source.path, 1, "unreached-file", advice))
}

/// Files that cargo finds by itself.
fn is_root(dir: &str, name: &str) -> bool {
    match name {
        "main.rs" => dir.ends_with("/src") || is_target(dir),
        "lib.rs" => dir.ends_with("/src"),
        "build.rs" => true,
        _ => {
            ["/src/bin", "/examples", "/benches", "/fuzz_targets"].iter().any(|target| dir.ends_with(target))
        }
    }
}

/// Whether `dir` is the whole of a test or benchmark binary, with a `main.rs`.
fn is_target(dir: &str) -> bool {
    let above = dir.rsplit_once('/').map_or("", |(above, _)| above);
    dir.ends_with("/tests/it") || above.ends_with("/benches")
}

fn declares(line: &str, module: &str) -> bool {
    let declaration = format!("mod {module};");
    let line = line.trim_start();
    line == declaration || line.starts_with("pub") && line.ends_with(&format!(" {declaration}"))
}

/// A test may be switched off only with a reason.
fn ignored(source: &Source) -> Vec<Finding> {
    let bare = |line: &str| line.trim() == concat!("#[", "ignore]");
    let finding = |number| Finding::new(&source.path, number, "ignored-test", "say why: `#[ignore = \"…\"]`");
    source.lines().filter(|(_, line)| bare(line)).map(|(number, _)| finding(number)).collect()
}

/// Golden scripts need a runner that reads their directory.
fn scripts(sources: &[Source], rust: &[&Source]) -> Vec<Finding> {
    let crates: BTreeSet<&str> =
        sources.iter().filter_map(|source| Some(source.path.split_once("/tests/scripts/")?.0)).collect();
    let has_runner =
        |dir: &str| rust.iter().any(|s| s.crate_dir() == Some(dir) && s.text.contains("tests/scripts"));
    let finding = |dir: &str| {
        let advice = "no test of this crate reads tests/scripts: write the runner";
        Finding::new(&format!("{dir}/tests/scripts"), 1, "unread-scripts", advice)
    };
    crates.into_iter().filter(|dir| !has_runner(dir)).map(finding).collect()
}

fn untested_crates(rust: &[&Source]) -> Vec<Finding> {
    let crates: BTreeSet<&str> = rust.iter().filter_map(|source| source.crate_dir()).collect();
    let is_tested = |dir: &str| {
        rust.iter().filter(|s| s.crate_dir() == Some(dir)).any(|s| s.lines().any(|(_, line)| is_test(line)))
    };
    let finding = |dir: &str| {
        let root = rust.iter().find(|s| s.path.starts_with(&format!("{dir}/src/"))).map_or(dir, |s| &s.path);
        Finding::new(root, 1, "untested-crate", format!("write a test: nothing under {dir} has one"))
    };
    crates.into_iter().filter(|dir| !is_tested(dir)).map(finding).collect()
}

fn is_test(line: &str) -> bool {
    ["#[test]", "#[tokio::test", "proptest! {"].iter().any(|start| line.trim_start().starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::source::found;
    use super::*;

    const TESTED: &str = "#[test]\n";

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        found(files, check)
    }

    #[test]
    fn declared_files_are_reached() {
        let files = [
            ("crates/a/src/lib.rs", "mod b;\n#[test]\n"),
            ("crates/a/src/b.rs", "pub(crate) mod c;\n"),
            ("crates/a/src/b/c.rs", ""),
            ("crates/a/tests/it/main.rs", "mod d;\n"),
            ("crates/a/tests/it/d.rs", "mod e;\n"),
            ("crates/a/tests/it/d/e.rs", ""),
            ("crates/a/benches/f/main.rs", "mod g;\n"),
            ("crates/a/benches/f/g.rs", ""),
        ];
        assert_eq!(lines(&files), [""; 0]);
    }

    #[test]
    fn a_test_file_that_main_does_not_declare_is_found() {
        let files = [
            ("crates/a/src/lib.rs", TESTED),
            ("crates/a/tests/it/main.rs", "// mod b;\nmod bb;\n"),
            ("crates/a/tests/it/b.rs", TESTED),
        ];
        assert_eq!(lines(&files), ["crates/a/tests/it/b.rs:1: unreached-file"]);
    }

    #[test]
    fn a_source_file_that_its_parent_does_not_declare_is_found() {
        let files = [
            ("crates/a/src/lib.rs", "mod b;\n#[test]\n"),
            ("crates/a/src/b.rs", ""),
            ("crates/a/src/b/c.rs", ""),
        ];
        assert_eq!(lines(&files), ["crates/a/src/b/c.rs:1: unreached-file"]);
    }

    #[test]
    fn a_second_test_binary_is_found() {
        let files = [("crates/a/src/lib.rs", ""), ("crates/a/tests/b.rs", TESTED)];
        assert_eq!(lines(&files), ["crates/a/tests/b.rs:1: test-binary"]);
    }

    #[test]
    fn a_test_ignored_without_a_reason_is_found() {
        let text = concat!("#[test]\n#[", "ignore]\n#[", "ignore = \"why\"]\n");
        assert_eq!(lines(&[("crates/a/src/lib.rs", text)]), ["crates/a/src/lib.rs:2: ignored-test"]);
    }

    #[test]
    fn scripts_without_a_runner_are_found() {
        let script = ("crates/a/tests/scripts/x.txt", "");
        assert_eq!(
            lines(&[("crates/a/src/lib.rs", TESTED), script]),
            ["crates/a/tests/scripts:1: unread-scripts"]
        );
        let runner = ("crates/a/tests/it/main.rs", "//! Runs tests/scripts.\n#[test]\n");
        assert_eq!(lines(&[("crates/a/src/lib.rs", ""), runner, script]), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_test_is_found() {
        assert_eq!(
            lines(&[("crates/a/src/lib.rs", "fn f() {}\n")]),
            ["crates/a/src/lib.rs:1: untested-crate"]
        );
        assert_eq!(lines(&[("crates/a/src/lib.rs", "    proptest! {\n")]), [""; 0]);
    }
}
