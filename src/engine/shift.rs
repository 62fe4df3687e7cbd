//! What outlives the core: who works, the driver or the follower, and what comes in between.
//!
//! ```text
//!              the holder is gone, or the lease was taken over
//!   Follower ──────────────────────────────────────────────────▶ Driver ──▶ a failed commit, a repair ──▶ Driver
//!     ▲  │                                                         │ │
//!     │  └──── told to pause ────▶ Paused ◀──── told to pause ─────┘ │
//!     │                              └──── told to resume ────▶ Driver or Follower, as the file is found
//!     └────────────────────── the lease is lost ─────────────────────┘
//! ```

use super::clock::Clock;
use super::driver::Driver;
use super::follower::Follower;
use super::listeners::{Listeners, Told};
use super::open_store::OpenStore;
use super::sending::Ending;
use crate::error::Error;
use crate::model::{ConversationId, Event};
use crate::store::{Role, StoreError};
use crate::sync::{Command, LinkState, Reply, SavedState, Settings, Signal, Write};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Delay before going on after the store failed, doubled each time: a disk that is full stays full for a while,
/// and each attempt costs the server a login.
const RESTORE_DELAY: Duration = Duration::from_millis(100);
/// Greatest delay before going on after the store failed.
const RESTORE_DELAY_MAX: Duration = Duration::from_secs(5);

/// What a handle asks of the engine.
#[derive(Debug)]
pub(crate) enum Call {
    /// Run a command of the core.
    Command {
        /// Which.
        command: Command,
        /// Where its answer goes.
        answer: oneshot::Sender<Result<Reply, Error>>,
        /// Where the end of the outbox entry goes, if the command makes one and someone wants to know.
        ending: Option<oneshot::Sender<Ending>>,
    },
    /// Become the process that syncs, whoever it is.
    TakeOver(oneshot::Sender<Result<(), Error>>),
    /// Make these conversations anew from their logs, each with these events in place of those held at their positions,
    /// and go on from what is stored then.
    Rebuild(Vec<(ConversationId, Vec<Event>)>, oneshot::Sender<Result<(), Error>>),
    /// Give up link and file until told to go on.
    Pause(oneshot::Sender<Result<(), Error>>),
    /// Go on after a pause.
    Resume(oneshot::Sender<Result<(), Error>>),
    /// End the engine.
    Close(oneshot::Sender<()>),
}

/// What handles ask, in order.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Asked of a driver that lost the lease, for whoever works next.
    again: VecDeque<Call>,
    queue: mpsc::Receiver<Call>,
}

impl Calls {
    /// Waits for the next one; `None` when the last handle is gone. Nothing is lost when the wait is given up.
    pub(crate) async fn recv(&mut self) -> Option<Call> {
        match self.again.pop_front() {
            Some(call) => Some(call),
            None => self.queue.recv().await,
        }
    }

    /// Returns the next one, if there is one by now.
    pub(crate) fn try_recv(&mut self) -> Option<Call> {
        self.again.pop_front().or_else(|| self.queue.try_recv().ok())
    }
}

/// Why the engine ends: someone closed it and waits for that, or nobody is left.
type Close = Option<oneshot::Sender<()>>;

/// Why a driver or a follower ends.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The engine is to end.
    Close(Close),
    /// Link and file are to be given up for a while.
    Pause(oneshot::Sender<Result<(), Error>>),
    /// These conversations are to be made anew, and with them what was believed of them.
    Rebuild(Vec<(ConversationId, Vec<Event>)>, oneshot::Sender<Result<(), Error>>),
    /// The role of this process is not that any more.
    Role,
    /// The store failed: nothing that was believed since is true.
    Failed(Arc<StoreError>),
}

/// The engine of one file in one process.
pub(crate) struct Engine {
    clock: Clock,
    store: OpenStore,
    settings: Settings,
    listeners: Listeners,
    /// What the store held when it was opened, for the first driver.
    saved: Option<SavedState>,
    /// How long the next failure of the store is waited out.
    restore_delay: Duration,
}

impl Engine {
    pub(crate) const fn new(
        clock: Clock,
        store: OpenStore,
        saved: SavedState,
        settings: Settings,
        listeners: Listeners,
    ) -> Self {
        Self { clock, store, settings, listeners, saved: Some(saved), restore_delay: RESTORE_DELAY }
    }

