//! SETTINGS: what the client asks of us, and what we announce (RFC 9113, §6.5).

use crate::error::{Code, Fault};
use crate::flow::{WINDOW_DEFAULT, WINDOW_MAX};
use crate::frame::{self, Head};
use crate::hpack::TABLE_LEN_MAX;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Bytes of one setting: a name and a value.
const SETTING_LEN: usize = 6;

/// Bounds of the longest payload of a frame that a peer may choose.
const FRAME_LEN_MIN: u32 = 1 << 14;
const FRAME_LEN_MAX: u32 = (1 << 24) - 1;

/// The settings of the client that matter to a server without push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSettings {
    /// What each new stream may be sent at first.
    pub(crate) initial_window: u32,
    /// Longest payload of a frame.
    pub(crate) frame_len_max: u32,
    /// Whether the table of our encoder has ever been made smaller than it is without a word.
    pub(crate) has_lowered_table: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        PeerSettings {
            initial_window: WINDOW_DEFAULT,
            frame_len_max: FRAME_LEN_MIN,
            has_lowered_table: false,
        }
    }
}

impl PeerSettings {
    /// Takes a SETTINGS payload. Unknown settings are ignored; of several equal ones the last holds.
    pub(crate) fn update(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let (settings, []) = payload.as_chunks::<SETTING_LEN>() else {
            return Err(Fault::connection(Code::FrameSizeError, "SETTINGS of a broken length"));
        };
        for [a, b, value @ ..] in settings {
            self.set(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        match name {
            HEADER_TABLE_SIZE => self.has_lowered_table |= (value as usize) < TABLE_LEN_MAX,
            ENABLE_PUSH if value > 1 => return Err(Fault::protocol("ENABLE_PUSH is neither 0 nor 1")),
            INITIAL_WINDOW_SIZE if value > WINDOW_MAX => {
                return Err(Fault::connection(Code::FlowControlError, "INITIAL_WINDOW_SIZE too large"));
            }
            INITIAL_WINDOW_SIZE => self.initial_window = value,
            MAX_FRAME_SIZE if !(FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&value) => {
                return Err(Fault::protocol("MAX_FRAME_SIZE out of range"));
            }
            MAX_FRAME_SIZE => self.frame_len_max = value,
            _ => {}
        }
        Ok(())
    }
}

/// Appends our SETTINGS. What is not said has the value that the protocol begins with.
pub(crate) fn put(concurrent_streams_max: u32, stream_window: u32, header_list_max: u32, out: &mut Vec<u8>) {
    let settings = [
        (MAX_CONCURRENT_STREAMS, concurrent_streams_max),
        (INITIAL_WINDOW_SIZE, stream_window),
        (MAX_HEADER_LIST_SIZE, header_list_max),
    ];
    // The largest number is what no setting at all means.
    let settings = settings.into_iter().filter(|(_, value)| *value != u32::MAX);
    let len = SETTING_LEN * settings.clone().count();
    Head { len, kind: frame::SETTINGS, flags: 0, stream: 0 }.put(out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(settings: &[(u16, u32)]) -> Result<PeerSettings, Fault> {
        let bytes = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let mut peer = PeerSettings::default();
        peer.update(&settings.iter().flat_map(bytes).collect::<Vec<_>>())?;
        Ok(peer)
    }

    fn code(settings: &[(u16, u32)]) -> Option<Code> {
        match update(settings) {
            Err(Fault::Connection(error)) => Some(error.code),
            _ => None,
        }
    }

    #[test]
    fn last_value_holds_and_unknown_names_are_ignored() {
        let peer = update(&[(4, 1), (4, 7), (5, 20_000), (0xabcd, 5), (1, 4096)]).unwrap();
        assert_eq!(peer, PeerSettings { initial_window: 7, frame_len_max: 20_000, has_lowered_table: false });
        assert!(update(&[(1, 0), (1, 4096)]).unwrap().has_lowered_table);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(code(&[(2, 2)]), Some(Code::ProtocolError));
        assert_eq!(code(&[(4, 1 << 31)]), Some(Code::FlowControlError));
        assert_eq!(code(&[(5, 16_383)]), Some(Code::ProtocolError));
        assert_eq!(code(&[(5, 1 << 24)]), Some(Code::ProtocolError));
        let Err(Fault::Connection(error)) = PeerSettings::default().update(&[0; 7]) else { panic!() };
        assert_eq!(error.code, Code::FrameSizeError);
    }
}
