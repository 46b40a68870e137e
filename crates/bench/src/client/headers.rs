//! The header blocks of calls: those sent, which repeat themselves, and those received, of which the status
//! counts.
//!
//! The fields of a request go into the server's table the first time, as gRPC's own clients do it; from then on
//! a call is a few indexes, the same for each call of a method. What is received is decoded only if it differs
//! from what said "all is well" the last time.

use http2::hpack::{self, Corrupt, Decoder, Field, TABLE_LEN_MAX};

use crate::error::Error;

/// Bytes that the fields of one header list may have.
const LIST_LEN_MAX: usize = 1 << 20;

/// What an entry of the table counts beside its bytes.
const ENTRY_OVERHEAD: usize = 32;

/// The headers of a method's calls on one connection.
#[derive(Clone, Copy)]
pub(crate) struct Head(usize);

/// The sending side.
pub(super) struct Requests {
    authority: String,
    methods: Vec<Method>,
    /// What the server's table holds, the oldest first.
    table: Vec<Entry>,
}

struct Method {
    path: String,
    /// A block that adds nothing to the table, and the length of the table at which it holds.
    known: Option<(usize, Vec<u8>)>,
}

/// A field of a request.
type Entry = (&'static str, String);

impl Requests {
    pub(super) fn new(authority: &str) -> Self {
        Self { authority: authority.to_owned(), methods: Vec::new(), table: Vec::new() }
    }

    /// The head of calls to `path`.
    pub(super) fn head(&mut self, path: &str) -> Head {
        let known = self.methods.iter().position(|method| method.path == path);
        Head(known.unwrap_or_else(|| {
            self.methods.push(Method { path: path.to_owned(), known: None });
            self.methods.len() - 1
        }))
    }

    /// Appends the block of the next call.
    pub(super) fn put(&mut self, head: Head, out: &mut Vec<u8>) {
        let table_len = self.table.len();
        match &self.methods[head.0].known {
            Some((len, block)) if *len == table_len => out.extend_from_slice(block),
            _ => {
                let block = self.encode(head);
                out.extend_from_slice(&block);
                if self.table.len() == table_len {
                    self.methods[head.0].known = Some((table_len, block));
                }
            }
        }
    }

    fn encode(&mut self, head: Head) -> Vec<u8> {
        let fields = [
            (":path", self.methods[head.0].path.clone()),
            (":authority", self.authority.clone()),
            ("content-type", "application/grpc".to_owned()),
            ("te", "trailers".to_owned()),
        ];
        let mut block = Vec::new();
        hpack::encode([(":method", &b"POST"[..]), (":scheme", &b"http"[..])], &mut block);
        for field in fields {
            match self.table.iter().rev().position(|entry| *entry == field) {
                Some(newer) => hpack::encode_newer(newer, &mut block),
                None => {
                    hpack::encode_entry(field.0, field.1.as_bytes(), &mut block);
                    self.table.push(field);
                }
            }
        }
        let size = |(name, value): &Entry| ENTRY_OVERHEAD + name.len() + value.len();
        assert!(
            self.table.iter().map(size).sum::<usize>() <= TABLE_LEN_MAX,
            "the methods are few, their names short"
        );
        block
    }
}

/// The receiving side.
#[derive(Default)]
pub(super) struct Answers {
    decoder: Decoder,
    fields: Vec<Field>,
    /// The last good block, of those that begin an answer and of those that end it, and the state of the
    /// decoder's table in which it is good.
    good: [Option<(u64, Vec<u8>)>; 2],
}

impl Answers {
    /// Reads the block that begins or, if `is_end`, ends an answer.
    ///
    /// # Errors
    /// What the server says is wrong; [`Error::Http2`] if nothing more can be understood on this connection.
    pub(super) fn read(&mut self, block: &[u8], is_end: bool) -> Result<(), Error> {
        let n_changes = self.decoder.n_changes();
        let good = &self.good[usize::from(is_end)];
        if good.as_ref().is_some_and(|(changes, good)| *changes == n_changes && good == block) {
            return Ok(());
        }
        self.fields.clear();
        let complete = self.decoder.decode(block, LIST_LEN_MAX, &mut self.fields);
        if !complete.map_err(|Corrupt| Error::Http2("the server sent a corrupt header block".to_owned()))? {
            return Err(Error::Answer(format!("more than {LIST_LEN_MAX} bytes of headers")));
        }
        self.check(is_end)?;
        if self.decoder.n_changes() == n_changes {
            self.good[usize::from(is_end)] = Some((n_changes, block.to_vec()));
        }
        Ok(())
    }

    fn check(&self, is_end: bool) -> Result<(), Error> {
        if let Some(status) = self.text(":status").filter(|status| status != "200") {
            return Err(Error::Answer(format!("HTTP status {status} in place of gRPC")));
        }
        if !is_end {
            return Ok(());
        }
        // A missing status counts as unknown, as gRPC has it.
        match self.text("grpc-status").and_then(|code| code.parse().ok()).unwrap_or(2) {
            0 => Ok(()),
            code => Err(Error::Status { code, message: self.text("grpc-message").unwrap_or_default() }),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        Some(String::from_utf8_lossy(&field.value).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        assert_eq!(decoder.decode(block, LIST_LEN_MAX, &mut fields), Ok(true));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.iter().map(|field| (text(&field.name), text(&field.value))).collect()
    }

    #[test]
    fn methods_may_alternate_and_settle_on_a_few_bytes() {
        let (mut requests, mut decoder) = (Requests::new("localhost:1"), Decoder::default());
        let heads = ["/a", "/b", "/a"].map(|path| requests.head(path));
        let mut lens = Vec::new();
        for head in [heads[0], heads[1], heads[2], heads[1], heads[1]] {
            let mut block = Vec::new();
            requests.put(head, &mut block);
            let path = ["/a", "/b"][head.0].to_owned();
            let rest =
                [(":authority", "localhost:1"), ("content-type", "application/grpc"), ("te", "trailers")];
            let expected =
                [(":method", "POST"), (":scheme", "http"), (":path", &path)].into_iter().chain(rest);
            assert!(
                decode(&mut decoder, &block)
                    .into_iter()
                    .eq(expected.map(|(n, v)| (n.to_owned(), v.to_owned())))
            );
            lens.push(block.len());
        }
        assert_eq!(lens[2..], [6, 6, 6]);
    }

    #[test]
    fn an_endless_name_is_sent_whole() {
        let (mut requests, mut block) = (Requests::new(&"host.".repeat(50)), Vec::new());
        let head = requests.head("/a");
        requests.put(head, &mut block);
        assert_eq!(decode(&mut Decoder::default(), &block)[3].1.len(), 250);
    }

    /// Reads a block of plain literals, none of which enters the table.
    fn read(answers: &mut Answers, fields: &[(&str, &str)], is_end: bool) -> Result<(), String> {
        let mut block = Vec::new();
        hpack::encode(fields.iter().map(|(name, value)| (*name, value.as_bytes())), &mut block);
        answers.read(&block, is_end).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_ends_well_only_with_status_0() {
        let mut answers = Answers::default();
        for _ in 0..2 {
            assert_eq!(read(&mut answers, &[(":status", "200")], false), Ok(()));
            assert_eq!(read(&mut answers, &[("grpc-status", "0")], true), Ok(()));
            let refused = [("grpc-status", "11"), ("grpc-message", "said the server")];
            let text = "the server refused with gRPC code 11: said the server".to_owned();
            assert_eq!(read(&mut answers, &refused, true), Err(text));
            for unknown in [&[][..], &[("grpc-status", "x")], &[(":status", "200")]] {
                let error = read(&mut answers, unknown, true).unwrap_err();
                assert!(error.starts_with("the server refused with gRPC code 2"), "{error}");
            }
            let text = "wrong answer: HTTP status 404 in place of gRPC".to_owned();
            assert_eq!(read(&mut answers, &[(":status", "404")], false), Err(text));
        }
    }

    #[test]
    fn the_same_bytes_are_read_anew_when_the_table_has_changed() {
        let mut answers = Answers::default();
        for status in ["0", "1"] {
            let mut entry = Vec::new();
            hpack::encode_entry("grpc-status", status.as_bytes(), &mut entry);
            let mut newest = Vec::new();
            hpack::encode_newer(0, &mut newest);
            for block in [&entry, &newest, &newest] {
                assert_eq!(answers.read(block, true).is_ok(), status == "0");
            }
        }
    }
}
