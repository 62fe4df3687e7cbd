//! Heads: how far conversations have come, and how little of it need be asked.
//!
//! Any server tells the head of a conversation with its description, thirty of them a request. One that announces it
//! tells which conversations moved since a cursor; then only those are described. The cursor stands for everything
//! that was stored by then, so it is kept behind all of that, and is no use with any other server.

use super::core::Core;
use super::outbox::Lane;
use super::pending::{Heads, Purpose};
use super::searching::Look;
use super::{HeadsCursor, Write};
use crate::model::{Conversation, ConversationId, ErrorClass, ErrorCode, Membership, RequestId};
use crate::protocol::{CONVERSATIONS_MAX, CURSOR_BYTES_MAX, FRAME_BYTES_MAX, Head, Request};
use std::collections::BTreeSet;

/// Heads that one answer may bring, in all its frames: as many conversations as the user's list, which is one frame, has
/// room for at 36 characters each.
const HEADS_TOLD_MAX: usize = FRAME_BYTES_MAX / 36;

/// Where asking for heads since a cursor stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    /// The cursor that is stored.
    pub(super) held: Option<HeadsCursor>,
    /// Whether the present server answers such questions.
    pub(super) announced: bool,
    /// Whether one is to be asked.
    pub(super) wanted: bool,
    /// The cursor told last, to be stored once `unsettled` is empty.
    told: Option<String>,
    /// Conversations that the cursor told last stands for, and whose descriptions are not stored yet.
    unsettled: BTreeSet<ConversationId>,
}

impl Since {
    pub(super) fn restore(held: Option<HeadsCursor>) -> Self {
        Self { held, ..Self::default() }
    }

    /// The link is gone: what was told on it and not stored is asked for again.
    pub(super) fn link_lost(&mut self) {
        *self = Self::restore(self.held.take());
    }
}

impl Core {
    /// The list of conversations was told: compares the heads of `all`. Those of `doubtful` are not what they were,
    /// whatever a cursor says.
    pub(super) fn compare_all_heads(&mut self, all: BTreeSet<ConversationId>, doubtful: BTreeSet<ConversationId>) {
        if self.since.announced {
            self.since.wanted = true;
            self.compare_heads(doubtful);
        } else {
            self.compare_heads(all);
        }
    }

    /// Puts conversations in line for a comparison of heads.
    pub(super) fn compare_heads(&mut self, ids: impl IntoIterator<Item = ConversationId>) {
        for id in ids {
            self.ledger.await_head(id);
            if self.since.announced {
                self.since.unsettled.insert(id);
            }
        }
    }

    /// Asks which conversations moved since the cursor held; without one of this server, all of them did.
    pub(super) fn ask_heads_since(&mut self) {
        self.since.wanted = false;
        let server = self.session.as_ref().map(|session| session.server.url.as_str());
        let known = self.since.held.as_ref().filter(|held| Some(held.server_url.as_str()) == server);
        let cursor = known.map(|held| held.cursor.clone());
        self.request(Request::HeadsSince { cursor }, Purpose::HeadsSince(Vec::new()));
    }

    /// A part of the answer, or with a cursor the end of it.
    pub(super) fn heads_told(&mut self, request: Option<RequestId>, heads: Vec<Head>, cursor: Option<String>) {
        let Some(request) = request else { return };
        let Some(Purpose::HeadsSince(told)) = self.pending.get_mut(request) else { return };
        told.extend(heads);
        if told.len() > HEADS_TOLD_MAX {
            self.pending.remove(request);
            return self.heads_since_failed();
        }
        let Some(cursor) = cursor else { return };
        let Some(Purpose::HeadsSince(told)) = self.pending.remove(request) else { return };
        self.succeeded();
        // Of what the user left nothing behind the leaving is told: held up to there, it is as it was.
        let is_news = |head: &Head| {
            let track = self.ledger.get(head.conversation);
            track.is_none_or(|track| track.membership != Membership::Left || !track.coverage.contains(head.sequence))
        };
        let moved: BTreeSet<ConversationId> = told.into_iter().filter(is_news).map(|head| head.conversation).collect();
        for id in &moved {
            if self.ledger.ensure(*id, Membership::Member) {
                self.write(Write::Membership(*id, Membership::Member));
            }
        }
        self.ledger.unmoved(&moved);
        self.since.told = Some(cursor).filter(|cursor| cursor.len() <= CURSOR_BYTES_MAX);
        self.compare_heads(moved);
        self.settle_cursor();
    }

