//! What the engine does while another process syncs the file: it wishes, and tells what that one commits.
//!
//! The follower has no core and no link. What can be done through the file becomes a wish in it; what only the
//! process with the link can do is refused with [`Error::Following`]. Listeners are told from the feed of changes: each
//! event that the file holds newly, each outbox entry that moved, each user described anew, and of all else that it
//! changed. What is never stored, notices and the state of the link, stays with the process that has the link.

use super::listeners::{Asked, Listeners, Told};
use super::open_store::{OpenStore, Standings};
use super::shift::{Call, Calls, Stop};
use crate::error::Error;
use crate::model::{ClientToken, ConversationId, Event, OutboxEntry, Ranges, Session, User, Wish, WishKind};
use crate::store::{Change, Reader, Role, StoreError, unless_damaged};
use crate::sync::{Command, LinkState, Refusal, Reply, SavedConversation, Signal, check_intent};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Calls that become one transaction.
const BATCH_CALLS_MAX: usize = 256;

/// The part of the engine that works while another process syncs.
pub(crate) struct Follower<'a> {
    store: OpenStore,
    standing: Standings,
    /// Positions of history that were told, or were there at the start.
    held: BTreeMap<ConversationId, Ranges>,
    listeners: &'a mut Listeners,
}

/// A wish, and who waits for what of it.
struct Wishing {
    wish: Wish,
    answer: oneshot::Sender<Result<Reply, Error>>,
    ending: Option<oneshot::Sender<super::sending::Ending>>,
}

/// What the file says about changes that were not told yet.
struct News {
    up_to: u64,
    /// Transactions too long ago to tell of.
    missed: u64,
    held: BTreeMap<ConversationId, Ranges>,
    items: Vec<Item>,
}

enum Item {
    Event(Event),
    User(User),
    Session(Option<Session>),
    Outbox(ClientToken, Option<OutboxEntry>),
    Change(Change),
}

impl<'a> Follower<'a> {
    pub(crate) fn new(
        store: OpenStore,
        standing: Standings,
        conversations: Vec<SavedConversation>,
        listeners: &'a mut Listeners,
    ) -> Self {
        let held = conversations.into_iter().map(|saved| (saved.id, saved.held())).collect();
        Self { store, standing, held, listeners }
    }

    /// Runs until something ends it, or until this process is the one that syncs.
    pub(crate) async fn run(mut self, calls: &mut Calls) -> Stop {
        loop {
            // First, so that nothing is missed that was committed before the watch began, or before the role changed.
            let role = self.standing.role();
            if let Err(error) = self.tell_news().await {
                return Stop::Failed(Arc::new(error));
            }
            match role {
                Role::Syncing => return Stop::Role,
                Role::Following { .. } => self.listeners.tell_role(role),
            }
            tokio::select! {
                () = self.standing.changed() => {}
                call = calls.recv() => {
                    if let Err(stop) = self.take(call, calls).await {
                        return stop;
                    }
                }
            }
        }
    }

    /// Does what is asked, and all else that is asked by now.
    async fn take(&mut self, first: Option<Call>, calls: &mut Calls) -> Result<(), Stop> {
        let mut wishing = Vec::new();
        let mut next = Some(first);
        let mut stop = Ok(());
        while let Some(call) = next {
            stop = self.sort(call, &mut wishing).await;
            if stop.is_err() || wishing.len() >= BATCH_CALLS_MAX {
                break;
            }
            next = calls.try_recv().map(Some);
        }
        self.wish(wishing).await;
        stop
    }

    /// Answers a call, or adds it to the wishes.
    async fn sort(&mut self, call: Option<Call>, wishing: &mut Vec<Wishing>) -> Result<(), Stop> {
        let (command, answer, ending) = match call {
            Some(Call::Command { command, answer, ending }) => (command, answer, ending),
            Some(Call::TakeOver(answer)) => {
                // That this process syncs now is seen in its standing.
                answer.send(self.store.take_over().await.map_err(Error::from)).ok();
                return Ok(());
            }
            Some(Call::Rebuild(_, answer)) => {
                answer.send(Err(Error::Following { holder: self.holder() })).ok();
                return Ok(());
            }
            Some(Call::Resume(answer)) => {
                answer.send(Ok(())).ok();
                return Ok(());
            }
            Some(Call::Pause(answer)) => return Err(Stop::Pause(answer)),
            Some(Call::Close(answer)) => return Err(Stop::Close(Some(answer))),
            None => return Err(Stop::Close(None)),
        };
        let refused = match command {
            Command::Submit { token, intent, queued_at } => match self.check(&intent) {
                Ok(()) => {
                    let wish = Wish { token, kind: WishKind::Submit(intent), wished_at: queued_at };
                    wishing.push(Wishing { wish, answer, ending });
                    return Ok(());
                }
                Err(refusal) => Err(Error::Refused(refusal)),
            },
            Command::Cancel(token) => {
                let wish = Wish { token, kind: WishKind::Cancel, wished_at: super::clock::time_of_day() };
                wishing.push(Wishing { wish, answer, ending });
                return Ok(());
            }
            Command::Retry(token) => {
                let wish = Wish { token, kind: WishKind::Retry, wished_at: super::clock::time_of_day() };
                wishing.push(Wishing { wish, answer, ending });
                return Ok(());
            }
            // Dropped without a word, as while there is no link.
            Command::Typing(_) | Command::SetStatus(_) | Command::Focus(_) | Command::NetworkChanged => Ok(Reply::Done),
            Command::LogIn { .. }
            | Command::OneTimeKey { .. }
            | Command::LogOut
            | Command::PushToken(_)
            | Command::PushFeedback(_)
            | Command::Fetch { .. }
            | Command::SetHistory(..)
            | Command::Query(_) => Err(Error::Following { holder: self.holder() }),
        };
        answer.send(refused).ok();
        Ok(())
    }

