//! What applications are told: the events of the published interface, typed, after they are on disk.

use super::listeners::Told;
use super::messenger::Shared;
use super::{Conversation, Message, Messenger};
use crate::model::{
    Action, Contradiction, ConversationId, Event, EventBody, MessageContent, Notice, OutboxEntry, Sequence, Timestamp,
    User, UserId, without_token, without_token_in_custom_data,
};
use crate::store::Change;
use crate::sync::Signal;
use futures_util::Stream;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::broadcast::{self, error::RecvError};

/// Events that may wait for a consumer. Well above a page of history, below what would weigh.
pub(crate) const EVENTS_WAITING_MAX: usize = 4_096;

/// Something that happened, as an application is told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessengerEvent {
    /// A conversation was made, changed or removed.
    Conversation(ConversationEvent),
    /// A message was sent, changed or removed.
    Message(MessageEvent),
    /// Somebody writes, or has read.
    ConversationService(ConversationServiceEvent),
    /// A user's data changed.
    User(UserEvent),
    /// Somebody came or went.
    Status(StatusEvent),
    /// The user follows more or fewer people.
    Subscription(SubscriptionEvent),
    /// Something of one's own moved on its way to the server.
    Outbox(OutboxEvent),
    /// A numbered event of a kind this version does not know; nothing of it is lost.
    Unknown(Event),
    /// The server told of an event held something else than before. What it told first is held and shown, and
    /// [`Messenger::verify`] finds it. Told once a position, by the process that syncs.
    Contradicted(Contradiction),
    /// What is stored of this is not what it was: what is shown of it is to be read again.
    ///
    /// Told once for all that a transaction did to it, whichever process made it, behind the events and outbox entries
    /// that are told by themselves. Some of it nothing else tells: a conversation described anew, read marks, that the
    /// user is in it no longer.
    Changed(Change),
    /// This consumer was too slow, and so many events were dropped for it, and only for it.
    ///
    /// All of them are on disk: read again what is shown with [`Messenger::conversations`] and
    /// [`Messenger::messages`]; the stream goes on with the oldest event still at hand.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// Which kind of event it is, under its published name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MessengerEventType {
    /// `onCreateConversation`
    CreateConversation,
    /// `onEditConversation`
    EditConversation,
    /// `onRemoveConversation`
    RemoveConversation,
    /// `onSendMessage`
    SendMessage,
    /// `onEditMessage`
    EditMessage,
    /// `onRemoveMessage`
    RemoveMessage,
    /// `onTyping`
    Typing,
    /// `isRead`
    Read,
    /// `onEditUser`
    EditUser,
    /// `onSetStatus`
    SetStatus,
    /// `onSubscribe`
    Subscribe,
    /// `onUnsubscribe`
    Unsubscribe,
    /// `onGetSubscriptionList`
    GetSubscriptions,
}

/// A conversation was made, changed or removed.
#[derive(Clone, Debug)]
pub struct ConversationEvent {
    /// Which kind.
    pub kind: MessengerEventType,
    /// What was asked for.
    pub action: Action,
    /// Who asked; `None` in an answer that does not say.
    pub initiator: Option<UserId>,
    /// Its position in the conversation.
    pub sequence: Sequence,
    /// When, by the server's clock.
    pub timestamp: Timestamp,
    /// `true` when it was told as it happened, `false` when it came from history.
    pub live: bool,
    /// As the event describes it; of a removed one only the id.
    pub conversation: Conversation,
}

/// A message was sent, changed or removed.
#[derive(Clone, Debug)]
pub struct MessageEvent {
    /// Which kind.
    pub kind: MessengerEventType,
    /// What was asked for.
    pub action: Action,
    /// Who asked.
    pub initiator: UserId,
    /// Its position in the conversation.
    pub sequence: Sequence,
    /// When, by the server's clock.
    pub timestamp: Timestamp,
    /// `true` when it was told as it happened, `false` when it came from history.
    pub live: bool,
    /// As this event left it; what the event does not say (the birth of an edited message) is at its
    /// default, and [`Messenger::message`] knows it.
    pub message: Message,
}

/// Somebody writes, or has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationServiceEvent {
    /// Which kind.
    pub kind: MessengerEventType,
    /// Where.
    pub conversation: ConversationId,
    /// Who; `None` while the own number is not known.
    pub initiator: Option<UserId>,
    /// Up to and including which event was read; zero for typing.
    pub sequence: Sequence,
}

/// A user's data changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// As it is now.
    pub user: User,
}

/// Somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusEvent {
    /// Who.
    pub user: UserId,
    /// Whether they are there.
    pub online: bool,
    /// When, by the server's clock.
    pub timestamp: Timestamp,
}

