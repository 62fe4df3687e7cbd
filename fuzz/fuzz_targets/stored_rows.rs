#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backscroll_fuzz::targets::stored_rows(bytes));
