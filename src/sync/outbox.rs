//! Order, retry and reconciliation of what we send.
//!
//! Entries about one conversation form a **lane**: they leave one after the other, so that they reach
//! the log in the order in which they were accepted. What is about the user alone has a lane of its own.
//!
//! A conversation made while offline is known by a **provisional id**, the uuid of the token of the entry that makes
//! it, and a message not yet sent by its token. What names either waits until that entry is settled, and
//! then names what the server made of it.

use super::attempt::Fact;
use super::pace::Backoff;
use super::searching::Look;
use crate::model::{
    ClientToken, ConversationId, ErrorCode, Intent, MessageId, MessageKey, MessagingError, OutboxEntry, OutboxState,
    Sequence, Settlement, Uptime,
};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::time::Duration;

/// Delays between attempts at an entry that was refused for now.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Attempts at an entry that meets a code we do not know, before it counts as refused for good.
const UNKNOWN_CODE_ATTEMPTS: u32 = 5;

/// How many settled entries are kept, the newest, so that a late question finds its answer and a second copy of a
/// message is known for one.
pub const SETTLED_KEPT: usize = 256;

/// How many settled entries that made a conversation are kept, the newest: applications may have written down the
/// provisional ids, 16 bytes each.
const MADE_KEPT: usize = 4_096;

/// Entries that leave one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Everything about one conversation, its making included.
    Conversation(ConversationId),
    /// Everything about the user.
    User,
}

#[derive(Clone, Debug, Default)]
struct LaneState {
    /// Unfinished entries by position.
    entries: BTreeSet<u64>,
    /// Those among them that name nothing which is not settled.
    free: BTreeSet<u64>,
    /// Read marks among them.
    marks: BTreeSet<u64>,
    /// How many of them the server may be working on.
    under_way: usize,
    /// The one that may leave now.
    ready: Option<u64>,
    look: Option<Look>,
    rest_until: Uptime,
    rest_since: Uptime,
    failures: u32,
}

/// All entries, and in ordered sets whose turn it is, so that no input looks through all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    entries: BTreeMap<u64, OutboxEntry>,
    by_token: BTreeMap<ClientToken, u64>,
    /// Positions by what they name: a token, or the uuid of a conversation, which is that of its maker or nobody's.
    waiting_for: BTreeMap<ClientToken, BTreeSet<u64>>,
    lanes: BTreeMap<Lane, LaneState>,
    /// Positions that may leave now, one a lane.
    ready: BTreeSet<u64>,
    /// Lanes that rest, by when they wake and by since when.
    resting: BTreeSet<(Uptime, Lane)>,
    resting_since: BTreeSet<(Uptime, Lane)>,
    /// Lanes that hold an uncertain entry.
    looking: BTreeMap<Look, BTreeSet<Lane>>,
    /// What the entry at this position of a lane has to know before it may leave; `None` while that is asked for.
    facts: BTreeMap<Lane, (u64, Option<Fact>)>,
    /// Positions of what the server was asked for on the present link.
    sending: BTreeSet<u64>,
    /// Second copies of messages that are to be removed.
    duplicates: BTreeSet<MessageId>,
    /// Positions of what is settled, and of the settled entries that made a conversation.
    settled: BTreeSet<u64>,
    made: BTreeSet<u64>,
    /// What was sent again though an earlier attempt may have arrived: that this one was refused proves nothing of
    /// the earlier. Of a process that ends meanwhile everything under way is uncertain anyway.
    doubtful: BTreeSet<ClientToken>,
    last_position: u64,
}

pub(super) fn lane_of(entry: &OutboxEntry) -> Lane {
    entry.conversation().map_or(Lane::User, Lane::Conversation)
}

const fn is_unfinished(state: OutboxState) -> bool {
    match state {
        OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => true,
        OutboxState::Settled | OutboxState::Failed => false,
    }
}

const fn is_under_way(state: OutboxState) -> bool {
    match state {
        OutboxState::Sending | OutboxState::Uncertain => true,
        OutboxState::Queued | OutboxState::Settled | OutboxState::Failed => false,
    }
}

/// Returns whether the server cannot have it: it never left, or each time it left it was refused.
pub(super) const fn cannot_have_arrived(entry: &OutboxEntry) -> bool {
    match entry.state {
        OutboxState::Queued => entry.attempts == 0 || entry.error.is_some(),
        OutboxState::Failed => true,
        OutboxState::Sending | OutboxState::Uncertain | OutboxState::Settled => false,
    }
}

