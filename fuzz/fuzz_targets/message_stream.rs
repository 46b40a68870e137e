//! The target [`fuzz::message_stream`] as a libFuzzer program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::message_stream(data));
