//! Heads since a cursor: which conversations of a user moved since the user last asked.
//!
//! Whatever a participant would have to hear of moves a conversation: a numbered event, or a read mark. The moves are
//! counted from the start of the hub and kept in memory only. A cursor names the start it counts from, so that after a
//! restart, or over a folder that was put back to an earlier day, an old cursor is unknown and everything moved: a
//! client may be told of too much, and never of too little.

use super::{Context, Done, Fault, Hub, header};
use crate::storage::Storage;
use backscroll::model::{Action, ConversationId, Event};
use backscroll::protocol::{HEADS_MAX, Head, Push};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The moves since the hub began.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    /// Names this start; drawn at the first question.
    epoch: Option<Uuid>,
    /// How many there were.
    count: u64,
    /// The number of each conversation's latest move. Bounded by the conversations that moved.
    latest: BTreeMap<ConversationId, u64>,
}

impl Moves {
    fn moved(&mut self, conversation: ConversationId) {
        self.count += 1;
        self.latest.insert(conversation, self.count);
    }

    /// Takes from what a request came to which conversations it moved. A request that fails later leaves a move
    /// that did not happen, which costs a client one look.
    pub(super) fn take_from(&mut self, done: &Done) {
        for push in done.reply.iter().chain(done.fan_out.iter().map(|fan_out| &fan_out.push)) {
            if let Push::Event(Event { conversation, .. }) | Push::Read { conversation, .. } = push {
                self.moved(*conversation);
            }
        }
    }

    /// Returns the number in a cursor; `None` when it is none of this start.
    fn number(&self, cursor: &str) -> Option<u64> {
        let (epoch, number) = cursor.split_once(':')?;
        let number = number.parse().ok().filter(|number| *number <= self.count)?;
        (Some(epoch.parse().ok()?) == self.epoch).then_some(number)
    }
}

impl<S: Storage> Hub<S> {
    /// Answers with the conversations that the caller takes or took part in and that moved since the cursor. Of those
    /// the caller left the head is the event of leaving: who came back and left again while away learns so of both.
    pub(super) fn heads_since(&mut self, context: &Context, cursor: Option<&str>) -> Result<Done, Fault> {
        let epoch = *self.moves.epoch.get_or_insert(context.fresh);
        let since = cursor.and_then(|cursor| self.moves.number(cursor));
        let mut heads: Vec<Head> = Vec::new();
        for (conversation, sequence) in self.storage.heads(context.caller)? {
            let moved = self.moves.latest.get(&conversation).copied().unwrap_or_default();
            if since.is_none_or(|since| moved > since) {
                heads.push(Head { conversation, sequence });
            }
        }
        let mut frames: Vec<Vec<Head>> = heads.chunks(HEADS_MAX).map(<[Head]>::to_vec).collect();
        if frames.is_empty() {
            frames.push(Vec::new());
        }
        let last = frames.len() - 1;
        let count = self.moves.count;
        let push = |(place, heads)| Push::HeadsSince {
            header: header(context, Action::HeadsSince),
            heads,
            cursor: (place == last).then(|| format!("{epoch}:{count}")),
        };
        Ok(Done::frames(frames.into_iter().enumerate().map(push).collect()))
    }
}
