//! The handle of something on its way to the server.

use super::events::{ConversationEvent, ConversationServiceEvent, MessageEvent, MessengerEventType};
use super::{Messenger, messenger::Accepted};
use crate::error::Error;
use crate::model::{ClientToken, ErrorCode, Event, Intent, OutboxEntry};
use crate::sync::Command;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How an outbox entry ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Done, with the event that did it, as far as it is at hand.
    Settled(OutboxEntry, Option<Event>),
    /// Refused for good.
    Failed(OutboxEntry),
    /// Taken back.
    Cancelled,
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
                Ok(Ending::Settled(entry, event)) => {
                    let event = match event {
                        Some(event) => Some(event),
                        None => engine.settling_event(&entry).await?,
                    };
                    T::of(&engine, &entry, event.as_ref()).ok_or(Error::EventUnknown)
                }
                Ok(Ending::Failed(entry)) => {
                    Err(entry.error.unwrap_or_else(|| ErrorCode::SomethingWentWrong.into()).into())
                }
                Ok(Ending::Cancelled) => Err(Error::Cancelled),
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
    /// Types the end of `entry`; `None` when the event that settled it is not known.
    fn of(messenger: &Messenger, entry: &OutboxEntry, event: Option<&Event>) -> Option<Self>;
}

impl Outcome for ConversationEvent {
    fn of(messenger: &Messenger, _entry: &OutboxEntry, event: Option<&Event>) -> Option<Self> {
        Self::from_event(messenger, event?, true)
    }
}

impl Outcome for MessageEvent {
    fn of(messenger: &Messenger, _entry: &OutboxEntry, event: Option<&Event>) -> Option<Self> {
        Self::from_event(messenger, event?, true)
    }
}

impl Outcome for ConversationServiceEvent {
    fn of(messenger: &Messenger, entry: &OutboxEntry, _event: Option<&Event>) -> Option<Self> {
        match entry.intent {
            Intent::MarkAsRead { conversation, sequence } => {
                Some(Self { kind: MessengerEventType::Read, conversation, initiator: messenger.my_id(), sequence })
            }
            Intent::CreateConversation(_)
            | Intent::AddParticipants { .. }
            | Intent::SendMessage { .. }
            | Intent::EditMessage { .. }
            | Intent::RemoveMessage { .. } => None,
        }
    }
}
