//! The one browser of a run, and pages with the vendor's SDK in them.

use crate::world::within_patience;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use tokio::sync::{oneshot, watch};

/// Where Debian puts it; `CHROMIUM` names another.
const CHROMIUM: &str = "/usr/bin/chromium";

/// What a call of the SDK came to: what its promise gave, or what it was rejected with.
pub(crate) type Answer = Result<Value, Value>;

/// Chromium, steered through a small Node program. It ends when this process does, because its input does.
struct Browser {
    commands: Mutex<ChildStdin>,
    answers: Mutex<BTreeMap<u64, oneshot::Sender<Value>>>,
    events: Mutex<BTreeMap<u64, watch::Sender<Vec<Fired>>>>,
    next: AtomicU64,
}

/// An event as the SDK fired it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fired {
    pub(crate) name: String,
    pub(crate) payload: Value,
}

/// The browser of this run, or what is missing for one.
static BROWSER: LazyLock<Result<&Browser, String>> = LazyLock::new(Browser::start);

impl Browser {
    fn of_this_run() -> &'static Self {
        match &*BROWSER {
            Ok(browser) => browser,
            Err(hint) => panic!("{hint}"),
        }
    }

    fn start() -> Result<&'static Self, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| CHROMIUM.to_owned());
        if !folder.join("node_modules").exists() {
            return Err("the SDK is missing: npm ci --prefix tests/interop".to_owned());
        }
        if !Path::new(&chromium).exists() {
            return Err(format!("{chromium} is missing: apt-get install chromium, or name another in CHROMIUM"));
        }
        let mut node = Command::new("node");
        node.arg(folder.join("browser.mjs")).arg(chromium).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node =
            node.spawn().map_err(|error| format!("node does not start ({error}): apt-get install nodejs"))?;
        let browser: &Self = Box::leak(Box::new(Self {
            commands: Mutex::new(node.stdin.take().expect("piped")),
            answers: Mutex::default(),
            events: Mutex::default(),
            next: AtomicU64::new(1),
        }));
        thread::spawn(move || browser.read(node));
        Ok(browser)
    }

    /// Hands each line to whom it concerns, until the browser ends.
    fn read(&self, mut node: Child) {
        for line in BufReader::new(node.stdout.take().expect("piped")).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let Some(id) = line["id"].as_u64() {
                let waiting = self.answers.lock().unwrap().remove(&id);
                // A test that failed meanwhile does not wait any more.
                waiting.map(|waiting| waiting.send(line));
            } else if let Some(page) = self.events.lock().unwrap().get(&line["page"].as_u64().unwrap()) {
                let name = line["event"].as_str().unwrap().to_owned();
                page.send_modify(|events| events.push(Fired { name, payload: line["payload"].clone() }));
            }
        }
        node.wait().unwrap();
        self.answers.lock().unwrap().clear();
    }

    async fn ask(&self, mut command: Value) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        command["id"] = id.into();
        let (sender, answer) = oneshot::channel();
        self.answers.lock().unwrap().insert(id, sender);
        writeln!(self.commands.lock().unwrap(), "{command}").unwrap();
        let answer = within_patience(&command.to_string(), answer).await.expect("the browser runs");
        assert_eq!(answer["broken"], Value::Null, "{command}");
        answer.get("error").map_or_else(|| Ok(answer["result"].clone()), |error| Err(error.clone()))
    }
}

/// A page of its own, as an application of one user: the SDK, and every event it fired so far.
pub(crate) struct Page {
    number: u64,
    events: watch::Receiver<Vec<Fired>>,
}

impl Page {
    /// Opens a page with the SDK ready to connect to `host`, as in `127.0.0.1:8443`.
    pub(crate) async fn open(host: &str) -> Self {
        let browser = Browser::of_this_run();
        let number = browser.next.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = watch::channel(Vec::new());
        browser.events.lock().unwrap().insert(number, sender);
        let page = Self { number, events };
        browser.ask(json!({ "page": number, "open": host })).await.unwrap();
        page
    }

    /// Calls a method of the SDK's client.
    pub(crate) async fn client(&self, call: &str, args: Value) -> Answer {
        self.call("client", call, args).await
    }

    /// Calls a method of the SDK's messenger; there is one once somebody is logged in.
    pub(crate) async fn messenger(&self, call: &str, args: Value) -> Answer {
        self.call("messenger", call, args).await
    }

    /// Calls a method of a conversation that the SDK gave to this page before.
    pub(crate) async fn conversation(&self, id: &str, call: &str, args: Value) -> Answer {
        self.call(&format!("conversation:{id}"), call, args).await
    }

    /// Calls a method of a message that the SDK gave to this page before.
    pub(crate) async fn message(&self, id: &str, call: &str) -> Answer {
        self.call(&format!("message:{id}"), call, json!([])).await
    }

    /// Sets what a message says and has the SDK tell the server.
    pub(crate) async fn edit_message(&self, id: &str, text: &str) -> Answer {
        let message = format!("message:{id}");
        let command =
            json!({ "page": self.number, "on": message, "set": { "text": text }, "call": "update", "args": [] });
        Browser::of_this_run().ask(command).await
    }

    /// Writes a frame to the SDK's own socket: for what this SDK cannot be made to send.
    pub(crate) async fn write(&self, frame: &Value) {
        self.call("socket", "send", json!([frame.to_string()])).await.unwrap();
    }

    /// Calls a method of `client`, `messenger`, `conversation:<uuid>` or `message:<uuid>`.
    pub(crate) async fn call(&self, on: &str, call: &str, args: Value) -> Answer {
        let command = json!({ "page": self.number, "on": on, "call": call, "args": args });
        Browser::of_this_run().ask(command).await
    }

    /// Returns the events of one kind, or of all with an empty name, in the order in which they were fired.
    pub(crate) fn fired(&self, name: &str) -> Vec<Fired> {
        let events = self.events.borrow();
        events.iter().filter(|event| name.is_empty() || event.name == name).cloned().collect()
    }

    /// Waits until the events so far are as `reached` wants them. An error that the page did not catch, as of an SDK
    /// that stumbles over a frame, fails the test.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&[Fired]) -> bool) {
        let mut events = self.events.clone();
        within_patience(what, events.wait_for(|events| reached(events))).await.expect("the page is open");
        assert_eq!(self.fired("PageError"), []);
    }

    /// Waits for the first event of a kind that `fits`, be it past or to come.
    pub(crate) async fn event(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let find = |events: &[Fired]| events.iter().find(|event| event.name == name && fits(&event.payload)).cloned();
        self.until(&format!("the event {name}"), |events| find(events).is_some()).await;
        let found = find(&self.events.borrow());
        found.expect("just seen").payload
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let browser = Browser::of_this_run();
        // Nobody waits for the answer, and the browser may be gone, with a test that failed.
        let command = json!({ "id": 0, "page": self.number, "close": true });
        if let Ok(mut commands) = browser.commands.lock() {
            let _ = writeln!(commands, "{command}");
        }
    }
}
