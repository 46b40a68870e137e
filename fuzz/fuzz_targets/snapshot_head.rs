//! The target [`fuzz::snapshot_head`] as a libFuzzer program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::snapshot_head(data));
