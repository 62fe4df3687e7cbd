//! What grows with what: memory and time, where one conversation is long and where there are many.
//!
//! `cargo bench --bench scale`. Each case runs in a process of its own, so that its peak of memory is its own (Linux
//! tells it), once in a small world and once in one ten times as large. Goals: a peak that does not grow with the
//! events of a conversation, and with conversations by no more than what is known of each.

mod scripted;
#[expect(dead_code, reason = "what the scripted server tells, and the clock; no pages are stored by hand")]
mod workload;

use backscroll::engine::TimelineItem;
use backscroll::model::{Credentials, Secret, UserName};
use backscroll::store::Window;
use backscroll::sync::LinkState;
use backscroll::{Config, Messenger};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use workload::timed;

/// Turns a run of the bench into one case.
const ARGUMENT: &str = "--case";

fn main() {
    scripted::serve_if_asked();
    run_if_asked();
    a_long_conversation();
    println!();
    many_conversations();
}

fn a_long_conversation() {
    let peaks = [10_000, 100_000].map(|events| {
        let (mut server, address) = scripted::start(events, 1);
        let folder = tempfile::tempdir().expect("a folder for files");
        let path = folder.path().join("store.db");
        let [caught_up, read] = [Case::CatchUp, Case::Read].map(|case| {
            let Told { time, peak_kib } = case.run(&path, &address.to_string());
            let rate = events as f64 / time.as_secs_f64();
            println!(
                "one conversation of {events:6} events, {}: {time:.1?}, {rate:.0} events/s, peak {peak_kib} KiB",
                case.name()
            );
            peak_kib
        });
        server.kill().expect("a child that serves");
        server.wait().expect("its end");
        [caught_up, read]
    });
    println!("ten times as long: {} times the peak of catching up, {} of reading", grown(peaks, 0), grown(peaks, 1));
}

fn many_conversations() {
    let peaks = [1_000, 10_000].map(|conversations| {
        let (mut server, address) = scripted::start(conversations * 10, conversations);
        let folder = tempfile::tempdir().expect("a folder for files");
        let path = folder.path().join("store.db");
        let peaks = [Case::CatchUp, Case::Open].map(|case| {
            let Told { time, peak_kib } = case.run(&path, &address.to_string());
            println!("{conversations:6} conversations, {}: {time:.1?}, peak {peak_kib} KiB", case.name());
            peak_kib
        });
        server.kill().expect("a child that serves");
        server.wait().expect("its end");
        peaks
    });
    let each = |case: usize| (peaks[1][case] as f64 - peaks[0][case] as f64) * 1024.0 / 9_000.0;
    println!("another conversation: {:.0} bytes of the peak of catching up, {:.0} of opening", each(0), each(1));
}

fn grown(peaks: [[u64; 2]; 2], case: usize) -> String {
    format!("{:.2}", peaks[1][case] as f64 / peaks[0][case] as f64)
}

/// What a process of its own does with a file.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// Logs in and fetches everything.
    CatchUp,
    /// Opens what is held and compares it with the server until it is live.
    Open,
    /// Pages through the first conversation from the end to the beginning, fifty messages at a time.
    Read,
}

/// What it said when it was done.
struct Told {
    time: Duration,
    peak_kib: u64,
}

impl Case {
    const fn name(self) -> &'static str {
        match self {
            Self::CatchUp => "catching up",
            Self::Open => "opening, until live",
            Self::Read => "reading all of it",
        }
    }

    fn run(self, path: &Path, address: &str) -> Told {
        let program = std::env::current_exe().expect("this program");
        let output =
            Command::new(program).args([ARGUMENT, self.name()]).arg(path).arg(address).output().expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("numbers");
        let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().expect("a number"));
        let mut next = || numbers.next().expect("a number more");
        Told { time: Duration::from_micros(next()), peak_kib: next() }
    }
}

/// Runs one case and never returns, if that is what this process was started for.
fn run_if_asked() {
    let words: Vec<String> = std::env::args().collect();
    let Some([_, name, path, address]) = words.iter().position(|word| word == ARGUMENT).map(|at| &words[at..]) else {
        return;
    };
    let case = [Case::CatchUp, Case::Open, Case::Read].into_iter().find(|case| case.name() == name).expect("a case");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let (time, ()) = timed(|| runtime.block_on(case_in(case, path, address)));
    println!("{} {}", time.as_micros(), peak_kib().unwrap_or_default());
    std::process::exit(0);
}

async fn case_in(case: Case, path: &str, address: &str) {
    let config = Config::new(path).server(format!("ws://{address}/platform")).allow_plain_loopback();
    let messenger = Messenger::open(config).await.expect("a store");
    match case {
        Case::CatchUp => {
            let (user, password) = (UserName::new("user5@chat.acme"), Secret::new("password"));
            messenger.log_in(Credentials::Password { user, password }).await.expect("a login");
            become_live(&messenger).await;
        }
        Case::Open => {
            let first_screen = messenger.conversations(0, 50).await.expect("a list");
            assert_eq!(first_screen.len(), 50);
            become_live(&messenger).await;
        }
        Case::Read => {
            let first = messenger.conversations(0, 1).await.expect("a list").remove(0);
            let id = first.conversation.id;
            let mut window = Window::Newest;
            loop {
                let items = messenger.messages(id, window, 50).await.expect("a page");
                let Some(TimelineItem::Message(oldest)) = items.first() else { break };
                window = Window::Before(oldest.sequence);
            }
        }
    }
    messenger.close().await;
}

async fn become_live(messenger: &Messenger) {
    let mut link = messenger.connection();
    link.wait_for(|state| *state == LinkState::Live).await.expect("an open engine");
}

/// Reads the most memory this process ever held, which Linux counts.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
