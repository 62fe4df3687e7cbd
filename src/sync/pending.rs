//! Requests under way by id, answers of many frames, time-outs.

use super::CommandId;
use crate::model::{
    ClientToken, Conversation, ConversationId, Event, Ranges, RequestId, Sequence, SequenceRange, Uptime, User,
};
use crate::protocol::Head;
use crate::protocol::UserKey;
use std::collections::{BTreeMap, BTreeSet};

/// What a request was sent for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// The user's own data, with the list of conversations.
    OwnUser,
    /// A sign of heads: up to 30 conversations.
    Heads(Heads),
    /// Which conversations moved since a cursor: those told so far.
    HeadsSince(Vec<Head>),
    /// Users, for the application or because they take part somewhere and have no name yet.
    Users(Users),
    /// A range of history.
    Range(Range),
    /// A list that comes whole, for the application.
    List(CommandId),
    /// Whom the user follows, to keep what is held of it true.
    Subscriptions,
    /// Something that counts now or never, for the application.
    Volatile(CommandId),
    /// An entry of the outbox.
    Outbox(ClientToken),
    /// The description of a conversation that an entry of the outbox has to know.
    Fact(ClientToken),
}

/// What requests under way are counted by.
#[derive(Clone, Copy)]
enum Sort {
    Heads,
    History,
    OwnUser,
    Outbox,
    Other,
}

/// How many sorts there are.
const SORTS: usize = 5;

impl Purpose {
    const fn sort(&self) -> Sort {
        match self {
            Self::Heads(_) | Self::HeadsSince(_) => Sort::Heads,
            Self::Range(_) => Sort::History,
            Self::OwnUser => Sort::OwnUser,
            Self::Outbox(_) => Sort::Outbox,
            Self::Users(_) | Self::List(_) | Self::Subscriptions | Self::Volatile(_) | Self::Fact(_) => Sort::Other,
        }
    }
}

/// An answer of one frame a conversation, in any order.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    /// Asked for and not yet answered.
    pub(super) waiting: BTreeSet<ConversationId>,
    /// To be asked for next: what is left of a question that was refused as a whole.
    pub(super) parts: Vec<BTreeSet<ConversationId>>,
    /// Whether more than one was asked for: then one that is unknown is absent from the answer.
    pub(super) many: bool,
    /// Answered, where somebody waits for what was said.
    pub(super) got: Vec<Conversation>,
    /// The application's question, if it was one.
    pub(super) command: Option<CommandId>,
    /// Whether the search for an uncertain entry waits for it. A head that was asked for before the quarantine was
    /// over decides nothing, however late its answer comes.
    pub(super) decides: bool,
    /// How patiently, where the answer is only to be compared with what is held, and not stored.
    pub(super) compared: Option<u32>,
}

impl Heads {
    pub(super) fn new(waiting: BTreeSet<ConversationId>, command: Option<CommandId>) -> Self {
        Self {
            many: waiting.len() > 1,
            waiting,
            parts: Vec::new(),
            got: Vec::new(),
            command,
            decides: false,
            compared: None,
        }
    }

    /// Takes one conversation of the answer; one that was not asked for, or a second copy, changes nothing.
    pub(super) fn take(&mut self, conversation: Conversation) {
        let asked = self.waiting.remove(&conversation.id);
        if asked && (self.decides || self.command.is_some()) {
            self.got.push(conversation);
        }
    }

    /// Leaves the second half for later.
    pub(super) fn halve(&mut self) {
        if let Some(middle) = self.waiting.iter().nth(self.waiting.len() / 2).copied() {
            self.parts.push(self.waiting.split_off(&middle));
        }
    }
}

/// An answer of one frame a user, in any order.
#[derive(Clone, Debug)]
pub(super) struct Users {
    /// Asked for in the request under way.
    pub(super) asked: Vec<UserKey>,
    /// How many of these are not answered yet.
    pub(super) waiting: usize,
    /// To be asked for next: what is left of a question that was refused as a whole.
    pub(super) parts: Vec<Vec<UserKey>>,
    /// Whether more than one was asked for: then one that is unknown is absent from the answer.
    pub(super) many: bool,
    /// Answered.
    pub(super) got: Vec<User>,
    /// The application's question, if it was one.
    pub(super) command: Option<CommandId>,
}

impl Users {
    pub(super) fn new(asked: Vec<UserKey>, command: Option<CommandId>) -> Self {
        Self { waiting: asked.len(), many: asked.len() > 1, asked, parts: Vec::new(), got: Vec::new(), command }
    }

    /// Goes on with these.
    pub(super) fn ask(&mut self, keys: Vec<UserKey>) {
        self.waiting = keys.len();
        self.asked = keys;
    }

    /// Leaves the second half for later.
    pub(super) fn halve(&mut self) {
        let mut keys = std::mem::take(&mut self.asked);
        self.parts.push(keys.split_off(keys.len() / 2));
        self.ask(keys);
    }
}

/// An answer of one frame an event.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) conversation: ConversationId,
    pub(super) range: SequenceRange,
    /// What came so far that lies in the range; anything else is not for us.
    pub(super) got: BTreeMap<Sequence, Event>,
    /// How many frames there will be, as far as the server can be believed.
    pub(super) expected: Option<u32>,
    /// The application's question, if it was one; otherwise the ledger asked.
    pub(super) command: Option<CommandId>,
    /// Where the answer is only to be compared with what is held, and not stored.
    pub(super) compared: Option<Compared>,
}

