//! A hub with a few users, and short words for what they do.

use backscroll::model::{
    ConversationConfig, ConversationId, Event, EventBody, MessageId, Participant, Permissions, PrivateUser, RawJson,
    RequestId, Sequence, Timestamp, UserId, UserName,
};
use backscroll::protocol::{Push, Request, UserKey};
use backscroll_server::hub::{Context, FanOut, Hub, Outcome};
use backscroll_server::storage::{Memory, Storage};
use uuid::Uuid;

pub(crate) const ALICE: UserId = user(101);
pub(crate) const BOB: UserId = user(102);
pub(crate) const CAROL: UserId = user(103);
pub(crate) const DAVE: UserId = user(104);
/// Nobody has this number.
pub(crate) const NOBODY: UserId = user(999);

pub(crate) const fn user(number: u64) -> UserId {
    UserId::new(number).expect("a small number")
}

#[derive(Clone)]
pub(crate) struct World<S> {
    pub(crate) hub: Hub<S>,
    made: u128,
}

impl World<Memory> {
    /// Alice, Bob, Carol and Dave, and nothing said yet.
    pub(crate) fn new() -> Self {
        let mut memory = Memory::new();
        for (id, name) in [(ALICE, "alice"), (BOB, "bob"), (CAROL, "carol"), (DAVE, "dave")] {
            memory.add_user(id, UserName::new(&format!("{name}@chat.acme")), "");
        }
        Self::over(memory)
    }
}

impl<S: Storage> World<S> {
    pub(crate) fn over(storage: S) -> Self {
        Self { hub: Hub::new(storage), made: 0 }
    }

    /// Returns an id that was not used before, the same in every run.
    pub(crate) fn fresh(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made)
    }

    /// Asks under a request id of its own. Each request comes a second after the one before.
    pub(crate) fn ask(&mut self, who: UserId, request: Request) -> Outcome {
        let id = RequestId::from_uuid(self.fresh());
        self.ask_as(id, who, request)
    }

    pub(crate) fn ask_as(&mut self, id: RequestId, who: UserId, request: Request) -> Outcome {
        let fresh = self.fresh();
        let now = Timestamp(i64::try_from(self.made).unwrap());
        let outcome = self.hub.handle(&Context { now, caller: who, request: id, fresh }, request).unwrap();
        assert_eq!(outcome.reply[0].request, Some(id));
        outcome
    }

    /// Asks for something that must succeed, and returns the answer.
    pub(crate) fn get(&mut self, who: UserId, request: Request) -> Push {
        let mut outcome = self.ask(who, request);
        let push = outcome.reply.swap_remove(0).push;
        assert!(!matches!(push, Push::Error { .. }), "refused: {push:?}");
        push
    }

    /// Asks for something that is to be refused, and returns the code.
    pub(crate) fn refusal(&mut self, who: UserId, request: Request) -> i64 {
        let outcome = self.ask(who, request);
        assert_eq!(outcome.fan_out, [], "a refusal concerns nobody else");
        match &outcome.reply[..] {
            [only] => code(&only.push).expect("not refused"),
            more => panic!("a refusal of {} frames", more.len()),
        }
    }

    /// Asks for something that happens in a conversation, and returns the event.
    pub(crate) fn event(&mut self, who: UserId, request: Request) -> Event {
        event(&self.get(who, request))
    }

    pub(crate) fn create(&mut self, who: UserId, config: ConversationConfig) -> ConversationId {
        self.event(who, Request::CreateConversation(config)).conversation
    }

    /// Makes a regular conversation of Alice, who owns it, with others who may write.
    pub(crate) fn group(&mut self, others: &[UserId]) -> ConversationId {
        self.create(ALICE, with(others))
    }

    pub(crate) fn say(&mut self, who: UserId, conversation: ConversationId, text: &str) -> MessageId {
        self.event(who, say(conversation, text)).body.message().unwrap()
    }

    /// Returns the private members of a user.
    pub(crate) fn private(&mut self, who: UserId) -> PrivateUser {
        match self.get(who, Request::GetUser(UserKey::Id(who))) {
            Push::User { user, .. } => user.private.unwrap(),
            _ => panic!("no user"),
        }
    }

    /// Returns the events from `from` to `to` as `who` may see them.
    pub(crate) fn range(&mut self, who: UserId, conversation: ConversationId, from: i64, to: i64) -> Vec<Event> {
        let outcome = self.ask(who, range(conversation, from, to));
        let events = outcome.reply.into_iter().map(|chat| match chat.push {
            Push::Retransmitted { event, .. } => event,
            other => panic!("no history: {other:?}"),
        });
        events.collect()
    }
}