/// The user follows more or fewer people, or asked whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionEvent {
    /// Which kind.
    pub kind: MessengerEventType,
    /// Whom it is about.
    pub users: Vec<UserId>,
}

/// The conversations that anybody may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationListEvent {
    /// In the server's order.
    pub conversations: Vec<ConversationId>,
}

/// Something of one's own moved on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// As it is now.
    pub entry: OutboxEntry,
    /// Whether it was taken back, or became part of another: there is no such entry any more.
    pub cancelled: bool,
}

/// A piece of history as the server gave it.
#[derive(Clone, Debug)]
pub struct RetransmitEvent {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// The lowest position given; zero when none was.
    pub from_sequence: Sequence,
    /// The highest position given; zero when none was.
    pub to_sequence: Sequence,
    /// In rising order; positions that hold nothing are absent.
    pub events: Vec<MessengerEvent>,
}

impl MessengerEvent {
    /// Returns the published kind; `None` for what the published interface does not know.
    pub const fn kind(&self) -> Option<MessengerEventType> {
        match self {
            Self::Conversation(event) => Some(event.kind),
            Self::Message(event) => Some(event.kind),
            Self::ConversationService(event) => Some(event.kind),
            Self::User(_) => Some(MessengerEventType::EditUser),
            Self::Status(_) => Some(MessengerEventType::SetStatus),
            Self::Subscription(event) => Some(event.kind),
            Self::Outbox(_) | Self::Contradicted(_) | Self::Changed(_) | Self::Unknown(_) | Self::Lagged { .. } => None,
        }
    }

    /// Returns the event that a signal of the core stands for; `None` for the state of the link, which has
    /// a watch of its own.
    fn from_signal(messenger: &Messenger, signal: &Signal) -> Option<Self> {
        match signal {
            Signal::Event { event, live } => Some(Self::from_event(messenger, event, *live)),
            Signal::Notice(notice) => Some(Self::from_notice(notice)),
            Signal::User(user) => Some(Self::User(UserEvent { user: user.clone() })),
            Signal::Outbox { entry, cancelled, .. } => {
                Some(Self::Outbox(OutboxEvent { entry: entry.clone(), cancelled: *cancelled }))
            }
            Signal::Link(_) | Signal::Carried { .. } => None,
        }
    }

    /// Types a numbered event.
    pub(crate) fn from_event(messenger: &Messenger, event: &Event, live: bool) -> Self {
        if let Some(event) = ConversationEvent::from_event(messenger, event, live) {
            return Self::Conversation(event);
        }
        match MessageEvent::from_event(messenger, event, live) {
            Some(event) => Self::Message(event),
            None => Self::Unknown(event.clone()),
        }
    }

    fn from_notice(notice: &Notice) -> Self {
        let subscription =
            |kind, users: &[UserId]| Self::Subscription(SubscriptionEvent { kind, users: users.to_vec() });
        match *notice {
            Notice::Subscribed(ref users) => subscription(MessengerEventType::Subscribe, users),
            Notice::Unsubscribed(ref users) => subscription(MessengerEventType::Unsubscribe, users),
            Notice::Typing { conversation, user } => Self::ConversationService(ConversationServiceEvent {
                kind: MessengerEventType::Typing,
                conversation,
                initiator: Some(user),
                sequence: Sequence::ZERO,
            }),
            Notice::Read { conversation, user, sequence } => Self::ConversationService(ConversationServiceEvent {
                kind: MessengerEventType::Read,
                conversation,
                initiator: Some(user),
                sequence,
            }),
            Notice::Status { user, online, timestamp } => Self::Status(StatusEvent { user, online, timestamp }),
        }
    }
}

impl ConversationEvent {
    /// Types an event about a conversation; `None` for any other.
    pub(crate) fn from_event(messenger: &Messenger, event: &Event, live: bool) -> Option<Self> {
        let (kind, mut data) = match &event.body {
            EventBody::ConversationCreated(data) => (MessengerEventType::CreateConversation, (**data).clone()),
            EventBody::ConversationEdited(data) => (MessengerEventType::EditConversation, (**data).clone()),
            EventBody::ConversationRemoved => {
                let data = crate::model::Conversation::recreate(
                    event.conversation,
                    crate::model::ConversationConfig::default(),
                    event.sequence,
                    event.timestamp,
                    Timestamp(0),
                );
                (MessengerEventType::RemoveConversation, data)
            }
            EventBody::MessageSent(_)
            | EventBody::MessageEdited(_)
            | EventBody::MessageRemoved(_)
            | EventBody::Unknown { .. } => return None,
        };
        data.custom_data = without_token_in_custom_data(&data.custom_data);
        Some(Self {
            kind,
            action: event.action.clone(),
            initiator: Some(event.initiator),
            sequence: event.sequence,
            timestamp: event.timestamp,
            live,
            conversation: Conversation::new(messenger, data),
        })
    }
}

