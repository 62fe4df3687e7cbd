//! Messages by page, and one message by its uuid.

use super::connections::Reader;
use super::error::StoreError;
use crate::model::{ConversationId, Event, Message, MessageId, Sequence, SequenceRange};

/// The most messages one window may hold.
pub const PAGE_MAX: u32 = 1_000;

/// Which part of a conversation to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The end.
    Newest,
    /// What lies before a position, nearest first taken.
    Before(Sequence),
    /// What lies after a position, nearest first taken.
    After(Sequence),
    /// What lies on both sides of a position, and what is there.
    Around(Sequence),
}

/// One line of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message that is held.
    Message(Message),
    /// Positions not fetched yet, between or beside messages.
    Gap(SequenceRange),
}

impl Reader<'_> {
    /// Returns a window of at most `limit` messages (and [`PAGE_MAX`]), oldest first, with one item for each gap in it.
    ///
    /// Removed messages are there, without content. Our own token is taken out of payloads; it is in
    /// [`Message::token`] when the message is one's own. Empty when the conversation is unknown.
    pub fn messages(&self, conversation: ConversationId, window: Window, limit: u32) -> Result<Vec<Item>, StoreError> {
        todo!()
    }

    /// Returns a message of a conversation.
    pub fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>, StoreError> {
        todo!()
    }

    /// Returns a message wherever it is; looks through all conversations.
    pub fn find_message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        todo!()
    }

    /// Returns the events held in a range, rising, as they were received; removed messages have lost their content.
    pub fn events(&self, conversation: ConversationId, range: SequenceRange) -> Result<Vec<Event>, StoreError> {
        todo!()
    }
}
