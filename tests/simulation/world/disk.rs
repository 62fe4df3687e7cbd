//! What a device keeps: the core's writes applied to maps, and checked as they come.

use super::tally::Tally;
use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, EventBody, HistoryPolicy, Intent, Membership, Message, MessageId,
    MessageKey, OutboxEntry, OutboxState, Ranges, Sequence, SequenceRange, Session, Timestamp, User, UserId, Wish,
    WishAnswer, WishKind, fold_messages, token_of_payload, without_token,
};
use backscroll::sync::{HeadsCursor, SavedConversation, SavedState, Write};
use std::collections::{BTreeMap, BTreeSet};

/// One conversation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) description: Option<Conversation>,
    pub(crate) membership: Membership,
    pub(crate) head: Sequence,
    pub(crate) events: BTreeMap<Sequence, Event>,
    pub(crate) coverage: Ranges,
    pub(crate) holes: Ranges,
    /// Its own policy, if it has one.
    pub(crate) history: Option<HistoryPolicy>,
    /// The end of the unbroken coverage, after the last transaction.
    cursor: Sequence,
    last_activity: Timestamp,
    /// Positions that hold an event, or are known to hold none.
    known: Ranges,
    /// Messages of ours that are held and not removed, and where they are.
    ours: BTreeMap<ClientToken, (MessageId, Sequence)>,
    removed: BTreeSet<MessageId>,
}

