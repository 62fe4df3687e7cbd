//! Order, retry and reconciliation of what we send.
//!
//! Entries about one conversation form a **lane**: they leave one after the other, so that they reach
//! the log in the order in which they were accepted. A new conversation has a lane of its own.

use super::pace::Backoff;
use crate::model::{
    ClientToken, ConversationId, ErrorCode, Intent, MessagingError, OutboxEntry, OutboxState, Sequence, Settlement,
    Uptime,
};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Delays between attempts at an entry that was refused for now.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Attempts at an entry that meets a code we do not know, before it counts as refused for good.
const UNKNOWN_CODE_ATTEMPTS: u32 = 5;

/// Entries that leave one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Everything about one conversation.
    Conversation(ConversationId),
    /// One new conversation.
    New(ClientToken),
    /// Everything about the user.
    User,
}

/// How far the search for an uncertain entry has come, on a server that may do things twice.
///
/// ```text
///   link given up ──▶ Quarantine ──▶ AskHead ──▶ Asked ──▶ CatchUp ──▶ decided: settled, or queued again
///                          ▲            │  time over, link live   (head read, history up to it held)
///                          └────────────┴── link lost again: frames of that link may still be processed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The server may still process frames of the link we gave up.
    Quarantine(Uptime),
    /// The head must be read anew.
    AskHead,
    /// It is being read.
    Asked,
    /// History up to the head must be held.
    CatchUp,
}

#[derive(Clone, Debug, Default)]
struct LaneState {
    /// Unfinished entries by position.
    entries: BTreeSet<u64>,
    /// The first of them, when it may leave now.
    ready: Option<u64>,
    look: Option<Look>,
    rest_until: Uptime,
    failures: u32,
}

/// All entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    entries: BTreeMap<u64, OutboxEntry>,
    by_token: BTreeMap<ClientToken, u64>,
    lanes: BTreeMap<Lane, LaneState>,
    /// Positions at the head of a lane that may leave now.
    ready: BTreeSet<u64>,
    resting: BTreeSet<(Uptime, Lane)>,
    last_position: u64,
}

pub(super) fn lane_of(entry: &OutboxEntry) -> Lane {
    match (entry.intent.conversation(), &entry.intent) {
        (Some(conversation), _) => Lane::Conversation(conversation),
        (None, Intent::CreateConversation(_)) => Lane::New(entry.token),
        (None, _) => Lane::User,
    }
}

const fn is_unfinished(state: OutboxState) -> bool {
    match state {
        OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => true,
        OutboxState::Settled | OutboxState::Failed => false,
    }
}

impl Outbox {
    /// Takes what the store holds. What was being sent when the process ended is uncertain now, and the
    /// quarantine begins at `now`: nothing tells when the old link was given up.
    pub(super) fn restore(saved: Vec<OutboxEntry>, quarantine_until: Uptime) -> Self {
        let mut outbox = Self::default();
        for mut entry in saved {
            if entry.state == OutboxState::Sending {
                entry.state = OutboxState::Uncertain;
            }
            outbox.last_position = outbox.last_position.max(entry.position);
            outbox.put(entry);
        }
        let uncertain: Vec<Lane> =
            outbox.unfinished().filter(|entry| entry.state == OutboxState::Uncertain).map(lane_of).collect();
        for lane in uncertain {
            outbox.set_look(lane, Look::Quarantine(quarantine_until));
        }
        outbox
    }

    /// Inserts an entry or replaces the one with its token, and keeps the order of leaving true.
    pub(super) fn put(&mut self, entry: OutboxEntry) {
        let lane = lane_of(&entry);
        let position = entry.position;
        let unfinished = is_unfinished(entry.state);
        self.by_token.insert(entry.token, position);
        self.entries.insert(position, entry);
        let state = self.lanes.entry(lane).or_default();
        if unfinished {
            state.entries.insert(position);
        } else {
            state.entries.remove(&position);
        }
        self.refresh(lane);
    }

