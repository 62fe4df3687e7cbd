//! The pure core: a state machine that decides, while a shell does.
//!
//! [`Core::handle`] takes one [`Input`] and returns [`Output`]s. It opens nothing, reads no clock, makes
//! no random number and spawns nothing; the same inputs give the same outputs in every run. It knows
//! neither SQL nor sockets: what it wants kept is a list of [`Write`] values, and what it knows at the
//! start is a [`SavedState`].
//!
//! **Order is the promise.** The shell performs outputs in order; an output that follows a
//! [`Output::Write`] is performed only after those writes are durable.
//!
//! **One recovery path.** The core is a cache of rows plus the state of the link. After a failed write
//! the shell answers the waiting commands, drops the core, closes the link and calls
//! [`Core::restore`] again.

mod attempt;
mod catch_up;
mod check;
mod core;
mod fetching;
mod heads;
mod ledger;
mod link;
mod login;
mod look_up;
mod merge;
mod outbox;
mod pace;
mod pending;
mod push_tokens;
mod searching;
mod sending;
#[cfg(test)]
mod tests;
mod volatile;
mod wish;

pub use self::check::check_intent;
pub use self::core::Core;
pub use self::outbox::SETTLED_KEPT;

use crate::model::{
    ClientToken, Conversation, ConversationId, Credentials, Event, HistoryPolicy, Intent, Membership, Message,
    MessageId, MessagingError, Notice, OutboxEntry, PushToken, Ranges, RawJson, Secret, Sequence, SequenceRange,
    ServerAddress, Session, Timestamp, User, UserId, UserName, Wish, WishAnswer,
};
use crate::protocol::{ClientFrame, RateLimit, ServerFrame, UserKey};
use std::collections::BTreeSet;
use std::time::Duration;

/// Names one connection. A frame of an earlier one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Names one command of the application until it is answered. Below 2^63: the upper half stands for wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

impl CommandId {
    /// The bit of an id under which the core runs a wish as if it were a command.
    const WISH: u64 = 1 << 63;

    /// Returns the id under which the wish with this number runs.
    const fn of_wish(number: u64) -> Self {
        Self(Self::WISH | number)
    }

    /// Returns the number of the wish that runs under this id; `None` when it is a command.
    const fn wish(self) -> Option<u64> {
        if self.0 & Self::WISH == 0 { None } else { Some(self.0 & !Self::WISH) }
    }
}

/// Something that happened. Every source of surprise enters here.
#[derive(Clone, Debug)]
pub enum Input {
    /// The socket that [`Output::Dial`] asked for is open.
    Connected(LinkId),
    /// A frame arrived.
    Frame(LinkId, ServerFrame),
    /// Something arrived that is no frame we understand; it proves only that the peer lives.
    Noise(LinkId),
    /// The socket is gone, or could not be opened.
    Disconnected(LinkId),
    /// The time that [`Core::deadline`] named has come.
    DeadlinePassed,
    /// The application wants something.
    Command(CommandId, Command),
    /// Another process that has the file open wants something; the number is that of its row. In rising order.
    Wish(u64, Wish),
    /// What [`Output::Load`] asked for, as the store has it; `None` when it is not held.
    Loaded(ClientToken, Option<Message>),
}

