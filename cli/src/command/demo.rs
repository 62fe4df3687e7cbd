//! `demo`: the whole story on real parts, and a check of every claim it makes.
//!
//! The server and each step of each user are processes of their own, so that a kill is a kill. They are this
//! very program with the commands that anyone may type.

use crate::failure::Failure;
use crate::render::Out;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Messages that Alice writes while Bob is away: more than two pages of history.
const WHILE_AWAY: u32 = 250;
/// Messages of Bob accepted before the server is killed under him, and before he is killed himself.
const BEFORE_SERVER_DIES: usize = 20;
const BEFORE_BOB_DIES: usize = 40;
/// Messages that Alice writes while there is no server.
const WITHOUT_SERVER: u32 = 10;

/// The password of both; it guards nothing but the demo.
const PASSWORD: &str = "demo-password";
const TITLE: &str = "Lunch";

/// A process that is killed when nobody needs it any more.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or_else(|| Failure::environment("a child without output"))?;
        Ok(Self { child, lines: BufReader::new(out).lines() })
    }

    fn line(&mut self) -> Result<String, Failure> {
        match self.lines.next() {
            Some(line) => Ok(line?),
            None => Err(Failure::environment("a process of the demo ended by itself")),
        }
    }

    /// SIGKILL: no handler runs, nothing is flushed. Returns what it had still said.
    fn kill(mut self) -> Result<Vec<String>, Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.lines.by_ref().map_while(Result::ok).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already after `kill`; on the way out of an error there is nothing better to do.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Demo {
    out: Out,
    program: PathBuf,
    folder: PathBuf,
    began: Instant,
}

pub(crate) async fn run(out: Out, dir: Option<PathBuf>) -> Result<(), Failure> {
    let folder = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("backscroll-demo-{}", std::process::id())));
    std::fs::create_dir(&folder).map_err(|error| {
        Failure::environment(format!("cannot make {}: {error}", folder.display())).hint("--dir DIR names another")
    })?;
    let demo = Demo { out, program: std::env::current_exe()?, folder, began: Instant::now() };
    // Every step is a process that is waited for: a blocking thread is where that belongs.
    let told = tokio::task::spawn_blocking(move || demo.tell()).await;
    told.map_err(|stopped| Failure::environment(stopped.to_string()))?
}

impl Demo {
    fn tell(&self) -> Result<(), Failure> {
        let mut server = self.serve("127.0.0.1:0")?;
        let ready = object(&server.line()?)?;
        let (url, ca) = (text(&ready, "url")?, text(&ready, "ca")?);
        self.step(&format!("a server of its own process at {url}, with real TLS"))?;

        for name in ["alice", "bob"] {
            self.account(name)?;
            self.log_in(name, name, &url, &ca)?;
        }
        self.run("alice", ["create", "--title", TITLE, "bob@chat.acme", "--wait"])?;
        self.run("bob", ["sync"])?;
        let mut accepted = BTreeMap::from([("alice", Vec::new()), ("bob", Vec::new())]);
        for (name, said) in [("alice", "Soup or salad?"), ("bob", "Soup."), ("alice", "At noon?"), ("bob", "At noon.")]
        {
            self.run(name, ["send", TITLE, said, "--wait"])?;
            accepted.entry(name).or_default().push(said.to_owned());
        }
        self.step("alice and bob log in, make a conversation and chat; each step is a process")?;

        accepted.entry("alice").or_default().extend(self.write_many("alice", "while bob is away", WHILE_AWAY)?);
        self.run("alice", ["sync"])?;
        self.step(&format!("bob is away; alice writes {WHILE_AWAY} messages"))?;

        let mut bob = Running::start(self.client("bob", ["write-many", TITLE, "bob under fire", "1000000"]))?;
        let mut said: Vec<String> = (0..BEFORE_SERVER_DIES).map(|_| bob.line()).collect::<Result<_, _>>()?;
        server.kill()?;
        while said.len() < BEFORE_BOB_DIES {
            said.push(bob.line()?);
        }
        said.extend(bob.kill()?);
        self.step(&format!(
            "bob writes as fast as he can; the server is killed under him, then he is (SIGKILL, {} accepted)",
            said.len()
        ))?;
        accepted.entry("bob").or_default().extend(said);
        self.check_sound("bob")?;

        accepted.entry("alice").or_default().extend(self.write_many("alice", "without a server", WITHOUT_SERVER)?);
        let waiting = self.lines("alice", ["outbox"])?.len();
        self.step(&format!("no server: alice writes {WITHOUT_SERVER} more, {waiting} wait in her outbox"))?;

        let address = url.trim_start_matches("wss://").trim_end_matches("/platform").to_owned();
        let mut server = self.serve(&address)?;
        server.line()?;
        for name in ["bob", "alice", "bob"] {
            self.run(name, ["sync"])?;
        }
        self.step("the server is back; both catch up and send what waited")?;
        self.log_in("bob-new-phone", "bob", &url, &ca)?;
        self.run("bob-new-phone", ["sync"])?;
        let held = self.check(&accepted)?;
        server.kill()?;
        self.tell_where(held)
    }

