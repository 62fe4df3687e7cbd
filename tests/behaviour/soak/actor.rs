//! The bots: some speak through sockets, some through engines.

use super::known::Known;
use crate::asking::ask;
use crate::raw::{Raw, UNDER_WAY};
use backscroll::model::{ConversationId, EventBody, RequestId, Sequence, UserId};
use backscroll::protocol::Push;
use backscroll::{Error, Messenger};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What came of the actions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    carried_out: u32,
    accepted: u32,
    refused: BTreeMap<i64, u32>,
    pushes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.carried_out += other.carried_out;
        self.accepted += other.accepted;
        self.pushes += other.pushes;
        for (code, times) in &other.refused {
            *self.refused.entry(*code).or_default() += times;
        }
    }

    pub(crate) const fn carried_out(&self) -> u32 {
        self.carried_out + self.accepted
    }

    pub(crate) fn refused(&self) -> u32 {
        self.refused.values().sum()
    }

    pub(crate) fn actions(&self) -> u32 {
        self.carried_out() + self.refused()
    }

    fn refusal(&mut self, code: i64) {
        *self.refused.entry(code).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carried_out, accepted, pushes, refused } = self;
        write!(
            f,
            "{carried_out} carried out, {accepted} accepted by engines, {} refused, {pushes} pushes; by code:",
            self.refused()
        )?;
        refused.iter().try_for_each(|(code, times)| write!(f, " {code}×{times}"))
    }
}

/// Acts through a socket, with many requests under way, and checks the order of what it is told.
pub(crate) async fn through_a_socket(
    mut socket: Raw,
    known: Arc<Known>,
    me: UserId,
    mut rng: Rng,
    actions: u32,
) -> Tally {
    let mut tally = Tally::default();
    let mut waiting: BTreeMap<RequestId, u32> = BTreeMap::new();
    let mut newest: BTreeMap<ConversationId, Sequence> = BTreeMap::new();
    let mut left = actions;
    while left > 0 || !waiting.is_empty() {
        while left > 0 && waiting.len() < UNDER_WAY {
            let request = known.request(&mut rng, me);
            waiting.insert(socket.submit(request).await, 1);
            left -= 1;
        }
        let chat = socket.told().await;
        known.hear(&chat.push);
        if let Push::Event(event) = &chat.push {
            // Each event once, in rising order, be it the answer to one's own request or not. The answer to making a
            // direct conversation that exists describes it, and is no event.
            let describes = chat.request.is_some() && matches!(event.body, EventBody::ConversationCreated(_));
            let before = newest.insert(event.conversation, event.sequence).unwrap_or_default();
            assert!(
                event.sequence > before || describes,
                "{} after {before} in {}",
                event.sequence,
                event.conversation
            );
        }
        let Some(frames) = chat.request.and_then(|request| waiting.get_mut(&request)) else {
            tally.pushes += 1;
            continue;
        };
        match &chat.push {
            Push::Error { error, .. } => tally.refusal(error.code.number()),
            Push::Retransmitted { count: Some(count), .. } if *frames < *count => {
                *frames += 1;
                continue;
            }
            _ => tally.carried_out += 1,
        }
        chat.request.and_then(|request| waiting.remove(&request));
    }
    tally
}

/// Acts through an engine, whose links break: what it accepts must come to an end by itself.
pub(crate) async fn through_the_engine(
    engine: Messenger,
    known: Arc<Known>,
    me: UserId,
    mut rng: Rng,
    actions: u32,
) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..actions {
        // What becomes of it is not waited for.
        match ask(&engine, known.request(&mut rng, me)).await.map(drop) {
            Ok(()) => tally.accepted += 1,
            Err(error) => match error.messaging() {
                Some(refusal) => tally.refusal(refusal.code.number()),
                None if matches!(error, Error::Offline { .. }) => tally.refusal(-1),
                None => panic!("{error:?}"),
            },
        }
    }
    tally
}
