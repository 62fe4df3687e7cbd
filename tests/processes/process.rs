//! A child process, and what it says.

use crate::ROLE;
use crate::world::PATIENCE;
use backscroll::model::ConversationId;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// A child, and what it said. Dropped, it lets go of the child's input, which ends the child.
pub(crate) struct Process {
    pub(crate) child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    pub(crate) accepted: Vec<String>,
    pub(crate) lags: Vec<u64>,
    pub(crate) missed: u64,
    pub(crate) syncing: bool,
    done: bool,
}

impl Process {
    pub(crate) fn spawn(kind: &str, store: &Path, conversation: ConversationId, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "entry_of_the_child", "--nocapture", "--quiet"])
            .env(ROLE, format!("{kind}|{}|{conversation}|{name}", store.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let input = child.stdin.take().expect("a pipe");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (said, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, input, lines, accepted: Vec::new(), lags: Vec::new(), missed: 0, syncing: false, done: false }
    }

    /// Waits until the child is at work.
    pub(crate) fn until_ready(&mut self) {
        let ready = self.lines.iter().any(|line| line.ends_with("ready"));
        assert!(ready, "the child ended by itself: {:?}", self.child.wait());
    }

    /// Kills the child, and returns what it said since it was last listened to.
    pub(crate) fn kill(mut self) -> impl Iterator<Item = String> {
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
        self.lines.into_iter()
    }

    /// Listens until `enough`, or until `deadline`; returns whether it was enough.
    pub(crate) fn listen(&mut self, deadline: Instant, enough: impl Fn(&Self) -> bool) -> bool {
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
    pub(crate) fn finish(&mut self) {
        writeln!(self.input, "stop").expect("a child that listens");
        let done = self.listen(Instant::now() + PATIENCE, |process| process.done);
        assert!(done, "a child ended early: {:?}", self.child.try_wait());
        assert!(self.child.wait().expect("an end").success());
    }
}