    fn step(&self, what: &str) -> Result<(), Failure> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.out.object(json!({"type": "step", "seconds": seconds, "what": what}))?;
        self.out.say(format!("{seconds:5.1} s  {what}"))
    }

    fn store(&self, device: &str) -> PathBuf {
        self.folder.join(format!("{device}.db"))
    }

    /// This program as somebody would type it for a device.
    fn client<'a>(&self, device: &str, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--json").arg("--store").arg(self.store(device)).args(words);
        command
    }

    fn serve(&self, address: &str) -> Result<Running, Failure> {
        let mut command = Command::new(&self.program);
        command.args(["--json", "serve", "--listen", address, "--data"]).arg(self.folder.join("server"));
        Running::start(command)
    }

    fn account(&self, name: &str) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.args(["--json", "user", "add", "--display-name", name, "--data"]).arg(self.folder.join("server"));
        command.arg(format!("{name}@chat.acme"));
        finish(command, PASSWORD).map(drop)
    }

    fn log_in(&self, device: &str, user: &str, url: &str, ca: &str) -> Result<(), Failure> {
        let user = format!("{user}@chat.acme");
        let command = self.client(device, ["login", "--server", url, "--user", &user, "--ca", ca]);
        finish(command, PASSWORD).map(drop)
    }

    fn run<'a>(&self, device: &str, words: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        finish(self.client(device, words), "").map(drop)
    }

    fn lines<'a>(&self, device: &str, words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Value>, Failure> {
        finish(self.client(device, words), "")?.lines().map(object).collect()
    }

    fn write_many(&self, device: &str, prefix: &str, count: u32) -> Result<Vec<String>, Failure> {
        let said = finish(self.client(device, ["write-many", TITLE, prefix, &count.to_string()]), "")?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Fails when a file does not hold what it claims.
    fn check_sound(&self, device: &str) -> Result<(), Failure> {
        self.run(device, ["verify"])
    }

    /// Checks every claim against what the three files say. Returns how many messages each holds.
    fn check(&self, accepted: &BTreeMap<&str, Vec<String>>) -> Result<usize, Failure> {
        let devices = ["alice", "bob", "bob-new-phone"];
        let mut views = Vec::new();
        for device in devices {
            self.check_sound(device)?;
            self.run(device, ["gaps"])?;
            let waiting = self.lines(device, ["outbox"])?;
            claim(waiting.is_empty(), || format!("{} entries still wait in the outbox of {device}", waiting.len()))?;
            let mut view = Vec::new();
            for line in self.lines(device, ["messages", TITLE, "--limit", "100000"])? {
                claim(line["type"] == "message", || format!("{device} shows a gap"))?;
                view.push((line["sequence"].as_u64(), text(&line, "text")?));
            }
            views.push(view);
        }
        claim(views[0] == views[1], || "alice and bob do not read the same".to_owned())?;
        claim(views[0] == views[2], || "a new device does not read the same".to_owned())?;
        let view = &views[0];
        claim(view.windows(2).all(|pair| pair[0].0 < pair[1].0), || "not in the order of the server".to_owned())?;
        let once: BTreeSet<&String> = view.iter().map(|(_, text)| text).collect();
        claim(once.len() == view.len(), || format!("{} messages came twice", view.len() - once.len()))?;
        for (name, said) in accepted {
            let order: Vec<&String> = view.iter().map(|(_, text)| text).filter(|text| said.contains(text)).collect();
            let lost = said.len().saturating_sub(order.len());
            claim(lost == 0, || format!("{lost} messages of {name} were accepted and lost"))?;
            claim(order.iter().copied().eq(said.iter()), || format!("{name}'s messages are out of order"))?;
        }
        let total: usize = accepted.values().map(Vec::len).sum();
        self.step(&format!(
            "{total} messages were accepted: each arrived exactly once, in order, on all three devices"
        ))?;
        self.step("no gap, nothing left in an outbox, all three files verified")?;
        Ok(view.len())
    }

    fn tell_where(&self, held: usize) -> Result<(), Failure> {
        let seconds = self.began.elapsed().as_secs_f64();
        let folder = self.folder.display().to_string();
        self.out.object(json!({"type": "summary", "ok": true, "messages": held, "seconds": seconds, "dir": folder}))?;
        let bob = self.store("bob").display().to_string();
        self.out.say(format!("\nThe stores are in {folder}. To look into them:"))?;
        for look in ["conversations", "messages Lunch --limit 20", "inspect"] {
            self.out.say(format!("  cargo run -- --store {bob} {look}"))?;
        }
        Ok(())
    }
}

fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::no(format!("a claim does not hold: {}", otherwise()))) }
}

/// Runs a process to its end and returns what it printed; its exit code must be 0.
fn finish(mut command: Command, input: &str) -> Result<String, Failure> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take().filter(|_| !input.is_empty()) {
        // A child that ended before it read says more by its exit code than the broken pipe does.
        writeln!(stdin, "{input}").ok();
    }
    let ended = child.wait_with_output()?;
    if ended.status.success() {
        return String::from_utf8(ended.stdout).map_err(|_| Failure::environment("a child printed no UTF-8"));
    }
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(Failure::no(format!("`backscroll {}` ended with {}: {}", words.join(" "), ended.status, said.trim())))
}

fn object(line: &str) -> Result<Value, Failure> {
    serde_json::from_str(line).map_err(|error| Failure::environment(format!("a child printed no JSON: {error}")))
}

fn text(object: &Value, member: &str) -> Result<String, Failure> {
    let found = object[member].as_str().map(str::to_owned);
    found.ok_or_else(|| Failure::environment(format!("a child did not say its {member}")))
}
