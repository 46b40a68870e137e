//! The Huffman code of RFC 7541, Appendix B, which is canonical: the lengths of the codes say everything.
//!
//! The tables of the decoder are computed from the lengths at compile time. Codes of up to eight bits, which
//! are nearly all that headers use, take one look-up.

/// Bits of the code of each byte, then of the end-of-string symbol.
#[rustfmt::skip]
const CODE_LENS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const END_OF_STRING: u16 = 256;
const CODE_LEN_MAX: usize = 30;
/// Codes up to this many bits are found in one look-up.
const QUICK_LEN: usize = 8;

static CODE: Code = Code::new();

/// Appends the decoded string to `out`. `None` if `packed` is no string of the code: it holds the
/// end-of-string symbol, or its padding is not the beginning of one or longer than seven bits.
pub(crate) fn decode(packed: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut packed = packed.iter();
    // The unread bits stand at the top.
    let (mut bits, mut n_bits) = (0_u64, 0_usize);
    loop {
        while n_bits <= 56
            && let Some(byte) = packed.next()
        {
            bits |= u64::from(*byte) << (56 - n_bits);
            n_bits += 8;
        }
        // Ones behind the end read as padding does: as the beginning of the end-of-string symbol.
        let next = ((bits | u64::MAX.checked_shr(n_bits as u32).unwrap_or(0)) >> 32) as u32;
        let (symbol, len) = CODE.look_up(next);
        if len > n_bits {
            let is_padding = n_bits < 8 && next == u32::MAX;
            return is_padding.then_some(());
        }
        out.push(u8::try_from(symbol).ok()?);
        bits <<= len;
        n_bits -= len;
    }
}

/// A canonical code: symbols in order of code length, then value, have ascending codes.
struct Code {
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
    /// By length: the first code, and the place of its symbol.
    first: [(u32, u16); CODE_LEN_MAX + 1],
    /// By length: the end of its codes, aligned to the top of 33 bits.
    end: [u64; CODE_LEN_MAX + 1],
    /// By the first eight bits: symbol and length, or length zero for a longer code.
    quick: [(u16, u8); 1 << QUICK_LEN],
}

impl Code {
    const fn new() -> Code {
        let mut code = Code {
            symbols: [0; 257],
            first: [(0, 0); CODE_LEN_MAX + 1],
            end: [0; CODE_LEN_MAX + 1],
            quick: [(0, 0); 1 << QUICK_LEN],
        };
        let (mut place, mut next, mut len) = (0, 0_u32, 1);
        while len <= CODE_LEN_MAX {
            next <<= 1;
            code.first[len] = (next, place as u16);
            let mut symbol = 0;
            while symbol < CODE_LENS.len() {
                if CODE_LENS[symbol] as usize == len {
                    code.symbols[place] = symbol as u16;
                    code.enter_quick(symbol as u16, next, len);
                    place += 1;
                    next += 1;
                }
                symbol += 1;
            }
            code.end[len] = (next as u64) << (32 - len);
            len += 1;
        }
        code
    }

    const fn enter_quick(&mut self, symbol: u16, code: u32, len: usize) {
        if len > QUICK_LEN {
            return;
        }
        let shift = QUICK_LEN - len;
        let mut index = (code as usize) << shift;
        while index < (code as usize + 1) << shift {
            self.quick[index] = (symbol, len as u8);
            index += 1;
        }
    }

    /// The symbol whose code `bits` begin with, and the length of the code.
    fn look_up(&self, bits: u32) -> (u16, usize) {
        let (symbol, len) = self.quick[(bits >> (32 - QUICK_LEN)) as usize];
        if len > 0 {
            return (symbol, len.into());
        }
        let is_code = |len: &usize| u64::from(bits) < self.end[*len];
        let len = (QUICK_LEN + 1..CODE_LEN_MAX).find(is_code).unwrap_or(CODE_LEN_MAX);
        let (first, place) = self.first[len];
        let offset = (bits >> (32 - len)) - first;
        (self.symbols.get(usize::from(place) + offset as usize).copied().unwrap_or(END_OF_STRING), len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes by the definition: each symbol's code, then ones.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in text {
            let place = CODE.symbols.iter().position(|s| *s == u16::from(*byte)).unwrap();
            let len = usize::from(CODE_LENS[usize::from(*byte)]);
            let (first, first_place) = CODE.first[len];
            let code = first + (place - usize::from(first_place)) as u32;
            bits.push_str(&format!("{code:0len$b}"));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes = bits.as_bytes().chunks(8);
        bytes.map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap()).collect()
    }

    fn decoded(packed: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(packed, &mut out).map(|()| out)
    }

    #[test]
    fn examples_of_the_rfc_are_decoded() {
        // RFC 7541, C.4 and C.6.
        let packed = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&packed).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn every_byte_survives_in_every_place() {
        for byte in 0..=255 {
            for text in [vec![byte], vec![byte; 3], vec![b'a', byte], vec![byte, b'/', 0xff, byte]] {
                assert_eq!(decoded(&encode(&text)).as_ref(), Some(&text));
            }
        }
    }

    #[test]
    fn bad_padding_is_refused() {
        // "0" is five zeros, "a" is 00011.
        assert_eq!(decoded(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decoded(&[0b0000_0110]), None, "a zero in the padding");
        assert_eq!(decoded(&[0b0000_0111, 0xff]), None, "more than seven bits");
        assert_eq!(decoded(&[0xff]), None, "nothing but padding");
    }

    #[test]
    fn end_of_string_symbol_is_refused() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(decoded(&[0x07, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
