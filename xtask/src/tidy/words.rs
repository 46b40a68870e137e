//! Words that must not be committed: switched-off lints, notes to oneself, names of one machine.

use super::{Finding, Source};

/// Notes to oneself. Spelled in two parts so that this file passes its own check.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Directories that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/tmp/", "target-"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Registries and mirrors are chosen by each machine, not by the repository.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("proxy.", "golang.org"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("artifact", "ory"),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (number, line) in source.lines() {
            let complaint = lint(source, line).or_else(|| note(source, line)).or_else(|| machine(line));
            findings.extend(complaint.map(|(rule, advice)| Finding::new(&source.path, number, rule, advice)));
        }
    }
    findings
}

type Complaint = (&'static str, String);

fn lint(source: &Source, line: &str) -> Option<Complaint> {
    let attribute = [concat!("#[", "allow("), concat!("#![", "allow(")].iter().any(|a| line.contains(a));
    (source.is_rust() && attribute)
        .then(|| ("allow", "use `#[expect(…, reason = \"…\")]`, which says when it is obsolete".to_owned()))
}

fn note(source: &Source, line: &str) -> Option<Complaint> {
    let is_prose = !source.path.ends_with(".json") && !source.path.ends_with(".lock");
    let note = line.split(|c: char| !c.is_alphanumeric()).find(|word| NOTES.contains(word))?;
    is_prose.then(|| ("note-to-oneself", format!("do it or open an issue, then remove {note}")))
}

fn machine(line: &str) -> Option<Complaint> {
    // Only at the beginning of a path: in the middle of a longer path or of a URL it means something else.
    let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "./_-}".contains(c));
    let is_there = |path: &&&str| line.match_indices(**path).any(|(at, _)| begins(at));
    if let Some(path) = MACHINE_PATHS.iter().find(is_there) {
        return Some(("machine-path", format!("{path} is a place on one machine")));
    }
    let host = REGISTRY_HOSTS.iter().find(|host| line.contains(**host))?;
    Some(("registry-host", format!("leave the choice of {host} to each machine's own configuration")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, line: &str) -> Vec<&'static str> {
        check(&[Source::new(path, line)]).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn allow_is_refused_and_expect_is_not() {
        for attribute in [concat!("#[", "allow(dead_code)]"), concat!("#![", "allow(dead_code)]")] {
            assert_eq!(rules("a.rs", attribute), ["allow"]);
            assert_eq!(rules("a.md", attribute), [""; 0]);
        }
        assert_eq!(rules("a.rs", "#[expect(dead_code, reason = \"why\")]"), [""; 0]);
    }

    #[test]
    fn a_note_to_oneself_is_refused() {
        for note in NOTES {
            assert_eq!(rules("a.rs", &format!("// {note}: later")), ["note-to-oneself"]);
            assert_eq!(rules("a.rs", &format!("/tmp/x.{note}{note}")), [""; 0]);
        }
    }

    #[test]
    fn a_path_of_one_machine_is_refused() {
        for path in MACHINE_PATHS {
            assert_eq!(rules("a.sh", &format!("cd {path}x")), ["machine-path"]);
            assert_eq!(rules("a.md", &format!("https://example.com{path}x")), [""; 0]);
        }
    }

    #[test]
    fn a_registry_host_is_refused() {
        for host in REGISTRY_HOSTS {
            assert_eq!(rules("a.toml", &format!("https://{host}/x")), ["registry-host"]);
        }
        assert_eq!(
            rules("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\""),
            [""; 0]
        );
    }
}