/// What an application may want. Each is answered exactly once.
#[derive(Clone, Debug)]
pub enum Command {
    /// Prove who the user is. Answered when the server has agreed or refused.
    LogIn {
        /// Who, and the proof.
        credentials: Credentials,
        /// Where; kept with the session.
        server: ServerAddress,
    },
    /// Begin a login whose proof somebody else makes: ask for a one-time key. It replaces a link that is up, and
    /// the login with the answer may come within five minutes.
    OneTimeKey {
        /// Who will log in.
        user: UserName,
        /// Where.
        server: ServerAddress,
    },
    /// End the session: tokens go, history and outbox stay.
    LogOut,
    /// Keep a push token and tell the server, now or after the next login, whether it is to be used.
    PushToken(PushToken),
    /// Tell the server of a push notification that arrived, now or after the next login.
    PushFeedback(RawJson),
    /// Queue a write. Answered as soon as it is durable.
    Submit {
        /// Random, made by the shell.
        token: ClientToken,
        /// What is wanted.
        intent: Intent,
        /// The clock of this machine.
        queued_at: Timestamp,
    },
    /// Take back what has not left yet.
    Cancel(ClientToken),
    /// Try again what was refused, now.
    Retry(ClientToken),
    /// Tell the others that the user is writing. Dropped without a word while there is no link.
    Typing(ConversationId),
    /// Tell followers whether the user is there. Dropped without a word while there is no link.
    SetStatus(bool),
    /// Ask the server something. Answered when it has answered, or after 20 s.
    Query(Query),
    /// These conversations are on screen: catch them up first. Replaces the earlier list.
    Focus(Vec<ConversationId>),
    /// Fetch what is missing of a range, whatever the history policy wants. Answered when nothing of it is missing
    /// any more, or with why it will not come now.
    Fetch {
        /// Where.
        conversation: ConversationId,
        /// Which positions; those above the head are left out.
        range: SequenceRange,
    },
    /// Give a conversation a history policy of its own, or with `None` that of [`Settings::history`].
    SetHistory(ConversationId, Option<HistoryPolicy>),
    /// The network may be back: try now.
    NetworkChanged,
}

/// A question that only the server can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// At most 30.
    Conversations(Vec<ConversationId>),
    /// At most 50, all by name or all by number.
    Users(Vec<UserKey>),
    /// History, at most 100 events; two of the three numbers.
    Retransmit {
        /// Where.
        conversation: ConversationId,
        /// The lowest position.
        from: Option<Sequence>,
        /// The highest position, inclusive.
        to: Option<Sequence>,
        /// How many.
        count: Option<u32>,
    },
    /// As [`Query::Conversations`], to be compared with what is held: nothing of the answer is stored.
    Descriptions {
        /// Which, at most 30.
        conversations: Vec<ConversationId>,
        /// How often the usual time for an answer is waited for one.
        patience: u32,
    },
    /// The history that the server shows in a range, to be compared with what is held: nothing of the answer is stored,
    /// and one that stays incomplete counts. Answered with a time-out when nothing at all came.
    Shown {
        /// Where.
        conversation: ConversationId,
        /// At most 100 positions.
        range: SequenceRange,
        /// What of the range is held. Once all of it has come the answer ends with a short silence, until then only with
        /// a long one.
        held: Ranges,
        /// How often the usual time for an answer is waited, from the question and from each frame of the answer on.
        patience: u32,
    },
    /// The conversations that anybody may join.
    PublicConversations,
    /// Whom the user follows.
    Subscriptions,
}

/// Something to do. The caller performs outputs in order, each before the next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Store these, all or none.
    Write(Vec<Write>),
    /// Open a connection and report [`Input::Connected`] or [`Input::Disconnected`].
    Dial(LinkId, ServerAddress),
    /// Give a connection up so that nothing of it can still arrive at the server (linger zero).
    /// No report is expected.
    HangUp(LinkId),
    /// Send a frame; on a link that is gone it is dropped without a word.
    Send(LinkId, ClientFrame),
    /// Read a message from the store and report [`Input::Loaded`].
    Load(Load),
    /// Answer a command.
    Answer(CommandId, Result<Reply, Refusal>),
    /// Tell whoever listens.
    Signal(Signal),
}

/// A message whose content an entry of the outbox has to know before it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The entry.
    pub token: ClientToken,
    /// Where.
    pub conversation: ConversationId,
    /// Which.
    pub message: MessageId,
}

