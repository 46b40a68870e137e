//! Bytes of a stream that have arrived and are not decoded yet.
//!
//! Parts are taken off its front without copying: a decoded entry shares the memory that it arrived in.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::DecodeError;

/// What has arrived. The caller takes all that is complete before it adds more, so that at most one message and
/// one read are held.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBuffer {
    bytes: BytesMut,
}

impl ReceiveBuffer {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next byte, if it has arrived.
    pub(crate) fn take_u8(&mut self) -> Option<u8> {
        self.bytes.try_get_u8().ok()
    }

    /// The next number, if all its eight bytes have arrived.
    pub(crate) fn take_u64(&mut self) -> Option<u64> {
        self.bytes.try_get_u64().ok()
    }

    /// The next `len` bytes, if all have arrived.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.bytes.len()).then(|| self.bytes.split_to(len).freeze())
    }

    /// Everything that is left.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }
}

/// A length that a peer has announced, if it is within `limit`.
pub(crate) fn checked_len(len: u64, limit: u64) -> Result<usize, DecodeError> {
    let too_long = DecodeError::TooLong { len, limit };
    if len > limit { Err(too_long) } else { usize::try_from(len).map_err(|_| too_long) }
}
