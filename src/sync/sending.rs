//! Entries of the outbox on their way: accepted, sent, settled, refused.

use super::attempt::{Fact, Unknown, request_of, says_done_already, settlement_of, unknown_of};
use super::core::Core;
use super::merge::{Merge, merge};
use super::outbox::{Outbox, cannot_have_arrived, lane_of};
use super::pending::Purpose;
use super::{CommandId, Load, Output, Refusal, Reply, Signal, Write, check_intent};
use crate::model::{
    ClientToken, Conversation, ConversationId, ErrorClass, ErrorCode, Event, EventBody, Intent, Message, MessageKey,
    MessagingError, OutboxEntry, OutboxState, RequestId, Sequence, SequenceRange, Settlement, Timestamp,
    token_of_custom_data, token_of_payload,
};
use crate::protocol::Request;

/// How often an edit waits for history that may bring the message it is about, before it counts as refused.
const WAITS_FOR_MESSAGE_MAX: u32 = 8;

impl Core {
    pub(super) fn submit(&mut self, id: CommandId, token: ClientToken, intent: Intent, queued_at: Timestamp) {
        if self.session.is_none() {
            return self.answer(id, Err(Refusal::NoSession));
        }
        match self.take_in(token, intent, queued_at) {
            Ok((entry, signals)) => {
                self.answer(id, Ok(Reply::Accepted(entry)));
                self.tell(signals);
            }
            Err(error) => self.answer(id, Err(Refusal::Messaging(error))),
        }
    }

    /// Takes an intent of another process in. That has been accepted already: what is refused here is an entry
    /// that failed.
    pub(super) fn submit_wished(&mut self, id: CommandId, token: ClientToken, intent: Intent, queued_at: Timestamp) {
        let (entry, signals) = self.take_in(token, intent.clone(), queued_at).unwrap_or_else(|error| {
            let entry = self.entry(token, intent, queued_at);
            let entry = OutboxEntry { state: OutboxState::Failed, error: Some(error), ..entry };
            self.outbox.put(entry.clone());
            self.write(Write::Outbox(entry.clone()));
            (entry.clone(), vec![Signal::Outbox { entry, event: None, cancelled: false }])
        });
        self.answer(id, Ok(Reply::Accepted(entry)));
        self.tell(signals);
    }

    /// Checks a wish and makes it an entry, or a part of one. The signals are for after the answer.
    fn take_in(
        &mut self,
        token: ClientToken,
        intent: Intent,
        queued_at: Timestamp,
    ) -> Result<(OutboxEntry, Vec<Signal>), MessagingError> {
        // The same command again, after a failed write for example, is accepted once.
        if let Some(entry) = self.outbox.get(token).cloned() {
            return Ok((entry, Vec::new()));
        }
        let intent = self.resolve(intent).and_then(|intent| self.check(intent))?;
        self.accept(token, intent, queued_at)
    }

    /// Names what the server has named meanwhile.
    fn resolve(&self, mut intent: Intent) -> Result<Intent, MessagingError> {
        if let Some(conversation) = intent.conversation_mut() {
            *conversation = self.outbox.resolve(*conversation);
        }
        if let Some(message) = intent.message_mut()
            && let MessageKey::Token(token) = *message
        {
            let sends = |entry: &&OutboxEntry| matches!(entry.intent, Intent::SendMessage { .. });
            let sending = self.outbox.get(token).filter(sends).ok_or(ErrorCode::MessageDoesNotExist)?;
            if let Some(sent) = sending.settlement.and_then(|settlement| settlement.message) {
                *message = MessageKey::Id(sent);
            }
        }
        Ok(intent)
    }

    /// Refuses what cannot succeed, as far as is known here.
    fn check(&self, intent: Intent) -> Result<Intent, MessagingError> {
        check_intent(&intent)?;
        if let Intent::MarkAsRead { conversation, sequence } = intent
            && let Some(track) = self.ledger.get(conversation)
            && track.head > Sequence::ZERO
            && sequence > track.head
        {
            return Err(ErrorCode::WrongSequenceArgument.into());
        }
        Ok(intent)
    }

