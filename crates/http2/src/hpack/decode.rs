//! The decoder of header blocks.
//!
//! Strings are copied out of the block, so that a field kept for long does not keep a read buffer alive.

use bytes::Bytes;

use super::table::{Field, Table};
use super::{TABLE_LEN_MAX, huffman};

/// The block breaks RFC 7541: the state shared with the peer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// The receiving end of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// Scratch for Huffman strings.
    unpacked: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { table: Table::new(TABLE_LEN_MAX), unpacked: Vec::new() }
    }
}

impl Decoder {
    /// Decodes a whole block, appending its fields to `fields`. False if they are longer than
    /// `list_len_max`, counted with 32 bytes of overhead each: then only the first of them are there.
    pub fn decode(
        &mut self,
        block: &[u8],
        list_len_max: usize,
        fields: &mut Vec<Field>,
    ) -> Result<bool, Corrupt> {
        let mut rest = self.resize(block)?;
        let mut list_len = 0;
        while !rest.is_empty() {
            let field = self.field(&mut rest)?;
            list_len += field.len();
            if list_len <= list_len_max {
                fields.push(field);
            }
        }
        Ok(list_len <= list_len_max)
    }

    /// As long as this number stays, equal blocks decode to equal fields.
    pub fn n_changes(&self) -> u64 {
        self.table.n_changes()
    }

    /// Takes the size updates that a block may begin with.
    fn resize<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], Corrupt> {
        let mut rest = block;
        while let [first, ..] = rest
            && first & 0xe0 == 0x20
        {
            let len_max = integer(&mut rest, 5)?;
            if len_max > TABLE_LEN_MAX {
                return Err(Corrupt);
            }
            self.table.resize(len_max);
        }
        Ok(rest)
    }

    fn field(&mut self, rest: &mut &[u8]) -> Result<Field, Corrupt> {
        let first = rest[0];
        if first & 0x80 != 0 {
            let index = integer(rest, 7)?;
            return self.table.field(index).ok_or(Corrupt);
        }
        let (is_indexed, prefix_len) = match first {
            0x40.. => (true, 6),
            // A size update after the first field.
            0x20..=0x3f => return Err(Corrupt),
            _ => (false, 4),
        };
        let name = match integer(rest, prefix_len)? {
            0 => self.string(rest)?,
            index => self.table.field(index).ok_or(Corrupt)?.name,
        };
        let field = Field { name, value: self.string(rest)? };
        if is_indexed {
            self.table.insert(field.clone());
        }
        Ok(field)
    }

    fn string(&mut self, rest: &mut &[u8]) -> Result<Bytes, Corrupt> {
        let is_huffman = rest.first().ok_or(Corrupt)? & 0x80 != 0;
        let len = integer(rest, 7)?;
        let (string, after) = rest.split_at_checked(len).ok_or(Corrupt)?;
        *rest = after;
        if !is_huffman {
            return Ok(Bytes::copy_from_slice(string));
        }
        self.unpacked.clear();
        huffman::decode(string, &mut self.unpacked).ok_or(Corrupt)?;
        let string = Bytes::copy_from_slice(&self.unpacked);
        self.unpacked.shrink_to(UNPACKED_CAPACITY_MAX);
        Ok(string)
    }
}

/// Scratch memory kept between strings.
const UNPACKED_CAPACITY_MAX: usize = 256;

/// An integer whose first bits share a byte with flags (RFC 7541, §5.1). What does not fit 28 bits more than
/// the prefix is longer than any limit of ours.
fn integer(rest: &mut &[u8], prefix_len: u32) -> Result<usize, Corrupt> {
    let mut next = || {
        let (byte, after) = rest.split_first().ok_or(Corrupt)?;
        *rest = after;
        Ok::<usize, Corrupt>((*byte).into())
    };
    let prefix_max = (1 << prefix_len) - 1;
    let mut value = next()? & prefix_max;
    if value < prefix_max {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Corrupt> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = Vec::new();
        assert!(decoder.decode(block, 1000, &mut fields)?);
        Ok(fields.iter().map(|field| (text(&field.name), text(&field.value))).collect())
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.split_whitespace().collect::<String>().into_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn fields(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn requests_of_the_rfc_are_decoded() {
        // RFC 7541, C.4: three requests on one connection, Huffman coded.
        let mut decoder = Decoder::default();
        let first =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        let block = hex("828684418cf1e3c2e5f23a6ba0ab90f4ff");
        assert_eq!(decode(&mut decoder, &block), Ok(fields(&first)));
        let second = [&first[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(decode(&mut decoder, &hex("828684be5886a8eb10649cbf")), Ok(fields(&second)));
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        let block = hex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf");
        assert_eq!(decode(&mut decoder, &block), Ok(fields(&third)));
    }

    #[test]
    fn literal_without_indexing_changes_nothing() {
        let mut decoder = Decoder::default();
        let block = hex("040c 2f73 616d 706c 652f 7061 7468");
        assert_eq!(decode(&mut decoder, &block), Ok(fields(&[(":path", "/sample/path")])));
        assert_eq!(decoder.n_changes(), 0);
        let secret = hex("1008 7061 7373 776f 7264 0673 6563 7265 74");
        assert_eq!(decode(&mut decoder, &secret), Ok(fields(&[("password", "secret")])));
        assert_eq!(decoder.n_changes(), 0);
    }

    #[test]
    fn corrupt_blocks_are_refused() {
        for (block, why) in [
            ("80", "index zero"),
            ("be", "an index beyond the table"),
            ("7f ff ff ff ff 0f", "an endless integer"),
            ("44 05 2f", "a string cut short"),
            ("44", "no value"),
            ("82 20", "a size update behind a field"),
            ("3f e2 1f", "a table larger than announced"),
            ("44 81 ff", "padding for a string"),
        ] {
            assert_eq!(decode(&mut Decoder::default(), &hex(block)), Err(Corrupt), "{why}");
        }
    }

    #[test]
    fn table_is_resized_at_the_start_of_a_block() {
        let mut decoder = Decoder::default();
        decode(&mut decoder, &hex("4001 6101 31")).unwrap();
        assert_eq!(decode(&mut decoder, &hex("be")), Ok(fields(&[("a", "1")])));
        assert_eq!(decode(&mut decoder, &hex("20 3f e1 1f be")), Err(Corrupt), "emptied");
    }

    #[test]
    fn long_list_is_cut_and_the_table_stays_in_step() {
        let mut decoder = Decoder::default();
        let block = hex("4001 6101 31 4001 6201 32");
        let mut fields = Vec::new();
        assert_eq!(decoder.decode(&block, 40, &mut fields), Ok(false));
        assert_eq!(fields.len(), 1);
        assert_eq!(decode(&mut decoder, &hex("be bf")).unwrap()[0].0, "b");
    }
}
