//! History policies: what a device fetches by itself, and what it fetches because somebody waits for it.

use super::World;
use super::device::Device;
use super::disk::Held;
use super::medium::Medium;
use backscroll::model::{ConversationId, HistoryPolicy, OutboxEntry, OutboxState, Sequence, SequenceRange};
use backscroll::sync::Command;
use fastrand::Rng;

impl<M> Device<M> {
    /// Returns what is wanted of a conversation without anybody asking.
    pub(super) fn wanted(&self, held: &Held) -> Option<SequenceRange> {
        held.history.unwrap_or(self.policy).wanted(held.head)
    }

    /// History is looked through, whatever is wanted of it, while the search for something uncertain goes on.
    pub(super) fn search(&mut self, conversation: ConversationId) {
        // What an earlier process left as being sent is uncertain, too.
        let may_be = |entry: &&OutboxEntry| matches!(entry.state, OutboxState::Sending | OutboxState::Uncertain);
        let mut entries = self.disk.outbox.values().filter(may_be);
        if entries.any(|entry| entry.intent.conversation() == Some(conversation)) {
            self.process.searched.insert(conversation);
        }
    }
}

impl<M: Medium> World<M> {
    pub(super) fn a_policy(rng: &mut Rng) -> HistoryPolicy {
        match rng.u32(0..4) {
            0 => HistoryPolicy::OnDemand,
            // Of none at all the file says that it is on demand.
            1 | 2 => HistoryPolicy::Newest(rng.u32(1..40)),
            _ => HistoryPolicy::Everything,
        }
    }

    /// Somebody chooses how much of a conversation is fetched, or reads into what was not.
    pub(super) fn something_of_history(&mut self, index: usize, room: ConversationId) -> Command {
        let known = &self.devices[index].disk.conversations;
        let head = known[&room].head;
        if head == Sequence::ZERO || self.rng.u32(0..3) == 0 {
            // Who has chosen once may choose again.
            let chosen = known.iter().find(|(_, held)| held.history.is_some()).map(|(id, _)| *id);
            let conversation = chosen.filter(|_| self.rng.bool()).unwrap_or(room);
            let policy = if self.rng.u32(0..3) == 0 { None } else { Some(Self::a_policy(&mut self.rng)) };
            return Command::SetHistory(conversation, policy);
        }
        // Sometimes more than there is.
        let first = self.rng.u32(1..=head.get().min(1_000));
        let last = first + self.rng.u32(0..150);
        let range = SequenceRange::new(Sequence(first), Sequence(last)).expect("rising");
        Command::Fetch { conversation: room, range }
    }

    /// What is asked for is wanted by the policy, or waited for.
    pub(super) fn check_wanted(
        &mut self,
        index: usize,
        id: ConversationId,
        range: SequenceRange,
    ) -> Result<(), String> {
        let device = &self.devices[index];
        let wanted = device.disk.conversations.get(&id).and_then(|held| device.wanted(held));
        let is_wanted = wanted.is_some_and(|wanted| wanted.intersection(range) == Some(range));
        let is_awaited = device.process.awaited.get(&id).is_some_and(|awaited| awaited.contains_range(range));
        let is_searched = device.process.searched.contains(&id);
        if !is_wanted && is_awaited {
            self.tally.arrow("History", "not wanted", "fetched");
        } else if !is_wanted && is_searched {
            self.tally.arrow("History", "not wanted", "searched");
        }
        let by_nobody = || format!("{range} of {id} was asked for, and {wanted:?} is wanted");
        self.tally.holds("R-59", is_wanted || is_awaited || is_searched, by_nobody)
    }

    /// Whoever waited for a part of history has it.
    pub(super) fn check_fetched(
        &mut self,
        index: usize,
        id: ConversationId,
        range: SequenceRange,
    ) -> Result<(), String> {
        let covers = self.devices[index].disk.conversations.get(&id).map(|held| &held.coverage);
        let is_held = covers.is_some_and(|covers| covers.contains_range(range));
        self.tally.arrow("Fetch", "asked", "held");
        self.tally.holds("R-59", is_held, || format!("{range} of {id} was fetched, and {covers:?} is held"))
    }
}