    /// Stores a wish, by itself or as part of one that waits. Returns the entry that stands for it.
    fn accept(
        &mut self,
        token: ClientToken,
        intent: Intent,
        queued_at: Timestamp,
    ) -> Result<(OutboxEntry, Vec<Signal>), MessagingError> {
        let done = self.is_read_already(&intent);
        let mut signals = Vec::new();
        let entry = match merge(&self.outbox, &intent) {
            Merge::Into(token, intent, needless) => {
                check_intent(&intent)?;
                let known = self.outbox.get(token).expect("merged into an entry that is there").clone();
                if known.intent == intent && needless.is_empty() {
                    return Ok((known, Vec::new()));
                }
                // Another content under the id of an earlier attempt would be taken for that attempt.
                let entry = OutboxEntry { intent, request: self.fresh_request_id(), ..known };
                for needless in needless {
                    signals.push(Signal::Carried { token: needless, by: entry.clone() });
                    signals.extend(self.take_back(needless));
                }
                entry
            }
            Merge::Undoes(unsent) => {
                signals.extend(self.take_back(unsent));
                let settlement = Some(Settlement { conversation: intent.conversation(), ..Settlement::default() });
                OutboxEntry { state: OutboxState::Settled, settlement, ..self.entry(token, intent, queued_at) }
            }
            Merge::Apart(superseded) => {
                for needless in superseded {
                    signals.extend(self.take_back(needless));
                }
                let entry = self.entry(token, intent, queued_at);
                if done {
                    let settlement = Some(settlement_of(&entry, None));
                    OutboxEntry { state: OutboxState::Settled, settlement, ..entry }
                } else {
                    entry
                }
            }
        };
        self.outbox.put(entry.clone());
        self.write(Write::Outbox(entry.clone()));
        self.prune();
        if let (Intent::MarkAsRead { conversation, sequence }, Some(user)) = (&entry.intent, self.me()) {
            // One's own mark counts from the moment it is set, network or not.
            let (conversation, sequence) = (*conversation, *sequence);
            if entry.state != OutboxState::Settled {
                self.ledger.change(conversation, |track| track.own_read = sequence);
                self.write(Write::ReadMark { conversation, user, sequence });
            }
        }
        signals.push(Signal::Outbox { entry: entry.clone(), event: None, cancelled: false });
        Ok((entry, signals))
    }

    /// O-6: a mark below the one that is set changes nothing, here or at the server.
    fn is_read_already(&self, intent: &Intent) -> bool {
        let Intent::MarkAsRead { conversation, sequence } = intent else { return false };
        let own_read = self.ledger.get(*conversation).map_or(Sequence::ZERO, |track| track.own_read);
        *sequence > Sequence::ZERO && *sequence <= own_read
    }

    fn entry(&mut self, token: ClientToken, intent: Intent, queued_at: Timestamp) -> OutboxEntry {
        OutboxEntry {
            token,
            position: self.outbox.next_position(),
            intent,
            state: OutboxState::Queued,
            request: self.fresh_request_id(),
            attempts: 0,
            queued_at,
            settlement: None,
            error: None,
        }
    }

    pub(super) fn cancel(&mut self, id: CommandId, token: ClientToken) {
        if !self.outbox.get(token).is_some_and(cannot_have_arrived) {
            return self.answer(id, Err(Refusal::TooLate));
        }
        let signals = self.take_back(token);
        self.answer(id, Ok(Reply::Done));
        self.tell(signals);
    }

    /// Forgets an entry that cannot have arrived. Of those that waited for it, changes of a message go with it, and
    /// what was meant for a conversation that will not be is set aside.
    fn take_back(&mut self, token: ClientToken) -> Vec<Signal> {
        let waiting = self.outbox.waiting_for(token);
        let Some(entry) = self.outbox.forget(token) else { return Vec::new() };
        self.write(Write::OutboxForget(token));
        let made_here = matches!(entry.intent, Intent::CreateConversation(_));
        let mut signals = vec![Signal::Outbox { entry, event: None, cancelled: true }];
        for entry in waiting {
            if made_here {
                let error = MessagingError::new(
                    ErrorCode::ConversationDoesNotExist,
                    "the conversation was taken back before it was made",
                );
                if let Some(entry) = self.outbox.fail(entry.token, error) {
                    self.write(Write::Outbox(entry.clone()));
                    signals.push(Signal::Outbox { entry, event: None, cancelled: false });
                }
            } else {
                signals.extend(self.take_back(entry.token));
            }
        }
        signals
    }

