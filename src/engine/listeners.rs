//! Everything that handles watch, stream and await, whichever part of the engine speaks.

use super::open_store::OpenStore;
use super::sending::Ending;
use crate::error::Error;
use crate::model::{
    ClientToken, Contradiction, Event, Intent, OutboxEntry, OutboxState, Session, Settlement, WishAnswer,
};
use crate::store::{Change, Reader, Role, StoreError, Wished};
use crate::sync::{LinkState, Refusal, Reply, SETTLED_KEPT, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{broadcast, oneshot, watch};

/// What streams of events are made of.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once and shared, never kept in numbers")]
pub(crate) enum Told {
    /// The core, or the file in its place, said so.
    Signal(Signal),
    /// Another process changed this.
    Changed(Change),
    /// The server contradicted what it had told before.
    Contradicted(Contradiction),
    /// So many transactions of other processes cannot be told one by one any more.
    Missed(u64),
}

/// Something that this process wished of the one that syncs, whose answer somebody waits for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) token: ClientToken,
    /// Whether the entry is to be tried again, else taken back.
    pub(crate) again: bool,
    pub(crate) answer: oneshot::Sender<Result<Reply, Error>>,
    pub(crate) ending: Option<oneshot::Sender<Ending>>,
}

/// Those who wait for the end of one entry, and the entry as it was when it was accepted.
#[derive(Debug)]
struct Waiting {
    entry: OutboxEntry,
    told: Vec<oneshot::Sender<Ending>>,
}

/// The engine's ends of what its handles watch, stream and await.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) link_state: watch::Sender<LinkState>,
    pub(crate) session: watch::Sender<Option<Session>>,
    role: watch::Sender<Role>,
    told: broadcast::Sender<Arc<Told>>,
    /// Who waits for the end of an outbox entry; one for each wish, so bounded by what the application holds.
    endings: BTreeMap<ClientToken, Waiting>,
    /// Entries among them that wait in the file to be taken over.
    wished: BTreeSet<ClientToken>,
    /// Entries among them that are not in the file any more, for whatever reason.
    gone: BTreeSet<ClientToken>,
    asked: Vec<Asked>,
    /// The number of the newest change of the file that was told.
    pub(crate) told_up_to: u64,
}

impl Listeners {
    pub(crate) fn new(
        link_state: watch::Sender<LinkState>,
        session: watch::Sender<Option<Session>>,
        role: watch::Sender<Role>,
        told: broadcast::Sender<Arc<Told>>,
        told_up_to: u64,
    ) -> Self {
        let (endings, wished, gone, asked) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self { link_state, session, role, told, endings, wished, gone, asked, told_up_to }
    }

    /// Tells the end of this entry to `waiting`, now or when it comes.
    pub(crate) fn await_end(&mut self, entry: &OutboxEntry, waiting: oneshot::Sender<Ending>) {
        match ending_of(entry, None) {
            // Nothing more will happen to it: it undid what had not left, or changed what was refused.
            Some(ending) => drop(waiting.send(ending)),
            // More than one may wait for the same entry, when their wishes were merged into it.
            None => {
                let told = Vec::new();
                let known = self.endings.entry(entry.token);
                known.or_insert_with(|| Waiting { entry: entry.clone(), told }).told.push(waiting);
            }
        }
    }

    /// As [`await_end`](Self::await_end), for an entry that is to be taken over by the process that syncs.
    pub(crate) fn await_wished(&mut self, entry: &OutboxEntry, waiting: oneshot::Sender<Ending>) {
        self.wished.insert(entry.token);
        self.await_end(entry, waiting);
    }

    /// Waits for the answer to something asked of the process that syncs.
    pub(crate) fn await_answer(&mut self, asked: Asked) {
        self.asked.push(asked);
    }

    /// An entry is not in the file any more: what became of it is found out with what became of the wishes.
    pub(crate) fn gone(&mut self, token: ClientToken) {
        if self.endings.contains_key(&token) {
            self.gone.insert(token);
        }
    }

    /// An entry became part of another one, and ends as that does.
    fn carry(&mut self, token: ClientToken, by: &OutboxEntry) {
        let waiting = self.endings.remove(&token);
        for waiting in waiting.into_iter().flat_map(|waiting| waiting.told) {
            self.await_end(by, waiting);
        }
    }

    fn end(&mut self, token: ClientToken, ending: &Ending) {
        let waiting = self.endings.remove(&token);
        for waiting in waiting.into_iter().flat_map(|waiting| waiting.told) {
            // Dropping the handle means only that nobody wants to know.
            waiting.send(ending.clone()).ok();
        }
    }

