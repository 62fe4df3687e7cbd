//! Several real processes on one store, against a real server: one syncs, all read and write.
//!
//! `BACKSCROLL_LONG=1 cargo test --test processes` runs each story for a minute; `SEED=…` repeats the kills, as far as
//! a machine can.
#![expect(clippy::disallowed_methods, reason = "processes and their clocks are what is tested here")]

mod child;

use backscroll::engine::{Role, TimelineItem, Window};
use backscroll::model::{ConversationConfig, ConversationId, Credentials, OutboxState, Participant, Secret, UserName};
use backscroll::store::Store;
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Messenger, MessengerEvent};
use backscroll_server::{Accounts, LoginRules, Server, serve};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a state may take before the test counts as failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Tells a child what to do; absent in the parent.
const ROLE: &str = "BACKSCROLL_PROCESSES_CHILD";

/// How long a story is.
fn length() -> Duration {
    Duration::from_secs(if std::env::var_os("BACKSCROLL_LONG").is_some() { 60 } else { 6 })
}

pub(crate) fn settings() -> Settings {
    Settings { backoff: (Duration::from_millis(5), Duration::from_millis(50)), ..Settings::default() }
}

/// Does nothing by itself: the parent runs this test in processes of their own.
#[test]
fn entry_of_the_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.split('|');
    let mut word = || words.next().expect("four words");
    let (kind, store, conversation, name) = (word(), PathBuf::from(word()), word(), word());
    let conversation: ConversationId = conversation.parse().expect("an id");
    runtime().block_on(async {
        match kind {
            "work" => child::work(&store, conversation, name).await,
            "drop off" => child::drop_off(&store, conversation, name).await,
            other => panic!("no such work: {other}"),
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().expect("threads")
}

fn user(name: &str) -> UserName {
    UserName::new(&format!("{name}@chat.acme"))
}

/// A server with Alice and Bob, and a conversation of theirs that Alice's store holds.
struct World {
    folder: tempfile::TempDir,
    server: Server,
    bob: Messenger,
    conversation: ConversationId,
}

impl World {
    async fn new() -> Self {
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
        let wish = ConversationConfig { title: "Lunch".to_owned(), participants, ..ConversationConfig::default() };
        let made = alice.create_conversation(wish).await.expect("accepted").await.expect("made");
        until_live(&alice).await;
        alice.close().await;
        Self { folder, server, bob, conversation: made.conversation.id }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("alice.db")
    }

    fn spawn(&self, kind: &str, name: &str) -> Process {
        Process::spawn(kind, &self.store(), self.conversation, name)
    }

    /// Opens Alice's store here, when everybody else is gone, and returns all that both sides read.
    async fn read_all(self) -> (Vec<String>, Vec<String>) {
        let findings = Store::open(self.store()).expect("it opens").read(|reader| reader.verify()).expect("it reads");
        assert_eq!(findings, []);
        let alice = Messenger::open(Config::new(self.store()).settings(settings())).await.expect("a store");
        until_live(&alice).await;
        until_settled(&alice).await;
        self.bob.get_conversation(self.conversation).await.expect("a conversation");
        until_live(&self.bob).await;
        let views = (texts(&alice, self.conversation).await, texts(&self.bob, self.conversation).await);
        alice.close().await;
        self.bob.close().await;
        self.server.stop().await;
        views
    }
}

async fn until_live(messenger: &Messenger) {
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

async fn texts(messenger: &Messenger, conversation: ConversationId) -> Vec<String> {
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

/// A child, and what it said.
struct Process {
    child: Child,
    lines: Receiver<String>,
    accepted: Vec<String>,
    lags: Vec<u64>,
    missed: u64,
    syncing: bool,
    done: bool,
}

impl Process {
    fn spawn(kind: &str, store: &Path, conversation: ConversationId, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "entry_of_the_child", "--nocapture", "--quiet"])
            .env(ROLE, format!("{kind}|{}|{conversation}|{name}", store.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (said, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, lines, accepted: Vec::new(), lags: Vec::new(), missed: 0, syncing: false, done: false }
    }

    /// Listens until `enough`, or until `deadline`; returns whether it was enough.
    fn listen(&mut self, deadline: Instant, enough: impl Fn(&Self) -> bool) -> bool {
        while !enough(self) {
            let line = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return enough(self),
            };
            // The first word of a child may stand behind one of the test harness.
            let line = line.rsplit_once("... ").map_or(line.as_str(), |(_, said)| said);
            match line.split_once(' ').unwrap_or((line, "")) {
                ("accepted", text) => self.accepted.push(text.to_owned()),
                ("lag", micros) => self.lags.push(micros.parse().expect("a number")),
                ("missed", count) => self.missed += count.parse::<u64>().expect("a number"),
                ("role", role) => self.syncing = role == "syncing",
                ("done", _) => self.done = true,
                _ => {}
            }
        }
        true
    }

    /// Has the child stop writing, and waits until all it wrote has arrived.
    fn finish(&mut self) {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "stop").expect("a child that listens");
        let done = self.listen(Instant::now() + PATIENCE, |process| process.done);
        assert!(done, "a child ended early: {:?}", self.child.try_wait());
        assert!(self.child.wait().expect("an end").success());
    }
}

/// Every accepted text arrived once, each writer's in the order of acceptance, and both sides read the same.
fn assert_once_and_in_order(ours: &[String], theirs: &[String], accepted: &[Vec<String>]) {
    assert_eq!(ours, theirs, "both read the same");
    let mut places = BTreeMap::new();
    for (place, text) in theirs.iter().enumerate() {
        assert_eq!(places.insert(text, place), None, "{text} arrived twice");
    }
    for texts in accepted {
        let found: Vec<usize> = texts.iter().map(|text| *places.get(text).expect("accepted and never lost")).collect();
        assert!(found.is_sorted(), "out of order");
    }
}

fn print_lags(what: &str, mut lags: Vec<u64>) {
    lags.sort_unstable();
    let at = |share: f64| Duration::from_micros(lags[((lags.len() - 1) as f64 * share) as usize]);
    println!(
        "{what}: {} seen in another process after p50 {:?}, p90 {:?}, p99 {:?}, at most {:?}",
        lags.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// D-8: four processes write and eight readers read. Any error of any call ends a child, and so the test.
#[test]
fn four_processes_write_and_read_one_store() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let mut processes: Vec<Process> = ["a", "b", "c", "d"].map(|name| world.spawn("work", name)).into();
    let end = Instant::now() + length();
    for process in &mut processes {
        process.listen(end, |_| false);
    }
    let syncing = processes.iter().filter(|process| process.syncing).count();
    assert_eq!(syncing, 1, "one process syncs");
    // The one that syncs ends first: another one takes its place.
    processes.sort_by_key(|process| !process.syncing);
    processes.iter_mut().for_each(Process::finish);
    let missed: u64 = processes.iter().map(|process| process.missed).sum();
    let accepted: Vec<Vec<String>> = processes.iter().map(|process| process.accepted.clone()).collect();
    print_lags("four processes", processes.iter().flat_map(|process| process.lags.clone()).collect());
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &accepted);
    assert_eq!(missed, 0, "nobody fell behind");
    println!("{} messages accepted by four processes, each arrived once", accepted.iter().map(Vec::len).sum::<usize>());
}

/// whoever syncs is killed again and again.
#[test]
fn the_process_that_syncs_is_killed_and_another_goes_on() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut dice = fastrand::Rng::with_seed(seed);
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let mut alive: Vec<Process> = vec![world.spawn("work", "0"), world.spawn("work", "1")];
    let mut accepted = Vec::new();
    let mut handovers = Vec::new();
    let (end, mut spawned) = (Instant::now() + length(), 2);
    while Instant::now() < end {
        let until = Instant::now() + PATIENCE;
        // Both roles are taken, by one each.
        while alive.iter().filter(|process| process.syncing).count() != 1 {
            assert!(Instant::now() < until, "nobody syncs");
            alive.iter_mut().for_each(|process| {
                process.listen(Instant::now() + Duration::from_millis(5), |_| false);
            });
        }
        // Not a wait for a state: the instant of the kill is what varies.
        let life = Instant::now() + Duration::from_micros(dice.u64(0..800_000));
        for process in &mut alive {
            process.listen(life, |_| false);
        }
        let place = alive.iter().position(|process| process.syncing).expect("one syncs");
        let mut killed = alive.remove(place);
        killed.child.kill().expect("a kill");
        killed.child.wait().expect("an end");
        let died = Instant::now();
        killed.listen(Instant::now() + PATIENCE, |_| false);
        accepted.push(killed.accepted);
        let next = alive[0].listen(Instant::now() + PATIENCE, |process| process.syncing);
        assert!(next, "the other process takes over");
        handovers.push(u64::try_from(died.elapsed().as_micros()).expect("small"));
        alive.push(world.spawn("work", &spawned.to_string()));
        spawned += 1;
    }
    alive.sort_by_key(|process| !process.syncing);
    alive.iter_mut().for_each(Process::finish);
    accepted.extend(alive.iter().map(|process| process.accepted.clone()));
    print_lags("a dead holder's place", handovers.clone());
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &accepted);
    println!(
        "{} holders killed, seed {seed}: {} accepted, each arrived once",
        handovers.len(),
        accepted.concat().len()
    );
}

