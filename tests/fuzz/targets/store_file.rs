//! Files of which any byte may be another.

use super::small_store::{self, Image, Scratch, live_with};

/// A file of the first released version.
const V1: &[u8] = include_bytes!("../../fixtures/stores/v1.db");

/// Takes bytes from the front; `None` when too few are left.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = bytes.split_at_checked(count)?;
    *bytes = left;
    Some(taken)
}

/// Changes a file as the bytes say; `None` when they have no more to say.
///
/// An edit is what, where (three bytes) and how much: 0 flips bits, 1 overwrites, 2 cuts off, 3 copies from elsewhere.
fn edit(image: &mut Image, bytes: &mut &[u8]) -> Option<()> {
    let [what, low, middle, high, count] = *take(bytes, 5)? else { return None };
    let file = if what & 0x80 == 0 || image.log.is_empty() { &mut image.main } else { &mut image.log };
    if file.is_empty() {
        return None;
    }
    let at = u32::from_le_bytes([low, middle, high, 0]) as usize % file.len();
    match what & 3 {
        0 => file[at] ^= count,
        1 => {
            let new = take(bytes, count.into())?;
            let end = file.len().min(at + new.len());
            file[at..end].copy_from_slice(&new[..end - at]);
        }
        2 => file.truncate(at),
        _ => {
            let [low, middle, high] = *take(bytes, 3)? else { return None };
            let from = u32::from_le_bytes([low, middle, high, 0]) as usize % file.len();
            let length = (usize::from(count) * 16).min(file.len() - at).min(file.len() - from);
            file.copy_within(from..from + length, at);
        }
    }
    Some(())
}

/// S-6: any bytes in a file: an error or an answer, no panic and no endless loop.
///
/// The first byte says which file is edited; 255 takes the rest for the file itself.
pub fn store_file(bytes: &[u8]) {
    let Some((which, mut edits)) = bytes.split_first() else { return };
    let mut image = match which {
        255 => Image { main: edits.to_vec(), log: Vec::new() },
        which => match which % 3 {
            0 => small_store::image().clone(),
            1 => small_store::image_with_log().clone(),
            _ => Image { main: V1.to_vec(), log: Vec::new() },
        },
    };
    if *which != 255 {
        while edit(&mut image, &mut edits).is_some() {}
    }
    Scratch::with(|scratch| live_with(scratch.place(&image)));
}
