//! The words of the scripts: how a line becomes a request.
//!
//! A span of keys is written `a` (one key), `a..c` (from `a`, before `c`), `a..` (all from `a` on) or `..`
//! (all). `\0` is a zero byte, `""` nothing. Operations of a transaction are written as the commands of the
//! same name, parted by `;`.

use bytes::Bytes;
use proto::etcdserverpb::compare::TargetUnion;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use store::{KeyRange, Watch};

use crate::rig::watch;

/// The words of a line yet to be read.
pub(crate) struct Words {
    words: std::vec::IntoIter<String>,
}

impl Words {
    pub(crate) fn new(line: &str) -> Words {
        let mut spaced = line.to_owned();
        for mark in ["[", "]", "{", "}", ";", ","] {
            spaced = spaced.replace(mark, &format!(" {mark} "));
        }
        Words { words: spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter() }
    }

    pub(crate) fn next(&mut self) -> Option<String> {
        self.words.next()
    }

    pub(crate) fn number(&mut self) -> i64 {
        number(&self.next().expect("a number"))
    }

    fn peek(&self) -> Option<&str> {
        self.words.as_slice().first().map(String::as_str)
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(self.next().as_deref(), Some(word));
    }

    /// The next word, unless the operation ends here.
    fn option(&mut self) -> Option<(String, String)> {
        if matches!(self.peek(), None | Some(";" | "}")) {
            return None;
        }
        let word = self.next()?;
        Some(
            word.split_once('=').map_or((word.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned())),
        )
    }

    /// What stands behind `prefix` in the last word, if it begins so; the word is taken.
    fn split_off_last(&mut self, prefix: &str) -> Option<String> {
        let value = self.words.as_slice().last()?.strip_prefix(prefix)?.to_owned();
        self.words.next_back();
        Some(value)
    }

    fn span(&mut self) -> (Bytes, Bytes) {
        let word = self.next().expect("a span of keys");
        match word.split_once("..") {
            None => (bytes(&word), Bytes::new()),
            Some((key, end)) => (
                if key.is_empty() { Bytes::from_static(b"\0") } else { bytes(key) },
                if end.is_empty() { Bytes::from_static(b"\0") } else { bytes(end) },
            ),
        }
    }
}

pub(crate) fn put(words: &mut Words) -> PutRequest {
    let mut put = PutRequest { key: bytes(&words.next().expect("a key")), ..PutRequest::default() };
    while let Some((option, value)) = words.option() {
        match option.as_str() {
            "lease" => put.lease = number(&value),
            "ignore_value" => put.ignore_value = true,
            "ignore_lease" => put.ignore_lease = true,
            "prev" => put.prev_kv = true,
            _ => put.value = bytes(&option),
        }
    }
    put
}

pub(crate) fn delete(words: &mut Words) -> DeleteRangeRequest {
    let (key, range_end) = words.span();
    let prev_kv = words.option().is_some_and(|(option, _)| option == "prev");
    DeleteRangeRequest { key, range_end, prev_kv }
}

pub(crate) fn range(words: &mut Words) -> RangeRequest {
    let (key, range_end) = words.span();
    let mut range = RangeRequest { key, range_end, ..RangeRequest::default() };
    while let Some((option, value)) = words.option() {
        match option.as_str() {
            "rev" => range.revision = number(&value),
            "limit" => range.limit = number(&value),
            "order" => range.sort_order = named(&value, &["none", "asc", "desc"]),
            "by" => range.sort_target = named(&value, &["key", "version", "create", "mod", "value"]),
            "keys_only" => range.keys_only = true,
            "count_only" => range.count_only = true,
            "min_mod" => range.min_mod_revision = number(&value),
            "max_mod" => range.max_mod_revision = number(&value),
            "min_create" => range.min_create_revision = number(&value),
            "max_create" => range.max_create_revision = number(&value),
            _ => panic!("a range has no option {option}"),
        }
    }
    range
}