/// What a range of history is asked for to be compared with.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    /// What of the range is held, and has not come yet.
    pub(super) held: Ranges,
    /// How often the usual time for an answer is waited.
    pub(super) patience: u32,
}

impl Range {
    pub(super) const fn new(conversation: ConversationId, range: SequenceRange, command: Option<CommandId>) -> Self {
        Self { conversation, range, got: BTreeMap::new(), expected: None, command, compared: None }
    }

    /// Takes one event of the answer; a foreign one or a second copy changes nothing. Returns whether it was new.
    pub(super) fn take(&mut self, event: Event, expected: Option<u32>) -> bool {
        if expected.is_some() {
            self.expected = expected;
        }
        let (at, before) = (event.sequence, self.got.len());
        if event.conversation == self.conversation && self.range.contains(at) {
            self.got.entry(at).or_insert(event);
            if let Some(compared) = &mut self.compared {
                compared.held.remove(at);
            }
        }
        self.got.len() > before
    }

    /// Returns whether nothing more will come.
    pub(super) fn is_complete(&self) -> bool {
        let got = u32::try_from(self.got.len()).unwrap_or(u32::MAX);
        got >= self.range.len() || self.expected.is_some_and(|expected| got >= expected)
    }
}

impl Purpose {
    /// Returns how often the usual time for an answer is waited for this one.
    pub(super) fn patience(&self) -> u32 {
        match self {
            Self::Heads(Heads { compared: Some(patience), .. })
            | Self::Range(Range { compared: Some(Compared { patience, .. }), .. }) => *patience,
            Self::Heads(_)
            | Self::Range(_)
            | Self::OwnUser
            | Self::HeadsSince(_)
            | Self::Users(_)
            | Self::List(_)
            | Self::Subscriptions
            | Self::Volatile(_)
            | Self::Outbox(_)
            | Self::Fact(_) => 1,
        }
    }
}

/// One request under way.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) purpose: Purpose,
    pub(super) deadline: Uptime,
}

/// All requests under way on the present link.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    requests: BTreeMap<RequestId, Request>,
    deadlines: BTreeSet<(Uptime, RequestId)>,
    /// How many of each sort there are: every frame asks.
    counts: [usize; SORTS],
}

impl Pending {
    pub(super) fn insert(&mut self, id: RequestId, purpose: Purpose, deadline: Uptime) {
        self.remove(id);
        self.deadlines.insert((deadline, id));
        self.counts[purpose.sort() as usize] += 1;
        self.requests.insert(id, Request { purpose, deadline });
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Purpose> {
        self.requests.get_mut(&id).map(|request| &mut request.purpose)
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Purpose> {
        let request = self.requests.remove(&id)?;
        self.deadlines.remove(&(request.deadline, id));
        self.counts[request.purpose.sort() as usize] -= 1;
        Some(request.purpose)
    }

    /// Gives a request time until then.
    pub(super) fn set_deadline(&mut self, id: RequestId, deadline: Uptime) {
        if let Some(request) = self.requests.get_mut(&id) {
            self.deadlines.remove(&(request.deadline, id));
            self.deadlines.insert((deadline, id));
            request.deadline = deadline;
        }
    }

    /// Takes out one request whose time is over.
    pub(super) fn take_overdue(&mut self, now: Uptime) -> Option<(RequestId, Purpose)> {
        let (_, id) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now)?;
        self.remove(id).map(|purpose| (id, purpose))
    }

    /// Takes out everything: the link is gone.
    pub(super) fn drain(&mut self) -> Vec<Purpose> {
        self.deadlines.clear();
        self.counts = [0; SORTS];
        std::mem::take(&mut self.requests).into_values().map(|request| request.purpose).collect()
    }

    pub(super) fn deadline(&self) -> Option<Uptime> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    const fn count(&self, sort: Sort) -> usize {
        self.counts[sort as usize]
    }

    /// Returns how many requests about history and heads are under way.
    pub(super) const fn catch_up_count(&self) -> usize {
        self.count(Sort::Heads) + self.count(Sort::History)
    }

    /// Returns how many entries of the outbox are under way.
    pub(super) const fn outbox_count(&self) -> usize {
        self.count(Sort::Outbox)
    }

    /// Returns of how many conversations the heads are being asked for.
    pub(super) fn heads_awaited(&self) -> usize {
        if self.count(Sort::Heads) == 0 {
            return 0;
        }
        let awaited = self.requests.values().map(|request| match &request.purpose {
            Purpose::Heads(heads) => heads.waiting.len(),
            // One at least, and nobody knows how many.
            Purpose::HeadsSince(_) => 1,
            Purpose::OwnUser
            | Purpose::Users(_)
            | Purpose::List(_)
            | Purpose::Subscriptions
            | Purpose::Volatile(_)
            | Purpose::Range(_)
            | Purpose::Fact(_)
            | Purpose::Outbox(_) => 0,
        });
        awaited.sum()
    }

    /// Returns whether heads are being asked for.
    pub(super) const fn awaits_heads(&self) -> bool {
        self.count(Sort::Heads) + self.count(Sort::OwnUser) > 0
    }
}
