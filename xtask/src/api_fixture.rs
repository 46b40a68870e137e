//! Checks the `.proto` sources against the facts of etcd 3.7.1 in `fixtures/api.json`.
//!
//! Both sides are written as sorted lines of text, one for each message, field, enum value and method. A
//! difference is then a list of missing and of surplus lines. Packages that etcd does not have
//! (`checkpointpb`, `grpc.health.v1`) are left out.

use std::collections::BTreeSet;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use serde_json::Value;

const FIXTURE: &str = include_str!("../fixtures/api.json");

/// Packages of our own, and the standard ones we import.
const NOT_OF_ETCD: [&str; 3] = ["checkpointpb", "grpc.health.v1", "google.protobuf"];

type Lines = BTreeSet<String>;

#[test]
fn proto_sources_are_the_api_of_etcd() {
    let expected = fixture_lines();
    let actual = source_lines();
    let missing: Vec<_> = expected.difference(&actual).collect();
    let surplus: Vec<_> = actual.difference(&expected).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nnot in etcd: {surplus:#?}");
    assert!(expected.len() > 600, "the fixture has shrunk to {} facts", expected.len());
}

fn fixture_lines() -> Lines {
    let api: Value = serde_json::from_str(FIXTURE).unwrap();
    let mut lines = Lines::new();
    for (package, facts) in entries(&api).filter(|(name, _)| !name.starts_with('_')) {
        for (file, syntax) in entries(&facts["files"]) {
            lines.insert(format!("file {package}/{file} {}", str(syntax)));
        }
        for (name, message) in entries(&facts["messages"]) {
            fixture_message(&format!("{package}.{name}"), message, &mut lines);
        }
        for (name, values) in entries(&facts["enums"]) {
            for (value, number) in entries(&values["values"]) {
                lines.insert(format!("enum {package}.{name} {value} = {number}"));
            }
        }
        for (_, service) in entries(&facts["services"]) {
            fixture_methods(service, &mut lines);
        }
        for extension in facts["extensions"].as_array().into_iter().flatten() {
            let [extendee, name, kind] = ["extendee", "name", "type"].map(|key| str(&extension[key]));
            lines.insert(format!("extension {extendee} {kind} {name} = {}", extension["num"]));
        }
    }
    lines
}

fn fixture_message(name: &str, message: &Value, lines: &mut Lines) {
    lines.insert(format!("message {name}"));
    for field in message["fields"].as_array().unwrap() {
        let flag = |key: &str| field[key].as_bool().unwrap_or_default();
        let proto_name = str(&field["name"]);
        lines.insert(field_line(
            name,
            &Field {
                name: proto_name,
                number: field["num"].as_i64().unwrap(),
                kind: str(&field["type"]),
                label: if flag("repeated") {
                    "repeated"
                } else {
                    field["label"].as_str().unwrap_or_default()
                },
                packed: field["packed"].as_bool(),
                oneof: field["oneof"].as_str(),
                json: field["json"].as_str().unwrap_or(proto_name),
            },
        ));
    }
    for range in message["reserved"]["numbers"].as_array().into_iter().flatten() {
        lines.insert(format!("reserved {name} {} to {}", range[0], range[1]));
    }
    for reserved in message["reserved"]["names"].as_array().into_iter().flatten() {
        lines.insert(format!("reserved {name} {}", str(reserved)));
    }
}

fn fixture_methods(service: &Value, lines: &mut Lines) {
    for (method, facts) in entries(&service["methods"]) {
        lines.insert(method_line(
            &format!("{}/{method}", str(&service["full_name"])),
            (facts["client_streaming"].as_bool().unwrap(), str(&facts["request"])),
            (facts["server_streaming"].as_bool().unwrap(), str(&facts["response"])),
        ));
    }
}

fn source_lines() -> Lines {
    let mut lines = Lines::new();
    for file in crate::gen_proto::compile().unwrap().file {
        if !NOT_OF_ETCD.contains(&file.package()) {
            source_file(&file, &mut lines);
        }
    }
    lines
}

fn source_file(file: &FileDescriptorProto, lines: &mut Lines) {
    let package = file.package();
    // A descriptor leaves the syntax out if it is proto2.
    let syntax = file.syntax.as_deref().unwrap_or("proto2");
    lines.insert(format!("file {} {syntax}", file.name()));
    for message in &file.message_type {
        source_message(package, message, syntax == "proto2", lines);
    }
    for values in &file.enum_type {
        source_enum(package, values, lines);
    }
    for service in &file.service {
        for method in &service.method {
            lines.insert(method_line(
                &format!("{package}.{}/{}", service.name(), method.name()),
                (method.client_streaming(), unrooted(method.input_type())),
                (method.server_streaming(), unrooted(method.output_type())),
            ));
        }
    }
    for extension in &file.extension {
        let (extendee, kind) = (unrooted(extension.extendee()), kind(extension));
        lines.insert(format!("extension {extendee} {kind} {} = {}", extension.name(), extension.number()));
    }
}

fn source_message(scope: &str, message: &DescriptorProto, is_proto2: bool, lines: &mut Lines) {
    let name = format!("{scope}.{}", message.name());
    lines.insert(format!("message {name}"));
    for field in &message.field {
        let oneof = field.oneof_index.map(|index| message.oneof_decl[index as usize].name());
        lines.insert(field_line(
            &name,
            &Field {
                name: field.name(),
                number: field.number().into(),
                kind: &kind(field),
                label: label(field, is_proto2),
                packed: packed(field, is_proto2),
                oneof,
                json: field.json_name(),
            },
        ));
    }
    for range in &message.reserved_range {
        // A descriptor's ranges exclude their end.
        lines.insert(format!("reserved {name} {} to {}", range.start(), range.end() - 1));
    }
    for reserved in &message.reserved_name {
        lines.insert(format!("reserved {name} {reserved}"));
    }
    for nested in &message.nested_type {
        source_message(&name, nested, is_proto2, lines);
    }
    for values in &message.enum_type {
        source_enum(&name, values, lines);
    }
}

fn source_enum(scope: &str, values: &EnumDescriptorProto, lines: &mut Lines) {
    for value in &values.value {
        lines.insert(format!("enum {scope}.{} {} = {}", values.name(), value.name(), value.number()));
    }
}

/// The message or enum a field refers to, or its scalar type as written in a `.proto` file.
fn kind(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => unrooted(field.type_name()).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn label(field: &FieldDescriptorProto, is_proto2: bool) -> &'static str {
    match field.label() {
        Label::Repeated => "repeated",
        Label::Required => "required",
        Label::Optional if is_proto2 || field.proto3_optional() => "optional",
        Label::Optional => "",
    }
}

/// Whether a repeated number is packed; `None` where packing is impossible.
fn packed(field: &FieldDescriptorProto, is_proto2: bool) -> Option<bool> {
    let packable = !matches!(field.r#type(), Type::Message | Type::Group | Type::String | Type::Bytes);
    let asked = field.options.as_ref().and_then(|options| options.packed);
    (packable && field.label() == Label::Repeated).then(|| asked.unwrap_or(!is_proto2))
}

struct Field<'a> {
    name: &'a str,
    number: i64,
    kind: &'a str,
    label: &'a str,
    packed: Option<bool>,
    oneof: Option<&'a str>,
    json: &'a str,
}

fn field_line(message: &str, field: &Field<'_>) -> String {
    let Field { name, number, kind, label, packed, oneof, json } = field;
    let (packed, oneof) = (packed.map_or("n/a".to_owned(), |p| p.to_string()), oneof.unwrap_or("none"));
    format!("field {message} {label} {kind} {name} = {number} packed={packed} oneof={oneof} json={json}")
}

fn method_line(path: &str, request: (bool, &str), response: (bool, &str)) -> String {
    let message =
        |(streaming, name): (bool, &str)| format!("{}{name}", if streaming { "stream " } else { "" });
    format!("method {path}({}) returns {}", message(request), message(response))
}

fn unrooted(type_name: &str) -> &str {
    type_name.trim_start_matches('.')
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap()
}