    /// No answer, or a refusal: heads are compared one by one, as with any other server.
    pub(super) fn heads_since_failed(&mut self) {
        self.since.link_lost();
        let members: Vec<ConversationId> = self.ledger.members_behind(None).collect();
        self.compare_heads(members);
    }

    /// A head was read, or will never be: the cursor need not wait for it.
    fn head_settled(&mut self, id: ConversationId) {
        if self.since.unsettled.remove(&id) {
            self.settle_cursor();
        }
    }

    /// Keeps the cursor told last, once everything it stands for is stored; not before, or what a crash takes away
    /// in between would never be asked for again.
    fn settle_cursor(&mut self) {
        if !self.since.unsettled.is_empty() {
            return;
        }
        let (Some(cursor), Some(session)) = (self.since.told.take(), &self.session) else { return };
        let held = HeadsCursor { server_url: session.server.url.clone(), cursor };
        if self.since.held.as_ref() != Some(&held) {
            self.since.held = Some(held.clone());
            self.write(Write::HeadsCursor(held));
        }
    }

    /// An event lost at the tail leaves no gap to see: heads are read again from time to time, thirty
    /// conversations at a time, so that a long list costs no more than a short one.
    pub(super) fn check_tails(&mut self) {
        if self.now < self.tail_check_at || !self.knows_own_user {
            return;
        }
        self.tail_check_at = self.now.after(self.settings.tail_check_interval);
        if self.pending.awaits_heads() || self.ledger.heads_waiting() > 0 {
            return;
        }
        // What moved is learnt at once where there is a cursor; that a conversation is gone, only from itself.
        self.since.wanted = self.since.announced;
        let round: Vec<ConversationId> =
            self.ledger.members_behind(self.tail_check_from).take(CONVERSATIONS_MAX).collect();
        self.tail_check_from = round.last().copied();
        let unheard = std::mem::take(&mut self.unheard);
        self.compare_heads(unheard.into_iter().chain(round));
    }

    pub(super) fn answered_by_conversation(&mut self, request: Option<RequestId>, conversation: Conversation) {
        self.head_settled(conversation.id);
        let Some(request) = request else { return };
        if let Some(Purpose::Fact(token)) = self.pending.get_mut(request) {
            let token = *token;
            self.pending.remove(request);
            return self.fact_told(token, conversation);
        }
        let Some(Purpose::Heads(heads)) = self.pending.get_mut(request) else { return };
        heads.take(conversation);
        if heads.waiting.is_empty()
            && let Some(Purpose::Heads(heads)) = self.pending.remove(request)
        {
            self.heads_answered(heads, true);
        }
    }

    /// The answer about heads is complete, or nothing more of it will come.
    pub(super) fn heads_answered(&mut self, heads: Heads, complete: bool) {
        if complete {
            self.succeeded();
        }
        if heads.decides {
            for conversation in &heads.got {
                self.search(conversation.id);
            }
            for id in &heads.waiting {
                self.outbox.advance_look(Lane::Conversation(*id), Look::Asked, Look::AskHead);
            }
        }
        if let Some(command) = heads.command {
            self.conversations_answered(heads, command, complete);
        } else if !heads.decides {
            self.ask_again(heads);
        }
    }

    /// What was not described in time may have been lost on the way, or one of them keeps the server from describing the
    /// others: each is asked for by itself. What is not described even then waits for the next check of tails.
    fn ask_again(&mut self, heads: Heads) {
        if heads.many {
            heads.waiting.into_iter().for_each(|id| self.ask_one_head(id, false));
        } else {
            self.unheard.extend(heads.waiting);
        }
    }

    pub(super) fn heads_refused(&mut self, heads: Heads, code: ErrorCode) {
        let ids: Vec<ConversationId> = heads.waiting.iter().copied().collect();
        match (code.class(), ids.as_slice()) {
            (ErrorClass::Never, [only]) => {
                // Whatever is in the outbox for it will meet the same refusal, and show it.
                if heads.decides {
                    self.search(*only);
                }
                if code == ErrorCode::ConversationDeleted {
                    self.set_membership(*only, Membership::Removed);
                }
                self.head_settled(*only);
            }
            // One that may not be read spoils the answer for all: ask for them one by one.
            (ErrorClass::Never, _) => {
                for id in ids {
                    self.ask_one_head(id, heads.decides);
                }
            }
            (ErrorClass::Later | ErrorClass::TooFast | ErrorClass::SignIn, _) => {
                if heads.decides {
                    for id in &ids {
                        self.outbox.advance_look(Lane::Conversation(*id), Look::Asked, Look::AskHead);
                    }
                } else {
                    self.compare_heads(ids);
                }
            }
        }
    }
}
