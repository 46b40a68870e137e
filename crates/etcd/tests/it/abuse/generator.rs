//! Random calls of every method of the API, made from its descriptors: valid requests full of boundary
//! values, and requests broken on their way.
//!
//! Everything comes from a seed. Names repeat, so that requests meet: the same keys, leases, watches,
//! members.

use fastrand::Rng;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};
use proto::etcdserverpb::{CompactionRequest, MemberAddRequest};

use crate::messages::Messages;

const COMPACT: &str = "/etcdserverpb.KV/Compact";
const MEMBER_ADD: &str = "/etcdserverpb.Cluster/MemberAdd";
const TXN: &str = "/etcdserverpb.KV/Txn";
/// Messages within messages, at most, of those made field by field.
const DEPTH_MAX: usize = 4;
/// Transactions within transactions, at most: more than decoders take. Half of them are about as many as
/// they do.
const NESTING_MAX: usize = 200;
const NESTING_TAKEN: std::ops::Range<usize> = 44..52;
/// More elements than a list of operations may have.
const LONG_LIST: usize = 130;
/// How often a method of those that programs use most is drawn more than another.
const COMMON_WEIGHT: usize = 5;
/// Keys that requests meet at.
const KEYS: usize = 300;
/// A value that the server takes and one that it does not, in bytes.
const BIG_VALUES: [usize; 2] = [300_000, 1_600_000];

/// One call to be made.
pub(super) struct Call {
    pub(super) path: String,
    /// Of the answer.
    pub(super) answer: MessageDescriptor,
    /// Whether either side sends a stream.
    pub(super) is_stream: bool,
    /// Encoded requests; one unless the client sends a stream.
    pub(super) requests: Vec<Vec<u8>>,
    /// Whether the client says that it has nothing more to send.
    pub(super) is_half_closed: bool,
}

/// The source of calls.
pub(super) struct Generator {
    random: Rng,
    methods: Vec<MethodDescriptor>,
    /// The newest revision that everybody may know of: older ones may be compacted.
    revision: i64,
}

impl Generator {
    pub(super) fn new(messages: &Messages, seed: u64) -> Generator {
        let mut methods = messages.methods();
        // What changes the store is asked more often than what does not exist.
        let is_common = |m: &&MethodDescriptor| matches!(m.parent_service().name(), "KV" | "Lease" | "Watch");
        let common: Vec<_> = methods.iter().filter(is_common).cloned().collect();
        methods.extend(common.iter().cycle().take(COMMON_WEIGHT * common.len()).cloned());
        Generator { random: Rng::with_seed(seed), methods, revision: 1 }
    }

    /// The next call. Requests speak of revisions about `revision`, and compact none that is newer.
    pub(super) fn call(&mut self, revision: i64) -> Call {
        self.revision = revision;
        let method = self.methods[self.random.usize(..self.methods.len())].clone();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let n_requests = if method.is_client_streaming() { self.random.usize(..6) } else { 1 };
        Call {
            requests: (0..n_requests).map(|_| self.request(&path, &method.input())).collect(),
            path,
            answer: method.output(),
            is_stream: method.is_client_streaming() || method.is_server_streaming(),
            is_half_closed: !method.is_client_streaming() || self.one_in(2),
        }
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.random.usize(..n)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.random.usize(..n) == 0
    }

    fn request(&mut self, path: &str, descriptor: &MessageDescriptor) -> Vec<u8> {
        loop {
            let mut bytes = self.message(descriptor, 0).encode_to_vec();
            if path == TXN && self.one_in(50) {
                bytes = self.nest(bytes);
            }
            let bytes = self.spoil(bytes);
            let is_harmful = match path {
                COMPACT => self.compacts_news(&bytes),
                MEMBER_ADD => adds_voter(&bytes),
                _ => false,
            };
            if !is_harmful {
                return bytes;
            }
        }
    }

