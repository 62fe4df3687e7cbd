//! The handle that applications hold.

use super::clock::{self, Clock};
use super::events::{
    self, Callbacks, ConversationEvent, ConversationServiceEvent, MessageEvent, MessengerEvent, MessengerEventType,
    StatusEvent, Subscription, SubscriptionEvent, UserEvent,
};
use super::listeners::{Listeners, Told};
use super::open_store::{self, OpenStore};
use super::registry;
use super::sending::{Ending, Outcome};
use super::shift::{Call, Engine};
use super::transport::Dialer;
use super::{Config, Sending};
use crate::error::Error;
use crate::model::{
    ClientToken, ConversationId, Credentials, HistoryPolicy, Intent, OutboxEntry, PushToken, RawJson, Secret,
    ServerAddress, Session, UserId, UserName,
};
use crate::store::{Holder, Role, unless_damaged};
use crate::sync::{Command, LinkState, Reply};
use futures_util::Stream;
use std::path::PathBuf;
use std::sync::{Arc, Once, Weak};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Commands waiting for the driver; a caller beyond that waits its turn.
const CALLS_WAITING_MAX: usize = 256;

/// The engine: one user, one file, at most one connection.
///
/// A handle, cheap to clone. The engine ends when it is [closed](Self::close) or its last handle is
/// dropped; objects and events it gave are handles, too.
#[derive(Clone, Debug)]
pub struct Messenger {
    pub(super) shared: Arc<Shared>,
}

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) store: OpenStore,
    /// The server of the next login, if the configuration names one.
    server: Option<ServerAddress>,
    allow_plain: bool,
    /// The history policy of conversations that have none of their own.
    pub(super) history: HistoryPolicy,
    pub(super) link: watch::Receiver<LinkState>,
    session: watch::Receiver<Option<Session>>,
    role: watch::Receiver<Role>,
    /// Weak, so that streams end when the engine does.
    told: broadcast::WeakSender<Arc<Told>>,
    callbacks: Callbacks,
    callbacks_started: Once,
    runtime: Handle,
}

/// An intent that is durable, and where its end will be told.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) entry: OutboxEntry,
    pub(crate) ending: oneshot::Receiver<Ending>,
}

