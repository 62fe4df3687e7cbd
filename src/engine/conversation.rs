//! A conversation with what can be done about it.

use super::events::{ConversationEvent, ConversationServiceEvent, MessageEvent, MessengerEvent, RetransmitEvent};
use super::{Messenger, Sending};
use crate::error::Error;
use crate::model::{self, Intent, Participant, RawJson, Sequence, UserId};
use crate::sync::{Command, Query, Reply};
use std::ops::Deref;

/// A conversation as it was at one moment, with what can be done about it.
///
/// It is plain data ([`model::Conversation`], reached by dereferencing) and a handle of the engine. The data does
/// not change by itself; [`Messenger::conversation`] reads the newest.
#[derive(Clone, Debug)]
pub struct Conversation {
    messenger: Messenger,
    data: model::Conversation,
}

impl Deref for Conversation {
    type Target = model::Conversation;

    fn deref(&self) -> &model::Conversation {
        &self.data
    }
}

impl Conversation {
    pub(crate) fn new(messenger: &Messenger, data: model::Conversation) -> Self {
        Self { messenger: messenger.clone(), data }
    }

    /// Returns the plain data.
    pub fn into_data(self) -> model::Conversation {
        self.data
    }

    /// Sends a message: returns when it is durable, and the handle tells what became of it.
    ///
    /// `payload` is a JSON array of objects; `None` stands for an empty one. Works with no network.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 23 for more than 5,000 characters or 10001 for another payload,
    /// [`Error::Store`] when it could not be kept, [`Error::Closed`].
    pub async fn send_message(
        &self,
        text: impl Into<String>,
        payload: Option<RawJson>,
    ) -> Result<Sending<MessageEvent>, Error> {
        let (conversation, text) = (self.data.id, text.into());
        self.messenger.submit(Intent::SendMessage { conversation, text, payload }).await
    }

    /// Changes title, public join or custom data: returns when the wish is durable. Works with no network.
    ///
    /// `None` leaves a part as it is, whatever this object says of it, and an empty object erases custom data. What
    /// stays is the server's, or taken from its newest description when the change leaves.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 10001 for no change at all or custom data that is too long, [`Error::Store`],
    /// [`Error::Closed`].
    pub async fn update(
        &self,
        title: Option<String>,
        public_join: Option<bool>,
        custom_data: Option<RawJson>,
    ) -> Result<Sending<ConversationEvent>, Error> {
        let conversation = self.data.id;
        self.messenger.submit(Intent::EditConversation { conversation, title, public_join, custom_data }).await
    }

    /// Removes the conversation for everybody: returns when the wish is durable. Works with no network.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Store`], [`Error::Closed`].
    pub async fn remove(&self) -> Result<Sending<ConversationEvent>, Error> {
        self.messenger.submit(Intent::RemoveConversation(self.data.id)).await
    }

    /// Adds participants: returns when the wish is durable. Works with no network.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 21 or 22 for none or more than 1,000, [`Error::Store`], [`Error::Closed`].
    pub async fn add_participants(&self, participants: Vec<Participant>) -> Result<Sending<ConversationEvent>, Error> {
        self.messenger.submit(Intent::AddParticipants { conversation: self.data.id, participants }).await
    }

    /// Changes the rights of those listed: returns when the wish is durable. Works with no network.
    ///
    /// # Errors
    ///
    /// As [`add_participants`](Self::add_participants).
    pub async fn edit_participants(&self, participants: Vec<Participant>) -> Result<Sending<ConversationEvent>, Error> {
        self.messenger.submit(Intent::EditParticipants { conversation: self.data.id, participants }).await
    }

    /// Removes participants: returns when the wish is durable. Works with no network.
    ///
    /// # Errors
    ///
    /// As [`add_participants`](Self::add_participants).
    pub async fn remove_participants(&self, users: Vec<UserId>) -> Result<Sending<ConversationEvent>, Error> {
        self.messenger.submit(Intent::RemoveParticipants { conversation: self.data.id, users }).await
    }

    /// Tells the others that the user is writing. While there is no link it is dropped without an error.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 10000 within ten seconds of the last time in this conversation, or with the
    /// server's code; [`Error::Closed`].
    pub async fn typing(&self) -> Result<(), Error> {
        self.messenger.call(Command::Typing(self.data.id)).await.map(drop)
    }

    /// Marks everything up to and including `sequence` as read: returns when the wish is durable. Works with
    /// no network; several marks that wait are merged to the highest.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Store`], [`Error::Closed`].
    pub async fn mark_as_read(&self, sequence: Sequence) -> Result<Sending<ConversationServiceEvent>, Error> {
        self.messenger.submit(Intent::MarkAsRead { conversation: self.data.id, sequence }).await
    }

    /// Asks the server for the events from `from` up to and including `to`, at most 100.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's code, [`Error::Offline`], [`Error::Closed`].
    pub async fn retransmit_events(&self, from: Sequence, to: Sequence) -> Result<RetransmitEvent, Error> {
        self.retransmit(Some(from), Some(to), None).await
    }

    /// Asks the server for `count` events beginning with `from`, at most 100.
    ///
    /// # Errors
    ///
    /// As [`retransmit_events`](Self::retransmit_events).
    pub async fn retransmit_events_from(&self, from: Sequence, count: u32) -> Result<RetransmitEvent, Error> {
        self.retransmit(Some(from), None, Some(count)).await
    }

    /// Asks the server for `count` events ending with `to`, at most 100.
    ///
    /// # Errors
    ///
    /// As [`retransmit_events`](Self::retransmit_events).
    pub async fn retransmit_events_to(&self, to: Sequence, count: u32) -> Result<RetransmitEvent, Error> {
        self.retransmit(None, Some(to), Some(count)).await
    }

    async fn retransmit(
        &self,
        from: Option<Sequence>,
        to: Option<Sequence>,
        count: Option<u32>,
    ) -> Result<RetransmitEvent, Error> {
        let conversation = self.data.id;
        let query = Query::Retransmit { conversation, from, to, count };
        let Reply::Events(events) = self.messenger.call(Command::Query(query)).await? else {
            unreachable!("a question about history is answered with events");
        };
        let position = |event: Option<&model::Event>| event.map_or(Sequence::ZERO, |event| event.sequence);
        Ok(RetransmitEvent {
            conversation,
            from_sequence: position(events.first()),
            to_sequence: position(events.last()),
            events: events.iter().map(|event| MessengerEvent::from_event(&self.messenger, event, false)).collect(),
        })
    }
}
