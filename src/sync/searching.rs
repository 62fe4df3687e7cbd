//! The search for uncertain entries, before one may be sent again to a server that may do things twice.

use super::core::Core;
use super::ledger::Track;
use super::link::Phase;
use super::outbox::Lane;
use crate::model::{ConversationId, Sequence, SequenceRange, Uptime};

/// How far the search for an uncertain entry has come, on a server that may do things twice.
///
/// ```text
///   link given up ──▶ Quarantine ──▶ AskHead ──▶ Asked ──▶ CatchUp ──▶ decided: settled, or queued again
///                          ▲            │          │         (head read, history up to it held)
///                          │            │          └──▶ Compare ──▶ decided
///                          │            │                (of a conversation to be made: list read, heads compared)
///                          └────────────┴── link lost again: frames of that link may still be processed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// The server may still process frames of the link we gave up.
    Quarantine(Uptime),
    /// The head must be read anew.
    AskHead,
    /// It is being read.
    Asked,
    /// History up to the head must be held.
    CatchUp,
    /// The heads of all conversations must be compared: one that was made would be among them.
    Compare,
}

impl Core {
    /// Moves the search for uncertain entries on, as far as it can go now.
    pub(super) fn look_for_uncertain(&mut self) {
        let searched = self.ledger.take_searched();
        if self.link.phase != Phase::Ready {
            return;
        }
        if self.idempotent {
            // Whatever is sent twice is done once: no need to look.
            return self.outbox.lanes_at(..).into_iter().for_each(|lane| self.send_again(lane));
        }
        for lane in self.outbox.lanes_at(..=Look::Quarantine(self.now)) {
            self.outbox.set_look(lane, Some(Look::AskHead));
        }
        if self.knows_own_user {
            for lane in self.outbox.lanes_at(Look::AskHead..=Look::AskHead) {
                self.begin_look(lane);
            }
        }
        searched.into_iter().for_each(|id| self.decide(id));
        if self.is_list_compared() {
            for lane in self.outbox.lanes_at(Look::Compare..=Look::Compare) {
                self.send_again(lane);
            }
        }
    }

    fn begin_look(&mut self, lane: Lane) {
        self.outbox.set_look(lane, Some(Look::Asked));
        match lane {
            // One that was made would be in the list, with our token in it.
            Lane::Conversation(id) if self.outbox.is_provisional(id) => self.wants_own_user = true,
            Lane::Conversation(id) => self.ask_one_head(id, true),
            // Whatever is about the user alone may be done again: no trace of it is to be found.
            Lane::User => self.send_again(lane),
        }
    }

    /// The list of conversations was read anew: new ones that are ours would be in it.
    pub(super) fn list_read(&mut self) {
        for lane in self.outbox.lanes_at(Look::Asked..=Look::Asked) {
            if let Lane::Conversation(id) = lane
                && self.outbox.is_provisional(id)
            {
                self.outbox.set_look(lane, Some(Look::Compare));
            }
        }
    }

    /// The head is known, or will not be told: history up to it is searched for what is uncertain, whatever the policy wants.
    pub(super) fn search(&mut self, id: ConversationId) {
        if !self.outbox.advance_look(Lane::Conversation(id), Look::Asked, Look::CatchUp) {
            return;
        }
        let head = self.ledger.get(id).map_or(Sequence::ZERO, |track| track.head);
        if let Some(whole) = SequenceRange::new(Sequence::FIRST, head) {
            self.ledger.await_range(id, whole);
        }
        self.decide(id);
    }

    /// Ends the search in a conversation, if everything is held that could show an entry to be done.
    ///
    /// Somebody who was removed meanwhile may have written before: what can still be read is read, or a message
    /// that arrived would be told to have failed. Where nothing can be read the refusal will tell.
    fn decide(&mut self, id: ConversationId) {
        let lane = Lane::Conversation(id);
        if self.outbox.is_at(lane, Look::CatchUp) && self.ledger.get(id).is_none_or(Track::is_searched) {
            self.send_again(lane);
        }
    }

    fn is_list_compared(&self) -> bool {
        self.ledger.heads_waiting() == 0 && !self.pending.awaits_heads() && self.ledger.is_compared()
    }

    fn send_again(&mut self, lane: Lane) {
        for entry in self.outbox.send_again(lane) {
            self.record(entry);
        }
    }
}