impl Messenger {
    /// Opens the file, makes it when there is none, and resumes the stored session in the background.
    ///
    /// Needs no network. Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the file cannot be used, [`Error::Address`] when the configured server cannot.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let server = config.server_address();
        if let Some(server) = &server {
            Dialer::new(server, config.allow_plain_loopback).map_err(Error::Address)?;
        }
        let path = config.store.clone();
        let slot = open_store::blocking(move || registry::slot(&path)).await?;
        // Two who open the same file at once get the same engine.
        let mut open = slot.lock().await;
        if let Some(shared) = open.upgrade().filter(|shared| !shared.calls.is_closed()) {
            return Ok(Self { shared });
        }
        let store = OpenStore::open(config.store, config.token_keeper).await?;
        if config.take_over {
            store.take_over().await?;
        }
        // Before all else is read: what is committed meanwhile is told twice rather than not at all.
        let told_up_to = store.read(|reader| reader.last_change()).await?;
        let saved = store.saved_state().await?;
        let (calls, waiting_calls) = mpsc::channel(CALLS_WAITING_MAX);
        let (told, _) = broadcast::channel(events::EVENTS_WAITING_MAX);
        let (link_sender, link) = watch::channel(LinkState::before_dialling(saved.session.as_ref()));
        let (session_sender, session) = watch::channel(saved.session.clone());
        let (role_sender, role) = watch::channel(store.standing().await?.role());
        let shared = Arc::new(Shared {
            calls,
            store: store.clone(),
            server,
            allow_plain: config.allow_plain_loopback,
            history: config.settings.history,
            link,
            session,
            role,
            told: told.downgrade(),
            callbacks: Callbacks::default(),
            callbacks_started: Once::new(),
            runtime: Handle::current(),
        });
        let listeners = Listeners::new(link_sender, session_sender, role_sender, told, told_up_to);
        let engine = Engine::new(Clock::start(), store, saved, config.settings, listeners);
        tokio::spawn(engine.run(waiting_calls));
        *open = Arc::downgrade(&shared);
        Ok(Self { shared })
    }

    /// Opens a file strictly for reading, be it in use elsewhere or not. Nothing of it is changed.
    ///
    /// The handle serves local reads; all else ends with [`Error::Closed`], and there are no events.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when there is no such file or it cannot be read.
    pub async fn inspect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = OpenStore::inspect(path.into()).await?;
        // Looked into is also what is damaged: whose file it is may be all that cannot be read.
        let session = unless_damaged(store.read(|reader| reader.session()).await)?.flatten();
        let shared = Shared {
            calls: mpsc::channel(1).0,
            server: None,
            allow_plain: false,
            history: HistoryPolicy::default(),
            link: watch::channel(LinkState::before_dialling(session.as_ref())).1,
            session: watch::channel(session).1,
            role: watch::channel(Role::Following { holder: store.holder().await? }).1,
            store,
            told: broadcast::channel(1).0.downgrade(),
            callbacks: Callbacks::default(),
            callbacks_started: Once::new(),
            runtime: Handle::current(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Ends the engine: nothing more is accepted, the connection is given up, the file is closed.
    ///
    /// What was accepted is kept, and goes on when the file is opened again. Calling it twice does no harm.
    /// Takes two seconds at most; whatever a slow disk has not finished by then goes on in the background.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.shared.calls.send(Call::Close(answer)).await.is_ok() {
            // Ends without an answer when another handle closed first.
            closed.await.ok();
        }
        // For a file that is only inspected; else it is closed by now.
        self.shared.store.close().await;
    }

    /// Gives up the connection and the file until [`resume`](Self::resume): when this returns, nothing of the file is
    /// open. For a system that suspends the process, or kills one that sleeps with a lock held.
    ///
    /// What was accepted is stored and goes on afterwards, and handles of it wait on. Meanwhile everything else,
    /// local reads included, ends with [`Error::Paused`] at once: a call that waited for an application to wake up
    /// could wait for ever. Pausing what is paused does no harm.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn pause(&self) -> Result<(), Error> {
        let (answer, paused) = oneshot::channel();
        self.shared.calls.send(Call::Pause(answer)).await.map_err(|_| Error::Closed)?;
        paused.await.map_err(|_| Error::Closed)?
    }

    /// Goes on after a [`pause`](Self::pause) as after opening: from what the file holds, with a new connection.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the file cannot be used: the engine stays paused. [`Error::Closed`].
    pub async fn resume(&self) -> Result<(), Error> {
        let (answer, resumed) = oneshot::channel();
        self.shared.calls.send(Call::Resume(answer)).await.map_err(|_| Error::Closed)?;
        resumed.await.map_err(|_| Error::Closed)?
    }

    /// Proves to the configured server who the user is; returns the number that messaging gave the user.
    ///
    /// The server is the one of [`Config::server`], else that of the last login. What is shown is not kept; the
    /// tokens that the server gives are, so that later the session resumes by itself. A session that the server
    /// ended goes on with all that is unsent.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with [`Login`](crate::sync::Refusal::Login),
    /// [`SecondStage`](crate::sync::Refusal::SecondStage) or [`OtherUser`](crate::sync::Refusal::OtherUser),
    /// [`Error::Offline`], [`Error::NoServer`], [`Error::Address`], [`Error::Store`], [`Error::Closed`].
    pub async fn log_in(&self, credentials: Credentials) -> Result<UserId, Error> {
        let server = self.server_of_a_login()?;
        let Reply::LoggedIn(id, _name) = self.call(Command::LogIn { credentials, server }).await? else {
            unreachable!("a login is answered with the user");
        };
        Ok(id)
    }

    /// Asks for a one-time key, to be answered by whoever knows the password, or its hash, within five minutes.
    ///
    /// It begins a login: a connection that is up is given up, and comes back when no login follows. What answers
    /// the key is made by [`one_time_key_answer`](crate::protocol::one_time_key_answer), here or on a back end,
    /// and shown as [`Credentials::OneTimeKeyHash`]. A newer key ends the older one.
    ///
    /// # Errors
    ///
    /// As [`log_in`](Self::log_in).
    pub async fn request_one_time_key(&self, user: UserName) -> Result<Secret, Error> {
        let server = self.server_of_a_login()?;
        let Reply::OneTimeKey(key) = self.call(Command::OneTimeKey { user, server }).await? else {
            unreachable!("a wish for a key is answered with one");
        };
        Ok(key)
    }

    fn server_of_a_login(&self) -> Result<ServerAddress, Error> {
        let server = self.server().ok_or(Error::NoServer)?;
        let asked_before = self.shared.server.is_none();
        Dialer::new(&server, self.shared.allow_plain || asked_before).map_err(Error::Address)?;
        Ok(server)
    }

    /// Has the server reach this device by push notifications under `token`.
    ///
    /// The protocol answers nothing, so the token is kept and told to the server after each login, until it is
    /// [unregistered](Self::unregister_push_token). Works offline. The newest sixteen are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn register_push_token(&self, token: Secret) -> Result<(), Error> {
        self.call(Command::PushToken(PushToken { token, wanted: true })).await.map(drop)
    }

    /// Has the server not use a push token any more; works offline, and is told until the server has heard it.
    ///
    /// A session that is about to be logged out should do this first: afterwards nothing can be told.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn unregister_push_token(&self, token: Secret) -> Result<(), Error> {
        self.call(Command::PushToken(PushToken { token, wanted: false })).await.map(drop)
    }

    /// Tells the server of a push notification that arrived, as the push service delivered it.
    ///
    /// It goes out now, or behind the next login if that comes before the engine ends. What the notification is
    /// about comes as everything does: by catching up, once.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn push_feedback(&self, notification: RawJson) -> Result<(), Error> {
        self.call(Command::PushFeedback(notification)).await.map(drop)
    }

    /// Ends the session: the tokens are forgotten, history and outbox stay.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn log_out(&self) -> Result<(), Error> {
        self.call(Command::LogOut).await.map(drop)
    }

    /// Returns the session, from disk: whose it is, and the tokens or why there are none; `None` before the first
    /// login.
    pub fn session(&self) -> Option<Session> {
        self.shared.session.borrow().clone()
    }

    /// Returns whose data the file holds, from disk; `None` before the first login.
    pub fn me(&self) -> Option<UserName> {
        self.shared.session.borrow().as_ref().map(|session| session.user.clone())
    }

    /// Returns the user's number inside messaging, from disk; `None` before the first login.
    pub fn my_id(&self) -> Option<UserId> {
        self.shared.session.borrow().as_ref().and_then(|session| session.user_id)
    }

    /// Returns where the next login goes: the configured server, else that of the last login.
    pub fn server(&self) -> Option<ServerAddress> {
        let stored = || self.shared.session.borrow().as_ref().map(|session| session.server.clone());
        self.shared.server.clone().or_else(stored)
    }

    /// Returns a watch of how the engine stands to its server.
    pub fn connection(&self) -> watch::Receiver<LinkState> {
        self.shared.link.clone()
    }

    /// Returns a watch of what this process is to the file: the one that talks to the server, or one that follows it.
    ///
    /// A process that follows reads everything and writes everything that waits in the outbox; the other one sends it.
    /// It tells events within an instant of their commit, from the file; not told are notices (typing, presence, read
    /// marks as they come) and the state of the link. When the other process ends, it takes its place by itself.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.shared.role.clone()
    }

    /// Returns which process syncs the file right now, this one included; `None` when none does, or none has said
    /// so yet.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn holder(&self) -> Result<Option<Holder>, Error> {
        Ok(self.shared.store.holder().await?)
    }

    /// Becomes the process that talks to the server, whichever it was: that one follows from now on.
    ///
    /// Nothing is lost and nothing is done twice by it. What the other one has under way is looked for before it is
    /// sent again, as after a lost link.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Paused`], [`Error::Closed`].
    pub async fn take_over(&self) -> Result<(), Error> {
        let (answer, taken) = oneshot::channel();
        self.shared.calls.send(Call::TakeOver(answer)).await.map_err(|_| Error::Closed)?;
        taken.await.map_err(|_| Error::Closed)?
    }

    /// Says that the network may be back: the next attempt is made now.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn network_changed(&self) -> Result<(), Error> {
        self.call(Command::NetworkChanged).await.map(drop)
    }

    /// Says which conversations are on screen: they are caught up first. Replaces the earlier list.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn focus(&self, conversations: Vec<ConversationId>) -> Result<(), Error> {
        self.call(Command::Focus(conversations)).await.map(drop)
    }

    /// Returns what happens from now on, as typed events, each told after it is on disk.
    ///
    /// A consumer that falls more than 4,096 events behind is told so by [`MessengerEvent::Lagged`].
    /// The stream ends when the engine does.
    pub fn events(&self) -> impl Stream<Item = MessengerEvent> + Send + Unpin + 'static {
        let told = self.shared.told.upgrade().map(|sender| sender.subscribe());
        events::stream(Arc::downgrade(&self.shared), told)
    }

    /// Has every event told to `callback`, [`MessengerEvent::Lagged`] included, until the subscription is dropped.
    ///
    /// Callbacks are called one after the other in the order of the events, from a task of the engine,
    /// with nothing locked. One that takes long holds up the others, never the engine. A callback that owns
    /// a [`Messenger`] keeps the engine from ending by itself.
    pub fn on_event(&self, callback: impl Fn(&MessengerEvent) + Send + Sync + 'static) -> Subscription {
        let subscription = self.shared.callbacks.add(callback);
        self.shared.callbacks_started.call_once(|| {
            self.shared.runtime.spawn(call_back(self.shared.callbacks.clone(), self.events()));
        });
        subscription
    }

    /// Tries again what the server refused, by the token under which the outbox lists it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with [`Refusal::TooLate`](crate::sync::Refusal::TooLate) when it was not refused,
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn retry(&self, token: ClientToken) -> Result<Sending<OutboxEntry>, Error> {
        self.begin(Command::Retry(token)).await
    }

    /// Takes back what has not left, or was refused, by the token under which the outbox lists it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with [`Refusal::TooLate`](crate::sync::Refusal::TooLate) when it may have arrived,
    /// [`Error::Store`], [`Error::Closed`].
    pub async fn cancel(&self, token: ClientToken) -> Result<(), Error> {
        self.call(Command::Cancel(token)).await.map(drop)
    }

    /// Runs a command of the core.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, Error> {
        let (answer, reply) = oneshot::channel();
        let call = Call::Command { command, answer, ending: None };
        self.shared.calls.send(call).await.map_err(|_| Error::Closed)?;
        reply.await.map_err(|_| Error::Closed)?
    }

    /// Gives the core something to do that nobody waits for, unless it has enough to do already.
    pub(super) fn suggest(&self, command: Command) {
        let call = Call::Command { command, answer: oneshot::channel().0, ending: None };
        // Whoever wanted it will ask again.
        self.shared.calls.try_send(call).ok();
    }

    /// Makes an intent durable.
    pub(crate) async fn submit<T: Outcome>(&self, intent: Intent) -> Result<Sending<T>, Error> {
        self.begin(Command::Submit { token: clock::token(), intent, queued_at: clock::time_of_day() }).await
    }

    /// Runs a command that sets an entry of the outbox on its way.
    async fn begin<T: Outcome>(&self, command: Command) -> Result<Sending<T>, Error> {
        let ((answer, reply), (end, ending)) = (oneshot::channel(), oneshot::channel());
        let call = Call::Command { command, answer, ending: Some(end) };
        self.shared.calls.send(call).await.map_err(|_| Error::Closed)?;
        let Reply::Accepted(entry) = reply.await.map_err(|_| Error::Closed)?? else {
            unreachable!("an accepted intent is answered with its entry");
        };
        Ok(Sending::new(self, Accepted { entry, ending }))
    }

    /// Returns the handle, unless the last one is gone.
    pub(crate) fn upgrade(shared: &Weak<Shared>) -> Option<Self> {
        shared.upgrade().map(|shared| Self { shared })
    }
}

