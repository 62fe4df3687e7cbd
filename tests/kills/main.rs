//! A real process under real load, killed with SIGKILL at random instants: nothing accepted is lost, nothing
//! is delivered twice, and the file holds what it claims after each kill.
//!
//! The child sends, edits and removes messages, marks as read, changes the title, and makes conversations and writes
//! into them before the server has named them.
//!
//! `KILLS=1000 cargo test --test kills` runs longer; `SEED=…` repeats the instants, as far as a machine can.

mod told;

use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, ConversationId, Credentials, OutboxState, Participant, Secret, UserName};
use backscroll::store::Store;
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Conversation, Message, Messenger};
use backscroll_server::{Accounts, LoginRules, serve};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use told::{Told, Wish};

/// Kills in the normal run.
const KILLS: u32 = 200;

/// How long a state may take before the test counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the child what to do; absent in the parent.
const ROLE: &str = "BACKSCROLL_KILLS_CHILD";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn config(store: &Path) -> Config {
    let backoff = (Duration::from_millis(5), Duration::from_millis(50));
    Config::new(store).settings(Settings { backoff, ..Settings::default() })
}

/// What the child works with.
struct Writer {
    alice: Messenger,
    conversation: Conversation,
    bob: Participant,
    run: String,
}

impl Writer {
    /// Makes a wish, between two lines that say what it is: nobody knows of one that was cut between them.
    async fn wish(&self, count: u32) {
        let text = format!("{}-{count}", self.run);
        let (alice, conversation) = (&self.alice, &self.conversation);
        match count % 8 {
            3 => {
                let Some(message) = self.own_message().await else { return };
                let wish = Wish::Edit { key: key_of(&message), text: format!("{} as of {text}", key_of(&message)) };
                say("will", &wish);
                let Wish::Edit { text, .. } = &wish else { unreachable!("made above") };
                drop(message.update(Some(text.clone()), None).await.expect("a store that writes"));
                say("did", &wish);
            }
            4 => {
                let head = alice.conversation(conversation.id).await.expect("a store that reads").expect("held").head;
                let wish = Wish::Mark(head);
                say("will", &wish);
                drop(conversation.mark_as_read(head).await.expect("a store that writes"));
                say("did", &wish);
            }
            6 => {
                let Some(message) = self.own_message().await else { return };
                let wish = Wish::Remove(key_of(&message));
                say("will", &wish);
                drop(message.remove().await.expect("a store that writes"));
                say("did", &wish);
            }
            7 => {
                let wish = Wish::Title(text.clone());
                say("will", &wish);
                drop(conversation.update(Some(text), None, None).await.expect("a store that writes"));
                say("did", &wish);
            }
            _ => {
                let wish = Wish::Send(text.clone());
                say("will", &wish);
                drop(conversation.send_message(text, None).await.expect("a store that writes"));
                say("did", &wish);
            }
        }
    }

    /// Makes a conversation, and writes into it at once.
    async fn make(&self) {
        let wish = Wish::Make(self.run.clone());
        let participants = vec![self.bob];
        let config = ConversationConfig { title: self.run.clone(), participants, ..ConversationConfig::default() };
        say("will", &wish);
        let making = self.alice.create_conversation(config).await.expect("a store that writes");
        say("did", &wish);
        let here = ConversationId::provisional(making.token());
        let made = self.alice.conversation(here).await.expect("a store that reads").expect("shown at once");
        let wish = Wish::SendThere(self.run.clone());
        say("will", &wish);
        drop(made.conversation.send_message(self.run.as_str(), None).await.expect("a store that writes"));
        say("did", &wish);
    }

    /// The oldest message of this run that is on the last page, if it still is one.
    async fn own_message(&self) -> Option<Message> {
        let page = self.alice.messages(self.conversation.id, Window::Newest, 20).await.expect("a store that reads");
        let prefix = format!("{}-", self.run);
        page.into_iter().find_map(|item| match item {
            TimelineItem::Message(message) if message.text.starts_with(&prefix) => Some(message),
            TimelineItem::Message(_) | TimelineItem::Gap(_) => None,
        })
    }
}

