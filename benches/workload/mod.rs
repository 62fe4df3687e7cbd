//! A history like those people have, the same for every round: conversations of Zipf sizes, told in pages of up to a
//! hundred, the newest of each conversation first, conversations interleaved at random.

use backscroll::model::{
    Action, ConversationId, Event, EventBody, MessageContent, MessageId, RawJson, Sequence, SequenceRange, Timestamp,
    UserId,
};
use backscroll::sync::Write;
use std::env;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many conversations there are, where nothing else is said.
pub(crate) const CONVERSATIONS: usize = 1_000;
/// How many events a page has at most; what the protocol allows.
const PAGE: usize = 100;

/// Some events of one conversation, rising.
pub(crate) struct Page {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// What.
    pub(crate) events: Vec<Event>,
}

impl Page {
    /// Returns what the core would have stored for it.
    pub(crate) fn writes(&self) -> [Write; 2] {
        let first = self.events.first().map(|event| event.sequence);
        let last = self.events.last().map(|event| event.sequence);
        let range = first.zip(last).and_then(|(first, last)| SequenceRange::new(first, last)).expect("a page");
        [Write::Events(self.conversation, self.events.clone()), Write::Cover(self.conversation, range)]
    }
}

/// Returns how many events to work with: `EVENTS`, or `default`.
pub(crate) fn size(default: usize) -> usize {
    env::var("EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Makes pages of about `events` in all, at least one a conversation: 88 % births, 10 % edits and 2 % removals of recent
/// messages.
pub(crate) fn pages(events: usize, conversations: usize) -> Vec<Page> {
    let mut random = fastrand::Rng::with_seed(7);
    let weight: f64 = (1..=conversations).map(|rank| 1.0 / rank as f64).sum();
    let mut histories: Vec<Vec<Page>> = Vec::new();
    let mut turns = Vec::new();
    for rank in 1..=conversations {
        let length = (events as f64 / rank as f64 / weight).ceil() as u32;
        let conversation = ConversationId::from_uuid(uuid(&mut random));
        let history = history(&mut random, conversation, length);
        let pages =
            history.chunks(PAGE).map(|events| Page { conversation, events: events.to_vec() }).collect::<Vec<_>>();
        turns.extend(std::iter::repeat_n(histories.len(), pages.len()));
        histories.push(pages);
    }
    random.shuffle(&mut turns);
    turns.into_iter().filter_map(|turn| histories[turn].pop()).collect()
}

fn history(random: &mut fastrand::Rng, conversation: ConversationId, length: u32) -> Vec<Event> {
    let mut born: Vec<(MessageId, UserId)> = Vec::new();
    let mut events = Vec::new();
    for at in 1..=length {
        let recent = born.len().saturating_sub(200);
        let known = (!born.is_empty()).then(|| born[random.usize(recent..born.len())]);
        let (initiator, action, body) = match (random.u8(0..100), known) {
            (0..2, Some((id, sender))) => (sender, Action::RemoveMessage, EventBody::MessageRemoved(id)),
            (2..12, Some((id, sender))) => (sender, Action::EditMessage, EventBody::MessageEdited(content(random, id))),
            _ => {
                let id = MessageId::from_uuid(uuid(random));
                let sender = UserId::new(random.u64(1..20)).expect("a small number");
                born.push((id, sender));
                (sender, Action::SendMessage, EventBody::MessageSent(content(random, id)))
            }
        };
        let timestamp = Timestamp(1_700_000_000 + i64::from(at) * 60);
        let sequence = Sequence(at);
        events.push(Event { conversation, sequence, action, initiator, timestamp, body, unknown: None });
    }
    events
}

fn uuid(random: &mut fastrand::Rng) -> Uuid {
    Uuid::from_u128(random.u128(..))
}

/// Texts of about 94 bytes, a payload on every twelfth.
fn content(random: &mut fastrand::Rng, id: MessageId) -> MessageContent {
    // The sum of three is lopsided enough: short ones are many, long ones few.
    let length =
        random.usize(4..40) + random.usize(0..30) + if random.u8(0..4) == 0 { random.usize(0..400) } else { 0 };
    let text = (0..length).map(|_| if random.u8(0..6) == 0 { ' ' } else { random.lowercase() }).collect();
    let payload = (random.u8(0..12) == 0).then(|| {
        let url = format!("https://files.example/{:032x}", random.u128(..));
        RawJson::new(&format!(r#"[{{"type":"file","url":"{url}","size":{}}}]"#, random.u32(..))).expect("JSON")
    });
    MessageContent { id, text, payload }
}

/// Returns how long `work` took.
#[expect(clippy::disallowed_methods, reason = "measuring is what a bench is for")]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}

/// Returns the one in the middle.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
