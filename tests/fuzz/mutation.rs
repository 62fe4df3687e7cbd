//! Inputs made of others.

use fastrand::Rng;

/// Bytes that stand where a frame or a row has its limits.
const PIECES: &[&[u8]] = &[
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e9",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"\"\"",
    b"[]",
    b"{}",
    b"{\"seq\":1}",
    b"\n",
    b"\nwait\n",
    b"\nlose\n",
    b"\nsend\n",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x80",
];

/// Returns one of the corpus with up to four changes.
pub(crate) fn mutate(corpus: &[Vec<u8>], dice: &mut Rng) -> Vec<u8> {
    let mut bytes = dice.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..dice.usize(1..=4) {
        let at = dice.usize(0..=bytes.len());
        let end = (at + dice.usize(1..=32)).min(bytes.len());
        match dice.u8(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.u8(0..8),
            1 if at < bytes.len() => bytes[at] = dice.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = dice.usize(0..=bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            4 => {
                let piece = dice.choice(PIECES).copied().unwrap_or_default();
                drop(bytes.splice(at..at, piece.iter().copied()));
            }
            // A number, a word or a string gives way to another.
            5 => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                let start = bytes[..at].iter().rposition(|byte| !is_word(byte)).map_or(0, |before| before + 1);
                let end = bytes[at..].iter().position(|byte| !is_word(byte)).map_or(bytes.len(), |after| at + after);
                let piece = dice.choice(PIECES).copied().unwrap_or_default();
                drop(bytes.splice(start..end, piece.iter().copied()));
            }
            6 => {
                let other = dice.choice(corpus).map(Vec::as_slice).unwrap_or_default();
                let from = dice.usize(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let other = dice.choice(corpus).map(Vec::as_slice).unwrap_or_default();
                bytes.push(b'\n');
                bytes.extend_from_slice(other);
            }
        }
    }
    bytes
}