/// an extension of an app accepts a message and is gone; the app sends it.
#[test]
fn a_process_that_lives_for_one_message_leaves_it_to_the_one_that_syncs() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    runtime.block_on(async {
        let app = Messenger::open(Config::new(world.store()).settings(settings())).await.expect("a store");
        until_live(&app).await;
        let mut events = app.events();
        let mut extension = world.spawn("drop off", "back soon");
        extension.listen(Instant::now() + PATIENCE, |process| !process.accepted.is_empty());
        assert!(extension.child.wait().expect("an end").success());
        let sent = async {
            loop {
                if let Some(MessengerEvent::Message(event)) = events.next().await {
                    break event.message.text.clone();
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, sent).await.expect("sent in time"), "back soon");
        app.close().await;
    });
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &[vec!["back soon".to_owned()]]);
}

/// whoever asks for the store gets it; the loser follows, and what it wrote arrives all the same.
#[test]
fn a_process_that_takes_over_makes_the_other_one_follow() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let mut loser = world.spawn("work", "loser");
    assert!(loser.listen(Instant::now() + PATIENCE, |process| process.syncing && process.accepted.len() > 10));
    let winner = runtime.block_on(async {
        let config = Config::new(world.store()).settings(settings()).take_over();
        let winner = Messenger::open(config).await.expect("a store");
        assert_eq!(*winner.role().borrow(), Role::Syncing);
        assert_eq!(winner.holder().await.expect("reads").map(|holder| holder.process), Some(std::process::id()));
        until_live(&winner).await;
        winner
    });
    assert!(loser.listen(Instant::now() + PATIENCE, |process| !process.syncing), "the loser notices");
    let before = loser.accepted.len();
    assert!(
        loser.listen(Instant::now() + PATIENCE, |process| process.accepted.len() > before + 10),
        "it goes on writing"
    );
    loser.finish();
    assert_eq!(*winner.role().borrow(), Role::Syncing);
    runtime.block_on(winner.close());
    let accepted = [loser.accepted];
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &accepted);
}