/// Returns the tokens an entry may name others by: of what makes its conversation, and of what sends its message.
fn named_by(entry: &OutboxEntry) -> impl Iterator<Item = ClientToken> + use<> {
    let message = match entry.intent.message() {
        Some(MessageKey::Token(token)) => Some(token),
        Some(MessageKey::Id(_)) | None => None,
    };
    entry.intent.conversation().map(ConversationId::maker).into_iter().chain(message)
}

impl Outbox {
    /// Takes what the store holds. What was being sent when the process ended is uncertain now, and the
    /// quarantine begins at `now`: nothing tells when the old link was given up. No position up to `last_position` is
    /// given to another entry.
    pub(super) fn restore(saved: Vec<OutboxEntry>, last_position: u64, quarantine_until: Uptime) -> Self {
        let mut outbox = Self { last_position, ..Self::default() };
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
            outbox.set_look(lane, Some(Look::Quarantine(quarantine_until)));
        }
        outbox
    }

    /// Inserts an entry or replaces the one with its token, and keeps the order of leaving true.
    pub(super) fn put(&mut self, entry: OutboxEntry) {
        let lane = lane_of(&entry);
        let position = entry.position;
        let (unfinished, under_way) = (is_unfinished(entry.state), is_under_way(entry.state));
        let (token, holds) = (entry.token, entry.state != OutboxState::Settled);
        let before = self.take(token);
        let held = before.as_ref().is_some_and(|before| before.state != OutboxState::Settled);
        // A replaced one may have stood elsewhere: in another lane, or at another place.
        if let Some(before) = before
            && lane_of(&before) != lane
        {
            self.refresh(lane_of(&before));
        }
        self.by_token.insert(entry.token, position);
        for token in named_by(&entry) {
            self.waiting_for.entry(token).or_default().insert(position);
        }
        if entry.state == OutboxState::Settled {
            let makes = matches!(entry.intent, Intent::CreateConversation(_));
            if makes {
                self.made.insert(position)
            } else {
                self.settled.insert(position)
            };
        }
        if entry.state == OutboxState::Sending {
            self.sending.insert(position);
        }
        if let Intent::RemoveDuplicate { message, .. } = entry.intent {
            self.duplicates.insert(message);
        }
        if unfinished {
            let is_free = !self.is_held(&entry);
            let state = self.lanes.entry(lane).or_default();
            state.entries.insert(position);
            state.under_way += usize::from(under_way);
            if is_free {
                state.free.insert(position);
            }
            if matches!(entry.intent, Intent::MarkAsRead { .. }) {
                state.marks.insert(position);
            }
        }
        self.entries.insert(position, entry);
        self.refresh(lane);
        if holds != held {
            self.hold_anew(token);
        }
    }

    /// Forgets an entry.
    pub(super) fn forget(&mut self, token: ClientToken) -> Option<OutboxEntry> {
        let entry = self.take(token)?;
        self.refresh(lane_of(&entry));
        self.hold_anew(token);
        Some(entry)
    }

    /// Takes an entry out, and leaves it to the caller to refresh its lane.
    fn take(&mut self, token: ClientToken) -> Option<OutboxEntry> {
        let position = self.by_token.remove(&token)?;
        let entry = self.entries.remove(&position)?;
        for token in named_by(&entry) {
            if let Some(positions) = self.waiting_for.get_mut(&token) {
                positions.remove(&position);
                if positions.is_empty() {
                    self.waiting_for.remove(&token);
                }
            }
        }
        self.settled.remove(&position);
        self.made.remove(&position);
        self.sending.remove(&position);
        if let Intent::RemoveDuplicate { message, .. } = entry.intent {
            self.duplicates.remove(&message);
        }
        if let Some(state) = self.lanes.get_mut(&lane_of(&entry)) {
            state.entries.remove(&position);
            state.free.remove(&position);
            state.marks.remove(&position);
            state.under_way -= usize::from(is_under_way(entry.state));
        }
        Some(entry)
    }

    /// Returns whether an entry names one that is not settled, be it under way or set aside.
    fn is_held(&self, entry: &OutboxEntry) -> bool {
        named_by(entry).any(|token| self.get(token).is_some_and(|named| named.state != OutboxState::Settled))
    }

    /// An entry came to be or came to an end: those that name it are held from now on, or no more.
    fn hold_anew(&mut self, named: ClientToken) {
        for position in self.waiting_for.get(&named).cloned().unwrap_or_default() {
            let Some(entry) = self.entries.get(&position).filter(|entry| is_unfinished(entry.state)) else { continue };
            let (lane, held) = (lane_of(entry), self.is_held(entry));
            let Some(state) = self.lanes.get_mut(&lane) else { continue };
            if held {
                state.free.remove(&position);
            } else {
                state.free.insert(position);
            }
            self.refresh(lane);
        }
    }

    /// Returns those that name an entry, in the order of acceptance.
    pub(super) fn waiting_for(&self, token: ClientToken) -> Vec<OutboxEntry> {
        let positions = self.waiting_for.get(&token).into_iter().flatten();
        positions.filter_map(|position| self.entries.get(position)).cloned().collect()
    }

    /// Finds out anew which entry of a lane may leave now.
    fn refresh(&mut self, lane: Lane) {
        let Some(state) = self.lanes.get(&lane) else { return };
        let first = state.free.first().and_then(|position| self.entries.get(position));
        let first = first.map(|entry| (entry.position, entry.state));
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        if let Some(position) = state.ready.take() {
            self.ready.remove(&position);
        }
        if state.entries.is_empty() {
            self.set_look(lane, None);
            self.end_rest(lane);
            self.facts.remove(&lane);
            self.lanes.remove(&lane);
            return;
        }
        if self.facts.get(&lane).is_some_and(|(position, _)| first.is_none_or(|(first, _)| first != *position)) {
            self.facts.remove(&lane);
        }
        let waits_for_fact = matches!(self.facts.get(&lane), Some((_, None)));
        if let Some((position, OutboxState::Queued)) = first
            && state.under_way == 0
            && state.rest_until == Uptime::default()
            && !waits_for_fact
        {
            state.ready = Some(position);
            self.ready.insert(position);
        }
    }

    pub(super) const fn next_position(&mut self) -> u64 {
        self.last_position += 1;
        self.last_position
    }

    pub(super) fn get(&self, token: ClientToken) -> Option<&OutboxEntry> {
        self.entries.get(self.by_token.get(&token)?)
    }

    /// Yields all unfinished entries, by lane.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &OutboxEntry> {
        self.lanes.keys().flat_map(|lane| self.in_lane(*lane))
    }

    /// Returns the unfinished entries of a lane in the order of acceptance.
    pub(super) fn in_lane(&self, lane: Lane) -> impl DoubleEndedIterator<Item = &OutboxEntry> {
        let positions = self.lanes.get(&lane).into_iter().flat_map(|state| &state.entries);
        positions.filter_map(|position| self.entries.get(position))
    }

    /// Returns the entry that leaves next, the oldest of those that may.
    pub(super) fn next_ready(&self) -> Option<&OutboxEntry> {
        self.entries.get(self.ready.first()?)
    }

    /// Returns the conversation that a provisional id stands for, once the server has named it; any other id as it is.
    pub(super) fn resolve(&self, conversation: ConversationId) -> ConversationId {
        let made = self.get(conversation.maker()).and_then(|maker| maker.settlement?.conversation);
        made.unwrap_or(conversation)
    }

    /// Returns whether an id stands for a conversation that is still to be made.
    pub(super) fn is_provisional(&self, conversation: ConversationId) -> bool {
        self.get(conversation.maker()).is_some_and(|maker| maker.state != OutboxState::Settled)
    }

    /// Returns the newest entry that sets the user's own read mark in this conversation.
    pub(super) fn newest_mark(&self, conversation: ConversationId) -> Option<&OutboxEntry> {
        let state = self.lanes.get(&Lane::Conversation(conversation))?;
        self.entries.get(state.marks.last()?)
    }

    /// Returns the user's own read mark that is on its way in this conversation.
    pub(super) fn own_read_mark(&self, conversation: ConversationId) -> Option<Sequence> {
        let Intent::MarkAsRead { sequence, .. } = self.newest_mark(conversation)?.intent else { return None };
        Some(sequence)
    }

    /// Returns all of the user's own read marks that are on their way; of one conversation the last.
    pub(super) fn own_read_marks(&self) -> BTreeMap<ConversationId, Sequence> {
        let marks = self.unfinished().filter_map(|entry| {
            let Intent::MarkAsRead { conversation, sequence } = entry.intent else { return None };
            Some((conversation, sequence))
        });
        marks.collect()
    }

    /// Returns whether a second copy of this message is being removed already.
    pub(super) fn removes_duplicate(&self, copy: MessageId) -> bool {
        self.duplicates.contains(&copy)
    }

    /// The entry at the head of this lane waits until something is known.
    pub(super) fn ask_fact(&mut self, entry: &OutboxEntry) {
        let lane = lane_of(entry);
        self.facts.insert(lane, (entry.position, None));
        self.refresh(lane);
    }

    /// What an entry waited to know is known; if it still waits for it, it may leave.
    pub(super) fn tell_fact(&mut self, token: ClientToken, fact: Fact) {
        let Some(entry) = self.get(token) else { return };
        let (lane, position) = (lane_of(entry), entry.position);
        if let Some((waiting, known @ None)) = self.facts.get_mut(&lane)
            && *waiting == position
        {
            *known = Some(fact);
        }
        self.refresh(lane);
    }

    /// Returns what this entry had to know and does.
    pub(super) fn fact(&self, entry: &OutboxEntry) -> Option<&Fact> {
        let (position, fact) = self.facts.get(&lane_of(entry))?;
        fact.as_ref().filter(|_| *position == entry.position)
    }

    /// Returns whether this entry waits until something is known.
    pub(super) fn waits_for_fact(&self, entry: &OutboxEntry) -> bool {
        matches!(self.facts.get(&lane_of(entry)), Some((waiting, None)) if *waiting == entry.position)
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
        self.end_rest(lane);
        self.facts.remove(&lane);
        if let Some(state) = self.lanes.get_mut(&lane) {
            (state.rest_since, state.rest_until) = (now, now.after(delay));
            self.resting_since.insert((now, lane));
            self.resting.insert((state.rest_until, lane));
        }
        self.refresh(lane);
    }

    fn end_rest(&mut self, lane: Lane) {
        if let Some(state) = self.lanes.get_mut(&lane) {
            self.resting.remove(&(state.rest_until, lane));
            self.resting_since.remove(&(state.rest_since, lane));
            state.rest_until = Uptime::default();
        }
    }

    /// Returns how often in a row the lane of this entry had to rest.
    pub(super) fn failures(&self, entry: &OutboxEntry) -> u32 {
        self.lanes.get(&lane_of(entry)).map_or(0, |state| state.failures)
    }

    /// Wakes lanes whose rest is over.
    pub(super) fn wake(&mut self, now: Uptime) {
        while let Some((_, lane)) = self.resting.first().copied().filter(|(until, _)| *until <= now) {
            self.wake_lane(lane);
        }
    }

    /// Wakes every lane: the network may be back.
    pub(super) fn wake_all(&mut self) {
        self.wake(Uptime::from_duration(Duration::MAX));
    }

    /// Wakes the lanes that have rested for the least delay: something went well just now.
    ///
    /// Not those that were refused a moment ago: where one kind of request succeeds all the time and another never
    /// does, the second must not be tried with each success of the first.
    pub(super) fn wake_rested(&mut self, now: Uptime) {
        while let Some((_, lane)) =
            self.resting_since.first().copied().filter(|(since, _)| now.since(*since) >= RETRY.0)
        {
            self.wake_lane(lane);
        }
    }

    /// Ends the rest of a lane.
    pub(super) fn wake_lane(&mut self, lane: Lane) {
        self.end_rest(lane);
        self.refresh(lane);
    }

    /// Returns when the next lane wakes or leaves quarantine.
    pub(super) fn next_wake(&self) -> Option<Uptime> {
        let quarantined = match self.looking.keys().next() {
            Some(Look::Quarantine(until)) => Some(*until),
            Some(Look::AskHead | Look::Asked | Look::CatchUp | Look::Compare) | None => None,
        };
        self.resting.first().map(|(until, _)| *until).into_iter().chain(quarantined).min()
    }

    /// The link is gone: what was being sent is uncertain. Returns the entries that changed.
    ///
    /// Quarantine is about the link that carried the frame: a lane that sent nothing on this one only
    /// has to read its head anew.
    pub(super) fn link_lost(&mut self, quarantine_until: Uptime) -> Vec<OutboxEntry> {
        for lane in self.lanes_at(Look::AskHead..) {
            self.set_look(lane, Some(Look::AskHead));
        }
        // Facts are asked for on a link, and grow old without one.
        let asked = std::mem::take(&mut self.facts);
        asked.into_keys().for_each(|lane| self.refresh(lane));
        let sending = self.sending.iter().filter_map(|position| self.entries.get(position));
        let changed: Vec<OutboxEntry> =
            sending.map(|entry| OutboxEntry { state: OutboxState::Uncertain, ..entry.clone() }).collect();
        for entry in &changed {
            self.put(entry.clone());
            self.set_look(lane_of(entry), Some(Look::Quarantine(quarantine_until)));
        }
        changed
    }

    /// Returns the lanes in which the search for an uncertain entry has come to one of these steps.
    pub(super) fn lanes_at(&self, steps: impl RangeBounds<Look>) -> Vec<Lane> {
        self.looking.range(steps).flat_map(|(_, lanes)| lanes).copied().collect()
    }

    /// The search in a lane is at this step now, or over.
    pub(super) fn set_look(&mut self, lane: Lane, look: Option<Look>) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        if let Some(before) = std::mem::replace(&mut state.look, look)
            && let Some(lanes) = self.looking.get_mut(&before)
        {
            lanes.remove(&lane);
            if lanes.is_empty() {
                self.looking.remove(&before);
            }
        }
        if let Some(look) = look {
            self.looking.entry(look).or_default().insert(lane);
        }
    }

    /// Moves the search in a lane from one step to the next; at another step it stays where it is. Returns whether
    /// it moved.
    pub(super) fn advance_look(&mut self, lane: Lane, from: Look, to: Look) -> bool {
        let moves = self.is_at(lane, from);
        if moves {
            self.set_look(lane, Some(to));
        }
        moves
    }

    /// Returns whether the search in a lane has come to this step.
    pub(super) fn is_at(&self, lane: Lane, look: Look) -> bool {
        self.lanes.get(&lane).is_some_and(|state| state.look == Some(look))
    }

    /// An entry leaves; `in_doubt` says whether an earlier attempt may have arrived.
    pub(super) fn set_doubt(&mut self, token: ClientToken, in_doubt: bool) {
        if in_doubt {
            self.doubtful.insert(token);
        } else {
            self.doubtful.remove(&token);
        }
    }

    /// Returns whether an attempt before the present one may have arrived.
    pub(super) fn is_in_doubt(&self, token: ClientToken) -> bool {
        self.doubtful.contains(&token)
    }

    /// The decisive look found nothing: uncertain entries of the lane may be sent again, with the same
    /// token and the same request id. Returns the entries that changed.
    pub(super) fn send_again(&mut self, lane: Lane) -> Vec<OutboxEntry> {
        self.set_look(lane, None);
        let changed: Vec<OutboxEntry> = self
            .in_lane(lane)
            .filter(|entry| entry.state == OutboxState::Uncertain)
            .map(|entry| OutboxEntry { state: OutboxState::Queued, error: None, ..entry.clone() })
            .collect();
        changed.iter().cloned().for_each(|entry| self.put(entry));
        changed
    }

    /// Marks an entry as done. Returns it, followed by those that waited for it and now name what it made; empty
    /// when it is unknown or done already. One that was set aside is done, too, when the server turns out to have it.
    pub(super) fn settle(&mut self, token: ClientToken, settlement: Settlement) -> Vec<OutboxEntry> {
        let Some(entry) = self.get(token).filter(|entry| entry.state != OutboxState::Settled) else {
            return Vec::new();
        };
        let settled =
            OutboxEntry { state: OutboxState::Settled, settlement: Some(settlement), error: None, ..entry.clone() };
        self.calm(&settled);
        let waiting = self.waiting_for(token);
        self.put(settled.clone());
        let mut changed = vec![settled];
        for mut entry in waiting {
            if let (Some(named), Some(made)) = (entry.intent.conversation_mut(), settlement.conversation)
                && *named == ConversationId::provisional(token)
            {
                *named = made;
            }
            if let (Some(named), Some(sent)) = (entry.intent.message_mut(), settlement.message)
                && *named == MessageKey::Token(token)
            {
                *named = MessageKey::Id(sent);
            }
            self.put(entry.clone());
            changed.push(entry);
        }
        changed
    }

    /// Takes out what is settled so long ago that nobody will ask for it. Returns the tokens.
    pub(super) fn prune(&mut self) -> Vec<ClientToken> {
        let old = |positions: &BTreeSet<u64>, kept: usize| -> Vec<u64> {
            positions.iter().take(positions.len().saturating_sub(kept)).copied().collect()
        };
        let mut positions = old(&self.settled, SETTLED_KEPT);
        positions.extend(old(&self.made, MADE_KEPT));
        let tokens: Vec<ClientToken> =
            positions.iter().filter_map(|position| self.entries.get(position)).map(|entry| entry.token).collect();
        for token in &tokens {
            self.forget(*token);
        }
        tokens
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
        let lane = lane_of(entry);
        self.set_look(lane, None);
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.failures = 0;
        }
    }

    /// Returns whether an answer with this code is worth another attempt.
    pub(super) fn may_retry(entry: &OutboxEntry, code: ErrorCode) -> bool {
        !matches!(code, ErrorCode::Other(_)) || entry.attempts < UNKNOWN_CODE_ATTEMPTS
    }
}