pub(crate) fn with(others: &[UserId]) -> ConversationConfig {
    let participants = others.iter().copied().map(Participant::new).collect();
    ConversationConfig { participants, ..ConversationConfig::default() }
}

pub(crate) fn direct(other: UserId) -> ConversationConfig {
    ConversationConfig { direct: true, ..with(&[other]) }
}

pub(crate) fn public(others: &[UserId]) -> ConversationConfig {
    ConversationConfig { public_join: true, ..with(others) }
}

pub(crate) fn uber(others: &[UserId]) -> ConversationConfig {
    ConversationConfig { uber: true, ..with(others) }
}

pub(crate) fn say(conversation: ConversationId, text: &str) -> Request {
    Request::SendMessage { conversation, text: text.to_owned(), payload: None }
}

pub(crate) fn edit(conversation: ConversationId, message: MessageId, text: &str) -> Request {
    Request::EditMessage { conversation, message, text: Some(text.to_owned()), payload: None }
}

pub(crate) fn remove(conversation: ConversationId, message: MessageId) -> Request {
    Request::RemoveMessage { conversation, message }
}

pub(crate) fn rename(conversation: ConversationId, title: &str) -> Request {
    Request::EditConversation { conversation, title: Some(title.to_owned()), public_join: None, custom_data: None }
}

pub(crate) fn add(conversation: ConversationId, users: &[UserId]) -> Request {
    let participants = users.iter().copied().map(Participant::new).collect();
    Request::AddParticipants { conversation, participants }
}

pub(crate) fn allow(conversation: ConversationId, who: UserId, bits: u32) -> Request {
    let participants = vec![Participant::new(who).with_permissions(Permissions::from_bits(bits))];
    Request::EditParticipants { conversation, participants }
}

pub(crate) fn expel(conversation: ConversationId, users: &[UserId]) -> Request {
    Request::RemoveParticipants { conversation, users: users.to_vec() }
}

pub(crate) fn read(conversation: ConversationId, sequence: i64) -> Request {
    Request::MarkAsRead { conversation, sequence }
}

pub(crate) fn range(conversation: ConversationId, from: i64, to: i64) -> Request {
    Request::RetransmitEvents { conversation, from: Some(from), to: Some(to), count: None }
}

pub(crate) fn json(text: &str) -> RawJson {
    RawJson::new(text).unwrap()
}

pub(crate) fn code(push: &Push) -> Option<i64> {
    match push {
        Push::Error { error, .. } => Some(error.code.number()),
        _ => None,
    }
}

pub(crate) fn event(push: &Push) -> Event {
    match push {
        Push::Event(event) => event.clone(),
        other => panic!("no event: {other:?}"),
    }
}

/// Returns who hears of an outcome beside the connection that asked, in rising order.
pub(crate) fn told(fan_out: &[FanOut]) -> Vec<UserId> {
    let mut users: Vec<UserId> = fan_out.iter().flat_map(|one| one.users.clone()).collect();
    users.sort();
    users
}

pub(crate) fn sequences(events: &[Event]) -> Vec<u32> {
    events.iter().map(|event| event.sequence.get()).collect()
}

pub(crate) fn text(event: &Event) -> &str {
    match &event.body {
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => &content.text,
        _ => panic!("no message"),
    }
}

pub(crate) fn payload(event: &Event) -> Option<&str> {
    match &event.body {
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
            content.payload.as_ref().map(RawJson::as_str)
        }
        _ => panic!("no message"),
    }
}

/// Returns number, rights and read mark of everybody in a conversation as an event describes it.
pub(crate) fn participants(event: &Event) -> Vec<(UserId, u32, Sequence)> {
    let described = event.body.conversation().unwrap();
    described.participants.iter().map(|one| (one.user, one.permissions.bits(), one.last_read)).collect()
}