/// How a command went.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Done, with nothing to tell.
    Done,
    /// Logged in as this user.
    LoggedIn(UserId, UserName),
    /// The one-time key that was asked for.
    OneTimeKey(Secret),
    /// The entry as accepted.
    Accepted(OutboxEntry),
    /// The conversations the server knows of those asked for.
    Conversations(Vec<Conversation>),
    /// The users the server knows of those asked for.
    Users(Vec<User>),
    /// History, in rising order.
    Events(Vec<Event>),
    /// The conversations that anybody may join, in the server's order.
    PublicConversations(Vec<ConversationId>),
    /// Whom the user follows, in the server's order.
    Subscriptions(Vec<UserId>),
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A limit or a rule of messaging, by the server or checked before anything left.
    #[error(transparent)]
    Messaging(#[from] MessagingError),
    /// The login was refused.
    #[error("the server refused the login (code {code})")]
    Login {
        /// Source: protocol notes, section 3 (401 wrong password or token, 404 no such user, …).
        code: i64,
    },
    /// The password is right, and the account wants a code besides, which this engine cannot give.
    #[error("the account wants a second-stage code")]
    SecondStage,
    /// Nobody is logged in and nothing is stored to log in with.
    #[error("nobody is logged in")]
    NoSession,
    /// The store holds another user's data.
    #[error("this store belongs to {owner}")]
    OtherUser {
        /// Whose it is.
        owner: UserName,
    },
    /// There is no link to the server, and the answer is needed now.
    #[error("there is no connection to the server")]
    Offline,
    /// The entry has left already, or is unknown.
    #[error("it has left already, or has ended")]
    TooLate,
}

/// What whoever listens is told, after everything it says is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A numbered event that was not held before.
    Event {
        /// The event.
        event: Event,
        /// `true` when it was pushed as it happened, `false` when it came from history.
        live: bool,
    },
    /// Pushed, never numbered.
    Notice(Notice),
    /// A user's data changed.
    User(User),
    /// An outbox entry moved on; with the event that settled it, if there is one.
    Outbox {
        /// As it is now.
        entry: OutboxEntry,
        /// The event that settled it.
        event: Option<Event>,
        /// Whether it was taken back, or is part of another: there is no such entry any more.
        cancelled: bool,
    },
    /// An entry became part of another, and is forgotten next: whoever waits for it waits for that one from now on.
    Carried {
        /// The entry.
        token: ClientToken,
        /// The one that carries it, as it is now.
        by: OutboxEntry,
    },
    /// The state of the link changed.
    Link(LinkState),
}

/// How the engine stands to its server.
///
/// ```text
///              session known                 socket open        greeted, logged in
///   SignedOut ───────────────▶ Connecting ───────────────▶ … ────────────────────▶ CatchingUp ──▶ Live
///       ▲                       ▲      │ failed                                     │   ▲           │
///       │ refused for good      │      ▼                                            │   └── gap ────┤
///       └───────────────────────┴── Offline ◀───────── link lost ───────────────────┴───────────────┘
///
///   any ── pause ──▶ Paused ── resume ──▶ SignedOut, or Offline with an attempt due
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// A login is needed. Local data stays readable, and what is unsent is kept for the same user.
    SignedOut(SignedOut),
    /// Waiting before the next attempt.
    Offline {
        /// How long, from the moment this was told. Word of a network cuts it short.
        retry_in: Duration,
        /// The code with which the server refused the login for now, if that is why. Source: protocol notes,
        /// section 3 (403 account frozen, 500 internal error, …).
        refused: Option<i64>,
    },
    /// Opening a connection, up to and including the login.
    Connecting,
    /// Logged in, and not everything that the history policies want is held.
    CatchingUp {
        /// Conversations whose newest sequence is still to be compared with the server's.
        unchecked: u64,
        /// Positions of history still to be fetched, as far as known.
        missing: u64,
    },
    /// Everything the server has told of, and that the history policies want, is held.
    Live,
    /// The engine was paused and holds neither link nor file. The core is gone then and never says this.
    Paused,
}

/// Why a login is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedOut {
    /// Nobody ever logged in.
    NeverLoggedIn,
    /// The user logged out, or the last login gave no tokens to resume with.
    LoggedOut,
    /// The server ended the session: neither token works any more.
    Refused {
        /// Source: protocol notes, section 3 (401 not valid, 404 no such user, 701 expired).
        code: i64,
    },
}

impl Default for LinkState {
    fn default() -> Self {
        Self::SignedOut(SignedOut::NeverLoggedIn)
    }
}

impl LinkState {
    /// Returns how things stand before a core that knows this session has dialled.
    pub fn before_dialling(session: Option<&Session>) -> Self {
        match session {
            Some(Session { tokens: Some(_), .. }) => Self::Offline { retry_in: Duration::ZERO, refused: None },
            Some(Session { refused: Some(code), .. }) => Self::SignedOut(SignedOut::Refused { code: *code }),
            Some(_) => Self::SignedOut(SignedOut::LoggedOut),
            None => Self::SignedOut(SignedOut::NeverLoggedIn),
        }
    }

