//! What the headers of a request say to the call layer, or why they are refused.
//!
//! A refusal is an answer without a message. Where the headers are no gRPC at all its HTTP status says so
//! too, for proxies and browsers; codes and texts are those of grpc-go.

use std::time::Duration;

use http2::{Connection, Head, StreamId, hpack};

use super::deadline::parse_timeout;
use super::frame::Encoding;
use super::link::Traffic;
use super::quote::quote;
use super::status::{self, Code, Status};

/// How the content type of every gRPC request begins.
const GRPC_CONTENT_TYPE: &[u8] = b"application/grpc";

/// The part of the headers that the call layer itself acts on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preamble {
    /// How long the client waits for the end of the call.
    pub(super) timeout: Option<Duration>,
    pub(super) encoding: Encoding,
}

/// An answer to a request that never becomes a call.
#[derive(Debug)]
pub(super) struct Refusal {
    http: u16,
    status: Status,
}

impl Refusal {
    /// Sends the answer, which says what we could have understood.
    pub(super) fn send(self, connection: &mut Connection<Traffic>, id: StreamId) {
        let mut block = status::whole_answer(self.http, &Err(self.status));
        hpack::encode([("grpc-accept-encoding", &b"gzip"[..])], &mut block);
        connection.send_end(id, &block);
    }
}

impl Preamble {
    /// Checks content type, timeout, method and encoding, in this order, which is grpc-go's.
    pub(super) fn read(head: &Head) -> Result<Preamble, Refusal> {
        check_content_type(head)?;
        let timeout = timeout(head)?;
        if head.method != "POST" {
            let method = quote(&head.method);
            let message = format!("Received a HEADERS frame with :method {method} which should be POST");
            return Err(Refusal { http: 405, status: Status::internal(message) });
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Refusal { http: 200, status: Status::deadline_exceeded() });
        }
        Ok(Preamble { timeout, encoding: encoding(head)? })
    }
}

/// `application/grpc`, alone or followed by `+` or `;` and anything.
fn check_content_type(head: &Head) -> Result<(), Refusal> {
    let value = head.get("content-type").map_or(&b""[..], |value| value);
    if let Some((start, rest)) = value.split_at_checked(GRPC_CONTENT_TYPE.len())
        && start.eq_ignore_ascii_case(GRPC_CONTENT_TYPE)
        && matches!(rest.first(), None | Some(b'+' | b';'))
    {
        return Ok(());
    }
    let message = format!("invalid gRPC request content-type {}", quote(value));
    Err(Refusal { http: 415, status: Status::new(Code::InvalidArgument, message) })
}

fn timeout(head: &Head) -> Result<Option<Duration>, Refusal> {
    let Some(value) = head.get("grpc-timeout") else { return Ok(None) };
    match parse_timeout(value) {
        Ok(timeout) => Ok(Some(timeout)),
        Err(error) => {
            let status = Status::internal(format!("malformed grpc-timeout: {error}"));
            Err(Refusal { http: 400, status })
        }
    }
}

fn encoding(head: &Head) -> Result<Encoding, Refusal> {
    match head.get("grpc-encoding").map(|value| &value[..]) {
        None | Some(b"" | b"identity") => Ok(Encoding::Identity),
        Some(b"gzip") => Ok(Encoding::Gzip),
        Some(other) => {
            let message = format!("grpc: Decompressor is not installed for grpc-encoding {}", quote(other));
            Err(Refusal { http: 200, status: Status::unimplemented(message) })
        }
    }
}

#[cfg(test)]
mod tests {
    use http2::hpack::Field;

    use crate::grpc::quote::QUOTED_LEN_MAX;

    use super::*;

    fn read(method: &'static str, headers: &[(&'static str, &'static str)]) -> Result<Preamble, Refusal> {
        let field = |(name, value): &(&'static str, &'static str)| Field {
            name: (*name).into(),
            value: (*value).into(),
        };
        let mut head = Head::default();
        head.method = method.into();
        head.fields = headers.iter().map(field).collect();
        Preamble::read(&head)
    }

    #[test]
    fn content_types_of_grpc_are_accepted() {
        for value in ["application/grpc", "application/grpc+proto", "Application/gRPC;charset=x"] {
            assert!(read("POST", &[("content-type", value)]).is_ok(), "{value}");
        }
    }

    #[test]
    fn other_content_types_are_415() {
        for value in ["application/json", "application/grpcx", "application/grp", ""] {
            let refusal = read("POST", &[("content-type", value)]).unwrap_err();
            assert_eq!(refusal.http, 415);
            assert_eq!(refusal.status.message, format!("invalid gRPC request content-type {value:?}"));
        }
    }

    #[test]
    fn a_refusal_repeats_no_more_than_the_beginning_of_a_header() {
        let long: &'static str = "x".repeat(60_000).leak();
        let content_type = ("content-type", "application/grpc");
        for refusal in [
            read("POST", &[("content-type", long)]),
            read(long, &[content_type]),
            read("POST", &[content_type, ("grpc-timeout", long)]),
            read("POST", &[content_type, ("grpc-encoding", long)]),
        ] {
            let message = refusal.unwrap_err().status.message;
            assert!(message.len() < QUOTED_LEN_MAX + 100, "{message}");
        }
    }

    #[test]
    fn only_post_is_a_call() {
        let refusal = read("GET", &[("content-type", "application/grpc")]).unwrap_err();
        assert_eq!(refusal.http, 405);
    }

    #[test]
    fn timeout_and_encoding_are_read() {
        let content_type = ("content-type", "application/grpc");
        let preamble = read("POST", &[content_type, ("grpc-timeout", "1S"), ("grpc-encoding", "gzip")]);
        let preamble = preamble.unwrap();
        assert_eq!(preamble.timeout, Some(Duration::from_secs(1)));
        assert_eq!(preamble.encoding, Encoding::Gzip);

        let refusal = read("POST", &[content_type, ("grpc-timeout", "0n")]).unwrap_err();
        assert_eq!((refusal.http, refusal.status), (200, Status::deadline_exceeded()));

        let refusal = read("GET", &[content_type, ("grpc-timeout", "1x")]).unwrap_err();
        assert_eq!(refusal.http, 400);
        let refusal = read("POST", &[content_type, ("grpc-encoding", "snappy")]).unwrap_err();
        assert_eq!(refusal.status.code, Code::Unimplemented);
    }
}
