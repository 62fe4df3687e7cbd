//! The targets of `tests/fuzzing`, for libFuzzer.

#[path = "../tests/fuzzing/targets/mod.rs"]
pub mod targets;
