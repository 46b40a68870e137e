//! The formats in which Go writes values. Scripts rely on them.

mod duration;
mod number;
mod quote;
mod size;

use std::fmt::Write;

pub(crate) use duration::{format_duration, parse_duration};
pub(crate) use number::{parse_bool, parse_int, parse_member_id};
pub(crate) use quote::{quote, quote_list, unquote};
pub(crate) use size::humanize;

/// The text of bytes, with bytes that are not UTF-8 replaced.
pub(crate) fn lossy(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

/// Each byte as `\xHH`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").expect("a string takes anything");
        text
    })
}
