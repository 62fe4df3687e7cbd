//! A server with real TLS, and the people on it: some in a browser, some with our engine.

use crate::browser::Page;
use backscroll::model::{ConversationConfig, Credentials, Participant, Secret, UserId, UserName};
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Conversation, Error, Messenger, MessengerEvent, Sending};
use backscroll_server::{Accounts, Faults, LoginRules, Server, serve};
use futures_util::StreamExt;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// How long a state may take before the test counts as failed. Never waited for on the way to success. The SDK
/// gives its own requests 20 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that can be stopped and started, on one address and one folder.
pub(crate) struct World {
    folder: TempDir,
    address: SocketAddr,
    server: Option<Server>,
    rules: LoginRules,
}

impl World {
    /// Starts a server with the users that are named; they are numbered from 101 on.
    pub(crate) async fn with_users(names: &[&str]) -> Self {
        Self::with_rules(names, LoginRules::for_tests()).await
    }

    /// As [`with_users`](Self::with_users), with rules of one's own for logging in.
    pub(crate) async fn with_rules(names: &[&str], rules: LoginRules) -> Self {
        let folder = TempDir::new().unwrap();
        let mut world = Self { folder, address: (Ipv4Addr::LOCALHOST, 0).into(), server: None, rules };
        let accounts = Accounts::open_with(&world.data(), world.rules.clone()).unwrap();
        for name in names {
            accounts.add(&user_name(name), name, &password(name)).unwrap();
        }
        world.start_server().await;
        world
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// Starts the server where it was.
    pub(crate) async fn start_server(&mut self) {
        let mut config = backscroll_server::Config::new(self.address, self.data());
        config.logins = self.rules.clone();
        let server = serve(config).await.unwrap();
        self.address = server.address();
        self.server = Some(server);
    }

    /// Lets the server vanish as if it were killed.
    pub(crate) fn crash_server(&mut self) {
        drop(self.server.take().expect("a server runs"));
    }

    /// Returns who may log in.
    pub(crate) fn accounts(&self) -> &Accounts {
        self.server.as_ref().expect("a server runs").accounts()
    }

    /// Returns the handle of the faults of the running server.
    pub(crate) fn faults(&self) -> &Faults {
        self.server.as_ref().expect("a server runs").faults()
    }

    /// Opens a page that can connect to the server.
    pub(crate) async fn page(&self) -> Page {
        Page::open(&self.address.to_string()).await
    }

    /// Opens a page, connects and logs in.
    pub(crate) async fn in_browser(&self, user: &str) -> Page {
        let page = self.page().await;
        page.client("connect", json!([false])).await.unwrap();
        page.client("login", json!([long_name(user), secret(user)])).await.unwrap();
        page
    }

    /// Opens a device of our engine.
    pub(crate) async fn device(&self, name: &str) -> Device {
        let root = self.data().join("certificate.pem").to_str().unwrap().to_owned();
        let settings =
            Settings { backoff: (Duration::from_millis(10), Duration::from_millis(200)), ..Settings::default() };
        let config = Config::new(self.folder.path().join(format!("{name}.db")))
            .server(format!("wss://{}/platform", self.address))
            .extra_root(root)
            .settings(settings);
        Device::open(config).await
    }

    /// Returns the right credentials of a user.
    pub(crate) fn credentials(&self, user: &str) -> Credentials {
        Credentials::Password { user: user_name(user), password: password(user) }
    }

    /// Opens a device of our engine and logs in.
    pub(crate) async fn with_engine(&self, user: &str) -> Device {
        let device = self.device(user).await;
        device.log_in(self.credentials(user)).await.unwrap();
        device.until_live().await;
        device
    }
}

/// Our engine, and everything it told of so far.
pub(crate) struct Device {
    messenger: Messenger,
    events: watch::Receiver<Vec<MessengerEvent>>,
}

impl Deref for Device {
    type Target = Messenger;

    fn deref(&self) -> &Messenger {
        &self.messenger
    }
}

impl Device {
    async fn open(config: Config) -> Self {
        let messenger = Messenger::open(config).await.unwrap();
        let (sender, events) = watch::channel(Vec::new());
        let mut told = messenger.events();
        tokio::spawn(async move {
            while let Some(event) = told.next().await {
                sender.send_modify(|events| events.push(event));
            }
        });
        Self { messenger, events }
    }

    /// Makes a conversation with somebody, as the engine's `create_conversation` does for an application.
    pub(crate) async fn makes(&self, wish: ConversationConfig) -> Conversation {
        settled(self.create_conversation(wish).await).await.conversation
    }

    /// Returns what was told so far.
    pub(crate) fn told(&self) -> Vec<MessengerEvent> {
        self.events.borrow().clone()
    }

    /// Waits until what was told is as `reached` wants it.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&[MessengerEvent]) -> bool) {
        let mut events = self.events.clone();
        within_patience(what, events.wait_for(|events| reached(events))).await.expect("the engine is open");
    }

    /// Waits until the event at a position of a conversation was told.
    pub(crate) async fn until_sequence(&self, conversation: &str, sequence: u32) {
        let at = |event: &MessengerEvent| match event {
            MessengerEvent::Conversation(event) => Some((event.conversation.id, event.sequence.get())),
            MessengerEvent::Message(event) => Some((event.message.conversation, event.sequence.get())),
            _ => None,
        };
        let place = (conversation.parse().unwrap(), sequence);
        self.until(&format!("event {sequence}"), |events| events.iter().filter_map(at).any(|at| at == place)).await;
    }

    /// Waits until everything the server has told of is held.
    pub(crate) async fn until_live(&self) {
        self.until_link(&LinkState::Live).await;
    }

    /// Waits until the link stands as named.
    pub(crate) async fn until_link(&self, state: &LinkState) {
        let mut link = self.connection();
        within_patience(&format!("{state:?}"), link.wait_for(|now| now == state)).await.unwrap();
    }
}

/// Returns the name of a user as messaging has it.
pub(crate) fn user_name(name: &str) -> UserName {
    UserName::new(&format!("{name}@chat.acme"))
}

/// Returns the name of a user as the SDK wants it in logins.
pub(crate) fn long_name(name: &str) -> String {
    format!("{name}@chat.acme.voximplant.com")
}

/// Returns the password of a user in the open.
pub(crate) fn secret(name: &str) -> String {
    format!("password of {name}")
}

fn password(name: &str) -> Secret {
    Secret::new(secret(name))
}

/// Returns the number of the `nth` user that [`World::with_users`] names, from 0 on.
pub(crate) fn user(nth: u64) -> UserId {
    UserId::new(101 + nth).expect("a small number")
}

/// Returns a wish for a conversation with others.
pub(crate) fn with(title: &str, others: &[UserId]) -> ConversationConfig {
    let participants = others.iter().copied().map(Participant::new).collect();
    ConversationConfig { title: title.to_owned(), participants, ..ConversationConfig::default() }
}

/// Starts a world in which Alice uses the engine and Bob a browser, and Alice has made a conversation of both.
pub(crate) async fn lunch_of_two() -> (World, Device, Page, Conversation) {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let lunch = alice.makes(with("Lunch", &[user(1)])).await;
    bob.event("CreateConversation", |_| true).await;
    (world, alice, bob, lunch)
}

/// Waits for what an entry of the outbox comes to.
pub(crate) async fn settled<T>(sending: Result<Sending<T>, Error>) -> T {
    within_patience("what was sent", sending.unwrap()).await.unwrap()
}

/// Fails the test when something takes for ever.
pub(crate) async fn within_patience<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => panic!("waited in vain for: {what}"),
    }
}
