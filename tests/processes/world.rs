//! The server, both ends of the conversation, and what is waited for.

use crate::process::Process;
use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, ConversationId, Credentials, OutboxState, Participant, Secret, UserName};
use backscroll::store::Store;
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Messenger};
use backscroll_server::{Accounts, LoginRules, Server, serve};
use futures_util::StreamExt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a state may take before the test counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn settings() -> Settings {
    Settings { backoff: (Duration::from_millis(5), Duration::from_millis(50)), ..Settings::default() }
}

fn user(name: &str) -> UserName {
    UserName::new(&format!("{name}@chat.acme"))
}

/// A server with Alice and Bob, and a conversation of theirs that Alice's store holds.
pub(crate) struct World {
    folder: tempfile::TempDir,
    server: Server,
    pub(crate) bob: Messenger,
    pub(crate) conversation: ConversationId,
}

impl World {
    pub(crate) const TITLE: &str = "Lunch";

    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("server");
        let accounts = Accounts::open_with(&data, LoginRules::for_tests()).expect("accounts");
        for name in ["alice", "bob"] {
            accounts.add(&user(name), name, &Secret::new(name)).expect("an account");
        }
        let mut config = backscroll_server::Config::new((Ipv4Addr::LOCALHOST, 0).into(), &data);
        config.logins = LoginRules::for_tests();
        let server = serve(config).await.expect("a server");
        let log_in = async |name: &str| {
            let root = data.join("certificate.pem").to_str().expect("a path").to_owned();
            let url = format!("wss://{}/platform", server.address());
            let config = Config::new(folder.path().join(format!("{name}.db"))).settings(settings());
            let messenger = Messenger::open(config.server(url).extra_root(root)).await.expect("a store");
            let credentials = Credentials::Password { user: user(name), password: Secret::new(name) };
            messenger.log_in(credentials).await.expect("a login");
            messenger
        };
        let (alice, bob) = (log_in("alice").await, log_in("bob").await);
        let participants = vec![Participant::new(bob.my_id().expect("logged in"))];
        let wish = ConversationConfig { title: Self::TITLE.to_owned(), participants, ..ConversationConfig::default() };
        let made = alice.create_conversation(wish).await.expect("accepted").await.expect("made");
        until_live(&alice).await;
        alice.close().await;
        Self { folder, server, bob, conversation: made.conversation.id }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("alice.db")
    }

    pub(crate) fn spawn(&self, kind: &str, name: &str) -> Process {
        Process::spawn(kind, &self.store(), self.conversation, name)
    }

    /// Opens Alice's store here, when everybody else is gone, and waits until both sides are done.
    pub(crate) async fn settle(&self) -> Messenger {
        let findings = Store::open(self.store()).expect("it opens").read(|reader| reader.verify()).expect("it reads");
        assert_eq!(findings, []);
        let alice = Messenger::open(Config::new(self.store()).settings(settings())).await.expect("a store");
        until_live(&alice).await;
        until_settled(&alice).await;
        until_settled(&self.bob).await;
        // Bob's own link tells him of everything; asking for the head makes sure of the tail.
        self.bob.get_conversation(self.conversation).await.expect("a conversation");
        until_live(&self.bob).await;
        alice
    }

    pub(crate) async fn end(self, alice: Messenger) {
        alice.close().await;
        self.bob.close().await;
        self.server.stop().await;
    }

    /// Returns all that both sides read in the end.
    pub(crate) async fn read_all(self) -> (Vec<String>, Vec<String>) {
        let alice = self.settle().await;
        let views = (texts(&alice, self.conversation).await, texts(&self.bob, self.conversation).await);
        self.end(alice).await;
        views
    }
}

pub(crate) async fn until_live(messenger: &Messenger) {
    let mut link = messenger.connection();
    let live = link.wait_for(|state| *state == LinkState::Live);
    tokio::time::timeout(PATIENCE, live).await.expect("live in time").expect("an open engine");
}

async fn until_settled(messenger: &Messenger) {
    let mut events = messenger.events();
    let settled = async {
        let ended = |state| matches!(state, OutboxState::Settled | OutboxState::Failed);
        while !messenger.outbox().await.expect("reads").iter().all(|entry| ended(entry.state)) {
            events.next().await.expect("an open engine");
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("settled in time");
}

pub(crate) async fn texts(messenger: &Messenger, conversation: ConversationId) -> Vec<String> {
    let mut pages = Vec::new();
    let mut window = Window::Newest;
    loop {
        let page = messenger.messages(conversation, window, 1_000).await.expect("reads");
        let page: Vec<_> = page
            .into_iter()
            .map(|item| match item {
                TimelineItem::Message(message) => message,
                TimelineItem::Gap(range) => panic!("a gap at {range:?}"),
            })
            .collect();
        let Some(first) = page.first() else { break };
        window = Window::Before(first.sequence);
        pages.push(page);
    }
    pages.into_iter().rev().flatten().map(|message| message.text.clone()).collect()
}
