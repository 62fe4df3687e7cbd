//! The loop: wait, handle, perform in order.
//!
//! The driver owns the core, the link and everything that waits for an answer. It decides nothing: it
//! carries inputs to the core and outputs to the store, the socket and whoever waits.
//!
//! Inputs that are ready together are handled together, and all they want stored becomes one transaction:
//! under load a commit is paid for by hundreds of events. A write may therefore be durable before an output
//! that the core gave ahead of it is performed, but never after one that it gave behind.

use super::clock::{self, Clock};
use super::listeners::{Listeners, Told};
use super::open_store::{OpenStore, Standings};
use super::reports::{Report, Reports};
use super::sending::Ending;
use super::shift::{Call, Calls, Stop};
use super::transport::{Dialer, Link, TransportError};
use crate::error::Error;
use crate::model::{ServerAddress, Timestamp, Uptime};
use crate::protocol::ClientFrame;
use crate::store::{ChangeSet, Role, StoreError};
use crate::sync::{
    Command, CommandId, Core, Input, LEAVES_WITHIN, LinkId, LinkState, Load, Output, Refusal, Reply, SavedState,
    Settings, Signal, Write,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Events collected into one transaction, unless a single report brings more. More would not be faster, and
/// readers of the file's log would have to pass a larger one.
const BATCH_EVENTS_MAX: usize = 1_000;
/// How long inputs are collected into one transaction: below what a person notices.
const BATCH_TIME_MAX: Duration = Duration::from_millis(50);

/// How often it is noted, in seconds, that everything is held: often enough to say in a train since when what is shown
/// is old, and no burden for a disk.
const WHOLE_NOTED_EVERY_S: i64 = 300;

/// A command that the core has not answered yet.
struct Pending {
    command: Command,
    answer: oneshot::Sender<Result<Reply, Error>>,
    ending: Option<oneshot::Sender<Ending>>,
}

/// What comes out of waiting.
enum Wake {
    Input(Input),
    Report(Report),
    /// `None` when the last handle is gone.
    Call(Option<Call>),
    /// Another process did something, or took the lease.
    Elsewhere,
}

/// The owner of the core.
pub(crate) struct Driver<'a> {
    clock: Clock,
    store: OpenStore,
    standing: Standings,
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
    reports: Reports,
    pending: BTreeMap<CommandId, Pending>,
    last_command: u64,
    listeners: &'a mut Listeners,
    /// Whether anything was stored.
    stored: bool,
    /// Whether another process did something that was not looked at yet.
    changed_elsewhere: bool,
    /// When the peer was last heard while everything was held, and when that was last noted.
    whole_at: Option<Timestamp>,
    whole_noted: Option<Timestamp>,
}

/// What is left when a driver ends.
pub(crate) struct Ended {
    pub(crate) why: Stop,
    /// Commands that the core had not answered.
    pub(crate) unanswered: Vec<Call>,
    /// Whether the store took anything from it.
    pub(crate) stored: bool,
}

impl<'a> Driver<'a> {
    /// Makes a core of what the store holds. `standing` tells what other processes do.
    pub(crate) fn new(
        clock: Clock,
        store: OpenStore,
        standing: Standings,
        saved: SavedState,
        settings: Settings,
        listeners: &'a mut Listeners,
    ) -> Self {
        Self {
            core: Core::restore(saved, settings, clock::seed(), clock.uptime()),
            clock,
            store,
            standing,
            outputs: Vec::new(),
            events: 0,
            own_inputs: VecDeque::new(),
            link: None,
            dialer: None,
            last_fault: None,
            reports: Reports::new(),
            pending: BTreeMap::new(),
            last_command: 0,
            listeners,
            stored: false,
            changed_elsewhere: false,
            whole_at: None,
            whole_noted: None,
        }
    }

    /// Runs until something ends it, and gives up the link. What came before an end is still carried out.
    pub(crate) async fn run(mut self, calls: &mut Calls) -> Ended {
        let why = self.work(calls).await;
        if matches!(why, Stop::Close(_) | Stop::Pause(_) | Stop::Rebuild(..)) {
            let noted = self.note_whole(true);
            self.outputs.extend(noted.map(|noted| Output::Write(vec![noted])));
            if let Err(error) = self.perform().await {
                tracing::error!(%error, "could not store while ending");
            }
        }
        if let Some(link) = self.link.take() {
            link.hang_up().await;
        }
        let unanswered = std::mem::take(&mut self.pending).into_values();
        let unanswered =
            unanswered.map(|Pending { command, answer, ending }| Call::Command { command, answer, ending });
        Ended { why, unanswered: unanswered.collect(), stored: self.stored }
    }

    async fn work(&mut self, calls: &mut Calls) -> Stop {
        // What was wished for while nobody synced.
        let mut done = self.take_wishes().await;
        loop {
            match done {
                Ok(()) => {}
                Err(StoreError::LeaseLost { .. }) => return Stop::Role,
                Err(error) => return Stop::Failed(Arc::new(error)),
            }
            if let Err(stop) = self.handle_what_is_ready(calls).await {
                return stop;
            }
            done = self.perform().await;
            if done.is_ok() && std::mem::take(&mut self.changed_elsewhere) {
                done = self.take_wishes().await;
            }
        }
    }

