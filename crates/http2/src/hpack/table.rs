//! The static and the dynamic table of header fields (RFC 7541, §2.3 and Appendix A).

use std::collections::VecDeque;

use bytes::Bytes;

/// A header field: name and value, as the peer wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name; valid requests have it in lower case.
    pub name: Bytes,
    /// The value: any bytes.
    pub value: Bytes,
}

impl Field {
    /// Its size as the limits of both RFCs count it.
    pub(crate) fn len(&self) -> usize {
        self.name.len() + self.value.len() + FIELD_OVERHEAD
    }
}

/// What a field counts beside its bytes.
pub(crate) const FIELD_OVERHEAD: usize = 32;

/// Fields with an index for good, from 1 on.
#[rustfmt::skip]
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
    ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""),
    ("content-length", ""), ("content-location", ""), ("content-range", ""), ("content-type", ""),
    ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
    ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""),
    ("retry-after", ""), ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""),
    ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Both tables under one index.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    dynamic: VecDeque<Field>,
    len: usize,
    len_max: usize,
    n_changes: u64,
}

impl Table {
    pub(super) fn new(len_max: usize) -> Table {
        Table { dynamic: VecDeque::new(), len: 0, len_max, n_changes: 0 }
    }

    /// How often the dynamic table has changed: as long as it has not, an index means the same.
    pub(super) fn n_changes(&self) -> u64 {
        self.n_changes
    }

    /// The field of an index from 1 on.
    pub(super) fn field(&self, index: usize) -> Option<Field> {
        match STATIC.get(index.checked_sub(1)?) {
            Some((name, value)) => Some(Field {
                name: Bytes::from_static(name.as_bytes()),
                value: Bytes::from_static(value.as_bytes()),
            }),
            None => self.dynamic.get(index - 1 - STATIC.len()).cloned(),
        }
    }

    /// Makes room by dropping the oldest, then adds; a field larger than the table leaves it empty.
    pub(super) fn insert(&mut self, field: Field) {
        self.n_changes += 1;
        let len = field.len();
        self.shrink(self.len_max.saturating_sub(len));
        if len <= self.len_max {
            self.len += len;
            self.dynamic.push_front(field);
        }
    }

    pub(super) fn resize(&mut self, len_max: usize) {
        self.n_changes += 1;
        self.len_max = len_max;
        self.shrink(len_max);
    }

    fn shrink(&mut self, len_max: usize) {
        while self.len > len_max
            && let Some(dropped) = self.dynamic.pop_back()
        {
            self.len -= dropped.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: &'static str) -> Field {
        Field { name: name.into(), value: value.into() }
    }

    #[test]
    fn static_fields_have_the_numbers_of_the_rfc() {
        let table = Table::new(100);
        assert_eq!(table.field(0), None);
        assert_eq!(table.field(2), Some(field(":method", "GET")));
        assert_eq!(table.field(8), Some(field(":status", "200")));
        assert_eq!(table.field(31), Some(field("content-type", "")));
        assert_eq!(table.field(61), Some(field("www-authenticate", "")));
        assert_eq!(table.field(62), None);
    }

    #[test]
    fn oldest_field_makes_room() {
        let mut table = Table::new(2 * (32 + 2));
        for name in ["a", "b", "c"] {
            table.insert(field(name, "1"));
        }
        assert_eq!(table.field(62), Some(field("c", "1")));
        assert_eq!(table.field(63), Some(field("b", "1")));
        assert_eq!(table.field(64), None);
        table.resize(34);
        assert_eq!(table.field(63), None);
    }

    #[test]
    fn field_larger_than_the_table_empties_it() {
        let mut table = Table::new(40);
        table.insert(field("a", "1"));
        table.insert(field("long-name", "1"));
        assert_eq!(table.field(62), None);
        assert_eq!(table.len, 0);
    }
}