    /// Returns whether only a login helps.
    pub const fn is_signed_out(&self) -> bool {
        match self {
            Self::SignedOut(_) => true,
            Self::Offline { .. } | Self::Connecting | Self::CatchingUp { .. } | Self::Live | Self::Paused => false,
        }
    }
}

/// Why a position inside coverage holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoleReason {
    /// A complete answer of the server did not contain it.
    NotInHistory,
    /// It belongs to a time in which the user was not in an uber conversation.
    NotAMember,
}

/// One thing the core wants stored. Values of one [`Output::Write`] become one transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Replaces the session; there is at most one.
    Session(Session),
    /// Keeps a push token, or replaces what is wished of it.
    PushToken(PushToken),
    /// Forgets a push token.
    PushTokenForget(Secret),
    /// Replaces what is known of a user; a known private part survives a description without one.
    User(User),
    /// The newest description of a conversation: replaces title, data, participants and read marks.
    /// Also raises its head to `last_sequence`.
    Conversation(Conversation),
    /// Where the user stands to a conversation.
    Membership(ConversationId, Membership),
    /// Events of one conversation, rising, none of them held before. The store folds them into
    /// messages, unread counts and last activity. Coverage is told apart.
    Events(ConversationId, Vec<Event>),
    /// Events of one conversation told again, rising: at each position an event is held, which stays. One that
    /// contradicts it is noted and told.
    Repeated(ConversationId, Vec<Event>),
    /// These positions were asked for and completely answered, or pushed one by one.
    Cover(ConversationId, SequenceRange),
    /// Positions inside coverage that hold nothing.
    Hole(ConversationId, SequenceRange, HoleReason),
    /// Somebody's read mark. Of one's own user, also the unread count.
    ReadMark {
        /// Where.
        conversation: ConversationId,
        /// Whose.
        user: UserId,
        /// Up to and including this event.
        sequence: Sequence,
    },
    /// Makes everything of a conversation anew from its log, with these events, rising, in place of what is held at
    /// their positions; what else is damaged of it is missing from then on. Wanted by a repair and never by a core, which
    /// is to be restored behind it.
    Rebuild(ConversationId, Vec<Event>),
    /// Replaces the cursor up to which heads were compared.
    HeadsCursor(HeadsCursor),
    /// A conversation's own history policy, or none any more.
    History(ConversationId, Option<HistoryPolicy>),
    /// Everything the server had told of was held at this time, by the clock of this machine.
    WholeAt(Timestamp),
    /// Replaces the list of those the user follows.
    Subscriptions(Vec<UserId>),
    /// Adds to the list of those the user follows.
    Subscribed(Vec<UserId>),
    /// Takes from the list of those the user follows.
    Unsubscribed(Vec<UserId>),
    /// Replaces the list of conversations that anybody may join.
    PublicConversations(Vec<ConversationId>),
    /// Inserts an entry, or replaces the one with the same token.
    Outbox(OutboxEntry),
    /// Forgets an entry.
    OutboxForget(ClientToken),
    /// Makes anew by which conversation each entry of the outbox is found, and forgets users that cannot be read: the
    /// server tells of them again. Wanted by a repair and never by a core, which is to be restored behind it.
    Mend,
    /// The wish of another process with this number was taken over; the core is not told of it again.
    WishAnswered(u64, WishAnswer),
}

impl Write {
    /// Returns whether it must survive a power cut, because nobody can tell it to us again.
    pub const fn is_promise(&self) -> bool {
        match self {
            Self::Session(_)
            | Self::History(..)
            | Self::PushToken(_)
            | Self::PushTokenForget(_)
            | Self::Outbox(_)
            | Self::OutboxForget(_)
            | Self::WishAnswered(..) => true,
            Self::User(_)
            | Self::Conversation(_)
            | Self::Membership(..)
            | Self::Events(..)
            | Self::Repeated(..)
            | Self::Cover(..)
            | Self::Hole(..)
            | Self::Rebuild(..)
            | Self::Mend
            | Self::HeadsCursor(_)
            | Self::WholeAt(_)
            | Self::ReadMark { .. }
            | Self::Subscriptions(_)
            | Self::Subscribed(_)
            | Self::Unsubscribed(_)
            | Self::PublicConversations(_) => false,
        }
    }
}