/// A message goes on to begin with what it said at first.
fn key_of(message: &Message) -> String {
    message.text.split(' ').next().unwrap_or_default().to_owned()
}

/// Only what was told counts as accepted.
fn say(what: &str, wish: &Wish) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {wish}").and_then(|()| out.flush()).expect("a parent that listens");
}

/// What the child runs: resumes the stored session and writes for as long as it lives.
async fn write_until_killed(store: &Path, conversation: ConversationId, run: &str) {
    let alice = Messenger::open(config(store)).await.expect("a store that opens");
    let held = alice.conversation(conversation).await.expect("a store that reads").expect("a conversation held");
    let conversation = held.conversation;
    let bob = *conversation.participants.iter().find(|one| Some(one.user) != alice.my_id()).expect("both");
    let bob = Participant::new(bob.user);
    let writer = Writer { alice, conversation, bob, run: run.to_owned() };
    println!("ready");
    if run.ends_with('0') || run.ends_with('5') {
        writer.make().await;
    }
    for count in 0.. {
        writer.wish(count).await;
    }
}

/// Does nothing by itself: the parent runs this test in a process of its own, to kill it.
#[test]
fn entry_of_the_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.split('|');
    let mut word = || words.next().expect("three words");
    let (store, conversation, run) = (word(), word(), word());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().expect("threads");
    runtime.block_on(write_until_killed(Path::new(store), conversation.parse().expect("an id"), run));
}

