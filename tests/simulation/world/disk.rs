//! What a device keeps: the core's writes applied to maps, and checked as they come.

use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, Membership, OutboxEntry, OutboxState, Ranges, Sequence,
    SequenceRange, Session, Timestamp, User, UserId,
};
use backscroll::sync::{SavedConversation, SavedState, Write};
use std::collections::BTreeMap;

/// One conversation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) description: Option<Conversation>,
    pub(crate) membership: Membership,
    pub(crate) head: Sequence,
    pub(crate) events: BTreeMap<Sequence, Event>,
    pub(crate) coverage: Ranges,
    pub(crate) holes: Ranges,
    last_activity: Timestamp,
}

/// One device's file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    session: Option<Session>,
    pub(crate) conversations: BTreeMap<ConversationId, Held>,
    pub(crate) outbox: BTreeMap<ClientToken, OutboxEntry>,
    users: BTreeMap<UserId, User>,
}

impl Disk {
    /// Applies one transaction, and checks that the file then holds what it claims.
    pub(crate) fn apply(&mut self, writes: Vec<Write>) -> Result<(), String> {
        let mut touched = Vec::new();
        for write in writes {
            match write {
                Write::Session(session) => self.session = Some(session),
                // No device of these worlds registers one.
                Write::PushToken(_) | Write::PushTokenForget(_) => {}
                Write::User(user) => {
                    self.users.insert(user.id, user);
                }
                Write::Conversation(conversation) => {
                    let held = self.conversations.entry(conversation.id).or_default();
                    held.head = held.head.max(conversation.last_sequence);
                    held.last_activity = held.last_activity.max(conversation.last_update);
                    held.description = Some(conversation);
                }
                Write::Membership(id, membership) => {
                    self.conversations.entry(id).or_default().membership = membership;
                }
                Write::Events(id, events) => {
                    let held = self.conversations.entry(id).or_default();
                    if !events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence) {
                        return Err(format!("L-12: events of {id} do not rise"));
                    }
                    for event in events {
                        held.head = held.head.max(event.sequence);
                        held.last_activity = held.last_activity.max(event.timestamp);
                        let at = event.sequence;
                        if event.conversation != id || held.events.insert(at, event).is_some() {
                            return Err(format!("L-1: {id} got an event at {at} that it held, or another's"));
                        }
                    }
                    touched.push(id);
                }
                Write::Cover(id, range) => {
                    self.conversations.entry(id).or_default().coverage.insert(range);
                    touched.push(id);
                }
                Write::Hole(id, range, _) => {
                    self.conversations.entry(id).or_default().holes.insert(range);
                    touched.push(id);
                }
                // Marks are checked by the tests of the store; nothing here reads them.
                Write::ReadMark { .. }
                | Write::Subscriptions(_)
                | Write::Subscribed(_)
                | Write::Unsubscribed(_)
                | Write::PublicConversations(_) => {}
                Write::Outbox(entry) => {
                    if let Some(before) = self.outbox.get(&entry.token) {
                        check_arrow(before.state, entry.state)?;
                    }
                    self.outbox.insert(entry.token, entry);
                }
                Write::OutboxForget(token) => {
                    self.outbox.remove(&token);
                }
            }
        }
        touched.iter().try_for_each(|id| self.check(*id))
    }

    /// L-2, L-4: what is covered is held or known to be a hole, and the other way round.
    fn check(&self, id: ConversationId) -> Result<(), String> {
        let held = &self.conversations[&id];
        let positions: Ranges = held.events.keys().filter_map(|at| SequenceRange::single(*at)).collect();
        let mut known = positions.clone();
        held.holes.iter().for_each(|hole| {
            known.insert(hole);
        });
        if known != held.coverage {
            return Err(format!("L-2: {id} covers {:?} and holds {known:?}", held.coverage));
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
            last_activity: held.last_activity,
        });
        SavedState {
            session: self.session.clone(),
            push_tokens: Vec::new(),
            conversations: conversations.collect(),
            outbox,
            users: self.users.keys().copied().collect(),
        }
    }

    pub(crate) fn unfinished(&self) -> usize {
        let states = self.outbox.values().map(|entry| entry.state);
        states.filter(|state| !matches!(state, OutboxState::Settled | OutboxState::Failed)).count()
    }
}

/// Fails on a step that the diagram above `OutboxState` does not have.
fn check_arrow(from: OutboxState, to: OutboxState) -> Result<(), String> {
    use OutboxState::{Failed, Queued, Sending, Settled, Uncertain};
    let allowed = match from {
        // A restarted process finds out by an event, or by a look, what it left as sending.
        Sending => true,
        Queued => matches!(to, Sending | Settled | Failed),
        Uncertain => matches!(to, Queued | Settled | Failed | Sending),
        Settled | Failed => false,
    };
    if allowed { Ok(()) } else { Err(format!("an entry went from {from:?} to {to:?}")) }
}
