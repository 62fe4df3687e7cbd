//! Entries of the outbox on their way: accepted, sent, settled, refused.

use super::attempt::{request_of, says_done_already, settlement_of};
use super::core::Core;
use super::outbox::{Outbox, lane_of};
use super::pending::Purpose;
use super::{CommandId, Output, Refusal, Reply, Signal, Write, check_intent};
use crate::model::{
    ClientToken, Conversation, ErrorClass, Event, EventBody, Intent, MessagingError, OutboxEntry, OutboxState,
    RequestId, Settlement, Timestamp, token_of_custom_data, token_of_payload,
};

impl Core {
    pub(super) fn submit(&mut self, id: CommandId, token: ClientToken, intent: Intent, queued_at: Timestamp) {
        if self.session.is_none() {
            return self.answer(id, Err(Refusal::NoSession));
        }
        if let Err(error) = check_intent(&intent) {
            return self.answer(id, Err(Refusal::Messaging(error)));
        }
        // The same command again, after a failed write for example, is accepted once.
        if let Some(entry) = self.outbox.get(token).cloned() {
            return self.answer(id, Ok(Reply::Accepted(entry)));
        }
        let entry = OutboxEntry {
            token,
            position: self.outbox.next_position(),
            intent,
            state: OutboxState::Queued,
            request: self.fresh_request_id(),
            attempts: 0,
            queued_at,
            settlement: None,
            error: None,
        };
        self.outbox.put(entry.clone());
        self.write(Write::Outbox(entry.clone()));
        if let (Intent::MarkAsRead { conversation, sequence }, Some(user)) = (&entry.intent, self.me()) {
            // One's own mark counts from the moment it is set, network or not.
            self.write(Write::ReadMark { conversation: *conversation, user, sequence: *sequence });
        }
        self.answer(id, Ok(Reply::Accepted(entry.clone())));
        self.signal(Signal::Outbox { entry, event: None, cancelled: false });
    }

    pub(super) fn cancel(&mut self, id: CommandId, token: ClientToken) {
        let may_cancel = self.outbox.get(token).is_some_and(|entry| match entry.state {
            // Sent before and not refused: the server may have it.
            OutboxState::Queued => entry.attempts == 0 || entry.error.is_some(),
            OutboxState::Failed => true,
            OutboxState::Sending | OutboxState::Uncertain | OutboxState::Settled => false,
        });
        match may_cancel.then(|| self.outbox.forget(token)).flatten() {
            Some(entry) => {
                self.write(Write::OutboxForget(token));
                self.answer(id, Ok(Reply::Done));
                self.signal(Signal::Outbox { entry, event: None, cancelled: true });
            }
            None => self.answer(id, Err(Refusal::TooLate)),
        }
    }

    pub(super) fn retry(&mut self, id: CommandId, token: ClientToken) {
        let Some(entry) = self.outbox.get(token).filter(|entry| entry.state == OutboxState::Failed).cloned() else {
            return self.answer(id, Err(Refusal::TooLate));
        };
        // A new attempt at something refused, not a repetition of one whose answer was lost.
        let request = self.fresh_request_id();
        let entry = OutboxEntry { state: OutboxState::Queued, request, attempts: 0, error: None, ..entry };
        self.outbox.put(entry.clone());
        self.write(Write::Outbox(entry.clone()));
        self.answer(id, Ok(Reply::Accepted(entry.clone())));
        self.signal(Signal::Outbox { entry, event: None, cancelled: false });
    }

    /// Sends an entry whose turn it is. What leaves is durable before.
    pub(super) fn send_entry(&mut self, entry: OutboxEntry) {
        let entry = OutboxEntry {
            state: OutboxState::Sending,
            attempts: entry.attempts.saturating_add(1),
            error: None,
            ..entry
        };
        let Some(body) = request_of(&entry) else { return };
        self.outbox.put(entry.clone());
        let (request, token) = (entry.request, entry.token);
        self.record(entry);
        self.request_as(request, body, Purpose::Outbox(token));
    }

    /// Settles the entry whose token an event carries, wherever the event came from. The signal is for
    /// after the event's own.
    pub(super) fn settle_by_event(&mut self, event: &Event) -> Option<Signal> {
        if self.me() != Some(event.initiator) {
            return None;
        }
        let token = match &event.body {
            EventBody::MessageSent(content) => token_of_payload(content.payload.as_ref())?,
            EventBody::ConversationCreated(conversation) => token_of_custom_data(&conversation.custom_data)?,
            EventBody::ConversationEdited(_)
            | EventBody::ConversationRemoved
            | EventBody::MessageEdited(_)
            | EventBody::MessageRemoved(_)
            | EventBody::Unknown { .. } => return None,
        };
        self.settle(token, settlement_by(event), Some(event.clone()))
    }

