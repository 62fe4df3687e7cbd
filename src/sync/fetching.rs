//! History on demand: what somebody asks for, whatever the policy of its conversation.

use super::core::Core;
use super::link::Phase;
use super::{CommandId, Refusal, Reply, Write};
use crate::model::{ConversationId, ErrorCode, HistoryPolicy, MessagingError, SequenceRange};

/// Somebody waits for a part of history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    id: CommandId,
    conversation: ConversationId,
    range: SequenceRange,
}

impl Core {
    pub(super) fn set_history(&mut self, id: CommandId, conversation: ConversationId, policy: Option<HistoryPolicy>) {
        if self.ledger.get(conversation).is_none() {
            return self.answer(id, Err(Refusal::Messaging(ErrorCode::ConversationDoesNotExist.into())));
        }
        self.ledger.set_history(conversation, policy);
        self.write(Write::History(conversation, policy));
        self.answer(id, Ok(Reply::Done));
    }

    /// Asks for what is missing of a range, before everything else. Answered when nothing of it is missing any more.
    pub(super) fn fetch(&mut self, id: CommandId, conversation: ConversationId, range: SequenceRange) {
        match self.link.phase {
            Phase::Ready => {}
            Phase::Idle => return self.answer(id, Err(Refusal::NoSession)),
            Phase::Down { .. }
            | Phase::Dialing
            | Phase::Greeting { .. }
            | Phase::LoggingIn { .. }
            | Phase::KeyGiven { .. } => {
                return self.answer(id, Err(Refusal::Offline));
            }
        }
        let Some(track) = self.ledger.get(conversation) else {
            return self.answer(id, Err(Refusal::Messaging(ErrorCode::ConversationDoesNotExist.into())));
        };
        let known = SequenceRange::new(range.first(), range.last().min(track.head));
        let Some(range) = known.filter(|range| !track.coverage.contains_range(*range)) else {
            return self.answer(id, Ok(Reply::Done));
        };
        if !track.may_ask() {
            return self.answer(id, Err(Refusal::Messaging(ErrorCode::Acl.into())));
        }
        let resting = track.is_resting();
        self.ledger.await_range(conversation, range);
        if resting {
            // It is asked for again when its rest is over; nobody should wait so long for an answer.
            return self.answer(id, Err(Refusal::Messaging(ErrorCode::Timeout.into())));
        }
        self.fetches.push(Fetch { id, conversation, range });
    }

    /// Something came: whoever waited for no more than is held now is answered.
    pub(super) fn answer_fetches(&mut self, conversation: ConversationId) {
        let Some(track) = self.ledger.get(conversation) else { return };
        let held = |fetch: &mut Fetch| fetch.conversation == conversation && track.coverage.contains_range(fetch.range);
        let done: Vec<Fetch> = self.fetches.extract_if(.., held).collect();
        done.into_iter().for_each(|fetch| self.answer(fetch.id, Ok(Reply::Done)));
    }

    /// A range will not come, at least not now: whoever waits for a part of it is told.
    pub(super) fn refuse_fetches(
        &mut self,
        conversation: ConversationId,
        range: SequenceRange,
        error: &MessagingError,
    ) {
        let hit = |fetch: &mut Fetch| fetch.conversation == conversation && fetch.range.intersection(range).is_some();
        let refused: Vec<Fetch> = self.fetches.extract_if(.., hit).collect();
        refused.into_iter().for_each(|fetch| self.answer(fetch.id, Err(Refusal::Messaging(error.clone()))));
    }

    /// The link is gone, and with it what was waited for.
    pub(super) fn lose_fetches(&mut self) {
        for fetch in std::mem::take(&mut self.fetches) {
            self.answer(fetch.id, Err(Refusal::Offline));
        }
    }
}