    /// Waits for something to happen and hands it to the core, with all else that is ready by then.
    async fn handle_what_is_ready(&mut self, calls: &mut Calls) -> Result<(), Stop> {
        if self.own_inputs.is_empty() {
            let due = self.core.deadline();
            let wake = tokio::select! {
                // Passed deadlines go first, so that a busy socket cannot starve them.
                biased;
                () = self.clock.reach(due) => Wake::Input(Input::DeadlinePassed),
                () = self.standing.changed() => Wake::Elsewhere,
                call = calls.recv() => Wake::Call(call),
                report = self.reports.next() => Wake::Report(report),
            };
            self.take(wake)?;
        }
        let began = self.clock.uptime();
        while self.events < BATCH_EVENTS_MAX && self.clock.uptime().since(began) < BATCH_TIME_MAX {
            let wake = if let Some(input) = self.own_inputs.pop_front() {
                Wake::Input(input)
            } else if let Some(call) = calls.try_recv() {
                Wake::Call(Some(call))
            } else if let Some(report) = self.reports.try_next() {
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
            Wake::Report(Report::Inputs(inputs)) => {
                if *self.listeners.link_state.borrow() == LinkState::Live {
                    self.whole_at = Some(clock::time_of_day());
                }
                inputs.into_iter().for_each(|input| self.handle(input));
                return Ok(());
            }
            Wake::Report(Report::Lost(link, fault)) => self.lost(link, fault),
            Wake::Call(Some(Call::Command { command, answer, ending })) => {
                self.last_command += 1;
                let id = CommandId(self.last_command);
                self.pending.insert(id, Pending { command: command.clone(), answer, ending });
                Input::Command(id, command)
            }
            Wake::Call(Some(Call::Pause(answer))) => return Err(Stop::Pause(answer)),
            Wake::Call(Some(Call::Rebuild(conversations, answer))) => return Err(Stop::Rebuild(conversations, answer)),
            Wake::Call(Some(Call::Resume(answer))) => {
                // It runs. Whoever asked may have stopped waiting.
                answer.send(Ok(())).ok();
                return Ok(());
            }
            Wake::Call(Some(Call::TakeOver(answer))) => {
                answer.send(Ok(())).ok();
                return Ok(());
            }
            Wake::Call(Some(Call::Close(answer))) => return Err(Stop::Close(Some(answer))),
            Wake::Call(None) => return Err(Stop::Close(None)),
            Wake::Elsewhere => {
                self.changed_elsewhere = true;
                return if self.standing.role() == Role::Syncing { Ok(()) } else { Err(Stop::Role) };
            }
        };
        self.handle(input);
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        let outputs = self.core.handle(self.clock.uptime(), input);
        self.events += outputs.iter().map(Output::event_count).sum::<usize>();
        self.outputs.extend(outputs);
    }

    /// Hands over what other processes wish for, after all that is on its way to the disk: it may answer the same.
    async fn take_wishes(&mut self) -> Result<(), StoreError> {
        for (number, wish) in self.store.read(|reader| reader.wishes()).await? {
            self.handle(Input::Wish(number, wish));
        }
        self.perform().await?;
        self.listeners.hear_of_wishes(&self.store).await
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
        let until = self.clock.uptime().after(LEAVES_WITHIN);
        let mut changed = None;
        if !writes.is_empty() {
            changed = Some(self.store(writes).await?);
        } else if outputs.iter().any(|output| matches!(output, Output::Send(_, frame) if frame.uses_tokens())) {
            // Whoever took over may have used them up. A transaction of nothing asks whether somebody has.
            self.store.write(writes).await?;
        }
        for output in outputs {
            match output {
                // Stored above.
                Output::Write(_) => {}
                Output::Dial(link, server) => self.dial(link, server),
                Output::HangUp(link) => self.hang_up(link).await,
                Output::Send(link, frame) => self.send(link, frame, until),
                Output::Load(load) => self.load(load).await?,
                Output::Answer(command, answer) => self.answer(command, answer),
                Output::Signal(signal) => self.signal(signal),
            }
        }
        for change in changed.iter().flat_map(|set| &set.changes) {
            self.listeners.stream(Told::Changed(*change));
        }
        self.reports.done();
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

    async fn store(&mut self, writes: Vec<Write>) -> Result<Arc<ChangeSet>, StoreError> {
        let mut session = None;
        for write in &writes {
            if let Write::Session(newest) = write {
                session = Some(newest.clone());
            }
        }
        let set = self.store.write(writes).await?;
        self.listeners.told_up_to = set.number;
        self.stored = true;
        for contradiction in &set.contradictions {
            self.listeners.stream(Told::Contradicted(*contradiction));
        }
        if session.is_some() {
            self.listeners.session.send_replace(session);
        }
        Ok(set)
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
        self.link = Some(Link::dial(link, dialer, self.clock, self.reports.reporter()));
    }

    async fn hang_up(&mut self, link: LinkId) {
        if let Some(link) = self.link.take_if(|current| current.id() == link) {
            link.hang_up().await;
        }
    }

    fn send(&mut self, link: LinkId, frame: ClientFrame, until: Uptime) {
        let Some(current) = self.link.as_ref().filter(|current| current.id() == link) else { return };
        if let Err(fault) = current.send(frame, until) {
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
        let Some(Pending { answer: caller, ending, command: _ }) = self.pending.remove(&command) else { return };
        if let (Ok(Reply::Accepted(entry)), Some(waiting)) = (&answer, ending) {
            self.listeners.await_end(entry, waiting);
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
        if matches!(signal, Signal::Link(LinkState::CatchingUp { .. } | LinkState::Live)) {
            self.last_fault = None;
        }
        if matches!(signal, Signal::Link(LinkState::Live)) {
            // What was heard last made it whole.
            self.whole_at = Some(clock::time_of_day());
        }
        self.listeners.tell(signal);
    }
}
