//! What the headers of a request say about the call, or why they are refused.
//!
//! A refusal is an answer without a message. Where the headers are no gRPC at all its HTTP status says so too,
//! for proxies and browsers; codes and texts are those of grpc-go.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use super::deadline::parse_timeout;
use super::frame::Encoding;
use super::status::{Code, Status};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How the content type of every gRPC request begins.
const GRPC_CONTENT_TYPE: &[u8] = b"application/grpc";

/// The part of the headers that the call layer itself acts on.
#[derive(Debug)]
pub(super) struct Preamble {
    pub(super) deadline: Option<Instant>,
    pub(super) encoding: Encoding,
}

/// An answer to a request that never becomes a call.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) http: StatusCode,
    pub(super) status: Status,
}

impl Preamble {
    /// Checks content type, method, timeout and encoding, in this order.
    pub(super) fn read(parts: &Parts) -> Result<Preamble, Refusal> {
        check_content_type(&parts.headers)?;
        if parts.method != Method::POST {
            let message = format!(
                "Received a HEADERS frame with :method {:?} which should be POST",
                parts.method.as_str()
            );
            return Err(Refusal { http: StatusCode::METHOD_NOT_ALLOWED, status: Status::internal(message) });
        }
        Ok(Preamble { deadline: deadline(&parts.headers)?, encoding: encoding(&parts.headers)? })
    }
}

/// `application/grpc`, alone or followed by `+` or `;` and anything.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if let Some((start, rest)) = value.split_at_checked(GRPC_CONTENT_TYPE.len())
        && start.eq_ignore_ascii_case(GRPC_CONTENT_TYPE)
        && matches!(rest.first(), None | Some(b'+' | b';'))
    {
        return Ok(());
    }
    let message = format!("invalid gRPC request content-type {:?}", String::from_utf8_lossy(value));
    let status = Status::new(Code::InvalidArgument, message);
    Err(Refusal { http: StatusCode::UNSUPPORTED_MEDIA_TYPE, status })
}

fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, Refusal> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    match parse_timeout(&String::from_utf8_lossy(value.as_bytes())) {
        Ok(timeout) => Ok(Some(Instant::now() + timeout)),
        Err(error) => {
            let status = Status::internal(format!("malformed grpc-timeout: {error}"));
            Err(Refusal { http: StatusCode::BAD_REQUEST, status })
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(Encoding::Identity),
        Some(b"gzip") => Ok(Encoding::Gzip),
        Some(other) => {
            let name = String::from_utf8_lossy(other);
            let message = format!("grpc: Decompressor is not installed for grpc-encoding {name:?}");
            Err(Refusal { http: StatusCode::OK, status: Status::unimplemented(message) })
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(method: &str, headers: &[(&str, &str)]) -> Result<Preamble, Refusal> {
        let mut request = Request::builder().method(method).uri("/s/m");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Preamble::read(&request.body(()).unwrap().into_parts().0)
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
            assert_eq!(refusal.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(refusal.status.message, format!("invalid gRPC request content-type {value:?}"));
        }
    }

    #[test]
    fn only_post_is_a_call() {
        let refusal = read("GET", &[("content-type", "application/grpc")]).unwrap_err();
        assert_eq!(refusal.http, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn timeout_and_encoding_are_read() {
        let content_type = ("content-type", "application/grpc");
        let preamble = read("POST", &[content_type, ("grpc-timeout", "1S"), ("grpc-encoding", "gzip")]);
        let preamble = preamble.unwrap();
        assert!(preamble.deadline.is_some());
        assert_eq!(preamble.encoding, Encoding::Gzip);

        let refusal = read("POST", &[content_type, ("grpc-timeout", "1x")]).unwrap_err();
        assert_eq!(refusal.http, StatusCode::BAD_REQUEST);
        let refusal = read("POST", &[content_type, ("grpc-encoding", "snappy")]).unwrap_err();
        assert_eq!(refusal.status.code, Code::Unimplemented);
    }
}