    /// A description may show that a conversation of ours was made though nobody answered.
    pub(super) fn settle_created(&mut self, conversation: &Conversation) {
        let Some(token) = token_of_custom_data(&conversation.custom_data) else { return };
        let is_ours = self.outbox.get(token).is_some_and(|entry| matches!(entry.intent, Intent::CreateConversation(_)));
        if is_ours {
            let settlement = Settlement { conversation: Some(conversation.id), ..Settlement::default() };
            if let Some(signal) = self.settle(token, settlement, None) {
                self.signal(signal);
            }
        }
    }

    fn settle(&mut self, token: ClientToken, settlement: Settlement, event: Option<Event>) -> Option<Signal> {
        let entry = self.outbox.settle(token, settlement)?;
        self.write(Write::Outbox(entry.clone()));
        Some(Signal::Outbox { entry, event, cancelled: false })
    }

    /// An event answered a request: whatever its content, the entry is done.
    pub(super) fn answered_by_event(&mut self, request: Option<RequestId>, event: Event) {
        let Some(token) = self.take_entry(request) else { return };
        self.pace.succeed();
        let is_repeated_wish =
            |entry: &OutboxEntry| entry.attempts > 1 && matches!(entry.intent, Intent::CreateConversation(_));
        if self.outbox.get(token).is_some_and(is_repeated_wish) {
            // Asked for again, a conversation is answered with the event of its making. What became of it since, its
            // end included, nobody tells again.
            self.compare_heads(vec![event.conversation]);
        }
        if let Some(signal) = self.settle(token, settlement_by(&event), Some(event)) {
            self.signal(signal);
        }
    }

    /// Something that is not numbered answered a request.
    pub(super) fn answered_by_notice(&mut self, request: Option<RequestId>) {
        if let Some(request) = request
            && let Some(Purpose::Volatile(command)) = self.pending.get_mut(request)
        {
            let command = *command;
            self.pending.remove(request);
            self.pace.succeed();
            return self.answer(command, Ok(Reply::Done));
        }
        let Some(token) = self.take_entry(request) else { return };
        self.pace.succeed();
        let Some(entry) = self.outbox.get(token) else { return };
        let settlement = settlement_of(entry, None);
        if let Some(signal) = self.settle(token, settlement, None) {
            self.signal(signal);
        }
    }

    /// Takes the entry that a request was about, if it was about one.
    fn take_entry(&mut self, request: Option<RequestId>) -> Option<ClientToken> {
        let request = request?;
        let Purpose::Outbox(token) = *self.pending.get_mut(request)? else { return None };
        self.pending.remove(request);
        Some(token)
    }

    /// The server refused an entry.
    pub(super) fn entry_refused(&mut self, token: ClientToken, error: MessagingError) {
        // Settled meanwhile, by what a description or history brought to light: the refusal comes too late.
        let under_way = self.outbox.get(token).filter(|entry| entry.state == OutboxState::Sending);
        let Some(entry) = under_way.cloned() else { return };
        let code = error.code;
        if says_done_already(&entry, code) {
            if let Some(signal) = self.settle(token, settlement_of(&entry, None), None) {
                self.signal(signal);
            }
            return;
        }
        let later = match code.class() {
            ErrorClass::Later | ErrorClass::TooFast | ErrorClass::SignIn => true,
            ErrorClass::Never => false,
        };
        if later && Outbox::may_retry(&entry, code) {
            let entry = OutboxEntry { state: OutboxState::Queued, error: Some(error), ..entry };
            self.outbox.put(entry.clone());
            self.outbox.rest(lane_of(&entry), self.now, &mut self.rng);
            self.record(entry);
        } else if let Some(entry) = self.outbox.fail(token, error) {
            self.record(entry);
        }
    }
}

fn settlement_by(event: &Event) -> Settlement {
    Settlement { conversation: Some(event.conversation), message: event.body.message(), sequence: Some(event.sequence) }
}

impl Output {
    /// Returns the events this output stores, for whoever counts the work of a batch.
    pub fn event_count(&self) -> usize {
        match self {
            Self::Write(writes) => writes.iter().map(Write::event_count).sum(),
            Self::Dial(..) | Self::HangUp(_) | Self::Send(..) | Self::Answer(..) | Self::Signal(_) => 0,
        }
    }
}

impl Write {
    /// Returns how many events this stores.
    pub const fn event_count(&self) -> usize {
        match self {
            Self::Events(_, events) => events.len(),
            Self::Session(_)
            | Self::PushToken(_)
            | Self::PushTokenForget(_)
            | Self::User(_)
            | Self::Conversation(_)
            | Self::Membership(..)
            | Self::Cover(..)
            | Self::Hole(..)
            | Self::ReadMark { .. }
            | Self::History(..)
            | Self::Rebuild(_)
            | Self::HeadsCursor(_)
            | Self::WholeAt(_)
            | Self::Subscriptions(_)
            | Self::Subscribed(_)
            | Self::Unsubscribed(_)
            | Self::PublicConversations(_)
            | Self::Outbox(_)
            | Self::OutboxForget(_) => 0,
        }
    }
}
