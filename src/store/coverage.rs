//! What was asked for and completely answered, and what of it holds nothing.

use super::connections::Reader;
use super::error::StoreError;
use crate::model::{ConversationId, SequenceRange};
use crate::sync::HoleReason;

/// Positions that hold nothing though they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoleRow {
    /// Where.
    pub conversation: ConversationId,
    /// Which positions.
    pub range: SequenceRange,
    /// Why.
    pub reason: HoleReason,
}

impl Reader<'_> {
    /// Returns what is still to be fetched, of one conversation or of all, rising in each.
    pub fn gaps(&self, only: Option<ConversationId>) -> Result<Vec<(ConversationId, SequenceRange)>, StoreError> {
        todo!()
    }

    /// Returns the holes, of one conversation or of all, rising in each.
    pub fn holes(&self, only: Option<ConversationId>) -> Result<Vec<HoleRow>, StoreError> {
        todo!()
    }
}