    /// Whether this would take history from those who have not seen it.
    fn compacts_news(&self, bytes: &[u8]) -> bool {
        let news = self.revision + 1..i64::MAX / 2;
        CompactionRequest::decode(bytes).is_ok_and(|request| news.contains(&request.revision))
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let is_too_deep = depth == DEPTH_MAX && matches!(field.kind(), Kind::Message(_));
            if is_too_deep || self.is_absent(&field) {
                continue;
            }
            let value = if field.is_list() { self.list(&field, depth) } else { self.value(&field, depth) };
            message.set_field(&field, value);
        }
        message
    }

    /// Mostly there is a key, and a choice of one thing rather than none; options and ranges are rare.
    fn is_absent(&mut self, field: &FieldDescriptor) -> bool {
        match field.name() {
            "key" | "value" | "ID" | "TTL" => self.one_in(10),
            "lease" | "range_end" => !self.one_in(5),
            _ if field.containing_oneof().is_some() => self.one_in(3),
            _ => !self.one_in(3),
        }
    }

    fn list(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let len = if depth == 0 && self.one_in(200) { LONG_LIST } else { self.random.usize(..4) };
        Value::List((0..len).map(|_| self.value(field, depth)).collect())
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        match field.kind() {
            Kind::Bool => Value::Bool(self.one_in(2)),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.integer() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.integer()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.integer() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.integer() as u64),
            Kind::Float => Value::F32(self.integer() as f32),
            Kind::Double => Value::F64(self.integer() as f64),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.bytes().into()),
            Kind::Message(descriptor) => Value::Message(self.message(&descriptor, depth + 1)),
            Kind::Enum(descriptor) => {
                let known = descriptor.values().nth(self.random.usize(..descriptor.values().len()));
                let number = known.expect("it is one of them").number();
                Value::EnumNumber(if self.one_in(4) { self.integer() as i32 } else { number })
            }
        }
    }

    fn integer(&mut self) -> i64 {
        match self.random.usize(..9) {
            0 => 0,
            1 => -1,
            2 => i64::MIN,
            3 => i64::MAX,
            4 | 5 => self.random.usize(..9) as i64,
            6 => self.revision,
            7 => self.revision - self.random.usize(..100) as i64,
            _ => (self.random.u64(..) >> self.random.usize(..64)) as i64,
        }
    }

    fn text(&mut self) -> String {
        match self.random.usize(..7) {
            0 => String::new(),
            1 => "3.6.0".to_owned(),
            2 => "http://127.0.0.1:1".to_owned(),
            3 => "\u{0}é\u{10ffff}".to_owned(),
            4 => "a".repeat(5000),
            _ => format!("name-{}", self.random.usize(..9)),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.random.usize(..32) {
            0 => Vec::new(),
            1 => vec![0],
            2 => vec![0xff; 1 + self.random.usize(..9)],
            3 | 4 => (0..self.random.usize(..64)).map(|_| self.random.u64(..) as u8).collect(),
            5 | 6 => vec![b'v'; self.random.usize(..5000)],
            7 if self.one_in(50) => vec![b'V'; BIG_VALUES[self.random.usize(..2)]],
            _ => format!("key/{}", self.random.usize(..KEYS)).into_bytes(),
        }
    }

    /// A transaction in a transaction, and so on.
    fn nest(&mut self, txn: Vec<u8>) -> Vec<u8> {
        let n = match self.one_in(2) {
            true => NESTING_TAKEN.start + self.random.usize(..NESTING_TAKEN.len()),
            false => self.random.usize(..NESTING_MAX),
        };
        (0..n).fold(txn, |txn, _| field(2, &field(4, &txn)))
    }

    /// Breaks two requests in five.
    fn spoil(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self.random.usize(..10) {
            0 => bytes.truncate(self.random.usize(..bytes.len() + 1)),
            1 => return (0..self.random.usize(..100)).map(|_| self.random.u64(..) as u8).collect(),
            2 | 3 if !bytes.is_empty() => {
                for _ in 0..=self.random.usize(..4) {
                    let at = self.random.usize(..bytes.len());
                    bytes[at] ^= 1 << self.random.usize(..8);
                }
            }
            _ => {}
        }
        bytes
    }
}

/// A field that holds a message.
fn field(number: u32, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 6);
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(message.len() as u64, &mut bytes);
    bytes.extend_from_slice(message);
    bytes
}

/// Whether this would add a voter. It is never started, so the cluster would have no majority.
fn adds_voter(bytes: &[u8]) -> bool {
    MemberAddRequest::decode(bytes).is_ok_and(|request| !request.is_learner && !request.peer_ur_ls.is_empty())
}
