//! The target [`fuzz::bolt`] as a libFuzzer program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::bolt(data));
