//! Frames of the server into the ledger and the store, whatever they answer.
//!
//! A frame is an event first and an answer second: what it says is stored before anybody waits for it.

use super::core::{Core, timed_out};
use super::ledger::UBER_ATTEMPTS;
use super::pending::{Purpose, Range};
use super::{HoleReason, Refusal, Reply, Signal, Write};
use crate::model::{
    Conversation, ConversationId, ErrorClass, ErrorCode, Event, EventBody, Membership, MessagingError, Notice, Ranges,
    RequestId, Sequence, SequenceRange, User, UserId, without_token_in_custom_data,
};
use crate::protocol::{Push, ServerChat};

/// The silence that ends an answer to be compared, once all that is held has come, as a part of the usual time for an
/// answer: 2 s of 20. The frames of one answer follow each other on one link.
const QUIET_PART: u32 = 10;

impl Core {
    pub(super) fn chat(&mut self, chat: ServerChat) {
        let request = chat.request;
        match chat.push {
            Push::Event(event) => {
                self.live_event(&event);
                self.answered_by_event(request, event);
            }
            Push::Conversation { conversation, .. } => {
                if self.is_kept(request) {
                    self.describe(conversation.clone(), true);
                }
                self.answered_by_conversation(request, conversation);
            }
            Push::Retransmitted { count, event, .. } => self.answered_by_history(request, event, count),
            Push::User { user, .. } => self.user_told(request, user),
            Push::UserEdited { user, .. } => {
                self.write(Write::User(user.clone()));
                self.signal(Signal::User(user));
                self.answered_by_notice(request);
            }
            Push::Read { header, conversation, sequence } => {
                if let Some(user) = header.initiator {
                    self.read_mark(conversation, user, sequence);
                }
                self.answered_by_notice(request);
            }
            Push::Typing { header, conversation } => {
                if let Some(user) = header.initiator {
                    self.signal(Signal::Notice(Notice::Typing { conversation, user }));
                }
                self.answered_by_notice(request);
            }
            Push::Status { header, online } => {
                if let (Some(user), Some(timestamp)) = (header.initiator, header.timestamp) {
                    self.signal(Signal::Notice(Notice::Status { user, online, timestamp }));
                }
                self.answered_by_notice(request);
            }
            Push::PublicConversations { conversations, .. } => {
                let kept = Write::PublicConversations(conversations.clone());
                self.list_told(request, kept, Reply::PublicConversations(conversations));
            }
            Push::Subscriptions { users, .. } => {
                self.list_told(request, Write::Subscriptions(users.clone()), Reply::Subscriptions(users));
            }
            Push::Subscribed { users, .. } => {
                self.write(Write::Subscribed(users.clone()));
                self.signal(Signal::Notice(Notice::Subscribed(users)));
                self.answered_by_notice(request);
            }
            Push::Unsubscribed { users, .. } => {
                self.write(Write::Unsubscribed(users.clone()));
                self.signal(Signal::Notice(Notice::Unsubscribed(users)));
                self.answered_by_notice(request);
            }
            Push::Error { error, .. } => {
                if let Some(request) = request {
                    self.refused(request, error);
                }
            }
            Push::HeadsSince { heads, cursor, .. } => self.heads_told(request, heads, cursor),
            // Proof of life.
            Push::Unknown { .. } => {}
        }
    }

    /// Returns whether what answers this request is stored; all is but what was asked for to be compared.
    fn is_kept(&mut self, request: Option<RequestId>) -> bool {
        match request.and_then(|id| self.pending.get_mut(id)) {
            Some(Purpose::Heads(heads)) => heads.compared.is_none(),
            Some(
                Purpose::OwnUser
                | Purpose::HeadsSince(_)
                | Purpose::Users(_)
                | Purpose::Range(_)
                | Purpose::List(_)
                | Purpose::Subscriptions
                | Purpose::Volatile(_)
                | Purpose::Outbox(_)
                | Purpose::Fact(_),
            )
            | None => true,
        }
    }

    fn user_told(&mut self, request: Option<RequestId>, user: User) {
        let purpose = request.and_then(|id| self.pending.get_mut(id));
        if matches!(purpose, Some(Purpose::OwnUser)) {
            request.and_then(|id| self.pending.remove(id));
            return self.own_user_answered(user);
        }
        let mut complete = false;
        if let Some(Purpose::Users(users)) = purpose {
            users.got.push(user.clone());
            users.waiting -= 1;
            complete = users.waiting == 0;
        }
        self.named.insert(user.id);
        self.write(Write::User(user.clone()));
        self.signal(Signal::User(user));
        if complete && let Some(Purpose::Users(users)) = request.and_then(|id| self.pending.remove(id)) {
            self.users_answered(users, true);
        }
    }

