//! Conversations by their ids: made, joined, left, asked for, listed, recreated.

use super::events::{ConversationEvent, ConversationListEvent};
use super::{Conversation, Message, Messenger, Sending};
use crate::error::Error;
use crate::model::{
    self, ConversationConfig, ConversationId, ErrorCode, Intent, MessageId, MessagingError, RawJson, Sequence,
    Timestamp,
};
use crate::protocol::CONVERSATIONS_MAX;
use crate::sync::{Command, Query, Reply};

/// Conversations.
impl Messenger {
    /// Makes a conversation: returns when the wish is durable. Works with no network.
    ///
    /// Until the server has named it, it is known by [`ConversationId::provisional`] of the handle's token, under
    /// which [`conversation`](Self::conversation) gives an object that can be written to at once.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when a limit is broken, [`Error::Store`], [`Error::Closed`].
    pub async fn create_conversation(&self, config: ConversationConfig) -> Result<Sending<ConversationEvent>, Error> {
        self.submit(Intent::CreateConversation(config)).await
    }

    /// Joins a public conversation: returns when the wish is durable. Works with no network.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Store`], [`Error::Closed`].
    pub async fn join_conversation(&self, id: ConversationId) -> Result<Sending<ConversationEvent>, Error> {
        self.submit(Intent::JoinConversation(id)).await
    }

    /// Leaves a conversation: returns when the wish is durable. Works with no network. What is held of it stays
    /// readable.
    ///
    /// # Errors
    ///
    /// As [`join_conversation`](Self::join_conversation).
    pub async fn leave_conversation(&self, id: ConversationId) -> Result<Sending<ConversationEvent>, Error> {
        self.submit(Intent::LeaveConversation(id)).await
    }

    /// Asks the server which conversations anybody may join. The answer is kept, and readable offline by
    /// [`public_conversations`](Self::public_conversations).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Offline`], [`Error::Closed`].
    pub async fn get_public_conversations(&self) -> Result<ConversationListEvent, Error> {
        let Reply::PublicConversations(conversations) = self.call(Command::Query(Query::PublicConversations)).await?
        else {
            unreachable!("a question about public conversations is answered with their list");
        };
        Ok(ConversationListEvent { conversations })
    }

    /// Asks the server for a conversation.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 8 when the server knows no such conversation, [`Error::Offline`],
    /// [`Error::Closed`].
    pub async fn get_conversation(&self, id: ConversationId) -> Result<Conversation, Error> {
        let known = self.get_conversations(vec![id]).await?;
        known.into_iter().next().ok_or_else(|| MessagingError::from(ErrorCode::ConversationDoesNotExist).into())
    }

    /// Asks the server for up to 30 conversations; those it does not know are absent.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 21 for none or more than 30, before anything is sent;
    /// [`Error::Offline`], [`Error::Closed`].
    pub async fn get_conversations(&self, ids: Vec<ConversationId>) -> Result<Vec<Conversation>, Error> {
        if ids.is_empty() || ids.len() > CONVERSATIONS_MAX {
            return Err(MessagingError::from(ErrorCode::RequestedNumberTooBigOr0).into());
        }
        let Reply::Conversations(known) = self.call(Command::Query(Query::Conversations(ids))).await? else {
            unreachable!("a question about conversations is answered with conversations");
        };
        Ok(known.into_iter().map(|data| Conversation::new(self, data)).collect())
    }

    /// Rebuilds a conversation from what an application kept of it: no network, no disk.
    ///
    /// The same function rebuilds the rows of the engine's own file. What is not known may be left at
    /// its default; nothing done through the object erases what it lacks.
    pub fn recreate_conversation(
        &self,
        id: ConversationId,
        config: ConversationConfig,
        last_sequence: Sequence,
        last_update: Timestamp,
        created_at: Timestamp,
    ) -> Conversation {
        let data = model::Conversation::recreate(id, config, last_sequence, last_update, created_at);
        Conversation::new(self, data)
    }

    /// Rebuilds a message from what an application kept of it: no network, no disk.
    ///
    /// As [`recreate_conversation`](Self::recreate_conversation); an unknown `sequence` is zero.
    pub fn recreate_message(
        &self,
        id: MessageId,
        conversation: ConversationId,
        text: impl Into<String>,
        payload: Option<RawJson>,
        sequence: Sequence,
    ) -> Message {
        Message::new(self, model::Message::recreate(Some(id), conversation, text.into(), payload, sequence))
    }
}