    /// Forgets an entry.
    pub(super) fn forget(&mut self, token: ClientToken) -> Option<OutboxEntry> {
        let position = self.by_token.remove(&token)?;
        let entry = self.entries.remove(&position)?;
        let lane = lane_of(&entry);
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.entries.remove(&position);
        }
        self.refresh(lane);
        Some(entry)
    }

    /// Finds out anew which entry of a lane may leave now.
    fn refresh(&mut self, lane: Lane) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        if let Some(position) = state.ready.take() {
            self.ready.remove(&position);
        }
        let Some(first) = state.entries.first() else {
            self.resting.remove(&(state.rest_until, lane));
            self.lanes.remove(&lane);
            return;
        };
        let queued = self.entries.get(first).is_some_and(|entry| entry.state == OutboxState::Queued);
        if queued && state.rest_until == Uptime::default() {
            state.ready = Some(*first);
            self.ready.insert(*first);
        }
    }

    pub(super) const fn next_position(&mut self) -> u64 {
        self.last_position += 1;
        self.last_position
    }

    pub(super) fn get(&self, token: ClientToken) -> Option<&OutboxEntry> {
        self.entries.get(self.by_token.get(&token)?)
    }

    pub(super) fn unfinished(&self) -> impl Iterator<Item = &OutboxEntry> {
        self.lanes.values().flat_map(|lane| &lane.entries).filter_map(|position| self.entries.get(position))
    }

    /// Returns the entry that leaves next, the oldest of those at the head of their lanes.
    pub(super) fn next_ready(&self) -> Option<&OutboxEntry> {
        self.entries.get(self.ready.first()?)
    }

    /// Returns the user's own read mark that is on its way in this conversation.
    pub(super) fn own_read_mark(&self, conversation: ConversationId) -> Option<Sequence> {
        let lane = self.lanes.get(&Lane::Conversation(conversation))?;
        let marks = lane.entries.iter().filter_map(|position| {
            let Intent::MarkAsRead { sequence, .. } = self.entries.get(position)?.intent else { return None };
            Some(sequence)
        });
        marks.max()
    }

    /// The lane of this entry rests after an answer that says "later".
    pub(super) fn rest(&mut self, lane: Lane, now: Uptime, rng: &mut Rng) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        let mut backoff = Backoff::new(RETRY);
        let mut delay = backoff.fail(rng);
        for _ in 0..state.failures.min(20) {
            delay = backoff.fail(rng);
        }
        state.failures = state.failures.saturating_add(1);
        self.resting.remove(&(state.rest_until, lane));
        state.rest_until = now.after(delay);
        self.resting.insert((state.rest_until, lane));
        self.refresh(lane);
    }

    /// Wakes lanes whose rest is over.
    pub(super) fn wake(&mut self, now: Uptime) {
        while let Some((until, lane)) = self.resting.first().copied().filter(|(until, _)| *until <= now) {
            self.resting.remove(&(until, lane));
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.rest_until = Uptime::default();
            }
            self.refresh(lane);
        }
    }

    /// Wakes every lane: the network may be back.
    pub(super) fn wake_all(&mut self) {
        self.wake(Uptime::from_duration(Duration::MAX));
    }

    /// Returns when the next lane wakes or leaves quarantine.
    pub(super) fn next_wake(&self) -> Option<Uptime> {
        let quarantined = self.lanes.values().filter_map(|state| match state.look {
            Some(Look::Quarantine(until)) => Some(until),
            Some(Look::AskHead | Look::Asked | Look::CatchUp) | None => None,
        });
        self.resting.first().map(|(until, _)| *until).into_iter().chain(quarantined).min()
    }

    /// The link is gone: what was being sent is uncertain. Returns the entries that changed.
    ///
    /// Quarantine is about the link that carried the frame: a lane that sent nothing on this one only
    /// has to read its head anew.
    pub(super) fn link_lost(&mut self, quarantine_until: Uptime) -> Vec<OutboxEntry> {
        for state in self.lanes.values_mut() {
            state.look = state.look.map(|look| match look {
                Look::Quarantine(until) => Look::Quarantine(until),
                Look::AskHead | Look::Asked | Look::CatchUp => Look::AskHead,
            });
        }
        let changed: Vec<OutboxEntry> = self
            .unfinished()
            .filter(|entry| entry.state == OutboxState::Sending)
            .map(|entry| OutboxEntry { state: OutboxState::Uncertain, ..entry.clone() })
            .collect();
        for entry in &changed {
            self.put(entry.clone());
            self.set_look(lane_of(entry), Look::Quarantine(quarantine_until));
        }
        changed
    }

    /// Returns the lanes that hold an uncertain entry, and how far the search for it has come.
    pub(super) fn looks(&self) -> Vec<(Lane, Look)> {
        self.lanes.iter().filter_map(|(lane, state)| Some((*lane, state.look?))).collect()
    }

    pub(super) fn set_look(&mut self, lane: Lane, look: Look) {
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.look = Some(look);
        }
    }

    /// Moves the search in a lane from one step to the next; at another step it stays where it is. Returns whether
    /// it moved.
    pub(super) fn advance_look(&mut self, lane: Lane, from: Look, to: Look) -> bool {
        let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.look == Some(from)) else { return false };
        state.look = Some(to);
        true
    }

    /// The decisive look found nothing: uncertain entries of the lane may be sent again, with the same
    /// token and the same request id. Returns the entries that changed.
    pub(super) fn send_again(&mut self, lane: Lane) -> Vec<OutboxEntry> {
        let Some(state) = self.lanes.get_mut(&lane) else { return Vec::new() };
        state.look = None;
        let positions: Vec<u64> = state.entries.iter().copied().collect();
        let changed: Vec<OutboxEntry> = positions
            .iter()
            .filter_map(|position| self.entries.get(position))
            .filter(|entry| entry.state == OutboxState::Uncertain)
            .map(|entry| OutboxEntry { state: OutboxState::Queued, error: None, ..entry.clone() })
            .collect();
        changed.iter().cloned().for_each(|entry| self.put(entry));
        changed
    }

    /// Marks an entry as done. `None` when it is unknown or finished already.
    pub(super) fn settle(&mut self, token: ClientToken, settlement: Settlement) -> Option<OutboxEntry> {
        let entry = self.get(token).filter(|entry| is_unfinished(entry.state))?;
        let settled =
            OutboxEntry { state: OutboxState::Settled, settlement: Some(settlement), error: None, ..entry.clone() };
        self.calm(&settled);
        self.put(settled.clone());
        Some(settled)
    }

    /// Marks an entry as refused for good. `None` when it is unknown or finished already.
    pub(super) fn fail(&mut self, token: ClientToken, error: MessagingError) -> Option<OutboxEntry> {
        let entry = self.get(token).filter(|entry| is_unfinished(entry.state))?;
        let failed = OutboxEntry { state: OutboxState::Failed, error: Some(error), ..entry.clone() };
        self.calm(&failed);
        self.put(failed.clone());
        Some(failed)
    }

    /// The first entry of a lane came to an end: what is behind it starts without a history of failures.
    fn calm(&mut self, entry: &OutboxEntry) {
        if let Some(state) = self.lanes.get_mut(&lane_of(entry)) {
            state.failures = 0;
            state.look = None;
        }
    }

    /// Returns whether an answer with this code is worth another attempt.
    pub(super) fn may_retry(entry: &OutboxEntry, code: ErrorCode) -> bool {
        !matches!(code, ErrorCode::Other(_)) || entry.attempts < UNKNOWN_CODE_ATTEMPTS
    }
}
