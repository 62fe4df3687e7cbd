//! A server, its users, and the devices they hold.

use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, ConversationId, Credentials, Participant, Secret, UserId, UserName};
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Conversation, Message, Messenger};
use backscroll_server::{Accounts, LoginRules, Server, serve};
use futures_util::StreamExt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// How long a state may take before the test counts as failed. Never waited for on the way to success.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that can be stopped and started, on one address and one folder.
pub(crate) struct World {
    folder: TempDir,
    address: SocketAddr,
    server: Option<Server>,
    /// How logins are judged by servers that start from now on.
    pub(crate) logins: LoginRules,
}

impl World {
    /// Starts a server with the users that are named.
    pub(crate) async fn with_users(names: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut world =
            Self { folder, address: (Ipv4Addr::LOCALHOST, 0).into(), server: None, logins: LoginRules::for_tests() };
        let accounts = Accounts::open_with(&world.data(), LoginRules::for_tests()).unwrap();
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
        config.logins = self.logins.clone();
        let server = serve(config).await.unwrap();
        self.address = server.address();
        self.server = Some(server);
    }

    /// Stops the server in order.
    pub(crate) async fn stop_server(&mut self) {
        self.server.take().expect("a server runs").stop().await;
    }

    /// Stops the server, and waits until a device knows: what is written there from now on cannot have left.
    pub(crate) async fn take_server_from(&mut self, device: &Messenger) {
        self.stop_server().await;
        let mut link = device.connection();
        let lost = link.wait_for(|state| matches!(state, LinkState::Offline { .. } | LinkState::Connecting));
        within_patience("the loss", lost).await.unwrap();
    }

    /// Lets the server vanish as if it were killed.
    pub(crate) fn crash_server(&mut self) {
        drop(self.server.take().expect("a server runs"));
    }

    /// Returns the running server.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("a server runs")
    }

    /// Returns the settings of a device.
    pub(crate) fn config(&self, device: &str) -> Config {
        let url = format!("wss://{}/platform", self.address);
        let root = self.data().join("certificate.pem").to_str().unwrap().to_owned();
        let settings =
            Settings { backoff: (Duration::from_millis(10), Duration::from_millis(200)), ..Settings::default() };
        Config::new(self.store(device)).server(url).extra_root(root).settings(settings)
    }

    /// Returns the file of a device.
    pub(crate) fn store(&self, device: &str) -> PathBuf {
        self.folder.path().join(format!("{device}.db"))
    }

    /// Changes the file of the server, which must be stopped, behind its back.
    pub(crate) fn forge(&self, statements: &str) {
        let file = rusqlite::Connection::open(self.data().join("server.sqlite")).unwrap();
        file.execute_batch(statements).unwrap();
    }

    /// Changes the file of a device behind its back.
    pub(crate) fn damage(&self, device: &str, statements: &str) {
        let file = rusqlite::Connection::open(self.store(device)).unwrap();
        file.execute_batch(statements).unwrap();
    }

    /// Opens a device as it was left.
    pub(crate) async fn open(&self, device: &str) -> Messenger {
        Messenger::open(self.config(device)).await.unwrap()
    }

    /// Opens a device of the user with the same name, and logs in.
    pub(crate) async fn log_in(&self, user: &str) -> Messenger {
        let messenger = self.open(user).await;
        messenger.log_in(credentials(user)).await.unwrap();
        until_live(&messenger).await;
        messenger
    }
}

/// Returns the full name of a user.
pub(crate) fn user_name(name: &str) -> UserName {
    UserName::new(&format!("{name}@chat.acme"))
}

/// Returns the password of a user.
pub(crate) fn password(name: &str) -> Secret {
    Secret::new(format!("password of {name}"))
}

/// Returns the right credentials of a user.
pub(crate) fn credentials(name: &str) -> Credentials {
    Credentials::Password { user: user_name(name), password: password(name) }
}

/// Waits until everything the server has told of is held.
pub(crate) async fn until_live(messenger: &Messenger) {
    until_link(messenger, &LinkState::Live).await;
}

/// Waits until the link stands as named.
pub(crate) async fn until_link(messenger: &Messenger, state: &LinkState) {
    let mut link = messenger.connection();
    within_patience(&format!("{state:?}"), link.wait_for(|now| now == state)).await.unwrap();
}

/// Waits until `reached` says yes, asked again after each event of the engine.
pub(crate) async fn until<F: Future<Output = bool>>(messenger: &Messenger, what: &str, reached: impl Fn() -> F) {
    let mut events = messenger.events();
    let waiting = async {
        while !reached().await {
            events.next().await.expect("the engine is open");
        }
    };
    within_patience(what, waiting).await;
}

/// Fails the test when something takes for ever.
pub(crate) async fn within_patience<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => panic!("waited in vain for: {what}"),
    }
}

/// Makes a conversation of two and waits until both hold it.
pub(crate) async fn conversation_of(one: &Messenger, other: &Messenger) -> (Conversation, Conversation) {
    let participants = vec![Participant::new(other.my_id().expect("logged in"))];
    let wish = ConversationConfig { title: "Lunch".to_owned(), participants, ..ConversationConfig::default() };
    let made = within_patience("a conversation", one.create_conversation(wish).await.unwrap()).await.unwrap();
    let id = made.conversation.id;
    let is_held = || async { other.conversation(id).await.unwrap().is_some() };
    until(other, "the conversation on the other side", is_held).await;
    let theirs = other.conversation(id).await.unwrap().expect("just seen").conversation;
    (made.conversation, theirs)
}

/// Returns the messages held of a conversation, unsent ones at the end; a gap fails the test.
pub(crate) async fn messages(messenger: &Messenger, conversation: ConversationId) -> Vec<Message> {
    let items = messenger.messages(conversation, Window::Newest, 1_000).await.unwrap();
    let items = items.into_iter().map(|item| match item {
        TimelineItem::Message(message) => message,
        TimelineItem::Gap(range) => panic!("a gap at {range:?}"),
    });
    items.collect()
}

/// Returns the texts held of a conversation.
pub(crate) async fn texts(messenger: &Messenger, conversation: ConversationId) -> Vec<String> {
    messages(messenger, conversation).await.iter().map(|message| message.text.clone()).collect()
}

/// Waits until a conversation reads exactly so, with everything settled.
pub(crate) async fn until_texts(messenger: &Messenger, conversation: ConversationId, expected: &[&str]) {
    let what = format!("the texts {expected:?}");
    let reads_so = || async {
        let items = messenger.messages(conversation, Window::Newest, 1_000).await.unwrap();
        let texts: Option<Vec<String>> = items
            .iter()
            .map(|item| match item {
                TimelineItem::Message(message) if message.id.is_some() => Some(message.text.clone()),
                TimelineItem::Message(_) | TimelineItem::Gap(_) => None,
            })
            .collect();
        texts.is_some_and(|texts| texts == expected)
    };
    until(messenger, &what, reads_so).await;
}

/// Fails the test when the file of a device does not hold what it claims.
pub(crate) async fn assert_sound(messenger: &Messenger) {
    assert_eq!(messenger.verify().await.unwrap(), []);
    assert_eq!(messenger.gaps(None).await.unwrap(), []);
}

/// Returns a user number that no account has.
pub(crate) fn nobody() -> UserId {
    UserId::new(999_999).expect("a small number")
}
