#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| blacksky::fuzz::noise(bytes));
