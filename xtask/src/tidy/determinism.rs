//! The core is deterministic: it has no clock, no threads, no files and no random order.

use super::{Finding, Source};

/// What gives different results in each run, and what to use instead.
const SOURCES_OF_CHANCE: [(&str, &str); 7] = [
    ("Instant::now", "take time as an argument"),
    ("SystemTime", "take time as an argument"),
    ("thread::spawn", "hand a job to the caller"),
    ("thread::sleep", "advance the clock you are given"),
    ("std::fs", "use the disk you are given"),
    ("HashMap", "use BTreeMap: its order is the same everywhere"),
    ("HashSet", "use BTreeSet: its order is the same everywhere"),
];

/// Files of core crates that may be nondeterministic: the real disk, and the program that runs the simulator.
const OUTSIDE: [&str; 3] = ["crates/disk/src/real.rs", "crates/disk/src/real/", "crates/sim/src/main.rs"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| is_core(source)) {
        for (number, line) in source.lines().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if let Some((chance, advice)) = SOURCES_OF_CHANCE.iter().find(|(chance, _)| line.contains(chance))
            {
                let advice = format!("the core must not use {chance}: {advice}");
                findings.push(Finding::new(&source.path, number, "chance", advice));
            }
        }
    }
    findings
}

fn is_core(source: &Source) -> bool {
    let is_in = |name: &&str| source.path.starts_with(&format!("crates/{name}/src/"));
    let is_outside = OUTSIDE.iter().any(|outside| source.path.starts_with(outside));
    source.is_rust() && super::layering::CORE.iter().any(is_in) && !is_outside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, line: &str) -> usize {
        check(&[Source::new(path, line)]).len()
    }

    #[test]
    fn the_core_uses_no_source_of_chance() {
        for (chance, _) in SOURCES_OF_CHANCE {
            assert_eq!(findings("crates/raft/src/a.rs", &format!("    {chance}()")), 1, "{chance}");
            assert_eq!(findings("crates/raft/src/a.rs", &format!("/// No {chance}.")), 0, "{chance}");
        }
    }

    #[test]
    fn the_shell_and_the_real_disk_may() {
        for path in ["crates/server/src/a.rs", "crates/disk/src/real/file.rs", "crates/disk/tests/it/main.rs"]
        {
            assert_eq!(findings(path, "std::fs::read(path)"), 0, "{path}");
        }
    }
}
