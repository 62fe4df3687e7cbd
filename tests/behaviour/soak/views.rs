//! What the server shows a user, and what the user's file shows.

use crate::raw::Raw;
use crate::world::user_name;
use backscroll::Messenger;
use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{
    Conversation, ConversationId, Delivery, Event, Membership, Message, RawJson, Sequence, UserId, fold_messages,
    without_token, without_token_in_custom_data,
};
use backscroll::protocol::{Push, RETRANSMIT_MAX, Request, UserKey};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How much was compared.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    conversations: usize,
    left: usize,
    messages: usize,
    participants: usize,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conversations, left, messages, participants } = self;
        write!(
            f,
            "{conversations} conversations and {left} left ones compared, with {messages} messages and {participants} participants"
        )
    }
}

/// A message as people see it.
#[derive(Debug, PartialEq)]
struct Line {
    at: Sequence,
    revision: Sequence,
    sender: Option<UserId>,
    text: String,
    payload: Option<RawJson>,
    edited: bool,
    removed: bool,
}

impl Line {
    fn of(message: &Message) -> Self {
        Self {
            at: message.sequence,
            revision: message.revision,
            sender: message.sender,
            text: message.text.clone(),
            payload: without_token(message.payload.clone()),
            edited: message.edited,
            removed: message.removed,
        }
    }

    /// Returns whether the line is as the server shows it, or as it was before the server took the text out: who was
    /// not in when a message was removed is not told, and keeps what was said.
    fn is_or_was(&self, shown: &Self) -> bool {
        self == shown || (shown.text.is_empty() && shown.payload.is_none() && self.at == shown.at)
    }
}

/// What the server shows one user.
pub(crate) struct View {
    name: String,
    member: BTreeMap<ConversationId, (Conversation, Vec<Line>)>,
    left: BTreeMap<ConversationId, Vec<Line>>,
}

/// Reads everything that the server shows a user.
pub(crate) async fn of_server(socket: &mut Raw, name: &str) -> View {
    let Some(Push::User { user, .. }) = socket.ask(Request::GetUser(UserKey::Name(user_name(name)))).await.pop() else {
        panic!("{name} is unknown")
    };
    let private = user.private.expect("one's own");
    let mut view = View { name: name.to_owned(), member: BTreeMap::new(), left: BTreeMap::new() };
    for id in private.conversations {
        let Some(Push::Conversation { mut conversation, .. }) = socket.ask(Request::GetConversation(id)).await.pop()
        else {
            panic!("{id} is not shown to {name}")
        };
        conversation.custom_data = without_token_in_custom_data(&conversation.custom_data);
        let lines = messages(socket, id).await;
        view.member.insert(id, (conversation, lines));
    }
    for id in private.left_conversations {
        let lines = messages(socket, id).await;
        view.left.insert(id, lines);
    }
    view
}

/// Reads the whole history that the server shows of a conversation.
async fn messages(socket: &mut Raw, conversation: ConversationId) -> Vec<Line> {
    let step = i64::from(RETRANSMIT_MAX);
    let Some(Push::Conversation { conversation: described, .. }) =
        socket.ask(Request::GetConversation(conversation)).await.pop()
    else {
        panic!("{conversation} is not shown")
    };
    let head = i64::from(described.last_sequence.get());
    let mut events: Vec<Event> = Vec::new();
    let mut from = 1;
    while from <= head {
        let to = (from + step - 1).min(head);
        let request = Request::RetransmitEvents { conversation, from: Some(from), to: Some(to), count: None };
        events.extend(socket.ask(request).await.into_iter().filter_map(|push| match push {
            Push::Retransmitted { event, .. } => Some(event),
            _ => None,
        }));
        from = to + 1;
    }
    fold_messages(events.iter()).iter().map(Line::of).collect()
}