impl MessageEvent {
    /// Types an event about a message; `None` for any other.
    pub(crate) fn from_event(messenger: &Messenger, event: &Event, live: bool) -> Option<Self> {
        let recreate = |content: &MessageContent| {
            crate::model::Message::recreate(
                Some(content.id),
                event.conversation,
                content.text.clone(),
                without_token(content.payload.clone()),
                event.sequence,
            )
        };
        let (kind, data) = match &event.body {
            EventBody::MessageSent(content) => {
                let mut message = recreate(content);
                message.sender = Some(event.initiator);
                message.timestamp = event.timestamp;
                (MessengerEventType::SendMessage, message)
            }
            EventBody::MessageEdited(content) => {
                let mut message = recreate(content);
                message.sequence = Sequence::ZERO;
                message.edited = true;
                (MessengerEventType::EditMessage, message)
            }
            EventBody::MessageRemoved(id) => {
                let mut message = recreate(&MessageContent { id: *id, text: String::new(), payload: None });
                message.sequence = Sequence::ZERO;
                message.removed = true;
                (MessengerEventType::RemoveMessage, message)
            }
            EventBody::ConversationCreated(_)
            | EventBody::ConversationEdited(_)
            | EventBody::ConversationRemoved
            | EventBody::Unknown { .. } => return None,
        };
        Some(Self {
            kind,
            action: event.action.clone(),
            initiator: event.initiator,
            sequence: event.sequence,
            timestamp: event.timestamp,
            live,
            message: Message::new(messenger, data),
        })
    }
}

/// Returns the events from now on; the stream ends when the engine is closed or its last handle is gone.
pub(crate) fn stream(
    messenger: Weak<Shared>,
    told: Option<broadcast::Receiver<Arc<Told>>>,
) -> impl Stream<Item = MessengerEvent> + Send + Unpin + 'static {
    Box::pin(futures_util::stream::unfold((messenger, told), |(messenger, told)| async move {
        let mut told = told?;
        loop {
            let event = match told.recv().await {
                Ok(told) => {
                    let handle = Messenger::upgrade(&messenger)?;
                    match &*told {
                        Told::Signal(signal) => MessengerEvent::from_signal(&handle, signal),
                        Told::Changed(change) => Some(MessengerEvent::Changed(*change)),
                        Told::Contradicted(contradiction) => Some(MessengerEvent::Contradicted(*contradiction)),
                        Told::Missed(missed) => Some(MessengerEvent::Lagged { missed: *missed }),
                    }
                }
                Err(RecvError::Lagged(missed)) => Some(MessengerEvent::Lagged { missed }),
                Err(RecvError::Closed) => return None,
            };
            if let Some(event) = event {
                return Some((event, (messenger, Some(told))));
            }
        }
    }))
}

type Callback = Arc<dyn Fn(&MessengerEvent) + Send + Sync>;

/// The callbacks of an application, in the order of their registration.
#[derive(Clone, Default)]
pub(crate) struct Callbacks(Arc<Mutex<Registered>>);

#[derive(Default)]
struct Registered {
    next: u64,
    callbacks: Vec<(u64, Callback)>,
}

impl Callbacks {
    pub(crate) fn add(&self, callback: impl Fn(&MessengerEvent) + Send + Sync + 'static) -> Subscription {
        let mut registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = registered.next;
        registered.next += 1;
        registered.callbacks.push((number, Arc::new(callback)));
        Subscription { number, callbacks: Arc::downgrade(&self.0) }
    }

    /// Forgets all of them: what they own must not outlive the engine.
    pub(crate) fn clear(&self) {
        let forgotten = {
            let mut registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut registered.callbacks)
        };
        drop(forgotten);
    }

    /// Calls everyone, with no lock held: a callback may subscribe, unsubscribe and call the engine.
    pub(crate) fn call(&self, event: &MessengerEvent) {
        let callbacks: Vec<Callback> = {
            let registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            registered.callbacks.iter().map(|(_, callback)| Arc::clone(callback)).collect()
        };
        for callback in callbacks {
            callback(event);
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callbacks")
    }
}

/// Keeps a callback registered; dropping it ends that.
///
/// A call already under way on another thread is not waited for.
#[derive(Debug)]
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    number: u64,
    callbacks: Weak<Mutex<Registered>>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} callbacks", self.callbacks.len())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(registered) = self.callbacks.upgrade() else { return };
        let mut registered = registered.lock().unwrap_or_else(PoisonError::into_inner);
        // What a callback owns is dropped after the lock is free: it may hold other subscriptions.
        let dropped = registered.callbacks.iter().position(|(number, _)| *number == self.number);
        let dropped = dropped.map(|place| registered.callbacks.remove(place));
        drop(registered);
        drop(dropped);
    }
}