    pub(super) fn retry(&mut self, id: CommandId, token: ClientToken) {
        let Some(entry) = self.outbox.get(token).cloned() else { return self.answer(id, Err(Refusal::TooLate)) };
        match entry.state {
            OutboxState::Settled => self.answer(id, Err(Refusal::TooLate)),
            OutboxState::Sending | OutboxState::Uncertain => self.answer(id, Ok(Reply::Accepted(entry))),
            OutboxState::Queued => {
                self.outbox.wake_lane(lane_of(&entry));
                self.answer(id, Ok(Reply::Accepted(entry)));
            }
            OutboxState::Failed => {
                // A new attempt at something refused, not a repetition of one whose answer was lost.
                let request = self.fresh_request_id();
                let entry = OutboxEntry { state: OutboxState::Queued, request, attempts: 0, error: None, ..entry };
                self.outbox.put(entry.clone());
                self.write(Write::Outbox(entry.clone()));
                self.answer(id, Ok(Reply::Accepted(entry.clone())));
                self.signal(Signal::Outbox { entry, event: None, cancelled: false });
            }
        }
    }

    /// Sends an entry whose turn it is, or first asks what it has to know. What leaves is durable before.
    pub(super) fn send_entry(&mut self, entry: OutboxEntry) {
        // Our own server keeps parts that are absent.
        let unknown = if self.idempotent { None } else { unknown_of(&entry.intent) };
        let fact = self.outbox.fact(&entry).cloned();
        if let (Some(unknown), None) = (unknown, &fact) {
            return self.ask_fact(&entry, unknown);
        }
        let Some(body) = request_of(&entry, fact.as_ref()) else {
            // Its sending is long forgotten, or was taken back.
            return self.set_aside(entry.token, ErrorCode::MessageDoesNotExist.into());
        };
        self.outbox.set_doubt(entry.token, self.idempotent && !cannot_have_arrived(&entry));
        let entry = OutboxEntry {
            state: OutboxState::Sending,
            attempts: entry.attempts.saturating_add(1),
            error: None,
            ..entry
        };
        self.outbox.put(entry.clone());
        let (request, token) = (entry.request, entry.token);
        self.record(entry);
        self.request_as(request, body, Purpose::Outbox(token));
    }

    fn ask_fact(&mut self, entry: &OutboxEntry, unknown: Unknown) {
        self.outbox.ask_fact(entry);
        match unknown {
            Unknown::Conversation(id) => {
                self.request(Request::GetConversations(vec![id]), Purpose::Fact(entry.token));
            }
            Unknown::Message(conversation, message) => {
                self.out.push(Output::Load(Load { token: entry.token, conversation, message }));
            }
        }
    }

    /// The server described the conversation that an entry changes in parts.
    pub(super) fn fact_told(&mut self, token: ClientToken, conversation: Conversation) {
        self.succeeded();
        self.outbox.tell_fact(token, Fact::Conversation(Box::new(conversation)));
    }

    /// The store was asked for the message that an entry changes in parts.
    pub(super) fn loaded(&mut self, token: ClientToken, message: Option<Message>) {
        let Some(entry) = self.outbox.get(token).filter(|entry| self.outbox.waits_for_fact(entry)).cloned() else {
            return;
        };
        if let Some(Message { text, payload, .. }) = message {
            return self.outbox.tell_fact(token, Fact::Message { text, payload });
        }
        let track = entry.intent.conversation().and_then(|id| Some((id, self.ledger.get(id)?)));
        if let Some((id, track)) = track.filter(|(_, track)| !track.is_whole())
            && self.outbox.failures(&entry) < WAITS_FOR_MESSAGE_MAX
        {
            // Where it is, nobody knows: history is searched for it, whatever the policy wants.
            if let Some(whole) = SequenceRange::new(Sequence::FIRST, track.head) {
                self.ledger.await_range(id, whole);
            }
            return self.outbox.rest(lane_of(&entry), self.now, &mut self.rng);
        }
        let error = MessagingError::new(
            ErrorCode::MessageDoesNotExist,
            "the message is not held here, so what should stay of it is not known",
        );
        self.set_aside(token, error);
    }