    /// Tells a signal to all whom it concerns.
    pub(crate) fn tell(&mut self, signal: Signal) {
        match &signal {
            Signal::Link(state) => drop(self.link_state.send_replace(state.clone())),
            Signal::Outbox { entry, cancelled: true, .. } => self.end(entry.token, &Ending::Cancelled),
            Signal::Outbox { entry, event, cancelled: false } => {
                if let Some(ending) = ending_of(entry, event.as_ref()) {
                    self.end(entry.token, &ending);
                }
            }
            Signal::Carried { token, by } => self.carry(*token, by),
            Signal::Event { .. } | Signal::Notice(_) | Signal::User(_) => {}
        }
        self.stream(Told::Signal(signal));
    }

    /// Says what this process is to the file, if that is new.
    pub(crate) fn tell_role(&self, role: Role) {
        self.role.send_if_modified(|told| {
            let changed = *told != role;
            *told = role;
            changed
        });
    }

    /// Adds to the streams of events.
    pub(crate) fn stream(&self, told: Told) {
        if self.told.receiver_count() > 0 {
            // Fails only when the last one has left just now.
            self.told.send(Arc::new(told)).ok();
        }
    }

    /// Reads what became of the wishes of this process, and tells whoever waits.
    pub(crate) async fn hear_of_wishes(&mut self, store: &OpenStore) -> Result<(), StoreError> {
        let gone = std::mem::take(&mut self.gone);
        if self.wished.is_empty() && self.asked.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let wished = self.wished.clone();
        let asked: Vec<(ClientToken, bool)> = self.asked.iter().map(|asked| (asked.token, asked.again)).collect();
        let (accepted, answers) =
            store.read(move |reader| Ok((taken_over(reader, &wished)?, answers(reader, &asked)?))).await?;
        let mut ended: Vec<ClientToken> = accepted.iter().map(|(_, carrier)| *carrier).collect();
        ended.extend(gone);
        for (token, carrier) in accepted {
            self.wished.remove(&token);
            if token != carrier
                && let Some(Waiting { entry, told }) = self.endings.remove(&token)
            {
                let carried = OutboxEntry { token: carrier, ..entry };
                self.endings.entry(carrier).or_insert(Waiting { entry: carried, told: Vec::new() }).told.extend(told);
            }
        }
        for (asked, answer) in std::mem::take(&mut self.asked).into_iter().zip(answers) {
            match answer {
                None => self.asked.push(asked),
                Some(Ok(entry)) => {
                    let reply = match (entry, asked.ending) {
                        (Some(entry), Some(waiting)) => {
                            self.await_end(&entry, waiting);
                            Reply::Accepted(entry)
                        }
                        (Some(entry), None) => Reply::Accepted(entry),
                        (None, _) => {
                            if !asked.again {
                                self.end(asked.token, &Ending::Cancelled);
                            }
                            Reply::Done
                        }
                    };
                    asked.answer.send(Ok(reply)).ok();
                }
                Some(Err(refusal)) => drop(asked.answer.send(Err(Error::Refused(refusal)))),
            }
        }
        self.hear_of_ends(store, ended).await
    }

    /// Reads how every entry that somebody waits for stands: it may have ended while nobody here was told.
    pub(crate) async fn hear_of_all_ends(&mut self, store: &OpenStore) -> Result<(), StoreError> {
        let tokens = self.endings.keys().copied().collect();
        self.hear_of_ends(store, tokens).await
    }

