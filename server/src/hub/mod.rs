//! Pure: conversations, sequences, rights, and who is told what.
//!
//! The hub gets the time, a fresh id and one request; it reads and writes a [`Storage`] and returns
//! whom to tell. It reads no clock, makes no random number and opens nothing, so the same requests
//! give the same outcomes in every run. It does not know connections: a user is told by name.

mod conversations;
mod heads;
mod history;
mod messages;
mod participants;
mod rights;
mod users;

use crate::storage::{Answer, Storage, StorageError};
use backscroll::model::{
    Action, Conversation, ConversationId, ErrorCode, Event, MessagingError, RequestId, Sequence, SequenceRange,
    Timestamp, UserId,
};
use backscroll::protocol::{Header, Push, Request, ServerChat};
use uuid::Uuid;

/// How long the answers to changes are kept at least, in seconds, so that a request repeated after a broken
/// link is not carried out twice. A client that was away longer finds its work by the token inside.
pub const ANSWERS_KEPT_S: i64 = 48 * 60 * 60;

/// What a request needs from the world outside.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The server's clock.
    pub now: Timestamp,
    /// Who asks.
    pub caller: UserId,
    /// Joins the answer to the request.
    pub request: RequestId,
    /// A new random id, for what the request may create.
    pub fresh: Uuid,
}

/// Whom to tell what, once everything the request wrote is durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// For the connection that asked, in this order. Never empty.
    pub reply: Vec<ServerChat>,
    /// For every other connection of the users named, in this order.
    pub fan_out: Vec<FanOut>,
}

/// One push for many users.
#[derive(Clone, Debug, PartialEq)]
pub struct FanOut {
    /// Whom; the caller, too, when other connections of the caller must hear of it. No user twice.
    pub users: Vec<UserId>,
    /// What.
    pub push: Push,
}

/// Decides everything about conversations. A copy goes its own way from here, with its own storage.
#[derive(Clone, Debug)]
pub struct Hub<S> {
    storage: S,
    moves: heads::Moves,
}

/// Why a request was not carried out. Nothing was written then.
enum Fault {
    /// The caller must be told.
    Refused(MessagingError),
    /// The medium failed.
    Storage(StorageError),
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl Fault {
    /// Says in the refusal what it is about.
    fn about(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Refused(error) => {
                Self::Refused(MessagingError::new(error.code, format!("{what}: {}", error.description)))
            }
            Self::Storage(_) => self,
        }
    }
}

/// What a request came to.
struct Done {
    /// For the caller; the first one or all of them are the answer.
    reply: Vec<Push>,
    /// For others.
    fan_out: Vec<FanOut>,
    /// What a repetition of the request is answered with.
    again: Option<Answer>,
}

impl Done {
    /// Something numbered happened: `users` hear of it, and so does the caller.
    fn event(event: Event, users: Vec<UserId>) -> Self {
        Self {
            again: Some(Answer::Event(event.conversation, event.sequence)),
            reply: vec![Push::Event(event.clone())],
            fan_out: vec![FanOut { users, push: Push::Event(event) }],
        }
    }

    /// Something unnumbered happened: `users` hear of it, and so does the caller.
    fn notice(push: Push, users: Vec<UserId>) -> Self {
        Self { fan_out: vec![FanOut { users, push: push.clone() }], ..Self::answer(push) }
    }

    /// Only the caller is told, in one frame.
    fn answer(push: Push) -> Self {
        Self { again: Some(Answer::Push(Box::new(push.clone()))), reply: vec![push], fan_out: Vec::new() }
    }

    /// Only the caller is told, in one frame for each thing asked for.
    fn frames(reply: Vec<Push>) -> Self {
        Self { reply, fan_out: Vec::new(), again: None }
    }

    /// The same again, from what was stored: nobody else is told.
    fn again(push: Push, again: Answer) -> Self {
        Self { reply: vec![push], fan_out: Vec::new(), again: Some(again) }
    }
}

impl<S: Storage> Hub<S> {
    /// Takes what was remembered.
    pub fn new(storage: S) -> Self {
        Self { storage, moves: heads::Moves::default() }
    }

    /// Returns what is remembered.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Returns what is remembered, to open and end transactions, or to prepare a test.
    pub const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Carries out one request, or refuses it with an error frame in the reply.
    ///
    /// A change that the same user asked for before with the same request id is answered as it was
    /// then, and nothing is done.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the medium fails; the caller must then take back what was written.
    pub fn handle(&mut self, context: &Context, request: Request) -> Result<Outcome, StorageError> {
        let action = request.action();
        let is_mutation = request.is_mutation();
        if is_mutation && let Some(answer) = self.storage.answer(context.caller, context.request)? {
            let push = self.recall(&answer)?;
            return Ok(Outcome { reply: vec![answering(context, push)], fan_out: Vec::new() });
        }
        match self.carry_out(context, request) {
            Ok(done) => {
                if is_mutation {
                    self.moves.take_from(&done);
                }
                if is_mutation && let Some(answer) = &done.again {
                    self.storage.keep_answer(context.caller, context.request, context.now, answer)?;
                }
                Ok(outcome(context, done, is_mutation))
            }
            Err(Fault::Refused(error)) => {
                let header = Header::new(action, context.caller, context.now);
                Ok(Outcome { reply: vec![answering(context, Push::Error { header, error })], fan_out: Vec::new() })
            }
            Err(Fault::Storage(error)) => Err(error),
        }
    }

