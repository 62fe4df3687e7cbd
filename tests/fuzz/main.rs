//! A short run of the fuzz targets in every build: seeded, so that what it finds is found again.
//!
//! `ROUNDS=1000000 cargo test --release --test fuzz` runs longer; `cargo +stable fuzz run …` in `fuzz/` looks for new
//! ways through the code (see `docs/PROOFS.md`). An input that once made a target fail becomes a test of its own here.
#![expect(clippy::wildcard_enum_match_arm, reason = "a core's outputs are performed as far as frames need it")]

mod targets;

use fastrand::Rng;
use std::path::Path;

fn rounds(normal: u64) -> u64 {
    std::env::var("ROUNDS").map_or(normal, |text| text.parse().expect("a number"))
}

/// Every captured frame of one direction.
fn frames(direction: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frames");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let captured = files.iter().map(|file| std::fs::read_to_string(file).expect("text"));
    let exchanges = captured.filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let frames: Vec<Vec<u8>> = exchanges
        .flat_map(|exchange| exchange[direction].as_array().cloned().unwrap_or_default())
        .map(|frame| frame.to_string().into_bytes())
        .collect();
    assert!(frames.len() > 20, "there are captured frames");
    frames
}

/// Changes an input as a fuzzer does: bits, bytes, pieces of others, numbers that lie at borders.
fn mutate(rng: &mut Rng, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    const NUMBERS: &[&str] =
        &["0", "-1", "4294967295", "4294967296", "9223372036854775808", "1e400", "null", "\"\"", "{}"];
    for _ in 0..rng.u32(1..6) {
        let length = input.len();
        if length == 0 {
            return input.push(rng.u8(..));
        }
        let at = rng.usize(0..length);
        match rng.u32(0..6) {
            0 => input[at] ^= 1 << rng.u32(0..8),
            1 => input[at] = rng.u8(..),
            2 => input.truncate(at),
            3 => {
                let other = &others[rng.usize(0..others.len())];
                let from = rng.usize(0..other.len());
                input.splice(at..at, other[from..].iter().copied());
            }
            4 => {
                let number = NUMBERS[rng.usize(0..NUMBERS.len())];
                let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                input.splice(at..at + digits, number.bytes());
            }
            _ => {
                let end = rng.usize(at..=length.min(at + 40));
                input.drain(at..end);
            }
        }
    }
}

/// S-5: any bytes from a client are understood or refused.
#[test]
fn any_frame_of_a_client_is_understood_or_refused() {
    let (frames, mut rng) = (frames("client_to_server"), Rng::with_seed(1));
    for _ in 0..rounds(4_000) {
        let mut input = frames[rng.usize(0..frames.len())].clone();
        mutate(&mut rng, &mut input, &frames);
        targets::client_frame(&input);
    }
}

/// S-5, N10: any frames of a server, true or not, leave a core that goes on.
#[test]
fn any_frames_of_a_server_leave_a_core_that_goes_on() {
    let (frames, mut rng) = (frames("server_to_client"), Rng::with_seed(2));
    for _ in 0..rounds(400) {
        let mut input = Vec::new();
        for _ in 0..rng.u32(1..12) {
            let mut frame = frames[rng.usize(0..frames.len())].clone();
            if rng.bool() {
                mutate(&mut rng, &mut frame, &frames);
            }
            input.extend(frame.into_iter().filter(|byte| *byte != b'\n'));
            input.push(b'\n');
        }
        targets::server_frames(&input);
    }
}

/// S-6: any value in any column of any table is read or refused.
#[test]
fn any_row_is_read_or_refused() {
    let (frames, mut rng) = (frames("server_to_client"), Rng::with_seed(3));
    let scratch = tempfile::tempdir().expect("a folder");
    for _ in 0..rounds(150) {
        let mut input = vec![rng.u8(..)];
        if rng.bool() {
            input.extend_from_slice(&frames[rng.usize(0..frames.len())]);
            mutate(&mut rng, &mut input, &frames);
        } else {
            input.extend((0..rng.usize(0..40)).map(|_| rng.u8(..)));
        }
        targets::stored_row(&input, scratch.path());
    }
}

/// S-6, D-9: any bytes in a file are read or refused.
#[test]
fn any_file_is_read_or_refused() {
    let mut rng = Rng::with_seed(4);
    let scratch = tempfile::tempdir().expect("a folder");
    for _ in 0..rounds(150) {
        let length = if rng.u32(0..10) == 0 { 2 } else { 4 * rng.usize(1..60) };
        let input: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        targets::store_file(&input, scratch.path());
    }
}
