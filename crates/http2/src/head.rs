//! The head of a request: its header fields, checked (RFC 9113, §8.2 and §8.3).

use bytes::Bytes;

use crate::hpack::Field;

/// What a request asks for. Shared by all requests of a connection whose headers are the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `:method`.
    pub method: Bytes,
    /// `:path`; empty in a CONNECT.
    pub path: Bytes,
    /// `:authority`, or empty.
    pub authority: Bytes,
    /// All other fields, in order.
    pub fields: Vec<Field>,
    /// `content-length`: the bytes of all DATA together.
    pub(crate) content_len: Option<u64>,
}

/// The fields make no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Head {
    /// The value of the first field of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    pub(crate) fn new(list: Vec<Field>) -> Result<Head, Malformed> {
        let mut head = Head { fields: Vec::with_capacity(list.len()), ..Head::default() };
        let mut scheme = Bytes::new();
        for Field { name, value } in list {
            let Some(pseudo) = name.strip_prefix(b":") else {
                head.add(Field { name, value })?;
                continue;
            };
            let place = match pseudo {
                b"method" => &mut head.method,
                b"path" => &mut head.path,
                b"authority" => &mut head.authority,
                b"scheme" => &mut scheme,
                _ => return Err(Malformed),
            };
            // Once each, before all others, and not empty.
            if !head.fields.is_empty() || !place.is_empty() || value.is_empty() || !is_value(&value) {
                return Err(Malformed);
            }
            *place = value;
        }
        head.check_complete(&scheme)?;
        Ok(head)
    }

    fn add(&mut self, field: Field) -> Result<(), Malformed> {
        check(&field)?;
        if field.name == "content-length" {
            let is_number = !field.value.is_empty() && field.value.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(&field.value).map_err(|_| Malformed)?;
            let len = text.parse().ok().filter(|_| is_number).ok_or(Malformed)?;
            if self.content_len.replace(len).is_some_and(|other| other != len) {
                return Err(Malformed);
            }
        }
        self.fields.push(field);
        Ok(())
    }

    fn check_complete(&self, scheme: &Bytes) -> Result<(), Malformed> {
        let is_complete = match &self.method[..] {
            b"" => false,
            b"CONNECT" => scheme.is_empty() && self.path.is_empty() && !self.authority.is_empty(),
            _ => !scheme.is_empty() && (self.path.starts_with(b"/") || self.path == "*"),
        };
        if is_complete { Ok(()) } else { Err(Malformed) }
    }
}

/// Checks the fields of a trailer section, which may hold anything but pseudo fields.
pub(crate) fn check_trailers(fields: &[Field]) -> Result<(), Malformed> {
    fields.iter().try_for_each(check)
}

/// Whether a field may be in HTTP/2: a name in lower case that is not about an HTTP/1 connection.
fn check(Field { name, value }: &Field) -> Result<(), Malformed> {
    let is_allowed = match &name[..] {
        b"" | b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            false
        }
        b"te" => value == "trailers",
        name => name.iter().all(|byte| is_name_byte(*byte)),
    };
    if is_allowed && is_value(value) { Ok(()) } else { Err(Malformed) }
}

/// The characters of a token without upper case (RFC 9110, §5.6.2).
fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'^'
        | b'`' | b'|' | b'~')
}

/// No line ends, no zero bytes, no space around it.
fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'))
        && !is_space(value.first())
        && !is_space(value.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "http"), (":path", "/s/m"), (":authority", "here")];

    fn fields(list: &[(&'static str, &'static str)]) -> Vec<Field> {
        list.iter().map(|(name, value)| Field { name: (*name).into(), value: (*value).into() }).collect()
    }

    fn with(list: &[(&'static str, &'static str)]) -> Result<Head, Malformed> {
        Head::new(fields(&[&REQUEST[..], list].concat()))
    }

    #[test]
    fn request_is_taken_apart() {
        let head = with(&[("te", "trailers"), ("content-length", "12"), ("x", "1"), ("x", "2")]).unwrap();
        assert_eq!((&head.method[..], &head.path[..]), (&b"POST"[..], &b"/s/m"[..]));
        assert_eq!(head.authority, "here");
        assert_eq!(head.content_len, Some(12));
        assert_eq!(head.get("x").unwrap(), "1");
        assert_eq!(head.get("y"), None);
    }

    #[test]
    fn fields_that_http2_forbids_make_it_malformed() {
        for field in [
            ("Upper", "1"),
            ("", "1"),
            ("sp ace", "1"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("te", "gzip"),
            ("x", "a\r\nb"),
            ("x", "\0"),
            ("x", " padded"),
            ("content-length", "-1"),
            ("content-length", ""),
            (":path", "/twice"),
            (":unknown", "x"),
            (":status", "200"),
        ] {
            assert_eq!(with(&[field]), Err(Malformed), "{field:?}");
        }
        assert_eq!(with(&[("content-length", "1"), ("content-length", "2")]), Err(Malformed));
        let late = [&[("x", "1")], &REQUEST[..]].concat();
        assert_eq!(Head::new(fields(&late)), Err(Malformed), "pseudo fields come first");
    }

    #[test]
    fn method_scheme_and_path_are_due() {
        for missing in [":method", ":scheme", ":path"] {
            let list: Vec<_> = REQUEST.into_iter().filter(|(name, _)| *name != missing).collect();
            assert_eq!(Head::new(fields(&list)), Err(Malformed), "without {missing}");
        }
        for path in ["", "relative"] {
            let list = [(":method", "POST"), (":scheme", "http"), (":path", path)];
            assert_eq!(Head::new(fields(&list)), Err(Malformed), "{path:?}");
        }
        assert!(Head::new(fields(&[(":method", "CONNECT"), (":authority", "there")])).is_ok());
        assert!(Head::new(fields(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*")])).is_ok());
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        assert_eq!(check_trailers(&fields(&[("x", "1")])), Ok(()));
        assert_eq!(check_trailers(&fields(&[(":path", "/")])), Err(Malformed));
    }
}