    fn read_mark(&mut self, conversation: ConversationId, user: UserId, sequence: Sequence) {
        // A mark of ours that is on its way is newer than what the server says of us.
        let on_its_way = if self.me() == Some(user) { self.outbox.own_read_mark(conversation) } else { None };
        if on_its_way.is_none_or(|own| own <= sequence) {
            if self.me() == Some(user) {
                self.ledger.change(conversation, |track| track.own_read = sequence);
            }
            self.write(Write::ReadMark { conversation, user, sequence });
        }
        self.signal(Signal::Notice(Notice::Read { conversation, user, sequence }));
    }

    /// Something numbered happened just now.
    fn live_event(&mut self, event: &Event) {
        if let EventBody::ConversationCreated(conversation) = &event.body
            && event.sequence != Sequence::FIRST
        {
            // Asking for a direct conversation that exists is answered with its present state under the
            // number of its newest event: a description, no event.
            return self.describe((**conversation).clone(), true);
        }
        if self.ledger.ensure(event.conversation, Membership::Member) {
            self.write(Write::Membership(event.conversation, Membership::Member));
        }
        if event.sequence == Sequence::ZERO {
            if matches!(event.body, EventBody::ConversationRemoved) {
                self.set_membership(event.conversation, Membership::Removed);
                self.signal(Signal::Event { event: event.clone(), live: true });
            }
            return;
        }
        let unheard_of = self.ledger.get(event.conversation).is_some_and(|track| track.described_at == Sequence::ZERO);
        if !self.store_events(event.conversation, vec![event.clone()], true) {
            return;
        }
        match &event.body {
            EventBody::ConversationCreated(conversation) | EventBody::ConversationEdited(conversation) => {
                self.describe((**conversation).clone(), false);
            }
            EventBody::ConversationRemoved => self.set_membership(event.conversation, Membership::Removed),
            EventBody::MessageSent(_)
            | EventBody::MessageEdited(_)
            | EventBody::MessageRemoved(_)
            | EventBody::Unknown { .. } => {
                if unheard_of {
                    self.compare_heads([event.conversation]);
                }
            }
        }
    }