    /// Runs until it is told to close, or until the last handle is gone.
    pub(crate) async fn run(mut self, queue: mpsc::Receiver<Call>) {
        let mut calls = Calls { again: VecDeque::new(), queue };
        let closing = loop {
            let mut stop = self.work(&mut calls).await;
            if let Stop::Failed(error) = stop {
                match self.wait_out(error, &mut calls).await {
                    Ok(()) => continue,
                    Err(interrupted) => stop = interrupted,
                }
            }
            match stop {
                Stop::Role | Stop::Failed(_) => {}
                Stop::Rebuild(conversations, answer) => {
                    let anew = conversations.into_iter().map(|(id, instead)| Write::Rebuild(id, instead));
                    let rebuilt = self.store.write(anew.chain([Write::Mend]).collect()).await;
                    // The link went with the driver: whoever waits for it from now on waits for the next one.
                    let without_link = LinkState::before_dialling(self.listeners.session.borrow().as_ref());
                    self.listeners.link_state.send_replace(without_link);
                    for change in rebuilt.iter().flat_map(|set| &set.changes) {
                        self.listeners.stream(Told::Changed(*change));
                    }
                    // Whoever asked may have stopped waiting.
                    answer.send(rebuilt.map(drop).map_err(Error::from)).ok();
                }
                Stop::Close(close) => break close,
                Stop::Pause(answer) => {
                    if let Err(close) = self.pause(answer, &mut calls).await {
                        break close;
                    }
                }
            }
        };
        // From here on nothing more is accepted: senders of calls find the channel closed.
        drop(calls);
        if !self.store.close().await {
            tracing::warn!("the store is still closing");
        }
        if let Some(answer) = closing {
            // Whoever closed may have stopped waiting.
            answer.send(()).ok();
        }
    }

    /// Lets the driver or the follower work, as the file stands, until something ends that.
    async fn work(&mut self, calls: &mut Calls) -> Stop {
        match self.start(calls).await {
            Ok(stop) => stop,
            Err(error) => Stop::Failed(Arc::new(error)),
        }
    }

    async fn start(&mut self, calls: &mut Calls) -> Result<Stop, StoreError> {
        let standing = self.store.standing().await?;
        let role = standing.role();
        self.listeners.tell_role(role.clone());
        let saved = match self.saved.take() {
            Some(saved) => saved,
            None => self.store.saved_state().await?,
        };
        self.listeners.link_state.send_replace(LinkState::before_dialling(saved.session.as_ref()));
        self.listeners.session.send_replace(saved.session.clone());
        // What ended while this process did not look.
        self.listeners.hear_of_all_ends(&self.store).await?;
        if role != Role::Syncing {
            let follower = Follower::new(self.store.clone(), standing, saved.conversations, &mut self.listeners);
            return Ok(follower.run(calls).await);
        }
        let (settings, listeners) = (self.settings.clone(), &mut self.listeners);
        let driver = Driver::new(self.clock, self.store.clone(), standing, saved, settings, listeners);
        let ended = driver.run(calls).await;
        if ended.stored {
            self.restore_delay = RESTORE_DELAY;
        }
        match &ended.why {
            // Somebody else syncs now, or the next driver: to those who asked it makes no difference.
            Stop::Role | Stop::Rebuild(..) => calls.again.extend(ended.unanswered),
            Stop::Failed(error) => refuse(ended.unanswered, || Error::Store(Arc::clone(error))),
            Stop::Pause(_) => refuse(ended.unanswered, || Error::Paused),
            Stop::Close(_) => {}
        }
        Ok(ended.why)
    }

    /// Waits before the store is tried again. Until then, commands are answered with why it cannot be used.
    async fn wait_out(&mut self, error: Arc<StoreError>, calls: &mut Calls) -> Result<(), Stop> {
        tracing::error!(%error, "the store failed; starting again from what is stored");
        let due = self.clock.uptime().after(self.restore_delay);
        self.restore_delay = (self.restore_delay * 2).min(RESTORE_DELAY_MAX);
        loop {
            tokio::select! {
                () = self.clock.reach(Some(due)) => return Ok(()),
                call = calls.recv() => match call {
                    Some(Call::Command { answer, .. }) => drop(answer.send(Err(Error::Store(Arc::clone(&error))))),
                    Some(Call::TakeOver(answer)) => drop(answer.send(Err(Error::Store(Arc::clone(&error))))),
                    Some(Call::Rebuild(_, answer)) => drop(answer.send(Err(Error::Store(Arc::clone(&error))))),
                    Some(Call::Resume(answer)) => drop(answer.send(Ok(()))),
                    Some(Call::Pause(answer)) => return Err(Stop::Pause(answer)),
                    Some(Call::Close(answer)) => return Err(Stop::Close(Some(answer))),
                    None => return Err(Stop::Close(None)),
                },
            }
        }
    }

