//! Does the file hold what it claims?

use super::connections::Reader;
use super::error::StoreError;
use crate::model::{ConversationId, Sequence};
use std::fmt;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which conversation, if in one.
    pub conversation: Option<ConversationId>,
    /// At which position, if at one.
    pub sequence: Option<Sequence>,
    /// What is wrong, as a sentence without its full stop; never content.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(conversation) = self.conversation {
            write!(f, "conversation {conversation}, ")?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, "sequence {sequence}, ")?;
        }
        f.write_str(&self.what)
    }
}

impl Reader<'_> {
    /// Checks the file, its rows and everything derived from others; reads all of it.
    ///
    /// Empty when all is well.
    pub fn verify(&self) -> Result<Vec<Finding>, StoreError> {
        todo!()
    }
}