    fn check(&self, intent: &crate::model::Intent) -> Result<(), Refusal> {
        if self.listeners.session.borrow().is_none() {
            return Err(Refusal::NoSession);
        }
        check_intent(intent).map_err(Refusal::Messaging)
    }

    fn holder(&self) -> Option<crate::store::Holder> {
        match self.standing.role() {
            Role::Syncing => None,
            Role::Following { holder } => holder,
        }
    }

    /// Stores wishes as one transaction, and answers those that are answered by being durable.
    async fn wish(&mut self, wishing: Vec<Wishing>) {
        if wishing.is_empty() {
            return;
        }
        let wishes: Vec<Wish> = wishing.iter().map(|one| one.wish.clone()).collect();
        if let Err(error) = self.store.wish(wishes).await {
            let error = Arc::new(error);
            for one in wishing {
                one.answer.send(Err(Error::Store(Arc::clone(&error)))).ok();
            }
            return;
        }
        for Wishing { wish, answer, ending } in wishing {
            match wish.kind {
                WishKind::Submit(_) => {
                    let entry = self.entry(wish).await;
                    if let (Ok(entry), Some(waiting)) = (&entry, ending) {
                        self.listeners.await_wished(entry, waiting);
                    }
                    answer.send(entry.map(Reply::Accepted).map_err(Error::from)).ok();
                }
                WishKind::Cancel => {
                    self.listeners.await_answer(Asked { token: wish.token, again: false, answer, ending });
                }
                WishKind::Retry => {
                    self.listeners.await_answer(Asked { token: wish.token, again: true, answer, ending });
                }
            }
        }
    }

    async fn entry(&self, wish: Wish) -> Result<OutboxEntry, StoreError> {
        let token = wish.token;
        let entry = self.store.read(move |reader| reader.entry(token)).await?;
        // Taken over by now and merged into another one, it is none of its own: then what was wished for is shown.
        entry.or_else(|| wish.entry(0)).ok_or(StoreError::Closed)
    }

    /// Tells listeners what the file holds newly.
    async fn tell_news(&mut self) -> Result<(), StoreError> {
        let (from, held) = (self.listeners.told_up_to, std::mem::take(&mut self.held));
        let News { up_to, missed, held, items } = self.store.read(move |reader| news(reader, from, held)).await?;
        self.held = held;
        self.listeners.told_up_to = up_to;
        if missed > 0 {
            self.listeners.stream(Told::Missed(missed));
            self.listeners.hear_of_all_ends(&self.store).await?;
        }
        for item in items {
            match item {
                Item::Event(event) => self.listeners.tell(Signal::Event { event, live: false }),
                Item::User(user) => self.listeners.tell(Signal::User(user)),
                Item::Session(session) => {
                    self.listeners.link_state.send_replace(LinkState::before_dialling(session.as_ref()));
                    self.listeners.session.send_replace(session);
                }
                Item::Outbox(_, Some(entry)) => {
                    self.listeners.tell(Signal::Outbox { entry, event: None, cancelled: false });
                }
                Item::Outbox(token, None) => self.listeners.gone(token),
                Item::Change(change) => self.listeners.stream(Told::Changed(change)),
            }
        }
        self.listeners.hear_of_wishes(&self.store).await
    }
}

/// Reads what was changed after `from`, in one snapshot.
fn news(reader: &Reader<'_>, from: u64, mut held: BTreeMap<ConversationId, Ranges>) -> Result<News, StoreError> {
    let Some(set) = reader.changes_after(from)? else {
        let up_to = reader.last_change()?;
        let held = reader.saved_conversations()?.into_iter().map(|saved| (saved.id, saved.held())).collect();
        let items = vec![Item::Session(reader.session()?)];
        return Ok(News { up_to, missed: up_to - from, held, items });
    };
    let mut items = Vec::new();
    for change in set.changes {
        items.extend(unless_damaged(read_change(reader, &change, &mut held))?.into_iter().flatten());
        items.push(Item::Change(change));
    }
    Ok(News { up_to: set.number, missed: 0, held, items })
}

fn read_change(
    reader: &Reader<'_>,
    change: &Change,
    held: &mut BTreeMap<ConversationId, Ranges>,
) -> Result<Vec<Item>, StoreError> {
    Ok(match *change {
        Change::Session => vec![Item::Session(reader.session()?)],
        Change::User(id) => reader.user(id)?.map(Item::User).into_iter().collect(),
        Change::Outbox(token) => vec![Item::Outbox(token, reader.entry(token)?)],
        Change::Conversation(id) => {
            let now = reader.held(id)?;
            let told = held.entry(id).or_default();
            let mut events = Vec::new();
            for range in now.iter() {
                for new in told.missing(range) {
                    events.extend(reader.events(id, new)?.into_iter().map(Item::Event));
                }
            }
            *told = now;
            events
        }
    })
}
