//! What a process that does not sync asks of the one that does.

use super::{ClientToken, Intent, Timestamp};

/// Something that a process which only follows wants done. Durable and in order before the process that syncs
/// learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The entry it is about, which may be new.
    pub token: ClientToken,
    /// What is to happen to it.
    pub kind: WishKind,
    /// When it was made, by the clock of the machine.
    pub wished_at: Timestamp,
}

/// What is to happen to an entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WishKind {
    /// It is to be made, for this.
    Submit(Intent),
    /// It is to be taken back, if it has not left.
    Cancel,
    /// It was refused, and is to be tried again.
    Retry,
}

/// What the process that syncs made of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WishAnswer {
    /// It is on its way, as this entry: its own, or the one it was merged into.
    Accepted(ClientToken),
    /// It is done, with nothing on its way.
    Done,
    /// It came too late.
    Refused,
}
