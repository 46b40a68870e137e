//! Checks that every dependency has a licence we accept and comes from crates.io.

use std::iter::Peekable;
use std::str::SplitWhitespace;

use crate::metadata::{Metadata, Package};

/// Licences whose code may be linked into an Apache-2.0 program without further conditions.
const ACCEPTED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The one place dependencies may come from: no git repositories, no other registries.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Prints every dependency that breaks a rule; an error if there is one.
pub(crate) fn run() -> Result<(), String> {
    let metadata = Metadata::load()?;
    let complaints: Vec<String> = metadata.packages.values().flat_map(complaints).collect();
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        n => Err(format!("{n} dependencies may not be used")),
    }
}

fn complaints(package: &Package) -> Vec<String> {
    let Some(source) = &package.source else { return Vec::new() };
    let mut complaints = Vec::new();
    let name = format!("{} {}", package.name, package.version);
    if source != SOURCE {
        complaints.push(format!("{name}: comes from {source}, not from crates.io"));
    }
    match &package.license {
        None => complaints.push(format!("{name}: states no licence")),
        Some(license) if !is_accepted(license) => {
            complaints.push(format!("{name}: licence {license} is not in the accepted list"));
        }
        Some(_) => {}
    }
    complaints
}

/// Whether an SPDX expression can be met with accepted licences alone. Understands `AND`, `OR`, `WITH`,
/// parentheses, and the old `MIT/Apache-2.0`.
fn is_accepted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    any_of(&mut tokens) && tokens.next().is_none()
}

type Tokens<'a> = Peekable<SplitWhitespace<'a>>;

fn any_of(tokens: &mut Tokens<'_>) -> bool {
    let mut met = all_of(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        // Evaluated even if already met: the tokens must be consumed.
        met |= all_of(tokens);
    }
    met
}

fn all_of(tokens: &mut Tokens<'_>) -> bool {
    let mut met = one(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens);
    }
    met
}

fn one(tokens: &mut Tokens<'_>) -> bool {
    match tokens.next() {
        None => false,
        Some("(") => any_of(tokens) && tokens.next_if_eq(&")").is_some(),
        Some(license) if tokens.next_if_eq(&"WITH").is_some() => {
            let exception = tokens.next().unwrap_or_default();
            ACCEPTED.contains(&format!("{license} WITH {exception}").as_str())
        }
        Some(license) => ACCEPTED.contains(&license),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(license: Option<&str>, source: &str) -> Package {
        Package { license: license.map(str::to_owned), source: Some(source.to_owned()), ..Package::default() }
    }

    #[test]
    fn one_accepted_licence_of_a_choice_is_enough() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(is_accepted(expression), "{expression}");
        }
    }

    #[test]
    fn a_licence_outside_the_list_is_refused() {
        for expression in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT AND", "MIT WITH surprises"]
        {
            assert!(!is_accepted(expression), "{expression}");
        }
    }

    #[test]
    fn a_package_without_licence_is_refused() {
        assert_eq!(complaints(&package(None, SOURCE)).len(), 1);
    }

    #[test]
    fn a_package_from_elsewhere_is_refused() {
        assert_eq!(complaints(&package(Some("MIT"), "git+https://example.com/x")).len(), 1);
        assert_eq!(complaints(&package(Some("MIT"), SOURCE)).len(), 0);
    }
}