fn spawn(store: &Path, conversation: ConversationId, run: u32) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "entry_of_the_child", "--nocapture", "--quiet"])
        .env(ROLE, format!("{}|{conversation}|{run}", store.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child")
}

/// Lets the child live for a moment after its first words, kills it, and notes what it said.
fn run_and_kill(store: &Path, conversation: ConversationId, run: u32, life: Duration, told: &mut Told) {
    let mut child = spawn(store, conversation, run);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let ready = lines.by_ref().map(|line| line.expect("text")).find(|line| line.ends_with("ready"));
    assert!(ready.is_some(), "the child ended by itself: {:?}", child.wait());
    // Not a wait for a state: the instant of the kill is what varies.
    std::thread::sleep(life);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    lines.map_while(Result::ok).for_each(|line| told.hear(&line));
}

fn user(name: &str) -> UserName {
    UserName::new(&format!("{name}@chat.acme"))
}

async fn log_in(folder: &Path, address: SocketAddr, name: &str) -> Messenger {
    let root = folder.join("server/certificate.pem").to_str().expect("a path").to_owned();
    let config =
        config(&folder.join(format!("{name}.db"))).server(format!("wss://{address}/platform")).extra_root(root);
    let messenger = Messenger::open(config).await.expect("a store");
    let credentials = Credentials::Password { user: user(name), password: Secret::new(name) };
    messenger.log_in(credentials).await.expect("a login");
    messenger
}

async fn until_live(messenger: &Messenger) {
    let mut link = messenger.connection();
    let live = link.wait_for(|state| *state == LinkState::Live);
    tokio::time::timeout(PATIENCE, live).await.expect("live in time").expect("an open engine");
}

/// Waits until nothing is on its way any more.
async fn until_settled(messenger: &Messenger) {
    use backscroll::model::OutboxState::{Failed, Settled};
    use futures_util::StreamExt;
    let mut events = messenger.events();
    let settled = async {
        while messenger.outbox().await.expect("reads").iter().any(|entry| !matches!(entry.state, Settled | Failed)) {
            events.next().await.expect("an open engine");
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("settled in time");
}

async fn texts(messenger: &Messenger, conversation: ConversationId) -> Vec<String> {
    let mut all = Vec::new();
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
        all.push(page);
    }
    all.into_iter().rev().flatten().map(|message| message.text.clone()).collect()
}

/// D-1, D-2, D-3, O-1, O-4, R-20, R-21, R-29, R-32.
#[test]
fn killed_at_any_instant_nothing_is_lost_and_nothing_doubled() {
    let (kills, seed) = (number("KILLS", u64::from(KILLS)), number("SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().expect("threads");
    let data = folder.path().join("server");
    let accounts = Accounts::open_with(&data, LoginRules::for_tests()).expect("accounts");
    for name in ["alice", "bob"] {
        accounts.add(&user(name), name, &Secret::new(name)).expect("an account");
    }
    let mut server = backscroll_server::Config::new((Ipv4Addr::LOCALHOST, 0).into(), &data);
    server.logins = LoginRules::for_tests();
    let server = runtime.block_on(serve(server)).expect("a server");

    let (conversation, bob) = runtime.block_on(async {
        let alice = log_in(folder.path(), server.address(), "alice").await;
        let bob = log_in(folder.path(), server.address(), "bob").await;
        let participants = vec![Participant::new(bob.my_id().expect("logged in"))];
        let wish = ConversationConfig { title: "Kills".to_owned(), participants, ..ConversationConfig::default() };
        let made = alice.create_conversation(wish).await.expect("accepted").await.expect("made");
        until_live(&alice).await;
        alice.close().await;
        (made.conversation.id, bob)
    });
    // Bob writes all the while, so that the child has something to catch up with.
    let bob_writes = bob.clone();
    let chatter = runtime.spawn(async move {
        let held = bob_writes.get_conversation(conversation).await.expect("a conversation");
        for count in 0.. {
            let sending = held.send_message(format!("bob-{count}"), None).await.expect("accepted");
            sending.await.expect("sent");
            // A pace, so that the log does not outgrow the test; nothing depends on it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    let store = folder.path().join("alice.db");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut told = Told::new("Kills");
    for run in 0..kills {
        let life = Duration::from_micros(dice.u64(0..80_000));
        run_and_kill(&store, conversation, u32::try_from(run).expect("small"), life, &mut told);
        let opened = Store::open(&store).expect("the store opens after a kill");
        let findings = opened.read(|reader| reader.verify()).expect("the store reads");
        assert_eq!(findings, [], "after kill {run} of seed {seed}");
    }
    chatter.abort();

    runtime.block_on(async {
        let alice = Messenger::open(config(&store)).await.expect("a store");
        until_live(&alice).await;
        until_settled(&alice).await;
        until_settled(&bob).await;
        let failed: Vec<_> = alice
            .outbox()
            .await
            .expect("reads")
            .into_iter()
            .filter(|entry| entry.state == OutboxState::Failed)
            .collect();
        assert!(failed.is_empty(), "refused: {failed:?}");
        // Bob's own link tells him of everything; asking for the head makes sure of the tail.
        let theirs = bob.get_conversation(conversation).await.expect("a conversation");
        until_live(&bob).await;
        let seen = texts(&bob, conversation).await;
        assert_eq!(texts(&alice, conversation).await, seen, "both read the same");
        let own = alice.conversation(conversation).await.expect("reads").expect("held");
        told.assert_kept(&seen, &theirs.title, own.own_read_mark);
        let listed = bob.conversations(0, 1_000).await.expect("reads");
        let mut made = Vec::new();
        for summary in listed.iter().filter(|summary| summary.conversation.id != conversation) {
            made.push((summary.conversation.title.clone(), texts(&bob, summary.conversation.id).await));
        }
        told.assert_made(made);
        alice.close().await;
        bob.close().await;
    });
    runtime.block_on(server.stop());
    assert!(told.len() > kills, "the children hardly wrote: {}", told.len());
    println!("{kills} kills, seed {seed}: {} wishes accepted, each done once", told.len());
}
