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

/// Packs a message given in pieces.
pub(super) fn compress<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written: io::Result<()> = pieces.into_iter().try_for_each(|piece| encoder.write_all(piece));
    written.and_then(|()| encoder.finish()).expect("a Vec takes any bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_whole() {
        let packed = compress([&b"ab"[..], b"", b"c"].into_iter());
        assert_eq!(decompress(&packed, 3).unwrap(), b"abc"[..]);
    }

    #[test]
    fn bomb_is_refused_at_the_limit() {
        let packed = compress([&vec![0; 1 << 20][..]].into_iter());
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
