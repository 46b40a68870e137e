//! The messages of etcd's API by reflection: their descriptors and their JSON.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;

/// The files that hold services.
const FILES: [&str; 4] = [
    "etcdserverpb/rpc.proto",
    "grpc/health/v1/health.proto",
    "v3electionpb/v3election.proto",
    "v3lockpb/v3lock.proto",
];

/// The messages of etcd's API.
pub(crate) struct Messages {
    pool: DescriptorPool,
}

impl Messages {
    pub(crate) fn load() -> Messages {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto");
        let files = protox::compile(FILES.map(|file| root.join(file)), [&root]).unwrap();
        Messages { pool: DescriptorPool::from_file_descriptor_set(files).unwrap() }
    }

    /// Every method of every service.
    pub(crate) fn methods(&self) -> Vec<MethodDescriptor> {
        self.pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
    }

    /// Request and response of a method.
    fn of(&self, method: &str) -> (MessageDescriptor, MessageDescriptor) {
        let (service, name) = method.trim_start_matches('/').split_once('/').unwrap();
        let service = self.pool.get_service_by_name(service).unwrap();
        let method = service.methods().find(|method| method.name() == name).unwrap();
        (method.input(), method.output())
    }

    /// An encoded request from its JSON.
    pub(crate) fn request(&self, method: &str, json: &Value) -> Vec<u8> {
        DynamicMessage::deserialize(self.of(method).0, json).unwrap().encode_to_vec()
    }

    /// The JSON of an encoded request.
    pub(crate) fn request_json(&self, method: &str, request: &[u8]) -> Value {
        to_json(&DynamicMessage::decode(self.of(method).0, request).unwrap())
    }

    /// The JSON of a response, without the identifiers of the member.
    pub(crate) fn answer(&self, method: &str, bytes: &Bytes) -> Value {
        let mut json = to_json(&DynamicMessage::decode(self.of(method).1, bytes.clone()).unwrap());
        forget_member(&mut json);
        json
    }

    /// Writes out what the recording abbreviates: `@rep:BYTE:COUNT`.
    pub(crate) fn expand(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.repeat(text).unwrap_or_else(|| value.clone()),
            Value::Array(items) => items.iter().map(|item| self.expand(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.expand(value))).collect()
            }
            other => other.clone(),
        }
    }

    fn repeat(&self, text: &str) -> Option<Value> {
        let (byte, count) = text.strip_prefix("@rep:")?.split_once(':')?;
        let bytes = vec![byte.parse().unwrap(); count.parse().unwrap()];
        let mut message = DynamicMessage::new(self.pool.get_message_by_name("mvccpb.KeyValue").unwrap());
        message.set_field_by_name("value", prost_reflect::Value::Bytes(bytes.into()));
        Some(to_json(&message)["value"].take())
    }
}

fn to_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// Takes the identifiers of the member and its cluster out of a response's header, or out of that of the range in it.
fn forget_member(response: &mut Value) {
    for place in ["/header", "/range_response/header"] {
        if let Some(header) = response.pointer_mut(place).and_then(Value::as_object_mut) {
            header.remove("cluster_id");
            header.remove("member_id");
        }
    }
}