impl View {
    /// Waits until the file of the user shows the same; says what differs when that takes for ever.
    pub(crate) async fn until_held_by(&self, engine: &Messenger, compared: &mut Compared) {
        let mut events = engine.events();
        while let Err(what) = self.compare(engine).await {
            eprintln!("{}: {what}", self.name);
            events.next().await.expect("the engine is open");
        }
        compared.conversations += self.member.len();
        compared.left += self.left.len();
        for (conversation, lines) in self.member.values() {
            compared.messages += lines.len();
            compared.participants += conversation.participants.len();
        }
    }

    async fn compare(&self, engine: &Messenger) -> Result<(), String> {
        let mut held: BTreeMap<Membership, BTreeSet<ConversationId>> = BTreeMap::new();
        for summary in engine.conversations(0, 1_000).await.unwrap() {
            if summary.delivery == Delivery::Failed && summary.head == Sequence::ZERO {
                // The wish for one was refused, and is shown until somebody takes it back.
                continue;
            }
            held.entry(summary.membership).or_default().insert(summary.conversation.id);
        }
        let member: BTreeSet<ConversationId> = self.member.keys().copied().collect();
        let left: BTreeSet<ConversationId> = self.left.keys().copied().collect();
        for (membership, shown) in [(Membership::Member, member), (Membership::Left, left)] {
            let held = held.remove(&membership).unwrap_or_default();
            if let Some(id) = held.symmetric_difference(&shown).next() {
                let stands = engine.conversation(*id).await.unwrap().map(|summary| summary.membership);
                return Err(format!("to {id} it stands as {stands:?}, not as {membership:?} or the other way round"));
            }
        }
        for (id, (expected, lines)) in &self.member {
            let summary = engine.conversation(*id).await.unwrap().expect("listed");
            let described = summary.conversation.clone().into_data();
            if summary.head != expected.last_sequence || summary.missing > 0 {
                return Err(format!("{id} is at {} of {}", summary.head, expected.last_sequence));
            }
            for (what, same) in [
                ("title", described.title == expected.title),
                ("custom data", described.custom_data == expected.custom_data),
                ("public join", described.public_join == expected.public_join),
                ("kind", described.kind() == expected.kind()),
            ] {
                if !same {
                    return Err(format!("{id} has another {what}"));
                }
            }
            if described.participants != expected.participants {
                return Err(format!("{id} has {:?}, not {:?}", described.participants, expected.participants));
            }
            let same = if expected.uber { Line::is_or_was } else { PartialEq::eq };
            compare_messages(engine, *id, lines, same).await?;
        }
        for (id, lines) in &self.left {
            compare_messages(engine, *id, lines, Line::is_or_was).await?;
        }
        Ok(())
    }
}

/// Compares the messages of the file with those that the server shows, and says where they first differ.
async fn compare_messages(
    engine: &Messenger,
    id: ConversationId,
    expected: &[Line],
    same: fn(&Line, &Line) -> bool,
) -> Result<(), String> {
    let mut pages: Vec<Vec<Line>> = Vec::new();
    let mut window = Window::Newest;
    loop {
        let page: Vec<Line> = engine
            .messages(id, window, 1_000)
            .await
            .unwrap()
            .iter()
            .filter_map(|item| match item {
                // What failed to be sent is shown at the end, and is no part of the history.
                TimelineItem::Message(message) if message.id.is_some() => Some(Line::of(message)),
                TimelineItem::Message(_) | TimelineItem::Gap(_) => None,
            })
            .collect();
        let Some(first) = page.first() else { break };
        window = Window::Before(first.at);
        pages.push(page);
    }
    let held: Vec<Line> = pages.into_iter().rev().flatten().collect();
    match held.iter().zip(expected).find(|(held, expected)| !same(held, expected)) {
        Some((held, expected)) => Err(format!("{id} shows {held:?}, not {expected:?}")),
        None if held.len() != expected.len() => {
            Err(format!("{id} shows {} messages of {}", held.len(), expected.len()))
        }
        None => Ok(()),
    }
}
