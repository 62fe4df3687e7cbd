//! A message with what can be done about it.

use super::events::MessageEvent;
use super::{Messenger, Sending};
use crate::error::Error;
use crate::model::{self, Intent, MessageId, RawJson};
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
    /// `None` leaves a part as it is, an empty array erases the payload. What stays is taken from the
    /// engine's own newest state, edits under way included, never from this object, which may lack it.
    ///
    /// # Errors
    ///
    /// [`Error::NotSent`] before the server has given the message its id, [`Error::NotHeld`] when a part should
    /// stay and the store does not hold the message, else as
    /// [`send_message`](super::Conversation::send_message).
    pub async fn update(&self, text: Option<String>, payload: Option<RawJson>) -> Result<Sending<MessageEvent>, Error> {
        let message = self.sent_id()?;
        let (text, payload) = match (text, payload) {
            (Some(text), Some(payload)) => (text, Some(payload)),
            (text, payload) => {
                let newest =
                    self.messenger.message(self.data.conversation, message).await?.ok_or(Error::NotHeld(message))?;
                (text.unwrap_or_else(|| newest.text.clone()), payload.or_else(|| newest.payload.clone()))
            }
        };
        let conversation = self.data.conversation;
        self.messenger.submit(Intent::EditMessage { conversation, message, text, payload }).await
    }

    /// Removes the message for everybody: returns when the wish is durable. Works with no network.
    ///
    /// # Errors
    ///
    /// [`Error::NotSent`] before the server has given the message its id: cancel the sending instead.
    /// Else as [`send_message`](super::Conversation::send_message).
    pub async fn remove(&self) -> Result<Sending<MessageEvent>, Error> {
        let message = self.sent_id()?;
        self.messenger.submit(Intent::RemoveMessage { conversation: self.data.conversation, message }).await
    }

    fn sent_id(&self) -> Result<MessageId, Error> {
        self.data.id.ok_or(Error::NotSent)
    }
}
