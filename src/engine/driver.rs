//! The loop: wait, handle, perform in order.
//!
//! The driver owns the core, the link and everything that waits for an answer. It decides nothing: it
//! carries inputs to the core and outputs to the store, the socket and whoever waits.
//!
//! Inputs that are ready together are handled together, and all they want stored becomes one transaction:
//! under load a commit is paid for by hundreds of events. A write may therefore be durable before an output
//! that the core gave ahead of it is performed, but never after one that it gave behind.

use super::clock::{self, Clock};
use super::open_store::OpenStore;
use super::sending::Ending;
use super::transport::{Dialer, Link, Report, TransportError};
use crate::error::Error;
use crate::model::{ClientToken, Event, OutboxEntry, OutboxState, ServerAddress, Session, Timestamp};
use crate::protocol::ClientFrame;
use crate::store::StoreError;
use crate::sync::{
    Command, CommandId, Core, Input, LinkId, LinkState, Load, Output, Refusal, Reply, SavedState, Settings, Signal,
    Write,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Reports of a link waiting for the driver. When full, the socket is not read: the server waits.
const REPORTS_WAITING_MAX: usize = 1_024;
/// Events collected into one transaction, unless a single input brings more. More would not be faster, and
/// readers of the file's log would have to pass a larger one.
const BATCH_EVENTS_MAX: usize = 1_000;
/// How long inputs are collected into one transaction: below what a person notices.
const BATCH_TIME_MAX: Duration = Duration::from_millis(50);
/// Delay before going on after the store failed, doubled each time: a disk that is full stays full for a while,
/// and each attempt costs the server a login.
const RESTORE_DELAY: Duration = Duration::from_millis(100);
/// Greatest delay before going on after the store failed.
const RESTORE_DELAY_MAX: Duration = Duration::from_secs(5);

/// How often it is noted, in seconds, that everything is held: often enough to say in a train since when what is shown
/// is old, and no burden for a disk.
const WHOLE_NOTED_EVERY_S: i64 = 300;

/// What a handle asks of the driver.
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
    /// Give up link and file until told to go on.
    Pause(oneshot::Sender<Result<(), Error>>),
    /// Go on after a pause.
    Resume(oneshot::Sender<Result<(), Error>>),
    /// End the engine.
    Close(oneshot::Sender<()>),
}

/// A command that the core has not answered yet.
struct Pending {
    answer: oneshot::Sender<Result<Reply, Error>>,
    ending: Option<oneshot::Sender<Ending>>,
}

/// What comes out of waiting.
enum Wake {
    Input(Input),
    Report(Report),
    /// `None` when the last handle is gone.
    Call(Option<Call>),
}

/// Why the loop ends: someone closed the engine and waits for it, or nobody is left.
type Close = Option<oneshot::Sender<()>>;

/// What interrupts the loop.
enum Stop {
    Close(Close),
    Pause(oneshot::Sender<Result<(), Error>>),
}

/// The owner of the core.
pub(crate) struct Driver {
    clock: Clock,
    store: OpenStore,
    settings: Settings,
    core: Core,
    /// Outputs not yet performed, and how many events they store.
    outputs: Vec<Output>,
    events: usize,
    /// What the driver itself has to tell the core: the queue of the links is not for its own consumer.
    own_inputs: VecDeque<Input>,
    link: Option<Link>,
    dialer: Option<(ServerAddress, Arc<Dialer>)>,
    /// Why there is no link, for those who are told that there is none.
    last_fault: Option<Arc<TransportError>>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    pending: BTreeMap<CommandId, Pending>,
    last_command: u64,
    /// How long the next failure of the store is waited out.
    restore_delay: Duration,
    /// When the peer was last heard while everything was held, and when that was last noted.
    whole_at: Option<Timestamp>,
    whole_noted: Option<Timestamp>,
    /// Who waits for the end of an outbox entry; one for each wish, so bounded by what the application holds.
    endings: BTreeMap<ClientToken, Vec<oneshot::Sender<Ending>>>,
    link_state: watch::Sender<LinkState>,
    session: watch::Sender<Option<Session>>,
    signals: broadcast::Sender<Arc<Signal>>,
}