    /// Gives up the file, and with it the lease, and waits until it is told to go on.
    ///
    /// What was accepted is stored; whoever waits for the end of an outbox entry waits on.
    async fn pause(&mut self, answer: oneshot::Sender<Result<(), Error>>, calls: &mut Calls) -> Result<(), Close> {
        let paused = self.store.pause().await.map_err(Error::from);
        self.listeners.tell(Signal::Link(LinkState::Paused));
        answer.send(paused).ok();
        loop {
            match calls.recv().await {
                Some(Call::Command { answer, .. }) => drop(answer.send(Err(Error::Paused))),
                Some(Call::TakeOver(answer)) => drop(answer.send(Err(Error::Paused))),
                Some(Call::Rebuild(_, answer)) => drop(answer.send(Err(Error::Paused))),
                Some(Call::Pause(answer)) => drop(answer.send(Ok(()))),
                Some(Call::Resume(answer)) => match self.reopen().await {
                    Ok(saved) => {
                        self.saved = Some(saved);
                        answer.send(Ok(())).ok();
                        return Ok(());
                    }
                    Err(error) => drop(answer.send(Err(error.into()))),
                },
                Some(Call::Close(answer)) => return Err(Some(answer)),
                None => return Err(None),
            }
        }
    }

    /// Opens the file again and reads what the core needs; a file that cannot be read stays given up.
    async fn reopen(&self) -> Result<SavedState, StoreError> {
        self.store.reopen().await?;
        match self.store.saved_state().await {
            Ok(saved) => Ok(saved),
            Err(error) => {
                self.store.pause().await?;
                Err(error)
            }
        }
    }
}

fn refuse(unanswered: Vec<Call>, why: impl Fn() -> Error) {
    for call in unanswered {
        match call {
            // The caller may have stopped waiting.
            Call::Command { answer, .. } => drop(answer.send(Err(why()))),
            Call::TakeOver(answer) | Call::Rebuild(_, answer) | Call::Pause(answer) | Call::Resume(answer) => {
                drop(answer.send(Err(why())));
            }
            Call::Close(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock;
    use crate::model::{ConversationConfig, Intent, ServerAddress, Session, UserName};
    use crate::store::Store;
    use crate::sync::SignedOut;
    use tokio::sync::{broadcast, watch};

    struct Handle {
        calls: mpsc::Sender<Call>,
        link_state: watch::Receiver<LinkState>,
    }

    impl Handle {
        async fn start(store: OpenStore) -> Self {
            let saved = store.saved_state().await.unwrap();
            let (calls, waiting) = mpsc::channel(8);
            let (link_sender, link_state) = watch::channel(LinkState::before_dialling(saved.session.as_ref()));
            let session = watch::channel(saved.session.clone()).0;
            let role = watch::channel(Role::Syncing).0;
            let listeners = Listeners::new(link_sender, session, role, broadcast::channel(8).0, 0);
            let engine = Engine::new(Clock::start(), store, saved, Settings::default(), listeners);
            tokio::spawn(engine.run(waiting));
            Self { calls, link_state }
        }

        async fn submit(&self) -> Result<Reply, Error> {
            let intent = Intent::CreateConversation(ConversationConfig::default());
            let command = Command::Submit { token: clock::token(), intent, queued_at: clock::time_of_day() };
            let (answer, reply) = oneshot::channel();
            self.calls.send(Call::Command { command, answer, ending: None }).await.unwrap();
            reply.await.unwrap()
        }

        async fn close(self) {
            let (answer, closed) = oneshot::channel();
            self.calls.send(Call::Close(answer)).await.unwrap();
            closed.await.unwrap();
            assert!(self.calls.is_closed());
        }
    }

    /// R-08, D-5: after a failed write the core is made anew from the file, again and again.
    #[tokio::test]
    async fn a_failed_commit_is_told_and_the_engine_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let session = Session {
            user: UserName::new("alice@chat.acme"),
            user_id: None,
            server: ServerAddress { url: "wss://localhost".to_owned(), extra_root: None },
            tokens: None,
            refused: Some(701),
            device: None,
        };
        Store::open(&path).unwrap().write(vec![Write::Session(session)]).await.unwrap();

        // Opened for reading only, so that every commit fails.
        let engine = Handle::start(OpenStore::inspect(path.clone()).await.unwrap()).await;
        for _ in 0..3 {
            assert!(matches!(engine.submit().await, Err(Error::Store(_))));
        }
        let refused = SignedOut::Refused { code: 701 };
        assert_eq!(*engine.link_state.borrow(), LinkState::SignedOut(refused));
        engine.close().await;

        let engine = Handle::start(OpenStore::open(path.clone(), None).await.unwrap()).await;
        assert!(matches!(engine.submit().await, Ok(Reply::Accepted(_))));
        engine.close().await;
        assert_eq!(Store::open(&path).unwrap().saved_state().unwrap().outbox.len(), 1);
    }
}