    /// Reads how these entries stand, and tells whoever waits for their end.
    async fn hear_of_ends(&mut self, store: &OpenStore, mut tokens: Vec<ClientToken>) -> Result<(), StoreError> {
        tokens.retain(|token| !self.wished.contains(token));
        let known: Vec<OutboxEntry> =
            tokens.iter().filter_map(|token| self.endings.get(token)).map(|waiting| waiting.entry.clone()).collect();
        if known.is_empty() {
            return Ok(());
        }
        let endings = store
            .read(move |reader| {
                known
                    .into_iter()
                    .map(|entry| Ok((entry.token, found_ending(reader, entry)?)))
                    .collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        for (token, ending) in endings {
            if let Some(ending) = ending {
                self.end(token, &ending);
            }
        }
        Ok(())
    }
}

/// Returns those of the wished entries that were taken over, each with the entry that carries it now.
fn taken_over(
    reader: &Reader<'_>,
    wished: &BTreeSet<ClientToken>,
) -> Result<Vec<(ClientToken, ClientToken)>, StoreError> {
    let mut taken = Vec::new();
    for token in wished {
        match reader.submission(*token)? {
            Wished::Waits => {}
            Wished::Answered(WishAnswer::Accepted(carrier)) => taken.push((*token, carrier)),
            Wished::Answered(WishAnswer::Done | WishAnswer::Refused) | Wished::Forgotten => {
                taken.push((*token, *token))
            }
        }
    }
    Ok(taken)
}

/// An answer with the entry that it is about, where there is one; `None` while it is not known.
type Answer = Option<Result<Option<OutboxEntry>, Refusal>>;

fn answers(reader: &Reader<'_>, asked: &[(ClientToken, bool)]) -> Result<Vec<Answer>, StoreError> {
    let mut answers = Vec::new();
    for (token, again) in asked {
        let wished = if *again { reader.retrial(*token)? } else { reader.cancellation(*token)? };
        answers.push(match wished {
            Wished::Waits => None,
            Wished::Answered(WishAnswer::Accepted(carrier)) => {
                Some(reader.entry(carrier)?.map(Some).ok_or(Refusal::TooLate))
            }
            Wished::Answered(WishAnswer::Done) => Some(Ok(None)),
            Wished::Answered(WishAnswer::Refused) | Wished::Forgotten => Some(Err(Refusal::TooLate)),
        });
    }
    Ok(answers)
}

/// Finds out how an entry ended, if it did, from what the file says now.
fn found_ending(reader: &Reader<'_>, known: OutboxEntry) -> Result<Option<Ending>, StoreError> {
    if let Some(entry) = reader.entry(known.token)? {
        return Ok(ending_of(&entry, None));
    }
    // Only the newest of what is settled stay. The message that came of an older one is its trace.
    if let Some(conversation) = known.intent.conversation() {
        let conversation = reader.resolve(conversation)?;
        if let Some((message, sequence)) = reader.sent_as(conversation, known.token)? {
            let settlement =
                Settlement { conversation: Some(conversation), message: Some(message), sequence: Some(sequence) };
            let entry = OutboxEntry { state: OutboxState::Settled, settlement: Some(settlement), ..known };
            return Ok(Some(Ending::Settled(entry, None)));
        }
    }
    let leaves_a_trace = matches!(known.intent, Intent::SendMessage { .. });
    let nothing_forgotten = reader.settled_count()? < SETTLED_KEPT;
    Ok(Some(if leaves_a_trace || nothing_forgotten { Ending::Cancelled } else { Ending::Forgotten }))
}

/// Returns how an entry ended, if it did.
fn ending_of(entry: &OutboxEntry, event: Option<&Event>) -> Option<Ending> {
    match entry.state {
        OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => None,
        OutboxState::Settled => Some(Ending::Settled(entry.clone(), event.cloned())),
        OutboxState::Failed => Some(Ending::Failed(entry.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Action, ConversationId, EventBody, MessageContent, MessageId, MessageKey, RequestId, Sequence, SequenceRange,
        ServerAddress, Timestamp, UserId, UserName, with_token,
    };
    use crate::sync::Write;
    use uuid::Uuid;

    fn entry(n: u128, intent: Intent, state: OutboxState) -> OutboxEntry {
        OutboxEntry {
            token: ClientToken::from_uuid(Uuid::from_u128(n + (1 << 64))),
            position: u64::try_from(n).unwrap(),
            intent,
            state,
            request: RequestId::from_uuid(Uuid::from_u128(n)),
            attempts: 1,
            queued_at: Timestamp(1),
            settlement: None,
            error: None,
        }
    }

    fn sending(n: u128) -> Intent {
        Intent::SendMessage { conversation: room(), text: format!("{n}"), payload: None }
    }

    fn room() -> ConversationId {
        ConversationId::from_uuid(Uuid::from_u128(1))
    }

    /// What the process that syncs stored when the server told of this message of ours.
    fn arrived(sequence: u32, token: ClientToken) -> [Write; 2] {
        let id = MessageId::from_uuid(Uuid::from_u128(u128::from(sequence)));
        let sequence = Sequence(sequence);
        let content = MessageContent { id, text: "here".to_owned(), payload: Some(with_token(None, token)) };
        let event = crate::model::Event {
            conversation: room(),
            sequence,
            action: Action::SendMessage,
            initiator: UserId::new(5).unwrap(),
            timestamp: Timestamp(1),
            body: EventBody::MessageSent(content),
            unknown: None,
        };
        [Write::Events(room(), vec![event]), Write::Cover(room(), SequenceRange::single(sequence).unwrap())]
    }

    fn listeners(session: Option<Session>) -> Listeners {
        Listeners::new(
            watch::channel(LinkState::default()).0,
            watch::channel(session).0,
            watch::channel(Role::Syncing).0,
            broadcast::channel(8).0,
            0,
        )
    }

    /// O-9: a process that was stopped while so much was settled that the file has forgotten it tells the truth of what it
    /// can: what was sent is held, and what is not held was taken back.
    #[tokio::test]
    async fn what_was_settled_long_ago_is_not_told_to_have_been_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = OpenStore::open(folder.path().join("store.db"), None).await.unwrap();
        let session = Session {
            user: UserName::new("user5@chat.acme"),
            user_id: UserId::new(5),
            server: ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None },
            tokens: None,
            refused: None,
            device: None,
        };
        let sent = entry(1, sending(1), OutboxState::Queued);
        let edited = entry(2, sending(2), OutboxState::Queued);
        let regretted = entry(3, sending(3), OutboxState::Queued);
        let message = MessageKey::Id(MessageId::from_uuid(Uuid::from_u128(9)));
        let removed = entry(4, Intent::RemoveMessage { conversation: room(), message }, OutboxState::Queued);
        let mut writes = vec![Write::Session(session.clone())];
        writes.extend(arrived(1, sent.token));
        writes.extend(arrived(2, edited.token));
        let edit = MessageContent {
            id: MessageId::from_uuid(Uuid::from_u128(2)),
            text: "otherwise".to_owned(),
            payload: None,
        };
        let edit = crate::model::Event {
            conversation: room(),
            sequence: Sequence(3),
            action: Action::EditMessage,
            initiator: UserId::new(5).unwrap(),
            timestamp: Timestamp(2),
            body: EventBody::MessageEdited(edit),
            unknown: None,
        };
        writes.push(Write::Events(room(), vec![edit]));
        writes.push(Write::Cover(room(), SequenceRange::single(Sequence(3)).unwrap()));
        // As many as are kept have been settled since.
        let settled = 0..SETTLED_KEPT as u128;
        writes.extend(settled.map(|n| Write::Outbox(entry(100 + n, sending(n), OutboxState::Settled))));
        store.write(writes).await.unwrap();

        let mut listeners = listeners(Some(session));
        let mut told = Vec::new();
        for entry in [&sent, &edited, &regretted, &removed] {
            let (sender, receiver) = oneshot::channel();
            listeners.await_end(entry, sender);
            listeners.gone(entry.token);
            told.push(receiver);
        }
        listeners.hear_of_wishes(&store).await.unwrap();
        let endings = futures_util::future::join_all(told).await;
        let at = |ending: &Result<Ending, _>| match ending {
            Ok(Ending::Settled(entry, _)) => entry.settlement.and_then(|settlement| settlement.sequence),
            _ => None,
        };
        assert_eq!((at(&endings[0]), at(&endings[1])), (Some(Sequence(1)), Some(Sequence(2))), "{endings:?}");
        assert!(matches!(endings[2], Ok(Ending::Cancelled)), "{:?}", endings[2]);
        assert!(matches!(endings[3], Ok(Ending::Forgotten)), "{:?}", endings[3]);
    }

    /// O-5, O-9: who waits for an edit that became part of its message is told what becomes of the message.
    #[tokio::test]
    async fn what_became_part_of_another_ends_as_that_does() {
        for end in [OutboxState::Settled, OutboxState::Failed] {
            let mut listeners = listeners(None);
            let message = entry(1, sending(1), OutboxState::Queued);
            let edit = Intent::EditMessage {
                conversation: room(),
                message: MessageKey::Token(message.token),
                text: Some("better".to_owned()),
                payload: None,
            };
            let edit = entry(2, edit, OutboxState::Queued);
            let (sender, mut told) = oneshot::channel();
            listeners.await_end(&edit, sender);
            listeners.tell(Signal::Carried { token: edit.token, by: message.clone() });
            listeners.tell(Signal::Outbox { entry: edit, event: None, cancelled: true });
            assert!(told.try_recv().is_err(), "the message is still on its way");
            let ended = OutboxEntry { state: end, ..message };
            listeners.tell(Signal::Outbox { entry: ended.clone(), event: None, cancelled: false });
            match told.await.unwrap() {
                Ending::Settled(entry, _) | Ending::Failed(entry) => assert_eq!(entry, ended),
                other @ (Ending::Cancelled | Ending::Forgotten) => panic!("{other:?}"),
            }
        }
    }
}
