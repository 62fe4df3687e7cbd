//! Everything that handles watch, stream and await, whichever part of the engine speaks.

use super::open_store::OpenStore;
use super::sending::Ending;
use crate::error::Error;
use crate::model::{ClientToken, Contradiction, Event, OutboxEntry, OutboxState, Session, WishAnswer};
use crate::store::{Change, Reader, Role, StoreError, Wished};
use crate::sync::{LinkState, Refusal, Reply, Signal};
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

/// The engine's ends of what its handles watch, stream and await.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) link_state: watch::Sender<LinkState>,
    pub(crate) session: watch::Sender<Option<Session>>,
    role: watch::Sender<Role>,
    told: broadcast::Sender<Arc<Told>>,
    /// Who waits for the end of an outbox entry; one for each wish, so bounded by what the application holds.
    endings: BTreeMap<ClientToken, Vec<oneshot::Sender<Ending>>>,
    /// Entries among them that wait in the file to be taken over.
    wished: BTreeSet<ClientToken>,
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
        let (endings, wished, asked) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { link_state, session, role, told, endings, wished, asked, told_up_to }
    }

    /// Tells the end of this entry to `waiting`, now or when it comes.
    pub(crate) fn await_end(&mut self, entry: &OutboxEntry, waiting: oneshot::Sender<Ending>) {
        match ending_of(entry, None) {
            // Nothing more will happen to it: it undid what had not left, or changed what was refused.
            Some(ending) => drop(waiting.send(ending)),
            // More than one may wait for the same entry, when their wishes were merged into it.
            None => self.endings.entry(entry.token).or_default().push(waiting),
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

    /// An entry is not in the file any more. One that was wished for may be part of another by now.
    pub(crate) fn gone(&mut self, token: ClientToken) {
        if !self.wished.contains(&token) {
            self.end(token, &Ending::Cancelled);
        }
    }

    fn end(&mut self, token: ClientToken, ending: &Ending) {
        for waiting in self.endings.remove(&token).unwrap_or_default() {
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
        // Fails only while nobody listens.
        self.told.send(Arc::new(told)).ok();
    }

    /// Reads what became of the wishes of this process, and tells whoever waits.
    pub(crate) async fn hear_of_wishes(&mut self, store: &OpenStore) -> Result<(), StoreError> {
        if self.wished.is_empty() && self.asked.is_empty() {
            return Ok(());
        }
        let wished = self.wished.clone();
        let asked: Vec<(ClientToken, bool)> = self.asked.iter().map(|asked| (asked.token, asked.again)).collect();
        let (accepted, answers) =
            store.read(move |reader| Ok((taken_over(reader, &wished)?, answers(reader, &asked)?))).await?;
        let carriers: Vec<ClientToken> = accepted.iter().map(|(_, carrier)| *carrier).collect();
        for (token, carrier) in accepted {
            self.wished.remove(&token);
            if token != carrier
                && let Some(waiting) = self.endings.remove(&token)
            {
                self.endings.entry(carrier).or_default().extend(waiting);
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
                        (None, _) => Reply::Done,
                    };
                    asked.answer.send(Ok(reply)).ok();
                }
                Some(Err(refusal)) => drop(asked.answer.send(Err(Error::Refused(refusal)))),
            }
        }
        self.hear_of_ends(store, carriers).await
    }

    /// Reads how every entry that somebody waits for stands: it may have ended while nobody here was told.
    pub(crate) async fn hear_of_all_ends(&mut self, store: &OpenStore) -> Result<(), StoreError> {
        let tokens = self.endings.keys().copied().collect();
        self.hear_of_ends(store, tokens).await
    }

    /// Reads how these entries stand, and tells whoever waits for their end.
    async fn hear_of_ends(&mut self, store: &OpenStore, mut tokens: Vec<ClientToken>) -> Result<(), StoreError> {
        tokens.retain(|token| self.endings.contains_key(token) && !self.wished.contains(token));
        if tokens.is_empty() {
            return Ok(());
        }
        let entries = store
            .read(move |reader| {
                tokens
                    .into_iter()
                    .map(|token| Ok((token, reader.entry(token)?)))
                    .collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        for (token, entry) in entries {
            // What is settled stays for a while, so what is gone was taken back.
            let ending = entry.map_or(Some(Ending::Cancelled), |entry| ending_of(&entry, None));
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

/// Returns how an entry ended, if it did.
fn ending_of(entry: &OutboxEntry, event: Option<&Event>) -> Option<Ending> {
    match entry.state {
        OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => None,
        OutboxState::Settled => Some(Ending::Settled(entry.clone(), event.cloned())),
        OutboxState::Failed => Some(Ending::Failed(entry.clone())),
    }
}