impl Driver {
    pub(crate) fn new(
        clock: Clock,
        store: OpenStore,
        saved: SavedState,
        settings: Settings,
        link_state: watch::Sender<LinkState>,
        session: watch::Sender<Option<Session>>,
        signals: broadcast::Sender<Arc<Signal>>,
    ) -> Self {
        Self {
            core: Core::restore(saved, settings.clone(), clock::seed(), clock.uptime()),
            clock,
            store,
            settings,
            outputs: Vec::new(),
            events: 0,
            own_inputs: VecDeque::new(),
            link: None,
            dialer: None,
            last_fault: None,
            reports: mpsc::channel(REPORTS_WAITING_MAX),
            pending: BTreeMap::new(),
            last_command: 0,
            restore_delay: RESTORE_DELAY,
            whole_at: None,
            whole_noted: None,
            endings: BTreeMap::new(),
            link_state,
            session,
            signals,
        }
    }

    /// Runs until it is told to close, or until the last handle is gone.
    pub(crate) async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let closing = loop {
            match self.turn(&mut calls).await {
                Ok(()) => {}
                Err(Stop::Close(close)) => break close,
                Err(Stop::Pause(answer)) => {
                    if let Err(close) = self.pause(answer, &mut calls).await {
                        break close;
                    }
                }
            }
        };
        // From here on nothing more is accepted: senders of calls find the channel closed.
        drop(calls);
        // What came before the end is still carried out.
        let noted = self.note_whole(true);
        self.outputs.extend(noted.map(|noted| Output::Write(vec![noted])));
        if let Err(error) = self.perform().await {
            tracing::error!(%error, "could not store while closing");
        }
        self.end().await;
        if let Some(answer) = closing {
            // Whoever closed may have stopped waiting.
            answer.send(()).ok();
        }
    }

    /// Handles what is ready, performs what came of it, and goes on from what is stored when that failed.
    async fn turn(&mut self, calls: &mut mpsc::Receiver<Call>) -> Result<(), Stop> {
        self.handle_what_is_ready(calls).await?;
        match self.perform().await {
            Ok(()) => Ok(()),
            Err(error) => self.recover(error, calls).await,
        }
    }

    /// Waits for something to happen and hands it to the core, with all else that is ready by then.
    async fn handle_what_is_ready(&mut self, calls: &mut mpsc::Receiver<Call>) -> Result<(), Stop> {
        if self.own_inputs.is_empty() {
            let due = self.core.deadline();
            let wake = tokio::select! {
                // Passed deadlines go first, so that a busy socket cannot starve them.
                biased;
                () = self.clock.reach(due) => Wake::Input(Input::DeadlinePassed),
                call = calls.recv() => Wake::Call(call),
                report = self.reports.1.recv() => Wake::Report(report.expect("this driver holds a sender")),
            };
            self.take(wake)?;
        }
        let began = self.clock.uptime();
        while self.events < BATCH_EVENTS_MAX && self.clock.uptime().since(began) < BATCH_TIME_MAX {
            let wake = if let Some(input) = self.own_inputs.pop_front() {
                Wake::Input(input)
            } else if let Ok(call) = calls.try_recv() {
                Wake::Call(Some(call))
            } else if let Ok(report) = self.reports.1.try_recv() {
                Wake::Report(report)
            } else {
                break;
            };
            self.take(wake)?;
        }
        Ok(())
    }

    fn take(&mut self, wake: Wake) -> Result<(), Stop> {
        let input = match wake {
            Wake::Input(input) => input,
            Wake::Report(Report::Input(input)) => {
                if *self.link_state.borrow() == LinkState::Live {
                    self.whole_at = Some(clock::time_of_day());
                }
                input
            }
            Wake::Report(Report::Lost(link, fault)) => self.lost(link, fault),
            Wake::Call(Some(Call::Command { command, answer, ending })) => {
                self.last_command += 1;
                let id = CommandId(self.last_command);
                self.pending.insert(id, Pending { answer, ending });
                Input::Command(id, command)
            }
            Wake::Call(Some(Call::Pause(answer))) => return Err(Stop::Pause(answer)),
            Wake::Call(Some(Call::Resume(answer))) => {
                // It runs. Whoever asked may have stopped waiting.
                answer.send(Ok(())).ok();
                return Ok(());
            }
            Wake::Call(Some(Call::Close(answer))) => return Err(Stop::Close(Some(answer))),
            Wake::Call(None) => return Err(Stop::Close(None)),
        };
        let outputs = self.core.handle(self.clock.uptime(), input);
        self.events += outputs.iter().map(Output::event_count).sum::<usize>();
        self.outputs.extend(outputs);
        Ok(())
    }

    fn lost(&mut self, link: LinkId, fault: TransportError) -> Input {
        tracing::debug!(link = link.0, fault = %fault, "link lost");
        if self.link.as_ref().is_some_and(|current| current.id() == link) {
            self.link = None;
            self.last_fault = Some(Arc::new(fault));
        }
        Input::Disconnected(link)
    }

    /// Performs what the core wanted: first everything that must be kept, as one transaction, then the rest.
    async fn perform(&mut self) -> Result<(), StoreError> {
        self.events = 0;
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut writes = Vec::new();
        for output in &mut outputs {
            if let Output::Write(more) = output {
                writes.append(more);
            }
        }
        let link_turns = outputs.iter().any(|output| matches!(output, Output::Signal(Signal::Link(_))));
        writes.extend(self.note_whole(link_turns));
        if !writes.is_empty() {
            self.store(writes).await?;
        }
        for output in outputs {
            match output {
                // Stored above.
                Output::Write(_) => {}
                Output::Dial(link, server) => self.dial(link, server),
                Output::HangUp(link) => self.hang_up(link).await,
                Output::Send(link, frame) => self.send(link, frame),
                Output::Load(load) => self.load(load).await?,
                Output::Answer(command, answer) => self.answer(command, answer),
                Output::Signal(signal) => self.signal(signal),
            }
        }
        Ok(())
    }

    /// Returns what to store of when everything was held: the core knows no time of day.
    fn note_whole(&mut self, at_once: bool) -> Option<Write> {
        let at = self.whole_at?;
        let due = self.whole_noted.is_none_or(|noted| at_once && noted < at || at.0 - noted.0 >= WHOLE_NOTED_EVERY_S);
        due.then(|| {
            self.whole_noted = Some(at);
            Write::WholeAt(at)
        })
    }

    async fn store(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut session = None;
        for write in &writes {
            if let Write::Session(newest) = write {
                session = Some(newest.clone());
            }
        }
        self.store.write(writes).await?;
        self.restore_delay = RESTORE_DELAY;
        if session.is_some() {
            self.session.send_replace(session);
        }
        Ok(())
    }

    fn dial(&mut self, link: LinkId, server: ServerAddress) {
        let dialer = match &self.dialer {
            Some((known, dialer)) if *known == server => Arc::clone(dialer),
            _ => match Dialer::new(&server, true) {
                Ok(dialer) => {
                    let dialer = Arc::new(dialer);
                    self.dialer = Some((server, Arc::clone(&dialer)));
                    dialer
                }
                Err(fault) => return self.report_lost(link, fault),
            },
        };
        self.link = Some(Link::dial(link, dialer, self.reports.0.clone()));
    }

    async fn hang_up(&mut self, link: LinkId) {
        if let Some(link) = self.link.take_if(|current| current.id() == link) {
            link.hang_up().await;
        }
    }

    fn send(&mut self, link: LinkId, frame: ClientFrame) {
        let Some(current) = self.link.as_ref().filter(|current| current.id() == link) else { return };
        if let Err(fault) = current.send(frame) {
            self.report_lost(link, fault);
        }
    }

    /// Tells the core of a link that ended here and not at the peer.
    fn report_lost(&mut self, link: LinkId, fault: TransportError) {
        let input = self.lost(link, fault);
        self.own_inputs.push_back(input);
    }

    /// Reads what an entry of the outbox has to know, and tells the core.
    async fn load(&mut self, Load { token, conversation, message }: Load) -> Result<(), StoreError> {
        let found = self.store.read(move |reader| reader.message(conversation, message)).await?;
        self.own_inputs.push_back(Input::Loaded(token, found));
        Ok(())
    }

    fn answer(&mut self, command: CommandId, answer: Result<Reply, Refusal>) {
        let Some(Pending { answer: caller, ending }) = self.pending.remove(&command) else { return };
        if let (Ok(Reply::Accepted(entry)), Some(waiting)) = (&answer, ending) {
            match ending_of(entry, None) {
                // Nothing more will happen to it: it undid what had not left, or changed what was refused.
                Some(ending) => drop(waiting.send(ending)),
                // More than one may wait for the same entry, when their wishes were merged into it.
                None => self.endings.entry(entry.token).or_default().push(waiting),
            }
        }
        let answer = answer.map_err(|refusal| {
            if refusal == Refusal::Offline {
                Error::Offline { cause: self.last_fault.clone() }
            } else {
                Error::Refused(refusal)
            }
        });
        // The caller may have stopped waiting; what it asked for is done all the same.
        caller.send(answer).ok();
    }

    fn signal(&mut self, signal: Signal) {
        match &signal {
            Signal::Link(state) => {
                if matches!(state, LinkState::CatchingUp { .. } | LinkState::Live) {
                    self.last_fault = None;
                }
                self.link_state.send_replace(state.clone());
            }
            Signal::Outbox { entry, event, cancelled } => {
                let ending = if *cancelled { Some(Ending::Cancelled) } else { ending_of(entry, event.as_ref()) };
                if let Some(ending) = ending {
                    for waiting in self.endings.remove(&entry.token).unwrap_or_default() {
                        // Dropping the handle means only that nobody wants to know.
                        waiting.send(ending.clone()).ok();
                    }
                }
            }
            Signal::Event { .. } | Signal::Notice(_) | Signal::User(_) => {}
        }
        // Fails only while nobody listens.
        self.signals.send(Arc::new(signal)).ok();
    }

    /// Goes on after a failed commit: nothing that the core believed since is true.
    ///
    /// Until the store can be read again, commands are answered with why it cannot.
    async fn recover(&mut self, error: StoreError, calls: &mut mpsc::Receiver<Call>) -> Result<(), Stop> {
        tracing::error!(%error, "could not store; starting again from what is stored");
        let mut error = Arc::new(error);
        self.drop_all_under_way(|| Error::Store(Arc::clone(&error))).await;
        let saved = loop {
            self.refuse_calls(&error, calls).await?;
            self.restore_delay = (self.restore_delay * 2).min(RESTORE_DELAY_MAX);
            match self.store.saved_state().await {
                Ok(saved) => break saved,
                Err(unreadable) => {
                    tracing::error!(error = %unreadable, "could not read the store");
                    error = Arc::new(unreadable);
                }
            }
        };
        self.start_again(saved);
        Ok(())
    }

    /// Answers whoever waits for the core, and gives up the link.
    async fn drop_all_under_way(&mut self, why: impl Fn() -> Error) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            // The caller may have stopped waiting.
            pending.answer.send(Err(why())).ok();
        }
        if let Some(link) = self.link.take() {
            link.hang_up().await;
        }
        // A new core counts links from the beginning: what the old ones still report must not reach it.
        self.reports = mpsc::channel(REPORTS_WAITING_MAX);
        self.own_inputs.clear();
    }

    /// Goes on as after a start.
    fn start_again(&mut self, saved: SavedState) {
        self.link_state.send_replace(LinkState::before_dialling(saved.session.as_ref()));
        self.session.send_replace(saved.session.clone());
        self.core = Core::restore(saved, self.settings.clone(), clock::seed(), self.clock.uptime());
    }

    /// Gives up link and file, and waits until it is told to go on.
    ///
    /// What was accepted is stored; whoever waits for the end of an outbox entry waits on.
    async fn pause(
        &mut self,
        answer: oneshot::Sender<Result<(), Error>>,
        calls: &mut mpsc::Receiver<Call>,
    ) -> Result<(), Close> {
        if let Err(error) = self.perform().await {
            tracing::error!(%error, "could not store while pausing");
        }
        self.drop_all_under_way(|| Error::Paused).await;
        let paused = self.store.pause().await.map_err(Error::from);
        self.link_state.send_replace(LinkState::Paused);
        self.signals.send(Arc::new(Signal::Link(LinkState::Paused))).ok();
        answer.send(paused).ok();
        loop {
            match calls.recv().await {
                Some(Call::Command { answer, .. }) => drop(answer.send(Err(Error::Paused))),
                Some(Call::Pause(answer)) => drop(answer.send(Ok(()))),
                Some(Call::Resume(answer)) => match self.reopen().await {
                    Ok(saved) => {
                        self.start_again(saved);
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

    /// Waits before the store is tried again.
    async fn refuse_calls(&self, error: &Arc<StoreError>, calls: &mut mpsc::Receiver<Call>) -> Result<(), Stop> {
        let due = self.clock.uptime().after(self.restore_delay);
        loop {
            tokio::select! {
                () = self.clock.reach(Some(due)) => return Ok(()),
                call = calls.recv() => match call {
                    Some(Call::Command { answer, .. }) => drop(answer.send(Err(Error::Store(Arc::clone(error))))),
                    Some(Call::Resume(answer)) => drop(answer.send(Ok(()))),
                    Some(Call::Pause(answer)) => return Err(Stop::Pause(answer)),
                    Some(Call::Close(answer)) => return Err(Stop::Close(Some(answer))),
                    None => return Err(Stop::Close(None)),
                },
            }
        }
    }

    /// Gives up the link and closes the file.
    async fn end(mut self) {
        if let Some(link) = self.link.take() {
            link.hang_up().await;
        }
        if !self.store.close().await {
            tracing::warn!("the store is still closing");
        }
    }
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
    use crate::model::{ConversationConfig, Intent, UserName};
    use crate::store::Store;
    use crate::sync::SignedOut;

    struct Engine {
        calls: mpsc::Sender<Call>,
        link_state: watch::Receiver<LinkState>,
    }

    impl Engine {
        async fn start(store: OpenStore) -> Self {
            let saved = store.saved_state().await.unwrap();
            let (calls, waiting) = mpsc::channel(8);
            let (link_sender, link_state) = watch::channel(LinkState::before_dialling(saved.session.as_ref()));
            let (session, _) = watch::channel(saved.session.clone());
            let signals = broadcast::channel(8).0;
            let settings = Settings::default();
            let driver = Driver::new(Clock::start(), store, saved, settings, link_sender, session, signals);
            tokio::spawn(driver.run(waiting));
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
        let engine = Engine::start(OpenStore::inspect(path.clone()).await.unwrap()).await;
        for _ in 0..3 {
            assert!(matches!(engine.submit().await, Err(Error::Store(_))));
        }
        let refused = SignedOut::Refused { code: 701 };
        assert_eq!(*engine.link_state.borrow(), LinkState::SignedOut(refused));
        engine.close().await;

        let engine = Engine::start(OpenStore::open(path.clone(), None).await.unwrap()).await;
        assert!(matches!(engine.submit().await, Ok(Reply::Accepted(_))));
        engine.close().await;
        assert_eq!(Store::open(&path).unwrap().saved_state().unwrap().outbox.len(), 1);
    }
}
