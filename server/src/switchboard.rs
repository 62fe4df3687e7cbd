//! The thread that owns the hub: requests in, answers and pushes out.
//!
//! It takes what is waiting, carries all of it out in one transaction, commits, and only then tells anybody.
//! So one flush of the disk serves many requests, and nobody hears of what could still be lost.

use crate::clock;
use crate::faults::Faults;
use crate::hub::{Context, Hub, Outcome};
use crate::storage::{Sqlite, StorageError};
use backscroll::model::{Action, ErrorCode, RequestId, Timestamp, UserId};
use backscroll::protocol::{ClientChat, Header, Push, Request, ServerChat, ServerFrame, encode_server};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How many requests share a transaction: enough to share the flush, few enough that none waits long.
const BATCH_MAX: usize = 64;

/// Names a link of this server, by the order of arrival from 1.
pub(crate) type LinkId = u64;

/// What the thread is asked to do.
pub(crate) enum Command {
    /// A link belongs to a user from now on.
    Attach(LinkId, Attached, Box<ServerFrame>),
    /// A link is gone.
    Detach(LinkId),
    /// A user asks for something. The permit is given back when the answer is written.
    Request(LinkId, ClientChat, OwnedSemaphorePermit),
    /// Nobody asks any more.
    Stop,
}

/// A link that is logged in.
#[derive(Clone)]
pub(crate) struct Attached {
    pub(crate) user: UserId,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
    /// Told when the link is too slow to be kept.
    pub(crate) too_slow: Arc<Notify>,
}

/// What is to be written to a link.
pub(crate) enum Outgoing {
    /// The frames of one answer, and what is given back once they are written.
    Answer(Vec<ServerFrame>, Option<OwnedSemaphorePermit>),
    /// A push, encoded once for all its receivers.
    Push(Utf8Bytes),
    /// Nothing more; the link is closed.
    Close,
}

/// A request and what it came to.
struct Served {
    link: LinkId,
    asked: Asked,
    permit: OwnedSemaphorePermit,
    outcome: Result<Outcome, StorageError>,
}

/// What remains of a request once its body was handed over.
struct Asked {
    user: UserId,
    request: RequestId,
    action: Action,
    is_mutation: bool,
}

/// What is to be told after the commit, in order.
enum Due {
    Attach(LinkId, Attached, Box<ServerFrame>),
    Detach(LinkId),
    Served(Box<Served>),
}

/// The hub, and who is connected to it.
pub(crate) struct Switchboard {
    hub: Hub<Sqlite>,
    links: BTreeMap<LinkId, Attached>,
    links_of: BTreeMap<UserId, BTreeSet<LinkId>>,
    faults: Arc<Faults>,
    /// Set when the server is dropped: what is not begun is not done.
    abandoned: Arc<AtomicBool>,
    tidied_at: Timestamp,
}

impl Switchboard {
    pub(crate) fn new(storage: Sqlite, faults: Arc<Faults>, abandoned: Arc<AtomicBool>) -> Self {
        Self {
            hub: Hub::new(storage),
            links: BTreeMap::new(),
            links_of: BTreeMap::new(),
            faults,
            abandoned,
            tidied_at: Timestamp::default(),
        }
    }

