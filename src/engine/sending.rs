//! The handle of something on its way to the server.

use super::events::{
    ConversationEvent, ConversationServiceEvent, MessageEvent, MessengerEventType, SubscriptionEvent, UserEvent,
};
use super::{Message, Messenger, messenger::Accepted};
use crate::error::Error;
use crate::model::{self, Action, ClientToken, ErrorCode, Event, Intent, MessageKey, OutboxEntry, Sequence};
use crate::sync::Command;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How an outbox entry ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// Done, with the event that did it, as far as it is at hand.
    Settled(OutboxEntry, Option<Event>),
    /// Refused for good.
    Failed(OutboxEntry),
    /// Taken back.
    Cancelled,
    /// Settled or taken back, so long ago that nothing tells which.
    Forgotten,
}

/// Something on its way to the server: durable already, and a future of what becomes of it.
///
/// Awaiting it gives the server's event, or the refusal as [`Error::Refused`]; that may take as long as there
/// is no network. It lives through any loss of the link. Dropping it cancels nothing.
#[must_use = "it is on its way whether awaited or not; drop it explicitly if nobody needs to know"]
pub struct Sending<T> {
    messenger: Messenger,
    token: ClientToken,
    outcome: Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>,
}

impl<T> Sending<T> {
    pub(crate) fn new(messenger: &Messenger, accepted: Accepted) -> Self
    where
        T: Outcome,
    {
        let (token, ending) = (accepted.entry.token, accepted.ending);
        let engine = messenger.clone();
        let outcome = Box::pin(async move {
            match ending.await {
                Ok(Ending::Settled(entry, event)) => T::of(&engine, entry, event).await,
                Ok(Ending::Failed(entry)) => {
                    Err(entry.error.unwrap_or_else(|| ErrorCode::SomethingWentWrong.into()).into())
                }
                Ok(Ending::Cancelled) => Err(Error::Cancelled),
                Ok(Ending::Forgotten) => Err(Error::EndForgotten),
                Err(_driver_is_gone) => Err(Error::Closed),
            }
        });
        Self { messenger: messenger.clone(), token, outcome }
    }

    /// Returns our own id of it, under which the outbox lists it.
    pub const fn token(&self) -> ClientToken {
        self.token
    }

    /// Takes it back, if it has not left: it is gone then, and awaiting it gives [`Error::Cancelled`].
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with [`Refusal::TooLate`](crate::sync::Refusal::TooLate) when it has left or ended,
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn cancel(&self) -> Result<(), Error> {
        self.messenger.call(Command::Cancel(self.token)).await.map(drop)
    }
}

impl<T> Future for Sending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Sending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("token", &self.token).finish_non_exhaustive()
    }
}

/// What settling gives the one who waits.
pub(crate) trait Outcome: Sized + Send + 'static {
    /// Types the end of `entry`, with the event that settled it where that is at hand.
    ///
    /// # Errors
    ///
    /// [`Error::EventUnknown`] when the file does not hold that event yet, [`Error::Store`].
    fn of(
        messenger: &Messenger,
        entry: OutboxEntry,
        event: Option<Event>,
    ) -> impl Future<Output = Result<Self, Error>> + Send;
}

impl Outcome for MessageEvent {
    async fn of(messenger: &Messenger, entry: OutboxEntry, event: Option<Event>) -> Result<Self, Error> {
        if let Intent::RemoveMessage { conversation, message: MessageKey::Token(token) } = entry.intent {
            // It never left: the removal is done without the server.
            let initiator = messenger.my_id().ok_or(Error::EventUnknown)?;
            let mut message = model::Message::recreate(None, conversation, String::new(), None, Sequence::ZERO);
            (message.sender, message.token, message.removed) = (Some(initiator), Some(token), true);
            return Ok(Self {
                kind: MessengerEventType::RemoveMessage,
                action: Action::RemoveMessage,
                initiator,
                sequence: Sequence::ZERO,
                timestamp: entry.queued_at,
                live: true,
                message: Message::new(messenger, message),
            });
        }
        let event = match event {
            Some(event) => Some(event),
            None => messenger.settling_event(entry).await?,
        };
        event.and_then(|event| Self::from_event(messenger, &event, true)).ok_or(Error::EventUnknown)
    }
}

impl Outcome for ConversationEvent {
    async fn of(messenger: &Messenger, entry: OutboxEntry, event: Option<Event>) -> Result<Self, Error> {
        let made = matches!(entry.intent, Intent::CreateConversation(_))
            .then(|| entry.settlement.and_then(|settlement| settlement.conversation))
            .flatten();
        let event = match event {
            Some(event) => Some(event),
            None => messenger.settling_event(entry).await?,
        };
        if let Some(event) = event.and_then(|event| Self::from_event(messenger, &event, true)) {
            return Ok(event);
        }
        // A description can tell that a conversation was made before its history is fetched.
        let made = made.ok_or(Error::EventUnknown)?;
        let summary = messenger.conversation(made).await?.ok_or(Error::EventUnknown)?;
        Ok(Self {
            kind: MessengerEventType::CreateConversation,
            action: Action::CreateConversation,
            initiator: messenger.my_id(),
            sequence: Sequence::FIRST,
            timestamp: summary.conversation.created_at,
            live: true,
            conversation: summary.conversation,
        })
    }
}

impl Outcome for ConversationServiceEvent {
    async fn of(messenger: &Messenger, entry: OutboxEntry, _event: Option<Event>) -> Result<Self, Error> {
        let Intent::MarkAsRead { conversation, sequence } = entry.intent else { return Err(Error::EventUnknown) };
        Ok(Self { kind: MessengerEventType::Read, conversation, initiator: messenger.my_id(), sequence })
    }
}

impl Outcome for UserEvent {
    async fn of(messenger: &Messenger, _entry: OutboxEntry, _event: Option<Event>) -> Result<Self, Error> {
        // What was answered was stored before.
        let me = messenger.my_id().ok_or(Error::EventUnknown)?;
        let user = messenger.user(me).await?.ok_or(Error::EventUnknown)?;
        Ok(Self { user })
    }
}

impl Outcome for SubscriptionEvent {
    async fn of(_messenger: &Messenger, entry: OutboxEntry, _event: Option<Event>) -> Result<Self, Error> {
        if let Intent::Subscribe(users) = entry.intent {
            return Ok(Self { kind: MessengerEventType::Subscribe, users });
        }
        let users = if let Intent::Unsubscribe(users) = entry.intent { users } else { Vec::new() };
        Ok(Self { kind: MessengerEventType::Unsubscribe, users })
    }
}

impl Outcome for OutboxEntry {
    async fn of(_messenger: &Messenger, entry: Self, _event: Option<Event>) -> Result<Self, Error> {
        Ok(entry)
    }
}