/// The same with the option `compact=REVISION` at the end.
pub(crate) fn range_and_compaction(words: &mut Words) -> (RangeRequest, Option<i64>) {
    let compact = words.split_off_last("compact=");
    (range(words), compact.map(|at| number(&at)))
}

/// `get KIND`, `raise KIND MEMBER`, `clear KIND MEMBER`.
pub(crate) fn alarm(words: &mut Words) -> AlarmRequest {
    let action = named(&words.next().expect("an action"), &["get", "raise", "clear"]);
    let alarm = named(&words.next().expect("a kind"), &["any", "nospace", "corrupt"]);
    let member_id = words.next().map_or(0, |id| number(&id).cast_unsigned());
    AlarmRequest { action, member_id, alarm }
}

/// `[ compare, … ] { op; … } else { op; … }`, the last part optional.
pub(crate) fn txn(words: &mut Words) -> TxnRequest {
    let mut txn = TxnRequest::default();
    words.expect("[");
    while words.peek() != Some("]") {
        txn.compare.push(compare(words));
        if words.peek() == Some(",") {
            words.next();
        }
    }
    words.expect("]");
    txn.success = ops(words);
    if words.peek() == Some("else") {
        words.next();
        txn.failure = ops(words);
    }
    txn
}

fn ops(words: &mut Words) -> Vec<RequestOp> {
    let mut ops = Vec::new();
    words.expect("{");
    loop {
        let request = match words.next().as_deref() {
            Some("}") => return ops,
            Some(";") => continue,
            Some("put") => Some(Op::RequestPut(put(words))),
            Some("del") => Some(Op::RequestDeleteRange(delete(words))),
            Some("range") => Some(Op::RequestRange(range(words))),
            Some("txn") => Some(Op::RequestTxn(txn(words))),
            Some("nothing") => None,
            other => panic!("no operation {other:?}"),
        };
        ops.push(RequestOp { request });
    }
}

/// `target(span) result operand`, the operand `unset` for none at all.
fn compare(words: &mut Words) -> Compare {
    let target_and_open = words.next().expect("a compare");
    let (target, span) = target_and_open.trim_end_matches(')').split_once('(').expect("target(keys)");
    let (key, range_end) = Words::new(span).span();
    let result = named(&words.next().expect("a result"), &["=", ">", "<", "!="]);
    let operand = words.next().expect("an operand");
    let target = named(target, &["version", "create", "mod", "value", "lease"]);
    let target_union = (operand != "unset").then(|| match target {
        0 => TargetUnion::Version(number(&operand)),
        1 => TargetUnion::CreateRevision(number(&operand)),
        2 => TargetUnion::ModRevision(number(&operand)),
        3 => TargetUnion::Value(bytes(&operand)),
        _ => TargetUnion::Lease(number(&operand)),
    });
    Compare { result, target, key, range_end, target_union }
}

pub(crate) fn watch_of(words: &mut Words) -> Watch {
    let (key, range_end) = words.span();
    let mut watch = watch(KeyRange::new(key, range_end));
    while let Some((option, value)) = words.option() {
        match option.as_str() {
            "id" => watch.id = number(&value),
            "from" => watch.start_revision = number(&value),
            "no_put" => watch.no_put = true,
            "no_delete" => watch.no_delete = true,
            "prev" => watch.prev_kv = true,
            _ => panic!("a watch has no option {option}"),
        }
    }
    watch
}

pub(crate) fn bytes(word: &str) -> Bytes {
    let word = if word == "\"\"" { "" } else { word };
    word.replace("\\0", "\0").into()
}

pub(crate) fn number(word: &str) -> i64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// The place of a name in the enumeration, or the number that stands for one outside of it.
fn named(word: &str, names: &[&str]) -> i32 {
    let place = names.iter().position(|name| *name == word);
    place.map_or_else(|| word.parse().unwrap_or_else(|_| panic!("{word} is none of {names:?}")), |i| i as i32)
}
