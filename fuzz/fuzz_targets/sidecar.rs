//! The target [`fuzz::sidecar`] as a libFuzzer program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::sidecar(data));