    fn set_aside(&mut self, token: ClientToken, error: MessagingError) {
        if let Some(entry) = self.outbox.fail(token, error) {
            self.record(entry);
        }
    }

    /// Settles the entry whose token an event carries, wherever the event came from. The signals are for
    /// after the event's own.
    pub(super) fn settle_by_event(&mut self, event: &Event) -> Vec<Signal> {
        if self.me() != Some(event.initiator) {
            return Vec::new();
        }
        let token = match &event.body {
            EventBody::MessageSent(content) => token_of_payload(content.payload.as_ref()),
            EventBody::ConversationCreated(conversation) => token_of_custom_data(&conversation.custom_data),
            EventBody::ConversationEdited(_)
            | EventBody::ConversationRemoved
            | EventBody::MessageEdited(_)
            | EventBody::MessageRemoved(_)
            | EventBody::Unknown { .. } => None,
        };
        let Some(token) = token else { return Vec::new() };
        match self.outbox.get(token).filter(|entry| entry.state == OutboxState::Settled).cloned() {
            Some(settled) => self.second_copy(settled, event),
            None => self.settle(token, settlement_by(event), Some(event.clone())),
        }
    }

    /// O-3: a server that stored a message twice is asked to remove the copy with the higher sequence, once.
    fn second_copy(&mut self, settled: OutboxEntry, event: &Event) -> Vec<Signal> {
        let Some(Settlement { message: Some(known), sequence: Some(at), .. }) = settled.settlement else {
            return Vec::new();
        };
        let Some(told) = event.body.message().filter(|told| *told != known) else { return Vec::new() };
        let mut signals = Vec::new();
        let copy = if event.sequence > at {
            told
        } else {
            let entry = OutboxEntry { settlement: Some(settlement_by(event)), ..settled };
            self.outbox.put(entry.clone());
            self.write(Write::Outbox(entry.clone()));
            signals.push(Signal::Outbox { entry, event: Some(event.clone()), cancelled: false });
            known
        };
        if !self.outbox.removes_duplicate(copy) {
            let intent = Intent::RemoveDuplicate { conversation: event.conversation, message: copy };
            let token = self.fresh_token();
            let entry = self.entry(token, intent, event.timestamp);
            self.outbox.put(entry.clone());
            self.write(Write::Outbox(entry.clone()));
            signals.push(Signal::Outbox { entry, event: None, cancelled: false });
        }
        signals
    }

    /// A description may show that a conversation of ours was made though nobody answered.
    pub(super) fn settle_created(&mut self, conversation: &Conversation) {
        let Some(token) = token_of_custom_data(&conversation.custom_data) else { return };
        let is_ours = self.outbox.get(token).is_some_and(|entry| matches!(entry.intent, Intent::CreateConversation(_)));
        if is_ours {
            let settlement = Settlement { conversation: Some(conversation.id), ..Settlement::default() };
            let signals = self.settle(token, settlement, None);
            self.tell(signals);
        }
    }

    /// An entry is done; those that waited for it name what it made, in the same transaction.
    fn settle(&mut self, token: ClientToken, settlement: Settlement, event: Option<Event>) -> Vec<Signal> {
        let changed = self.outbox.settle(token, settlement);
        if let Some(made) = settlement.conversation
            && changed.first().is_some_and(|entry| matches!(entry.intent, Intent::CreateConversation(_)))
        {
            self.ledger.rename_focus(ConversationId::provisional(token), made);
        }
        let mut event = event;
        let signals = changed.into_iter().map(|entry| {
            self.write(Write::Outbox(entry.clone()));
            // The first is the one that was settled.
            Signal::Outbox { entry, event: event.take(), cancelled: false }
        });
        let signals = signals.collect();
        self.prune();
        signals
    }

