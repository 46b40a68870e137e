//! The target [`fuzz::append_stream`] as a libFuzzer program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::append_stream(data));