impl Held {
    /// Nothing of ours is there twice.
    fn take_message(&mut self, id: ConversationId, event: &Event, tally: &mut Tally) -> Result<(), String> {
        match (&event.body, token_of(event)) {
            (EventBody::MessageRemoved(message), _) => {
                self.removed.insert(*message);
                self.ours.retain(|_, (ours, _)| ours != message);
            }
            (EventBody::MessageSent(content), Some(token)) if !self.removed.contains(&content.id) => {
                let before = self.ours.insert(token, (content.id, event.sequence));
                // Where history between them is not held, the first may have been removed without a trace here.
                let between = |at: Sequence| SequenceRange::new(at.min(event.sequence), at.max(event.sequence));
                let between = before.and_then(|(_, at)| between(at));
                let is_once = before.is_none() || between.is_some_and(|between| !self.known.contains_range(between));
                tally.holds("O-2", is_once, || format!("{id} shows a message twice"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What is covered is held or known to be a hole, and the other way round; and where catching up resumes never
    /// goes back.
    fn check(&mut self, id: ConversationId, tally: &mut Tally) -> Result<(), String> {
        let (covers, known) = (&self.coverage, &self.known);
        tally.holds("L-2", known == covers, || format!("{id} covers {covers:?}, holds {known:?}"))?;
        let ranges: Vec<SequenceRange> = covers.iter().collect();
        let apart = ranges.windows(2).all(|pair| pair[0].last().next() < pair[1].first());
        tally.holds("L-4", apart, || format!("{id} covers {ranges:?}"))?;
        let before = std::mem::replace(&mut self.cursor, covers.contiguous_end());
        tally.holds("L-3", before <= self.cursor, || format!("{id} was held up to {before}, and is to {}", self.cursor))
    }
}

/// One device's file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) session: Option<Session>,
    pub(crate) conversations: BTreeMap<ConversationId, Held>,
    pub(crate) outbox: BTreeMap<ClientToken, OutboxEntry>,
    /// The own read marks, as people see them.
    marks: BTreeMap<ConversationId, Sequence>,
    users: BTreeMap<UserId, User>,
    heads_cursor: Option<HeadsCursor>,
    /// What other processes want, by number, and what came of it.
    wishes: BTreeMap<u64, (Wish, Option<WishAnswer>)>,
    /// Where the server told something else than before.
    pub(crate) contradicted: BTreeSet<(ConversationId, Sequence)>,
}

impl Disk {
    /// Applies one transaction, and checks that the file then holds what it claims.
    pub(crate) fn apply(&mut self, writes: Vec<Write>, tally: &mut Tally) -> Result<(), String> {
        let (mut touched, mut entries) = (Vec::new(), Vec::new());
        for write in writes {
            match write {
                Write::Session(session) => {
                    if own_id(&self.session) != session.user_id {
                        entries.extend(self.outbox.keys());
                    }
                    self.session = Some(session);
                }
                // No device of these worlds registers one.
                Write::PushToken(_) | Write::PushTokenForget(_) => {}
                Write::User(user) => {
                    self.users.insert(user.id, user);
                }
                Write::Conversation(conversation) => {
                    let held = self.conversations.entry(conversation.id).or_default();
                    held.head = held.head.max(conversation.last_sequence);
                    held.last_activity = held.last_activity.max(conversation.last_update);
                    let own = own_id(&self.session).and_then(|me| conversation.participant(me));
                    self.marks.extend(own.map(|own| (conversation.id, own.last_read)));
                    held.description = Some(conversation);
                }
                Write::Membership(id, membership) => {
                    if let Some(held) = self.conversations.get(&id) {
                        tally.arrow("Membership", name_of_membership(held.membership), name_of_membership(membership));
                    }
                    self.conversations.entry(id).or_default().membership = membership;
                }
                Write::Events(id, events) => {
                    entries.extend(events.iter().filter_map(token_of));
                    self.add_events(id, events, tally)?;
                    touched.push(id);
                }
                Write::Repeated(id, events) => self.compare(id, &events, tally)?,
                Write::Cover(id, range) => {
                    self.conversations.entry(id).or_default().coverage.insert(range);
                    touched.push(id);
                }
                Write::Hole(id, range, _) => {
                    let held = self.conversations.entry(id).or_default();
                    held.holes.insert(range);
                    held.known.insert(range);
                    touched.push(id);
                }
                Write::HeadsCursor(cursor) => self.heads_cursor = Some(cursor),
                Write::ReadMark { conversation, user, sequence } => {
                    if own_id(&self.session) == Some(user) {
                        self.marks.insert(conversation, sequence);
                    }
                }
                Write::History(id, policy) => {
                    let before = &mut self.conversations.entry(id).or_default().history;
                    tally.arrow("History", name_of_policy(*before), name_of_policy(policy));
                    *before = policy;
                }
                Write::WishAnswered(number, answer) => self.wish_answered(number, answer, tally)?,
                // Checked by the tests of the store; no device of the simulation follows anybody or has a clock.
                Write::Rebuild(..)
                | Write::Mend
                | Write::WholeAt(_)
                | Write::Subscriptions(_)
                | Write::Subscribed(_)
                | Write::Unsubscribed(_)
                | Write::PublicConversations(_) => {}
                Write::Outbox(entry) => {
                    if let Some(before) = self.outbox.get(&entry.token) {
                        check_arrow(before.state, entry.state)?;
                        tally.arrow("OutboxState", name_of_state(before.state), name_of_state(entry.state));
                    }
                    entries.push(entry.token);
                    self.outbox.insert(entry.token, entry);
                }
                Write::OutboxForget(token) => {
                    self.outbox.remove(&token);
                }
            }
        }
        for id in touched {
            if let Some(held) = self.conversations.get_mut(&id) {
                held.check(id, tally)?;
            }
        }
        entries.iter().try_for_each(|token| self.check_entry(*token, tally))
    }

    /// The echo of an entry and the event that it became would be one message twice; a read mark that is on its way is
    /// not shown lower than it was set.
    fn check_entry(&self, token: ClientToken, tally: &mut Tally) -> Result<(), String> {
        let Some(entry) = self.outbox.get(&token).filter(|entry| is_unfinished(entry.state)) else { return Ok(()) };
        let held = entry.intent.conversation().and_then(|id| self.conversations.get(&id));
        let both = held.is_some_and(|held| held.ours.contains_key(&token));
        tally.holds("O-2", !both, || format!("{token:?} is held, and waited for"))?;
        // Before the server has told who the user is, nobody knows whose mark it is.
        if let Intent::MarkAsRead { conversation, sequence } = entry.intent
            && own_id(&self.session).is_some()
        {
            let shown = self.marks.get(&conversation).copied().unwrap_or_default();
            tally.holds("M-5", shown >= sequence, || format!("{sequence} was read, {shown} is shown"))?;
        }
        Ok(())
    }

    /// A message as it is held, with our own token out of sight.
    pub(crate) fn message(&self, conversation: ConversationId, message: MessageId) -> Option<Message> {
        let held = self.conversations.get(&conversation)?;
        let found = fold_messages(held.events.values()).into_iter().find(|found| found.id == Some(message))?;
        Some(Message { payload: without_token(found.payload.clone()), ..found })
    }

    fn add_events(&mut self, id: ConversationId, events: Vec<Event>, tally: &mut Tally) -> Result<(), String> {
        let rise = events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
        tally.holds("L-12", rise, || format!("events of {id} do not rise"))?;
        let held = self.conversations.entry(id).or_default();
        for event in events {
            held.head = held.head.max(event.sequence);
            held.last_activity = held.last_activity.max(event.timestamp);
            if let Some(range) = SequenceRange::single(event.sequence) {
                held.known.insert(range);
            }
            held.holes.remove(event.sequence);
            held.take_message(id, &event, tally)?;
            let at = event.sequence;
            let is_new = event.conversation == id && held.events.insert(at, event).is_none();
            tally.holds("L-1", is_new, || format!("{id} got an event at {at} that it held, or another's"))?;
        }
        Ok(())
    }

    /// Another telling is of something held, which stays; that it says something else is seen.
    fn compare(&mut self, id: ConversationId, events: &[Event], tally: &mut Tally) -> Result<(), String> {
        let held = self.conversations.entry(id).or_default();
        for event in events {
            let kept = held.events.get(&event.sequence);
            let at = event.sequence;
            let kept = kept.ok_or_else(|| format!("L-1: {id} was told of {at} again, which it does not hold"))?;
            if kept.contradicted_by(event).is_some() {
                tally.strike("contradiction");
                self.contradicted.insert((id, at));
            }
            tally.holds("L-1", true, String::new)?;
        }
        Ok(())
    }

    /// What a core is rebuilt from.
    pub(crate) fn saved_state(&self) -> SavedState {
        let mut outbox: Vec<OutboxEntry> = self.outbox.values().cloned().collect();
        outbox.sort_by_key(|entry| entry.position);
        let conversations = self.conversations.iter().map(|(id, held)| SavedConversation {
            id: *id,
            head: held.head,
            described_at: held.description.as_ref().map_or(Sequence::ZERO, |described| described.last_sequence),
            membership: held.membership,
            uber: held.description.as_ref().is_some_and(|described| described.uber),
            coverage: held.coverage.clone(),
            holes: held.holes.clone(),
            last_activity: held.last_activity,
            own_read: self.marks.get(id).copied().unwrap_or_default(),
            history: held.history,
        });
        SavedState {
            session: self.session.clone(),
            push_tokens: Vec::new(),
            conversations: conversations.collect(),
            unreadable: Vec::new(),
            last_position: outbox.last().map_or(0, |entry| entry.position),
            outbox,
            users: self.users.keys().copied().collect(),
            heads_cursor: self.heads_cursor.clone(),
        }
    }

    /// Another process wants something; returns the number of the wish. Taking back and trying again may be wished for
    /// anew once they were answered.
    pub(crate) fn wish(&mut self, wish: Wish) -> u64 {
        let same = |known: &Wish| known.token == wish.token && is_same_kind(&known.kind, &wish.kind);
        match self.wishes.iter_mut().find(|(_, (known, _))| same(known)) {
            Some((number, (_, answer))) => {
                *answer = None;
                *number
            }
            None => {
                let number = self.wishes.last_key_value().map_or(0, |(last, _)| *last) + 1;
                self.wishes.insert(number, (wish, None));
                number
            }
        }
    }

    /// What other processes want and nobody has taken over yet, in order.
    pub(crate) fn waiting_wishes(&self) -> impl Iterator<Item = (u64, &Wish)> {
        self.wishes.iter().filter(|(_, (_, answer))| answer.is_none()).map(|(number, (wish, _))| (*number, wish))
    }

    /// A wish is answered once; one for an entry becomes an entry, for another process has accepted it.
    fn wish_answered(&mut self, number: u64, answer: WishAnswer, tally: &mut Tally) -> Result<(), String> {
        let waiting = self.wishes.get_mut(&number).filter(|(_, answered)| answered.is_none());
        tally.holds("D-8", waiting.is_some(), || format!("wish {number} was answered, and nobody waited for it"))?;
        let Some((wish, answered)) = waiting else { return Ok(()) };
        *answered = Some(answer);
        let (name, is_accepted) = match answer {
            WishAnswer::Accepted(_) => ("accepted", true),
            WishAnswer::Done => ("done", false),
            WishAnswer::Refused => ("refused", false),
        };
        tally.arrow("Wish", "waiting", name);
        let fits = is_accepted || !matches!(wish.kind, WishKind::Submit(_));
        tally.holds("D-8", fits, || format!("{wish:?} was accepted once, and is answered with {answer:?}"))
    }

    /// What is still going to happen by itself: not what waits for something that was set aside.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &OutboxEntry> {
        self.outbox.values().filter(|entry| is_unfinished(entry.state) && !self.waits_for_failed(entry))
    }

    /// Returns whether an entry waits for a conversation or a message whose making was set aside.
    pub(crate) fn waits_for_failed(&self, entry: &OutboxEntry) -> bool {
        let message = match entry.intent.message() {
            Some(MessageKey::Token(token)) => Some(token),
            Some(MessageKey::Id(_)) | None => None,
        };
        let conversation = entry.intent.conversation().map(|id| ClientToken::from_uuid(*id.as_uuid()));
        let makers = message.into_iter().chain(conversation).filter_map(|token| self.outbox.get(&token));
        makers.into_iter().any(|made| made.state == OutboxState::Failed || self.waits_for_failed(made))
    }
}

fn own_id(session: &Option<Session>) -> Option<UserId> {
    session.as_ref()?.user_id
}

/// Returns the token by which the sender of a message knows it.
pub(crate) fn token_of(event: &Event) -> Option<ClientToken> {
    match &event.body {
        EventBody::MessageSent(content) => token_of_payload(content.payload.as_ref()),
        _ => None,
    }
}

pub(crate) const fn is_unfinished(state: OutboxState) -> bool {
    match state {
        OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => true,
        OutboxState::Settled | OutboxState::Failed => false,
    }
}

/// Fails on a step that the diagram above `OutboxState` does not have.
fn check_arrow(from: OutboxState, to: OutboxState) -> Result<(), String> {
    use OutboxState::{Failed, Queued, Sending, Settled, Uncertain};
    let allowed = match from {
        // A restarted process finds out by an event, or by a look, what it left as sending.
        Sending => true,
        // Merged, or named anew.
        Queued => true,
        Uncertain => matches!(to, Queued | Settled | Failed | Sending),
        // Tried again by hand, named anew, or turned out to be done after all.
        Failed => matches!(to, Queued | Failed | Settled),
        // Of two copies of a message the first is the one.
        Settled => matches!(to, Settled),
    };
    if allowed { Ok(()) } else { Err(format!("an entry went from {from:?} to {to:?}")) }
}

const fn name_of_state(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Queued => "Queued",
        OutboxState::Sending => "Sending",
        OutboxState::Uncertain => "Uncertain",
        OutboxState::Settled => "Settled",
        OutboxState::Failed => "Failed",
    }
}

const fn is_same_kind(one: &WishKind, other: &WishKind) -> bool {
    match (one, other) {
        (WishKind::Submit(_), WishKind::Submit(_))
        | (WishKind::Cancel, WishKind::Cancel)
        | (WishKind::Retry, WishKind::Retry) => true,
        (WishKind::Submit(_) | WishKind::Cancel | WishKind::Retry, _) => false,
    }
}

const fn name_of_policy(policy: Option<HistoryPolicy>) -> &'static str {
    match policy {
        None => "that of all",
        Some(HistoryPolicy::Everything) => "everything",
        Some(HistoryPolicy::Newest(_)) => "newest",
        Some(HistoryPolicy::OnDemand) => "on demand",
    }
}

const fn name_of_membership(membership: Membership) -> &'static str {
    match membership {
        Membership::Member => "Member",
        Membership::Left => "Left",
        Membership::Removed => "Removed",
        Membership::Stranger => "Stranger",
    }
}
