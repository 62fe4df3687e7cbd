//! A message with what can be done about it.

use super::events::MessageEvent;
use super::{Messenger, Sending};
use crate::error::Error;
use crate::model::{self, ErrorCode, Intent, MessageKey, MessagingError, RawJson};
use std::ops::Deref;

/// A message as it was at one moment, with what can be done about it.
///
/// It is plain data ([`model::Message`], reached by dereferencing) and a handle of the engine.
#[derive(Clone, Debug)]
pub struct Message {
    messenger: Messenger,
    data: model::Message,
}

impl Deref for Message {
    type Target = model::Message;

    fn deref(&self) -> &model::Message {
        &self.data
    }
}

impl Message {
    pub(crate) fn new(messenger: &Messenger, data: model::Message) -> Self {
        Self { messenger: messenger.clone(), data }
    }

    /// Returns the plain data.
    pub fn into_data(self) -> model::Message {
        self.data
    }

    /// Changes the message: returns when the wish is durable. Works with no network.
    ///
    /// `None` leaves a part as it is, whatever this object says of it, and an empty array erases the payload. What
    /// stays is the server's, or taken from the engine's own newest state when the change leaves. A message that has
    /// not left yet is changed before it does: then the handle is that of the message.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 10001 for no change at all, else as
    /// [`send_message`](super::Conversation::send_message).
    pub async fn update(&self, text: Option<String>, payload: Option<RawJson>) -> Result<Sending<MessageEvent>, Error> {
        let (conversation, message) = (self.data.conversation, self.key()?);
        self.messenger.submit(Intent::EditMessage { conversation, message, text, payload }).await
    }

    /// Removes the message for everybody: returns when the wish is durable. Works with no network. A message that
    /// has not left yet never will.
    ///
    /// # Errors
    ///
    /// As [`send_message`](super::Conversation::send_message).
    pub async fn remove(&self) -> Result<Sending<MessageEvent>, Error> {
        let (conversation, message) = (self.data.conversation, self.key()?);
        self.messenger.submit(Intent::RemoveMessage { conversation, message }).await
    }

    fn key(&self) -> Result<MessageKey, Error> {
        let unsent = self.data.token.map(MessageKey::Token);
        let key = self.data.id.map(MessageKey::Id).or(unsent);
        key.ok_or_else(|| MessagingError::from(ErrorCode::MessageDoesNotExist).into())
    }
}