    /// Forgets what was settled so long ago that nobody will ask for it.
    fn prune(&mut self) {
        for token in self.outbox.prune() {
            self.write(Write::OutboxForget(token));
        }
    }

    fn tell(&mut self, signals: Vec<Signal>) {
        signals.into_iter().for_each(|signal| self.signal(signal));
    }

    /// An event answered a request: whatever its content, the entry is done.
    pub(super) fn answered_by_event(&mut self, request: Option<RequestId>, event: Event) {
        let Some(token) = self.take_entry(request) else { return };
        self.succeeded();
        let is_repeated = self.outbox.get(token).is_some_and(|entry| entry.attempts > 1);
        if is_repeated && event.body.conversation().is_some() {
            // Asked for again, a change is answered with the event of the first time. What became of the conversation
            // since, its end included, nobody tells again.
            self.compare_heads([event.conversation]);
        }
        let signals = self.settle(token, settlement_by(&event), Some(event));
        self.tell(signals);
    }

    /// Something that is not numbered answered a request.
    pub(super) fn answered_by_notice(&mut self, request: Option<RequestId>) {
        if let Some(request) = request
            && let Some(Purpose::Volatile(command)) = self.pending.get_mut(request)
        {
            let command = *command;
            self.pending.remove(request);
            self.succeeded();
            return self.answer(command, Ok(Reply::Done));
        }
        let Some(token) = self.take_entry(request) else { return };
        self.succeeded();
        let Some(entry) = self.outbox.get(token) else { return };
        let settlement = settlement_of(entry, None);
        let signals = self.settle(token, settlement, None);
        self.tell(signals);
    }

    /// Takes the entry that a request was about, if it was about one.
    fn take_entry(&mut self, request: Option<RequestId>) -> Option<ClientToken> {
        let request = request?;
        let Purpose::Outbox(token) = *self.pending.get_mut(request)? else { return None };
        self.pending.remove(request);
        Some(token)
    }

    /// The server refused an entry, or to tell what it had to know.
    pub(super) fn entry_refused(&mut self, token: ClientToken, error: MessagingError) {
        // Settled meanwhile, by what a description or history brought to light: the refusal comes too late.
        let is_under_way =
            |entry: &&OutboxEntry| entry.state == OutboxState::Sending || self.outbox.waits_for_fact(entry);
        let Some(entry) = self.outbox.get(token).filter(is_under_way).cloned() else { return };
        let code = error.code;
        if says_done_already(&entry, code) {
            let signals = self.settle(token, settlement_of(&entry, None), None);
            return self.tell(signals);
        }
        let later = match code.class() {
            ErrorClass::Later | ErrorClass::TooFast | ErrorClass::SignIn => true,
            ErrorClass::Never => false,
        };
        if !later || !Outbox::may_retry(&entry, code) {
            return self.set_aside(token, error);
        }
        let passes = self.settings.new_ones_pass && matches!(entry.intent, Intent::SendMessage { .. });
        let position = if passes { self.outbox.next_position() } else { entry.position };
        // Without its error it counts as sent and not refused: nothing is merged into it, and it is not taken back.
        let error = Some(error).filter(|_| !self.outbox.is_in_doubt(token));
        let entry = OutboxEntry { state: OutboxState::Queued, position, error, ..entry };
        self.outbox.put(entry.clone());
        self.outbox.rest(lane_of(&entry), self.now, &mut self.rng);
        self.record(entry);
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
            Self::Dial(..) | Self::HangUp(_) | Self::Send(..) | Self::Load(_) | Self::Answer(..) | Self::Signal(_) => 0,
        }
    }
}

impl Write {
    /// Returns how many events this stores.
    pub const fn event_count(&self) -> usize {
        match self {
            Self::Events(_, events) | Self::Repeated(_, events) => events.len(),
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
            | Self::Rebuild(..)
            | Self::Mend
            | Self::HeadsCursor(_)
            | Self::WholeAt(_)
            | Self::Subscriptions(_)
            | Self::Subscribed(_)
            | Self::Unsubscribed(_)
            | Self::PublicConversations(_)
            | Self::Outbox(_)
            | Self::OutboxForget(_)
            | Self::WishAnswered(..) => 0,
        }
    }
}
