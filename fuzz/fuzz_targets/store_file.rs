#![no_main]

#[path = "../../tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "each target is one of them")]
mod targets;

thread_local! {
    static SCRATCH: tempfile::TempDir = tempfile::tempdir().expect("a folder");
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| SCRATCH.with(|scratch| targets::store_file(bytes, scratch.path())));
