//! Every dependency of the workspace says why it is there.

use super::{Finding, Source};

/// Wants a comment beside each line of `[workspace.dependencies]`, or above its block: a block ends at an
/// empty line, so that crates which belong together may share a comment.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(manifest) = sources.iter().find(|source| source.path == "Cargo.toml") else { return Vec::new() };
    let mut findings = Vec::new();
    let (mut in_section, mut is_explained) = (false, false);
    for (number, line) in manifest.lines() {
        if line.starts_with('[') {
            in_section = line == "[workspace.dependencies]";
        }
        match line.split_once('=') {
            _ if line.is_empty() => is_explained = false,
            _ if line.starts_with('#') => is_explained = true,
            Some((name, value)) if in_section && !is_explained && !value.contains(" # ") => {
                let advice = format!("say in a comment why {} is needed", name.trim());
                findings.push(Finding::new(&manifest.path, number, "unexplained-dependency", advice));
            }
            _ => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_comment_is_found() {
        let text = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n\nc = \"1\" # Why.\nd = \"1\"\n\n[profile.dev]\nx = 1\n";
        let findings = check(&[Source::new("Cargo.toml", text)]);
        let expected = "Cargo.toml:7: unexplained-dependency: say in a comment why d is needed";
        assert_eq!(findings.iter().map(Finding::to_string).collect::<Vec<_>>(), [expected]);
    }
}
