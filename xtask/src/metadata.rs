//! The part of cargo's metadata about the workspace and its dependencies that the checks need.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Every package that is part of some build of the workspace, with all features, by cargo's package id.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) packages: BTreeMap<String, Package>,
}

/// One package, of the workspace or from outside.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression, if the package states one.
    pub(crate) license: Option<String>,
    /// Where it came from; `None` for a crate of the workspace.
    pub(crate) source: Option<String>,
    /// Names of the packages its manifest asks for, for the build, tests and build script alike.
    pub(crate) declared: Vec<String>,
    /// Ids of the packages that are linked into it: tests and build scripts do not count.
    pub(crate) linked: Vec<String>,
}

impl Metadata {
    /// Asks cargo, without the network: `cargo fetch` must have run once on this machine.
    pub(crate) fn load() -> Result<Metadata, String> {
        let output = Command::new("cargo")
            .args(["metadata", "--offline", "--all-features", "--format-version", "1"])
            .current_dir(crate::root())
            .output()
            .map_err(|e| format!("cargo metadata: {e}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("cargo metadata failed, does `cargo fetch` help?\n{text}"));
        }
        let value = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
        Ok(Metadata::parse(&value))
    }

    fn parse(value: &Value) -> Metadata {
        let mut packages: BTreeMap<String, Package> =
            items(&value["packages"]).map(|p| (text(&p["id"]), Package::parse(p))).collect();
        for node in items(&value["resolve"]["nodes"]) {
            let linked = items(&node["deps"])
                .filter(|dep| items(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                .map(|dep| text(&dep["pkg"]))
                .collect();
            if let Some(package) = packages.get_mut(&text(&node["id"])) {
                package.linked = linked;
            }
        }
        Metadata { packages }
    }

    /// The crates of the workspace, with their ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.packages.iter().filter(|(_, package)| package.source.is_none())
    }

    /// Whether `name` is a crate of the workspace.
    pub(crate) fn is_member(&self, name: &str) -> bool {
        self.members().any(|(_, package)| package.name == name)
    }
}

impl Package {
    fn parse(value: &Value) -> Package {
        Package {
            name: text(&value["name"]),
            version: text(&value["version"]),
            license: value["license"].as_str().map(str::to_owned),
            source: value["source"].as_str().map(str::to_owned),
            declared: items(&value["dependencies"]).map(|dep| text(&dep["name"])).collect(),
            linked: Vec::new(),
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_dependencies_are_declared_but_not_linked() {
        let metadata = Metadata::parse(&serde_json::json!({
            "packages": [{
                "id": "a-id", "name": "a", "version": "1.0.0", "license": "MIT", "source": null,
                "dependencies": [{ "name": "b" }, { "name": "c" }],
            }],
            "resolve": { "nodes": [{ "id": "a-id", "deps": [
                { "pkg": "b-id", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
                { "pkg": "c-id", "dep_kinds": [{ "kind": "dev" }] },
            ]}]},
        }));
        let package = &metadata.packages["a-id"];
        assert_eq!(package.declared, ["b", "c"]);
        assert_eq!(package.linked, ["b-id"]);
        assert!(metadata.is_member("a"));
    }
}
