//! What a process that does not sync asks of the one that does.

use super::{ClientToken, Intent, OutboxEntry, OutboxState, RequestId, Timestamp};

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

impl Wish {
    /// Returns the entry that a wish for one will become, at this position; `None` for a wish about one there is.
    pub fn entry(self, position: u64) -> Option<OutboxEntry> {
        match self.kind {
            WishKind::Submit(intent) => Some(OutboxEntry {
                token: self.token,
                position,
                intent,
                state: OutboxState::Queued,
                // Replaced when it is taken over; nothing leaves under this one.
                request: RequestId::from_uuid(*self.token.as_uuid()),
                attempts: 0,
                queued_at: self.wished_at,
                settlement: None,
                error: None,
            }),
            WishKind::Cancel | WishKind::Retry => None,
        }
    }
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
