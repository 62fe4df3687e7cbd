//! What the bots have heard of, and what they make up from it.

use crate::world::nobody;
use backscroll::model::{
    ConversationConfig, ConversationId, EventBody, MessageId, Notification, Participant, Permissions, RawJson,
    Sequence, UserId,
};
use backscroll::protocol::{Push, Request, UserKey};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// What was heard so far, by all of them together.
pub(crate) struct Known {
    users: Vec<UserId>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    conversations: Vec<ConversationId>,
    /// Who takes part as of which event.
    participants: BTreeMap<ConversationId, (Sequence, BTreeSet<UserId>)>,
    messages: Vec<(ConversationId, MessageId)>,
}

impl Known {
    pub(crate) fn new(users: Vec<UserId>) -> Self {
        Self { users, heard: Mutex::default() }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what a frame tells of.
    pub(crate) fn hear(&self, push: &Push) {
        let Push::Event(event) = push else { return };
        let mut heard = self.heard();
        match &event.body {
            EventBody::ConversationCreated(described) | EventBody::ConversationEdited(described) => {
                if !heard.participants.contains_key(&event.conversation) {
                    heard.conversations.push(event.conversation);
                }
                let (as_of, users) = heard.participants.entry(event.conversation).or_default();
                if event.sequence > *as_of {
                    *as_of = event.sequence;
                    *users = described.participants.iter().map(|participant| participant.user).collect();
                }
            }
            EventBody::MessageSent(content) => heard.messages.push((event.conversation, content.id)),
            _ => {}
        }
    }

    /// Takes up a conversation that must have been made.
    pub(crate) fn made(&self, answer: &[Push]) {
        let [push @ Push::Event(_)] = answer else { panic!("no conversation was made: {answer:?}") };
        self.hear(push);
    }

    /// Returns what the conversation in this place should be: all kinds take turns.
    pub(crate) fn founding(&self, rng: &mut Rng, place: usize) -> ConversationConfig {
        let title = format!("conversation {place}");
        let others = rng.usize(1..=6);
        let mut config =
            ConversationConfig { title, participants: self.participants(rng, others), ..ConversationConfig::default() };
        match place % 4 {
            0 => {}
            1 => {
                config.direct = true;
                // Founders are the sockets in turn: nobody may be alone with themselves.
                let founder = self.users[place / 2 % self.users.len()];
                let other = self.users[(place / 2 + 1 + place / 40) % self.users.len()];
                assert_ne!(founder, other);
                config.participants = vec![Participant::new(other)];
            }
            2 => config.public_join = true,
            _ => config.uber = true,
        }
        config
    }

    fn user(&self, rng: &mut Rng) -> UserId {
        if rng.u8(0..40) == 0 { nobody() } else { self.users[rng.usize(0..self.users.len())] }
    }

    fn participants(&self, rng: &mut Rng, count: usize) -> Vec<Participant> {
        let bits = [7, 7, 7, 1, 0, 15, 63, 65535];
        let mut places: Vec<usize> = (0..self.users.len()).collect();
        rng.shuffle(&mut places);
        let chosen = places.into_iter().take(count).map(|place| Participant::new(self.users[place]));
        chosen.map(|one| one.with_permissions(Permissions::from_bits(bits[rng.usize(0..bits.len())]))).collect()
    }

    /// Returns a conversation: mostly one that `me` takes part in, sometimes another one, sometimes none there is.
    fn conversation(&self, rng: &mut Rng, me: UserId) -> ConversationId {
        let heard = self.heard();
        let own: Vec<ConversationId> =
            heard.participants.iter().filter(|(_, (_, users))| users.contains(&me)).map(|(id, _)| *id).collect();
        match rng.u8(0..60) {
            0 => ConversationId::from_uuid(Uuid::from_u128(rng.u128(..))),
            8.. if !own.is_empty() => own[rng.usize(0..own.len())],
            _ => heard.conversations[rng.usize(0..heard.conversations.len())],
        }
    }

    /// Returns a message of a conversation, mostly a late one; sometimes one of another, sometimes none there is.
    fn message(&self, rng: &mut Rng, conversation: ConversationId) -> (ConversationId, MessageId) {
        let heard = self.heard();
        let late = heard.messages.len().saturating_sub(2_000);
        let here: Vec<MessageId> =
            heard.messages[late..].iter().filter(|(id, _)| *id == conversation).map(|(_, message)| *message).collect();
        match rng.u8(0..50) {
            0 => (conversation, MessageId::from_uuid(Uuid::from_u128(rng.u128(..)))),
            2.. if !here.is_empty() => (conversation, here[rng.usize(here.len().saturating_sub(30)..here.len())]),
            _ if heard.messages.is_empty() => (conversation, MessageId::from_uuid(Uuid::nil())),
            _ => heard.messages[rng.usize(late..heard.messages.len())],
        }
    }

    fn text(rng: &mut Rng) -> String {
        match rng.u8(0..60) {
            0 => "x".repeat(5_001),
            1 => String::new(),
            _ => format!("said {}, сказано, 言った", rng.u32(..)),
        }
    }

    /// Makes up something that `me` asks for.
    pub(crate) fn request(&self, rng: &mut Rng, me: UserId) -> Request {
        let payload = |rng: &mut Rng| (rng.u8(0..4) == 0).then(|| json(r#"[{"kind":"card","n":1}]"#));
        let data = |rng: &mut Rng| json(&format!(r#"{{"n":{}}}"#, rng.u32(..)));
        let conversation = self.conversation(rng, me);
        match rng.u8(0..100) {
            0..45 => Request::SendMessage { conversation, text: Self::text(rng), payload: payload(rng) },
            45..57 => {
                let (conversation, message) = self.message(rng, conversation);
                Request::EditMessage { conversation, message, text: Some(Self::text(rng)), payload: payload(rng) }
            }
            57..62 => {
                let (conversation, message) = self.message(rng, conversation);
                Request::RemoveMessage { conversation, message }
            }
            62..71 => Request::MarkAsRead { conversation, sequence: rng.i64(0..60) },
            71..74 => Request::Typing(conversation),
            74..78 => {
                let count = rng.usize(0..3);
                Request::AddParticipants { conversation, participants: self.participants(rng, count) }
            }
            78..81 => Request::EditParticipants { conversation, participants: self.participants(rng, 1) },
            81..83 => Request::RemoveParticipants { conversation, users: vec![self.user(rng)] },
            83..86 => Request::JoinConversation(conversation),
            86 => Request::LeaveConversation(conversation),
            87 if rng.u8(0..20) == 0 => Request::RemoveConversation(conversation),
            87 => Request::CreateConversation(ConversationConfig {
                direct: true,
                participants: vec![Participant::new(self.user(rng))],
                ..ConversationConfig::default()
            }),
            88..91 => Request::EditConversation {
                conversation,
                title: rng.bool().then(|| format!("title {}", rng.u32(..))),
                public_join: (rng.u8(0..4) == 0).then(|| rng.bool()),
                custom_data: rng.bool().then(|| data(rng)),
            },
            91 => Request::GetConversation(conversation),
            92 => Request::GetUser(UserKey::Id(self.user(rng))),
            93 => {
                let from = rng.i64(-2..300);
                let to = from + rng.i64(-2..120);
                Request::RetransmitEvents { conversation, from: Some(from), to: Some(to), count: None }
            }
            94 => Request::EditUser {
                custom_data: rng.bool().then(|| data(rng)),
                private_custom_data: rng.bool().then(|| data(rng)),
            },
            95 => Request::Subscribe(vec![self.user(rng)]),
            96 => Request::Unsubscribe(vec![self.user(rng)]),
            97 => Request::SetStatus { online: rng.bool() },
            98 => Request::ManageNotifications(vec![rng.bool().then_some(Notification::SendMessage)]),
            _ => Request::GetPublicConversations,
        }
    }
}

pub(crate) fn json(text: &str) -> RawJson {
    RawJson::new(text).expect("JSON")
}
