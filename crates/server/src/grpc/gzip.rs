//! gzip, the one `grpc-encoding` besides identity.
//!
//! Decompression stops at the limit for a message, so a small frame cannot become a big buffer.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::status::{Code, Status};

/// Unpacks a message of at most `len_max` bytes.
pub(super) fn decompress(packed: &[u8], len_max: usize) -> Result<Bytes, Status> {
    let mut message = Vec::new();
    let read = MultiGzDecoder::new(packed).take(len_max as u64 + 1).read_to_end(&mut message);
    read.map_err(|error| {
        Status::internal(format!("grpc: failed to decompress the received message: {error}"))
    })?;
    if message.len() > len_max {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!("grpc: received message after decompression larger than max {len_max}"),
        ));
    }
    Ok(Bytes::from(message))
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

/// A Vec takes any bytes, so that nobody gets to see this.
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
    fn garbage_is_refused() {
        assert_eq!(decompress(b"not gzip at all", 100).unwrap_err().code, Code::Internal);
    }
}