    /// Serves until it is told to stop, then leaves the file in good order.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut stopping = false;
        while !stopping && commands.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            if self.abandoned.load(Ordering::Acquire) {
                return;
            }
            stopping = batch.iter().any(|command| matches!(command, Command::Stop));
            let due = self.carry_out(batch.drain(..));
            for due in due {
                self.tell(due);
            }
        }
        if let Err(error) = self.hub.storage().checkpoint() {
            tracing::warn!(
                error = &error as &dyn Error,
                "the log stays beside the database and is read at the next start"
            );
        }
    }

    /// Carries a batch out in one transaction. When that cannot be kept, nothing of it happened.
    fn carry_out(&mut self, batch: impl Iterator<Item = Command>) -> Vec<Due> {
        let now = clock::now();
        let begun = self.hub.storage().begin().and_then(|()| self.tidy(now));
        let begun = begun.inspect_err(|error| tracing::error!(error = error as &dyn Error, "requests are refused"));
        // Links of this batch, since attaching takes effect in order, at the end.
        let mut users: BTreeMap<LinkId, UserId> = BTreeMap::new();
        let mut all_due = Vec::new();
        for command in batch {
            all_due.push(match command {
                Command::Stop => continue,
                Command::Attach(link, attached, welcome) => {
                    users.insert(link, attached.user);
                    Due::Attach(link, attached, welcome)
                }
                Command::Detach(link) => Due::Detach(link),
                Command::Request(link, chat, permit) => {
                    let attached = self.links.get(&link).map(|attached| attached.user);
                    let Some(user) = users.get(&link).copied().or(attached) else { continue };
                    let (action, is_mutation) = (chat.body.action(), chat.body.is_mutation());
                    let asked = Asked { user, request: chat.request, action, is_mutation };
                    let outcome = match &begun {
                        Ok(()) => self.serve(&asked, chat.body, now),
                        Err(_) => Err(StorageError::Aborted),
                    };
                    Due::Served(Box::new(Served { link, asked, permit, outcome }))
                }
            });
        }
        if begun.is_ok()
            && let Err(error) = self.hub.storage().commit()
        {
            tracing::error!(error = &error as &dyn Error, "a batch of requests was not kept");
            for due in &mut all_due {
                if let Due::Served(served) = due {
                    served.outcome = Err(StorageError::Aborted);
                }
            }
        }
        all_due
    }

    /// Carries out one request inside the transaction; one that fails takes back only itself.
    fn serve(&mut self, asked: &Asked, body: Request, now: Timestamp) -> Result<Outcome, StorageError> {
        let context = Context { now, caller: asked.user, request: asked.request, fresh: clock::fresh_id() };
        self.hub.storage().mark()?;
        match self.hub.handle(&context, body) {
            Ok(outcome) => self.hub.storage().keep().map(|()| outcome),
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, action = %asked.action, "a request failed");
                self.hub.storage().undo()?;
                Err(error)
            }
        }
    }

    /// Forgets old answers, and closes the links of accounts that were frozen or removed; at most once a second.
    fn tidy(&mut self, now: Timestamp) -> Result<(), StorageError> {
        if now == self.tidied_at {
            return Ok(());
        }
        self.tidied_at = now;
        for user in self.hub.storage().barred()? {
            for link in self.links_of.get(&user).cloned().into_iter().flatten() {
                self.send(link, Outgoing::Close);
                self.forget(link);
            }
        }
        self.hub.forget_old_answers(now)
    }

    fn tell(&mut self, due: Due) {
        match due {
            Due::Attach(link, attached, welcome) => {
                self.links_of.entry(attached.user).or_default().insert(link);
                self.links.insert(link, attached);
                self.send(link, Outgoing::Answer(vec![*welcome], None));
            }
            Due::Detach(link) => self.forget(link),
            Due::Served(served) => self.tell_served(*served),
        }
    }

    fn tell_served(&mut self, served: Served) {
        let Served { link, asked, permit, outcome } = served;
        let outcome = outcome.unwrap_or_else(|_| internal_error(&asked));
        if !(asked.is_mutation && self.faults.take_swallow()) {
            let frames = outcome.reply.into_iter().map(ServerFrame::Chat).collect();
            self.send(link, Outgoing::Answer(frames, Some(permit)));
        }
        for fan_out in outcome.fan_out {
            let links = fan_out.users.iter().filter_map(|user| self.links_of.get(user)).flatten();
            let links: Vec<LinkId> = links.copied().filter(|other| *other != link).collect();
            if links.is_empty() {
                continue;
            }
            let frame = ServerFrame::Chat(ServerChat { request: None, push: fan_out.push });
            let text = Utf8Bytes::from(encode_server(&frame));
            for link in links {
                self.send(link, Outgoing::Push(text.clone()));
            }
        }
    }

    /// Queues something for a link, and gives a link up that does not keep up with its queue.
    fn send(&mut self, link: LinkId, outgoing: Outgoing) {
        let Some(attached) = self.links.get(&link) else { return };
        if attached.outgoing.try_send(outgoing).is_err() {
            attached.too_slow.notify_one();
            self.forget(link);
        }
    }

    fn forget(&mut self, link: LinkId) {
        let Some(attached) = self.links.remove(&link) else { return };
        if let Some(links) = self.links_of.get_mut(&attached.user) {
            links.remove(&link);
            if links.is_empty() {
                self.links_of.remove(&attached.user);
            }
        }
    }
}

/// Returns the answer to a request that the server failed at.
fn internal_error(asked: &Asked) -> Outcome {
    let header = Header::new(asked.action.clone(), asked.user, clock::now());
    let push = Push::Error { header, error: ErrorCode::Internal.into() };
    Outcome { reply: vec![ServerChat { request: Some(asked.request), push }], fan_out: Vec::new() }
}