macro_rules! callbacks {
    ($($(#[$doc:meta])* $name:ident: $variant:ident($event:ident) of $kind:ident;)*) => {
        /// The callbacks of the published interface; [`Messenger::on_event`] says how they are called.
        impl Messenger {
            $(
                $(#[$doc])*
                pub fn $name(&self, callback: impl Fn(&$event) + Send + Sync + 'static) -> Subscription {
                    self.on_event(move |event| {
                        let kind = event.kind();
                        if let (Some(MessengerEventType::$kind), MessengerEvent::$variant(event)) = (kind, event) {
                            callback(event);
                        }
                    })
                }
            )*
        }
    };
}

callbacks! {
    /// Tells of new conversations with the user in them.
    on_create_conversation: Conversation(ConversationEvent) of CreateConversation;
    /// Tells of changed titles, data, participants and rights.
    on_edit_conversation: Conversation(ConversationEvent) of EditConversation;
    /// Tells of removed conversations.
    on_remove_conversation: Conversation(ConversationEvent) of RemoveConversation;
    /// Tells of new messages, the user's own included.
    on_send_message: Message(MessageEvent) of SendMessage;
    /// Tells of changed messages.
    on_edit_message: Message(MessageEvent) of EditMessage;
    /// Tells of removed messages.
    on_remove_message: Message(MessageEvent) of RemoveMessage;
    /// Tells who is writing.
    on_typing: ConversationService(ConversationServiceEvent) of Typing;
    /// Tells who has read what.
    on_read: ConversationService(ConversationServiceEvent) of Read;
    /// Tells of users who changed their data.
    on_edit_user: User(UserEvent) of EditUser;
    /// Tells who came or went.
    on_set_status: Status(StatusEvent) of SetStatus;
    /// Tells whom the user follows from now on, by whatever device.
    on_subscribe: Subscription(SubscriptionEvent) of Subscribe;
    /// Tells whom the user follows no longer, by whatever device.
    on_unsubscribe: Subscription(SubscriptionEvent) of Unsubscribe;
}

async fn call_back(callbacks: Callbacks, mut events: impl Stream<Item = MessengerEvent> + Unpin) {
    use futures_util::StreamExt;
    while let Some(event) = events.next().await {
        if let MessengerEvent::Lagged { missed } = event {
            tracing::warn!(missed, "callbacks were too slow and missed events");
        }
        callbacks.call(&event);
    }
    callbacks.clear();
}