    /// Stores those of the events that were not held, at a hole or where nobody had looked yet, covers their
    /// positions, and tells of them. Returns whether there were any. `events` must rise.
    ///
    /// The others go to the store to be compared with what is held, which this core has not seen: it changes nothing.
    fn store_events(&mut self, id: ConversationId, events: Vec<Event>, live: bool) -> bool {
        let Some(track) = self.ledger.get(id) else { return false };
        let (repeated, events): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|event| track.holds(event.sequence));
        if !repeated.is_empty() {
            self.write(Write::Repeated(id, repeated));
        }
        let positions: Ranges = events.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
        let Some(newest) = events.last() else { return false };
        let (sequence, timestamp) = (newest.sequence, newest.timestamp);
        self.ledger.change(id, |track| {
            positions.iter().for_each(|range| {
                track.coverage.insert(range);
                range.iter().for_each(|at| track.holes.remove(at));
            });
            track.head = track.head.max(sequence);
            track.last_activity = track.last_activity.max(timestamp);
        });
        self.write(Write::Events(id, events.clone()));
        positions.iter().for_each(|range| self.write(Write::Cover(id, range)));
        // What the events settle is written with them: a held event is never looked at again, so an entry
        // that missed it would be looked for in vain and sent a second time.
        let settled: Vec<Vec<Signal>> = events.iter().map(|event| self.settle_by_event(event)).collect();
        for (event, settled) in events.into_iter().zip(settled) {
            self.signal(Signal::Event { event, live });
            settled.into_iter().for_each(|signal| self.signal(signal));
        }
        self.answer_fetches(id);
        true
    }

    /// The server described a conversation. `now` says whether as it is now, or as an event left it.
    fn describe(&mut self, mut conversation: Conversation, now: bool) {
        let id = conversation.id;
        let me = self.me();
        let takes_part = me.is_some_and(|me| conversation.participant(me).is_some());
        self.ledger.ensure(id, if takes_part { Membership::Member } else { Membership::Stranger });
        let Some(track) = self.ledger.get(id) else { return };
        let (described_at, membership) = (track.described_at, track.membership);
        if conversation.last_sequence < described_at {
            return;
        }
        self.settle_created(&conversation);
        conversation.custom_data = without_token_in_custom_data(&conversation.custom_data);
        // A read mark of ours that is on its way is newer than what the server says of us.
        let mark = self.outbox.own_read_mark(id);
        if let Some(own) = conversation.participants.iter_mut().find(|participant| me == Some(participant.user)) {
            own.last_read = mark.map_or(own.last_read, |mark| match mark {
                // Everything is to be unread again.
                Sequence::ZERO => mark,
                _ => own.last_read.max(mark),
            });
            let told = own.last_read;
            self.ledger.change(id, |track| track.own_read = track.own_read.max(told));
        }
        let users = conversation.participants.iter().map(|participant| participant.user);
        let (named, asked) = (&self.named, &self.asked_names);
        self.nameless.extend(users.filter(|user| !named.contains(user) && !asked.contains(user)));
        let (head, uber, activity) = (conversation.last_sequence, conversation.uber, conversation.last_update);
        self.write(Write::Conversation(conversation));
        self.ledger.change(id, |track| {
            track.described_at = head;
            track.head = track.head.max(head);
            track.uber = uber;
            track.last_activity = track.last_activity.max(activity);
            track.compared |= now;
        });
        let stands = match (membership, takes_part) {
            (_, true) => Membership::Member,
            (Membership::Member, false) => Membership::Left,
            (Membership::Left | Membership::Stranger | Membership::Removed, false) => membership,
        };
        if stands != membership {
            self.set_membership(id, stands);
        } else if described_at == Sequence::ZERO {
            self.write(Write::Membership(id, stands));
        }
    }

    pub(super) fn set_membership(&mut self, id: ConversationId, membership: Membership) {
        self.ledger.change(id, |track| track.set_membership(membership));
        self.write(Write::Membership(id, membership));
    }

    fn answered_by_history(&mut self, request: Option<RequestId>, event: Event, count: Option<u32>) {
        // Only our own server says how many frames follow; elsewhere the number may be what was asked.
        let expected = count.filter(|_| self.idempotent);
        let Some(request) = request else { return };
        let Some(Purpose::Range(range)) = self.pending.get_mut(request) else { return };
        let is_new = range.take(event, expected);
        if range.is_complete() {
            self.window.page_came(self.now);
            if let Some(Purpose::Range(range)) = self.pending.remove(request) {
                self.range_answered(range, true);
            }
        } else if let Some(compared) = range.compared.as_ref().filter(|_| is_new) {
            // What is not shown is shown by silence alone. One that follows all that is held may be short: what could
            // still come has no reason to come later than the rest of the answer.
            let silence = if compared.held.is_empty() {
                self.settings.request_timeout / QUIET_PART
            } else {
                self.settings.request_timeout.saturating_mul(compared.patience)
            };
            self.pending.set_deadline(request, self.now.after(silence));
        }
    }

    /// The answer to a range is complete, or nothing more of it will come.
    pub(super) fn range_answered(&mut self, range: Range, complete: bool) {
        let Range { conversation: id, range, got, expected, command, compared } = range;
        if let Some(command) = command.filter(|_| compared.is_some()) {
            if complete {
                self.succeeded();
            }
            // Where the server said how much would come, what is missing was not left out, but lost.
            let some = complete || (!got.is_empty() && expected.is_none());
            let events = got.into_values().collect();
            return self.answer(command, if some { Ok(Reply::Events(events)) } else { Err(timed_out()) });
        }
        let events: Vec<Event> = got.into_values().collect();
        let received: Ranges = events.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
        let newest_description = events.iter().rev().find_map(|event| event.body.conversation()).cloned();
        self.ledger.ensure(id, Membership::Stranger);
        let (uber, left) =
            self.ledger.get(id).map_or((false, false), |track| (track.uber, track.membership != Membership::Member));
        let answer = command.map(|command| (command, events.clone()));
        self.store_events(id, events, false);
        if let Some(conversation) = newest_description
            && self.ledger.get(id).is_some_and(|track| conversation.last_sequence > track.described_at)
        {
            self.describe(conversation, false);
        }
        // An application may ask for more than there is. What lies beyond the head is no part of the answer: it may come
        // to be, and would be taken for held.
        let head = self.ledger.get(id).map_or(Sequence::ZERO, |track| track.head);
        let existing = SequenceRange::new(Sequence::FIRST, head).and_then(|known| known.intersection(range));
        let missing: Vec<SequenceRange> =
            existing.map(|existing| received.missing(existing).collect()).unwrap_or_default();
        let reason = if uber { HoleReason::NotAMember } else { HoleReason::NotInHistory };
        if complete {
            self.succeeded();
            if missing.is_empty() || !left {
                if let Some(existing) = existing {
                    self.close_range(id, existing, &missing, reason);
                }
            } else {
                self.ledger.withheld(id, range, &missing);
                self.refuse_fetches(id, range, &ErrorCode::Acl.into());
            }
        } else if command.is_none() {
            let failures = self.ledger.disappointed(id, range, self.now, &mut self.rng);
            if failures >= UBER_ATTEMPTS && left {
                // Somebody outside is shown less than there is, and need not be told so.
                self.ledger.withheld(id, range, &missing);
                self.refuse_fetches(id, range, &ErrorCode::Acl.into());
            } else if failures >= UBER_ATTEMPTS && uber {
                self.close_range(id, range, &missing, reason);
            } else {
                self.refuse_fetches(id, range, &ErrorCode::Timeout.into());
            }
        }
        if let Some((command, events)) = answer {
            self.answer(command, if complete { Ok(Reply::Events(events)) } else { Err(timed_out()) });
        }
    }

    /// A range is settled: what it lacks is a hole from now on.
    fn close_range(&mut self, id: ConversationId, range: SequenceRange, missing: &[SequenceRange], reason: HoleReason) {
        for hole in missing {
            let held: Vec<SequenceRange> =
                self.ledger.get(id).map(|track| track.coverage.missing(*hole).collect()).unwrap_or_default();
            for hole in held {
                self.ledger.change(id, |track| {
                    track.holes.insert(hole);
                });
                self.write(Write::Hole(id, hole, reason));
            }
        }
        self.ledger.answered(id, range);
        self.write(Write::Cover(id, range));
        self.answer_fetches(id);
    }

    /// The server refused a request.
    fn refused(&mut self, request: RequestId, error: MessagingError) {
        let code = error.code;
        match code.class() {
            ErrorClass::TooFast => self.pace.slow_down(self.now),
            ErrorClass::SignIn => return self.give_link_up(),
            ErrorClass::Later | ErrorClass::Never => {}
        }
        match self.pending.remove(request) {
            None => {}
            Some(Purpose::OwnUser) => self.give_link_up(),
            Some(Purpose::HeadsSince(_)) => self.heads_since_failed(),
            Some(Purpose::Subscriptions) => {}
            Some(Purpose::Outbox(token) | Purpose::Fact(token)) => self.entry_refused(token, error),
            Some(Purpose::Users(users)) => self.users_refused(users, error),
            Some(Purpose::List(id) | Purpose::Volatile(id)) => self.answer(id, Err(Refusal::Messaging(error))),
            Some(Purpose::Heads(heads)) => match heads.command {
                Some(id) => self.conversations_refused(heads, id, error),
                None => self.heads_refused(heads, code),
            },
            Some(Purpose::Range(range)) => match range.command {
                Some(id) => self.answer(id, Err(Refusal::Messaging(error))),
                None => self.range_refused(range, &error),
            },
        }
    }

    fn range_refused(&mut self, range: Range, error: &MessagingError) {
        let (id, asked, code) = (range.conversation, range.range, error.code);
        match code.class() {
            ErrorClass::TooFast => self.ledger.give_back(id, asked),
            ErrorClass::Later => {
                self.ledger.disappointed(id, asked, self.now, &mut self.rng);
                self.refuse_fetches(id, asked, error);
            }
            // Nothing at all lies in the range. Of our own server that is a complete answer without an event; of any
            // other it counts, in an uber conversation, like an answer that stays incomplete.
            ErrorClass::Never
                if code == ErrorCode::WrongSequenceArgument
                    && (self.idempotent || self.ledger.get(id).is_some_and(|track| track.uber)) =>
            {
                self.range_answered(range, self.idempotent);
            }
            ErrorClass::Never | ErrorClass::SignIn => {
                self.ledger.refused(id, asked);
                self.refuse_fetches(id, asked, error);
                if code == ErrorCode::ConversationDeleted {
                    self.set_membership(id, Membership::Removed);
                }
            }
        }
    }
}
