//! gzip, the one `grpc-encoding` besides identity.
//!
//! Decompression stops at the limit for a message, so a small frame cannot become a big buffer.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::status::{Code, Status};

/// Parts that a compressed message may have, each compressed by itself (RFC 1952, §2.2). Clients send one;
/// each costs some microseconds, however little is in it.
const PARTS_MAX: usize = 64;

/// Unpacks a message of at most `len_max` bytes.
pub(super) fn decompress(packed: &[u8], len_max: usize) -> Result<Bytes, Status> {
    let mut message = Vec::new();
    let mut rest = packed;
    for _ in 0..PARTS_MAX {
        let mut decoder = GzDecoder::new(rest);
        let left = len_max.saturating_add(1).saturating_sub(message.len());
        decoder.by_ref().take(left as u64).read_to_end(&mut message).map_err(|e| corrupt(&e.to_string()))?;
        if message.len() > len_max {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!("grpc: received message after decompression larger than max {len_max}"),
            ));
        }
        rest = decoder.into_inner();
        if rest.is_empty() {
            return Ok(Bytes::from(message));
        }
    }
    Err(corrupt("too many parts"))
}

fn corrupt(why: &str) -> Status {
    Status::internal(format!("grpc: failed to decompress the received message: {why}"))
}

/// Packs a message piece by piece.
#[derive(Debug)]
pub(super) struct Compressor(GzEncoder<Vec<u8>>);

impl Compressor {
    pub(super) fn new() -> Compressor {
        Compressor(GzEncoder::new(Vec::new(), Compression::fast()))
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Status> {
        self.0.write_all(piece).map_err(|error| failed(&error))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Status> {
        self.0.finish().map_err(|error| failed(&error))
    }
}

/// Does not happen: a Vec takes any bytes.
fn failed(error: &io::Error) -> Status {
    Status::internal(format!("grpc: error while compressing: {error}"))
}

/// Packs a message given in pieces.
pub(super) fn compress<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Status> {
    let mut compressor = Compressor::new();
    pieces.try_for_each(|piece| compressor.push(piece))?;
    compressor.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_whole() {
        let packed = compress([&b"ab"[..], b"", b"c"].into_iter()).unwrap();
        assert_eq!(decompress(&packed, 3).unwrap(), b"abc"[..]);
    }

    #[test]
    fn bomb_is_refused_at_the_limit() {
        let packed = compress([&vec![0; 1 << 20][..]].into_iter()).unwrap();
        assert!(packed.len() < 8192);
        let status = decompress(&packed, 4096).unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        assert_eq!(status.message, "grpc: received message after decompression larger than max 4096");
    }

    #[test]
    fn message_in_parts_is_read_and_one_of_too_many_is_refused() {
        let part = compress([&b"ab"[..]].into_iter()).unwrap();
        assert_eq!(decompress(&part.repeat(3), 6).unwrap(), b"ababab"[..]);
        assert_eq!(decompress(&part.repeat(3), 5).unwrap_err().code, Code::ResourceExhausted);
        assert!(decompress(&part.repeat(PARTS_MAX), 1000).is_ok());
        assert_eq!(decompress(&part.repeat(PARTS_MAX + 1), 1000).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn garbage_is_refused() {
        let packed = compress([&b"ab"[..]].into_iter()).unwrap();
        assert_eq!(decompress(&packed[..packed.len() - 1], 100).unwrap_err().code, Code::Internal);
        assert_eq!(decompress(b"", 100).unwrap_err().code, Code::Internal);
        assert_eq!(decompress(b"not gzip at all", 100).unwrap_err().code, Code::Internal);
    }
}