    /// Forgets answers that no client will ask for again, a bounded number at a time.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the medium fails.
    pub fn forget_old_answers(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.storage.forget_answers(Timestamp(now.0.saturating_sub(ANSWERS_KEPT_S)))
    }

    fn carry_out(&mut self, context: &Context, request: Request) -> Result<Done, Fault> {
        match request {
            Request::CreateConversation(config) => self.create_conversation(context, config),
            Request::EditConversation { conversation, title, public_join, custom_data } => {
                self.edit_conversation(context, conversation, title, public_join, custom_data)
            }
            Request::RemoveConversation(conversation) => self.remove_conversation(context, conversation),
            Request::JoinConversation(conversation) => self.join_conversation(context, conversation),
            Request::LeaveConversation(conversation) => self.leave_conversation(context, conversation),
            Request::GetConversation(conversation) => self.get_conversation(context, conversation),
            Request::GetConversations(conversations) => self.get_conversations(context, &conversations),
            Request::GetPublicConversations => self.get_public_conversations(context),
            Request::AddParticipants { conversation, participants } => {
                self.add_participants(context, conversation, participants)
            }
            Request::EditParticipants { conversation, participants } => {
                self.edit_participants(context, conversation, &participants)
            }
            Request::RemoveParticipants { conversation, users } => {
                self.remove_participants(context, conversation, users)
            }
            Request::GetUser(key) => self.get_user(context, &key),
            Request::GetUsers(keys) => self.get_users(context, &keys),
            Request::EditUser { custom_data, private_custom_data } => {
                self.edit_user(context, custom_data, private_custom_data)
            }
            Request::SetStatus { online } => self.set_status(context, online),
            Request::Subscribe(users) => self.subscribe(context, users),
            Request::Unsubscribe(users) => self.unsubscribe(context, users),
            Request::UnsubscribeAll => self.unsubscribe_all(context),
            Request::GetSubscriptions => self.get_subscriptions(context),
            Request::ManageNotifications(kinds) => self.manage_notifications(context, kinds),
            Request::SendMessage { conversation, text, payload } => {
                self.send_message(context, conversation, text, payload)
            }
            Request::EditMessage { conversation, message, text, payload } => {
                self.edit_message(context, conversation, message, text, payload)
            }
            Request::RemoveMessage { conversation, message } => self.remove_message(context, conversation, message),
            Request::Typing(conversation) => self.typing(context, conversation),
            Request::MarkAsRead { conversation, sequence } => self.mark_as_read(context, conversation, sequence),
            Request::RetransmitEvents { conversation, from, to, count } => {
                self.retransmit(context, conversation, from, to, count)
            }
            Request::HeadsSince { cursor } => self.heads_since(context, cursor.as_deref()),
        }
    }

    /// Returns a kept answer as a frame. An event is read again, so that an erased text stays erased.
    fn recall(&self, answer: &Answer) -> Result<Push, StorageError> {
        match answer {
            Answer::Push(push) => Ok((**push).clone()),
            Answer::Event(conversation, sequence) => self.event_at(*conversation, *sequence).map(Push::Event),
        }
    }

    /// Returns the event at a position that is known to be there.
    fn event_at(&self, conversation: ConversationId, at: Sequence) -> Result<Event, StorageError> {
        let lost = StorageError::Damaged { table: "event", expected: "event at a known position" };
        let range = SequenceRange::single(at).ok_or(StorageError::Damaged { table: "answer", expected: "sequence" })?;
        self.storage.events(conversation, range)?.pop().ok_or(lost)
    }

    /// Returns a conversation that is there for somebody.
    fn present(&self, id: ConversationId) -> Result<Conversation, Fault> {
        let stored = self.storage.conversation(id)?.ok_or(ErrorCode::ConversationDoesNotExist)?;
        if stored.removed { Err(ErrorCode::ConversationDeleted.into()) } else { Ok(stored.conversation) }
    }
}

/// Returns the position and time of the next event, which `conversation` takes over.
///
/// Numbers that a store of 32 bits cannot hold are refused, so that no two events share one.
fn advance(conversation: &mut Conversation, context: &Context) -> Result<Sequence, Fault> {
    let next = conversation.last_sequence.next();
    if next == conversation.last_sequence {
        return Err(ErrorCode::ServiceUnavailable.into());
    }
    conversation.last_sequence = next;
    conversation.last_update = context.now;
    Ok(next)
}

/// Returns everybody who takes part.
fn users_of(conversation: &Conversation) -> Vec<UserId> {
    conversation.participants.iter().map(|participant| participant.user).collect()
}

/// Returns a header that names the caller and the time.
const fn header(context: &Context, action: Action) -> Header {
    Header::new(action, context.caller, context.now)
}

const fn answering(context: &Context, push: Push) -> ServerChat {
    ServerChat { request: Some(context.request), push }
}

/// Puts pushes into envelopes. Of a change only the first one answers: a second event that it caused is told
/// like any other event.
fn outcome(context: &Context, done: Done, is_mutation: bool) -> Outcome {
    let reply = done
        .reply
        .into_iter()
        .enumerate()
        .map(|(place, push)| ServerChat { request: (place == 0 || !is_mutation).then_some(context.request), push });
    Outcome { reply: reply.collect(), fan_out: done.fan_out }
}
