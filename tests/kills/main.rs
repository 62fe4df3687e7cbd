//! A real process under real load, killed with SIGKILL at random instants: nothing accepted is lost, nothing
//! is delivered twice, and the file holds what it claims after each kill.
//!
//! `KILLS=1000 cargo test --test kills` runs longer; `SEED=…` repeats the instants, as far as a machine can.

use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, ConversationId, Credentials, Participant, Secret, UserName};
use backscroll::store::Store;
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Messenger};
use backscroll_server::{Accounts, LoginRules, serve};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

/// What the child runs: resumes the stored session and writes for as long as it lives, one line for each
/// message that was accepted.
async fn write_until_killed(store: &Path, conversation: ConversationId, run: &str) {
    let alice = Messenger::open(config(store)).await.expect("a store that opens");
    let held = alice.conversation(conversation).await.expect("a store that reads");
    let conversation = held.expect("a conversation held").conversation;
    let mut out = std::io::stdout();
    writeln!(out, "ready").expect("a parent that listens");
    for count in 0.. {
        let text = format!("{run}-{count}");
        let sending = conversation.send_message(text.as_str(), None).await.expect("a store that writes");
        drop(sending);
        // Only what was told counts as accepted.
        writeln!(out, "{text}").expect("a parent that listens");
        out.flush().expect("a parent that listens");
        if count % 5 == 4 {
            let head = alice.conversation(conversation.id).await.expect("a store that reads").expect("held").head;
            drop(conversation.mark_as_read(head).await.expect("a store that writes"));
        }
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

/// Lets the child live for a moment after its first words, kills it, and returns what it said was accepted.
fn run_and_kill(store: &Path, conversation: ConversationId, run: u32, life: Duration) -> Vec<String> {
    let mut child = spawn(store, conversation, run);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let ready = lines.by_ref().map(|line| line.expect("text")).find(|line| line.ends_with("ready"));
    assert!(ready.is_some(), "the child ended by itself: {:?}", child.wait());
    // Not a wait for a state: the instant of the kill is what varies.
    std::thread::sleep(life);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    // A line cut by the kill was not told.
    let prefix = format!("{run}-");
    lines.map_while(Result::ok).filter(|line| line.starts_with(&prefix)).collect()
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
    let mut accepted: Vec<String> = Vec::new();
    for run in 0..kills {
        let life = Duration::from_micros(dice.u64(0..80_000));
        accepted.extend(run_and_kill(&store, conversation, u32::try_from(run).expect("small"), life));
        let opened = Store::open(&store).expect("the store opens after a kill");
        let findings = opened.read(|reader| reader.verify()).expect("the store reads");
        assert_eq!(findings, [], "after kill {run} of seed {seed}");
    }
    chatter.abort();

    let (ours, theirs) = runtime.block_on(async {
        let alice = Messenger::open(config(&store)).await.expect("a store");
        until_live(&alice).await;
        until_settled(&alice).await;
        until_settled(&bob).await;
        // Bob's own link tells him of everything; asking for the head makes sure of the tail.
        bob.get_conversation(conversation).await.expect("a conversation");
        until_live(&bob).await;
        let views = (texts(&alice, conversation).await, texts(&bob, conversation).await);
        alice.close().await;
        bob.close().await;
        views
    });
    runtime.block_on(server.stop());

    assert_eq!(ours, theirs, "both read the same");
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    theirs.iter().for_each(|text| *times.entry(text).or_default() += 1);
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "delivered twice: {doubled:?}");
    let lost: Vec<_> = accepted.iter().filter(|text| !times.contains_key(text.as_str())).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    let order: Vec<&String> = theirs.iter().filter(|text| accepted.contains(text)).collect();
    assert_eq!(order, accepted.iter().collect::<Vec<_>>(), "in the order in which they were accepted");
    assert!(accepted.len() as u64 > kills, "the children hardly wrote: {}", accepted.len());
    println!("{kills} kills, seed {seed}: {} accepted, each delivered once", accepted.len());
}
