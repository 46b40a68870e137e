//! Generates `crates/proto/src/gen` from `crates/proto/proto`.
//!
//! The generated code is committed, so that building the project needs no protobuf compiler; a test
//! says when it is stale.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost_types::{FieldOptions, FileDescriptorSet, field_descriptor_proto as field};

/// Files whose proto2 scalars are generated with implicit presence: absent and zero are one value, and
/// zero is not written. That is how etcd's own readers treat them (they accept both forms), and it keeps
/// consensus code free of `Option<u64>`.
const IMPLICIT_PRESENCE: [&str; 4] =
    ["raftpb/raft.proto", "walpb/record.proto", "snappb/snap.proto", "etcdserverpb/etcdserver.proto"];

/// Writes every generated file.
pub(crate) fn write() -> Result<(), String> {
    let dir = proto_crate().join("src/gen");
    for (name, text) in generate()? {
        let path = dir.join(&name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Compiles the sources and returns the generated files: name and text.
pub(crate) fn generate() -> Result<BTreeMap<String, String>, String> {
    let mut set = compile()?;
    make_presence_implicit(&mut set);
    let requests = set
        .file
        .into_iter()
        .filter(|f| !f.package().starts_with("google.") && f.package() != "versionpb")
        .map(|f| (prost_build::Module::from_protobuf_package_name(f.package()), f))
        .collect();
    let mut config = prost_build::Config::new();
    config.bytes(["."]).service_generator(Box::new(ServiceTables)).disable_comments(["."]);
    let modules = config.generate(requests).map_err(|e| e.to_string())?;
    let mut files = BTreeMap::new();
    for (module, code) in modules {
        let syntax = syn::parse_file(&code).map_err(|e| format!("{module}: {e}"))?;
        let text =
            format!("// Made by `cargo run -p xtask -- gen-proto`.\n{}", prettyplease::unparse(&syntax));
        files.insert(format!("{}.rs", module.parts().collect::<Vec<_>>().join("_")), text);
    }
    Ok(files)
}

/// Compiles every `.proto` source of the project.
pub(crate) fn compile() -> Result<FileDescriptorSet, String> {
    let root = proto_crate().join("proto");
    let mut sources = Vec::new();
    find_sources(&root, &mut sources)?;
    sources.sort();
    protox::compile(&sources, [&root]).map_err(|e| format!("{e:?}"))
}

fn proto_crate() -> PathBuf {
    crate::root().join("crates/proto")
}

fn find_sources(dir: &Path, sources: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            find_sources(&path, sources)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            sources.push(path);
        }
    }
    Ok(())
}

fn make_presence_implicit(set: &mut FileDescriptorSet) {
    for file in set.file.iter_mut().filter(|f| IMPLICIT_PRESENCE.contains(&f.name())) {
        file.syntax = Some("proto3".to_owned());
        for f in file.message_type.iter_mut().flat_map(|m| m.field.iter_mut()) {
            if f.label() == field::Label::Repeated && f.r#type() == field::Type::Uint64 {
                // proto3 packs by default, proto2 (and so Go) does not.
                f.options.get_or_insert_with(FieldOptions::default).packed.get_or_insert(false);
            }
        }
    }
}

/// Emits, for each service, the table of its methods.
struct ServiceTables;

impl prost_build::ServiceGenerator for ServiceTables {
    fn generate(&mut self, service: prost_build::Service, buf: &mut String) {
        let full = format!("{}.{}", service.package, service.proto_name);
        let name = service.proto_name.to_uppercase();
        buf.push_str(&format!("/// The methods of `{full}`.\npub const {name}: crate::Service = crate::Service {{ name: \"{full}\", methods: &["));
        for m in &service.methods {
            buf.push_str(&format!(
                "crate::Method {{ name: \"{0}\", path: \"/{full}/{0}\", client_streaming: {1}, server_streaming: {2} }},",
                m.proto_name, m.client_streaming, m.server_streaming
            ));
        }
        buf.push_str("] };\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_code_is_current() {
        for (name, text) in generate().unwrap() {
            let path = proto_crate().join("src/gen").join(&name);
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == text, "{name} is stale: run `cargo run -p xtask -- gen-proto`");
        }
    }
}
