//! When two states are the same.

use crate::world::World;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

/// Returns a number that two worlds have in common when they differ in nothing but the names of ids and the state
/// of the dice.
///
/// Both are safe to leave out: ids are compared and never ordered by anything that is checked, and these worlds have
/// no delay left to chance. Sixty-four bits tell a million states apart with a chance of one in 40 million to err.
pub(crate) fn of(world: &World) -> u64 {
    let mut print = Fingerprint::default();
    write!(print, "{world:?}").expect("hashing does not fail");
    print.hasher.finish()
}

/// Hashes what `Debug` writes, with each id renamed to the order of its first appearance.
#[derive(Default)]
struct Fingerprint {
    hasher: DefaultHasher,
    ids: HashMap<String, usize>,
    in_dice: bool,
}

impl Write for Fingerprint {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.in_dice {
            self.in_dice = piece != ")";
        } else if piece == "Rng" {
            self.in_dice = true;
        } else if is_uuid(piece) {
            let next = self.ids.len();
            let id = *self.ids.entry(piece.to_owned()).or_insert(next);
            self.hasher.write_usize(id);
        } else {
            self.hasher.write(piece.as_bytes());
        }
        Ok(())
    }
}

fn is_uuid(piece: &str) -> bool {
    piece.len() == 36 && [8, 13, 18, 23].iter().all(|at| piece.as_bytes()[*at] == b'-')
}