/// Everything the core needs to know of what the store holds.
#[derive(Clone, Debug, Default)]
pub struct SavedState {
    /// The session, if anyone ever logged in.
    pub session: Option<Session>,
    /// The push tokens that the server is to use, or is to be told not to.
    pub push_tokens: Vec<PushToken>,
    /// Every conversation known, in no stated order.
    pub conversations: Vec<SavedConversation>,
    /// Conversations that are not among them, as something of them is damaged: [`Write::Rebuild`] makes them readable.
    pub unreadable: Vec<ConversationId>,
    /// Every entry that can be read, settled ones included, by rising position.
    pub outbox: Vec<OutboxEntry>,
    /// The highest position an entry has, also one that cannot be read; zero for none.
    pub last_position: u64,
    /// Whose names are held.
    pub users: BTreeSet<UserId>,
    /// Up to where heads were compared, if a server ever told.
    pub heads_cursor: Option<HeadsCursor>,
}

/// Up to where heads were compared, in the words of the server that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsCursor {
    /// No other server is asked with it.
    pub server_url: String,
    /// Opaque.
    pub cursor: String,
}

/// What the core needs to know of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedConversation {
    /// Which.
    pub id: ConversationId,
    /// The newest sequence the server told of; zero when it never did.
    pub head: Sequence,
    /// The sequence of the newest description held; zero for none.
    pub described_at: Sequence,
    /// Where the user stands.
    pub membership: Membership,
    /// Whether it is an uber conversation.
    pub uber: bool,
    /// Positions asked for and completely answered.
    pub coverage: Ranges,
    /// Positions among them that hold nothing.
    pub holes: Ranges,
    /// When something last happened.
    pub last_activity: Timestamp,
    /// The own read mark.
    pub own_read: Sequence,
    /// Its own history policy, if it has one.
    pub history: Option<HistoryPolicy>,
}

impl SavedConversation {
    /// Returns the positions at which an event is held.
    pub fn held(&self) -> Ranges {
        self.coverage.without(&self.holes)
    }
}

/// How long after the transaction behind which it comes a frame may still be handed to a socket; later the link is given
/// up instead. A process that was stopped in between would otherwise send what another one has taken over meanwhile:
/// with what the system holds unacknowledged it stays well below [`Settings::quarantine`].
pub const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// What the shell lets the user choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How fast requests may go out to a server that does not say so itself.
    pub rate: RateLimit,
    /// How long a request may wait for its answer.
    pub request_timeout: Duration,
    /// How long a foreign server may still process frames of a link we gave up.
    pub quarantine: Duration,
    /// Least and greatest delay before dialling again.
    pub backoff: (Duration, Duration),
    /// How often the peer is asked for a sign of life.
    pub ping_interval: Duration,
    /// After how long without one it is taken for dead.
    pub silence_limit: Duration,
    /// How often heads are asked for again on a quiet live link: a lost tail leaves no gap to see.
    pub tail_check_interval: Duration,
    /// Whether a message that was refused for now lets those written after it pass. Otherwise they wait, and order
    /// is kept.
    pub new_ones_pass: bool,
    /// How much history of a conversation without a policy of its own is fetched without anybody asking.
    pub history: HistoryPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // The pace of the vendor's own client, with room for the first screen at once.
            rate: RateLimit { burst: 8, interval: crate::protocol::REQUEST_INTERVAL },
            request_timeout: crate::protocol::REQUEST_TIMEOUT,
            // The service's idle time-out is unknown; notes, section 2.1, take 30 to 60 s for likely.
            quarantine: Duration::from_secs(60),
            backoff: (Duration::from_millis(250), Duration::from_secs(60)),
            // Together they find a dead peer within 20 s.
            ping_interval: Duration::from_secs(5),
            silence_limit: Duration::from_secs(15),
            tail_check_interval: Duration::from_secs(120),
            new_ones_pass: false,
            history: HistoryPolicy::Everything,
        }
    }
}
