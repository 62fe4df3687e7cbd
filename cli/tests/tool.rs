//! The tool as a person or a script meets it: processes, exit codes, lines.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;

/// A folder with a server and the stores of its users.
struct World {
    folder: TempDir,
    url: String,
    ca: String,
    server: Option<Running>,
}

/// A process that ends with its test, also with one that fails: left behind, it would hold the run's output open.
struct Running(Child);

impl Running {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).spawn().expect("the tool"))
    }

    fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("taken once"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already where the story ended it.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backscroll"));
    command.env_remove("BACKSCROLL_STORE");
    command
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool");
    // A tool that reads nothing may have closed its end.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

/// Returns what the tool said went wrong, checked against the exit code.
fn error(output: &Output, code: i32) -> Value {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    let error: Value = serde_json::from_str(text.trim()).expect("one JSON object");
    assert_eq!(error["type"], "error");
    assert!(error["message"].is_string());
    error
}

impl World {
    fn with_users(names: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut world = Self { folder, url: String::new(), ca: String::new(), server: None };
        world.start("127.0.0.1:0");
        for name in names {
            let user = format!("{name}@chat.acme");
            let data = world.data();
            let added = run(tool().args(["--json", "user", "add", &user, "--data"]).arg(data), "secret word\n");
            assert!(added.status.success());
            let root = world.ca.clone();
            let words = ["login", "--server", &world.url, "--user", &user, "--ca", &root];
            let session = world.ok_with(name, &words, "secret word\n").remove(0);
            assert_eq!((&session["type"], &session["user"]), (&"session".into(), &user.into()));
            assert!(session["user_id"].is_u64());
        }
        world
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    fn start(&mut self, listen: &str) {
        let mut serve = tool();
        serve.args(["--json", "serve", "--listen", listen, "--data"]).arg(self.data());
        let mut server = Running::spawn(&mut serve);
        let mut line = String::new();
        server.output().read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["type"], "ready");
        self.url = ready["url"].as_str().unwrap().to_owned();
        self.ca = ready["ca"].as_str().unwrap().to_owned();
        assert_eq!(Path::new(ready["data"].as_str().unwrap()), self.data());
        self.server = Some(server);
    }

    /// Ends the server in order, by the signal an operator sends.
    fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        assert!(Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap().success());
        assert!(server.0.wait().unwrap().success());
    }

    fn start_again(&mut self) {
        let address = self.url.trim_start_matches("wss://").trim_end_matches("/platform").to_owned();
        self.start(&address);
    }

    fn store(&self, device: &str) -> PathBuf {
        self.folder.path().join(format!("{device}.db"))
    }

    fn run(&self, device: &str, words: &[&str]) -> Output {
        run(tool().arg("--json").arg("--store").arg(self.store(device)).args(words), "")
    }

    fn ok_with(&self, device: &str, words: &[&str], input: &str) -> Vec<Value> {
        let output = run(tool().arg("--json").arg("--store").arg(self.store(device)).args(words), input);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        objects(&output)
    }

    fn ok(&self, device: &str, words: &[&str]) -> Vec<Value> {
        self.ok_with(device, words, "")
    }

    fn texts(&self, device: &str) -> Vec<String> {
        let messages = self.ok(device, &["messages", "Lunch"]);
        messages.iter().map(|message| message["text"].as_str().expect("no gap").to_owned()).collect()
    }
}

#[test]
fn two_users_chat_and_every_line_has_its_members() {
    let world = World::with_users(&["alice", "bob"]);
    let made = world.ok("alice", &["create", "--title", "Lunch", "bob@chat.acme", "--wait"]).remove(0);
    assert_eq!((&made["type"], &made["state"]), (&"conversation".into(), &"settled".into()));
    assert_eq!(made["sequence"], 1);
    let uuid = made["uuid"].as_str().unwrap().to_owned();

    let sent = world.ok("alice", &["send", "Lunch", "Soup?", "--payload", r#"[{"n":1}]"#, "--wait"]).remove(0);
    assert_eq!((&sent["type"], &sent["state"], &sent["sequence"]), (&"outbox".into(), &"settled".into(), &2.into()));
    assert!(sent["token"].is_string());
    let message = sent["uuid"].as_str().unwrap().to_owned();

    let synced = world.ok("bob", &["sync"]);
    let summary = synced.last().unwrap();
    assert_eq!((&summary["type"], &summary["events"], &summary["gaps"]), (&"summary".into(), &2.into(), &0.into()));
    assert!(summary["settled"].is_u64() && summary["failed"].is_u64() && summary["seconds"].is_f64());

    let listed = world.ok("bob", &["conversations"]).remove(0);
    for (member, expected) in [
        ("type", Value::from("conversation")),
        ("uuid", uuid.clone().into()),
        ("title", "Lunch".into()),
        ("kind", "regular".into()),
        ("head", 2.into()),
        ("covered", 2.into()),
        ("gaps", 0.into()),
        ("unread", 1.into()),
        ("unread_exact", true.into()),
    ] {
        assert_eq!(listed[member], expected, "{member}");
    }
    let shown = world.ok("bob", &["messages", &uuid[..8]]).remove(0);
    for (member, expected) in [
        ("type", Value::from("message")),
        ("uuid", message.clone().into()),
        ("conversation", uuid.into()),
        ("sequence", 2.into()),
        ("revision", 2.into()),
        ("text", "Soup?".into()),
        ("payload", serde_json::json!([{"n": 1}])),
        ("edited", false.into()),
        ("removed", false.into()),
        ("state", "settled".into()),
    ] {
        assert_eq!(shown[member], expected, "{member}");
    }

    world.ok("bob", &["read", "Lunch", "--wait"]);
    assert_eq!(world.ok("bob", &["conversations"])[0]["unread"], 0);
    let edited = world.ok("alice", &["edit", &message, "Soup!", "--wait"]).remove(0);
    assert_eq!((&edited["state"], &edited["sequence"]), (&"settled".into(), &3.into()));
    world.ok("bob", &["sync"]);
    assert_eq!(world.texts("bob"), ["Soup!"]);
    world.ok("alice", &["remove", &message, "--wait"]);
    world.ok("bob", &["sync"]);
    assert_eq!(world.ok("bob", &["messages", "Lunch"])[0]["removed"], true);

    let inspected = world.ok("bob", &["inspect"]);
    let overview = &inspected[0];
    assert_eq!((&overview["type"], &overview["account"]), (&"store".into(), &"bob@chat.acme".into()));
    let lunch = &inspected[1];
    assert_eq!((&lunch["title"], &lunch["history"]), (&"Lunch".into(), &"everything".into()));
    assert_eq!((&lunch["covered"], &lunch["head"], &lunch["freshness"]), (&4.into(), &4.into(), &"stale".into()));
    assert!(lunch["stale_since"].is_i64(), "it was whole when bob was there last: {lunch}");
    let for_people = run(tool().arg("--store").arg(world.store("bob")).arg("inspect"), "");
    let text = String::from_utf8(for_people.stdout).unwrap();
    assert!(text.contains("history wanted") && text.contains("4 of 4") && text.contains("as of "), "{text}");
    assert_eq!((&overview["events"], &overview["outbox"]["queued"]), (&4.into(), &0.into()));
    assert_eq!(world.ok("bob", &["verify"]).last().unwrap()["ok"], true);
    assert_eq!(world.ok("bob", &["gaps"]), [] as [Value; 0]);
}

/// R-06: exit code 1 and one line a difference; `repair --online` fetches what differs, and then all is the same.
#[test]
fn a_file_is_compared_with_the_server_and_repaired_from_it() {
    let mut world = World::with_users(&["alice", "bob"]);
    world.ok("alice", &["create", "--title", "Lunch", "bob@chat.acme", "--wait"]);
    for text in ["one", "two", "three"] {
        world.ok("alice", &["send", "Lunch", text, "--wait"]);
    }
    // Twice, so that the second time nothing has moved.
    world.ok("bob", &["sync"]);
    world.ok("bob", &["sync"]);
    let summary = world.ok("bob", &["verify", "--online", "--full"]).pop().unwrap();
    assert_eq!((&summary["type"], &summary["ok"], &summary["compared"]), (&"summary".into(), &true.into(), &4.into()));

    let file = rusqlite::Connection::open(world.store("bob")).unwrap();
    file.execute_batch(
        "UPDATE message SET text = 'forged' WHERE id & 4294967295 = 2; DELETE FROM message WHERE id & 4294967295 = 3;
         UPDATE conversation SET title = 'Dinner'",
    )
    .unwrap();
    drop(file);
    let output = world.run("bob", &["verify", "--online", "--sample", "10"]);
    assert_eq!(error(&output, 1)["hint"], "backscroll repair --online puts right what the file and the server allow");
    let told = objects(&output);
    let of = |kind: &str, first: Value| told.iter().any(|told| told["type"] == kind && told["first"] == first);
    // What cannot be read any more is lost, as what is not there.
    assert!(
        of("finding", 2.into())
            && of("finding", 3.into())
            && of("difference", 2.into())
            && of("difference", Value::Null),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap()["ok"], false);

    let told = world.ok("bob", &["repair", "--online", "--full"]);
    assert!(told.iter().any(|told| told["type"] == "fixed" && told["part"] == "title"), "{told:?}");
    assert_eq!(told.last().unwrap()["left"], 0);
    assert_eq!(world.ok("bob", &["verify", "--online", "--full"]).pop().unwrap()["ok"], true);
    let texts: Vec<Value> = world.ok("bob", &["messages", "Lunch"]).iter().map(|told| told["text"].clone()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(error(&world.run("bob", &["verify", "--full"]), 2)["type"], "error");
    world.stop();
}

/// R-47, D-9: what is damaged is missing from the answers and said beside them; `verify` names it, `repair` says what it
/// put right, and what nobody can replace stays.
#[test]
fn a_damaged_file_is_looked_into_and_repaired() {
    let world = World::with_users(&["alice", "bob"]);
    world.ok("alice", &["create", "--title", "Lunch", "bob@chat.acme", "--wait"]);
    world.ok("alice", &["send", "Lunch", "one", "--wait"]);
    let file = rusqlite::Connection::open(world.store("alice")).unwrap();
    file.execute_batch(
        "PRAGMA ignore_check_constraints = ON; UPDATE conversation SET head = -1;
         UPDATE outbox SET state = 9 WHERE position = 1",
    )
    .unwrap();
    drop(file);

    let listed = world.run("alice", &["conversations"]);
    assert!(listed.status.success() && listed.stdout.is_empty());
    let warning: Value = serde_json::from_slice(&listed.stderr).expect("one JSON object");
    assert_eq!(warning["type"], "warning");
    assert_eq!(world.ok("alice", &["inspect"])[0]["unreadable"], 2);
    let verified = world.run("alice", &["verify"]);
    error(&verified, 1);
    let faults: Vec<Value> = objects(&verified).iter().map(|line| line["fault"].clone()).collect();
    assert_eq!(faults, ["conversation".into(), "outbox".into(), Value::Null]);

    let repaired = world.run("alice", &["repair"]);
    error(&repaired, 1);
    let summary = objects(&repaired).pop().unwrap();
    assert_eq!((&summary["findings"], &summary["rebuilt"], &summary["left"]), (&2.into(), &1.into(), &1.into()));
    world.ok("alice", &["sync"]);
    assert_eq!(world.texts("alice"), ["one"]);
    world.ok("alice", &["send", "Lunch", "two", "--wait"]);
    world.ok("bob", &["sync"]);
    assert_eq!(world.texts("bob"), ["one", "two"]);
}

#[test]
fn what_is_written_with_the_server_gone_arrives_later_once() {
    let mut world = World::with_users(&["alice", "bob"]);
    world.ok("alice", &["create", "--title", "Lunch", "bob@chat.acme", "--wait"]);
    world.ok("bob", &["sync"]);
    world.stop();

    for (device, text) in [("alice", "one"), ("bob", "two"), ("alice", "three")] {
        assert_eq!(world.ok(device, &["send", "Lunch", text])[0]["state"], "queued");
    }
    let waiting = world.ok("alice", &["outbox"]);
    assert_eq!(waiting.len(), 2);
    assert_eq!((&waiting[0]["action"], &waiting[0]["state"]), (&"sendMessage".into(), &"queued".into()));
    assert!(waiting[0]["queued_at"].is_i64() && waiting[0]["attempts"].is_u64());
    assert_eq!(world.texts("alice"), ["one", "three"]);
    error(&world.run("alice", &["send", "Lunch", "four", "--wait=0"]), 1);
    error(&world.run("alice", &["sync", "--timeout", "1"]), 1);

    world.start_again();
    for device in ["alice", "bob", "alice"] {
        world.ok(device, &["sync"]);
    }
    let mut texts = world.texts("alice");
    assert_eq!(world.texts("bob"), texts);
    assert_eq!(texts.iter().filter(|text| *text != "two").collect::<Vec<_>>(), ["one", "three", "four"]);
    texts.sort();
    assert_eq!(texts, ["four", "one", "three", "two"]);
    assert_eq!(world.ok("alice", &["outbox"]), [] as [Value; 0]);
}

#[test]
fn what_waits_is_used_taken_back_and_tried_again() {
    let mut world = World::with_users(&["alice", "bob"]);
    world.ok("alice", &["create", "--title", "Square", "--public", "--wait"]);
    world.stop();
    // Written into before the server has named it, by the id under which it is listed.
    let made = world.ok("alice", &["create", "--title", "Lunch", "102"]).remove(0);
    let uuid = made["uuid"].as_str().expect("an id of our own").to_owned();
    assert_eq!((&made["state"], &made["sequence"]), (&"queued".into(), &Value::Null));
    world.ok("alice", &["send", &uuid, "kept"]);
    let regretted = world.ok("alice", &["send", "Lunch", "regretted"])[0]["token"].as_str().unwrap().to_owned();
    let nobody = world.ok("alice", &["participants", "Square", "add", "999"])[0]["token"].as_str().unwrap().to_owned();
    assert_eq!(world.ok("alice", &["cancel", &regretted])[0]["state"], "cancelled");
    error(&world.run("alice", &["cancel", &regretted]), 1);

    world.start_again();
    world.ok("alice", &["sync"]);
    assert_eq!(world.texts("alice"), ["kept"]);
    let failed = world.ok("alice", &["outbox"]);
    assert_eq!((failed.len(), &failed[0]["token"], &failed[0]["state"]), (1, &nobody.clone().into(), &"failed".into()));
    assert_eq!(error(&world.run("alice", &["retry", &nobody, "--wait"]), 1)["name"], "USER_VALIDATION");
}

#[test]
fn people_come_and_go_and_their_rights_change() {
    let world = World::with_users(&["alice", "bob"]);
    let made = world.ok("alice", &["create", "--title", "Square", "--public", "--wait"]).remove(0);
    let uuid = made["uuid"].as_str().unwrap();
    assert_eq!(world.ok("bob", &["join", uuid, "--wait"])[0]["state"], "settled");
    let rights = |names: &[&str]| -> Value { names.to_vec().into() };
    let edit = ["participants", "Square", "edit", "bob@chat.acme", "--rights", "write,manage", "--wait"];
    world.ok("alice", &edit);
    let listed = world.ok("alice", &["participants", "Square"]);
    assert_eq!(listed[1]["rights"], rights(&["write", "manage"]));
    world.ok("bob", &["leave", "Square", "--wait"]);
    world.ok("alice", &["sync"]);
    assert_eq!(world.ok("alice", &["participants", "Square"]).len(), 1);
    world.ok("alice", &["participants", "Square", "add", "bob@chat.acme", "--rights", "owner", "--wait"]);
    world.ok("alice", &["participants", "Square", "remove", "bob@chat.acme", "--wait"]);
    assert_eq!(world.ok("alice", &["participants", "Square"]).len(), 1);
    world.ok("alice", &["remove", "--conversation", "Square", "--wait"]);
    assert_eq!(world.ok("alice", &["conversations"]), [] as [Value; 0]);
}

#[test]
fn refusals_carry_their_code_and_name() {
    let world = World::with_users(&["alice", "bob"]);
    let made = world.ok("alice", &["create", "--direct", "bob@chat.acme", "--wait"]).remove(0);
    let refused = world.run("alice", &["participants", made["uuid"].as_str().unwrap(), "add", "102", "--wait"]);
    let told = error(&refused, 1);
    assert_eq!((&told["code"], &told["name"]), (&37.into(), &"ADDING_TO_DIRECT".into()));
    assert_eq!(objects(&refused)[0]["error"]["code"], 37);
    let unknown = world.run("alice", &["create", "nobody@chat.acme"]);
    assert_eq!(error(&unknown, 1)["message"], "there is no user nobody@chat.acme");
    let wrong = run(
        tool().args(["--json", "--store"]).arg(world.store("new")).args(["login", "--server", &world.url]).args([
            "--user",
            "alice@chat.acme",
            "--ca",
            &world.ca,
        ]),
        "not the password\n",
    );
    assert!(error(&wrong, 1)["message"].as_str().unwrap().contains("401"));
    let other = run(
        tool().args(["--json", "--store"]).arg(world.store("bob")).args(["login", "--user", "alice@chat.acme"]),
        "secret word\n",
    );
    assert!(error(&other, 2)["message"].as_str().unwrap().contains("belongs to bob@chat.acme"));
}

#[test]
fn wrong_use_and_a_wrong_file_end_with_a_hint_and_their_code() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing.db");
    let told = error(&run(tool().args(["--json", "inspect", "--store"]).arg(&missing), ""), 3);
    assert!(told["hint"].as_str().unwrap().contains("login"));
    assert!(!missing.exists(), "looking made a file");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "not a database at all, but long enough to be looked at twice").unwrap();
    error(&run(tool().args(["--json", "inspect", "--store"]).arg(&text), ""), 3);
    error(&run(tool().args(["--json", "inspect"]), ""), 2);
    error(&run(tool().args(["--json", "inspct"]), ""), 2);
    error(&run(tool().args(["--json", "user", "list", "--data"]).arg(folder.path().join("none")), ""), 3);
    let help = run(tool().arg("--help"), "");
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("conversations"));
}

#[test]
fn a_password_is_taken_from_nowhere_but_standard_input() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("server");
    for words in [["--password", "x"], ["--passwd", "x"]] {
        error(&run(tool().args(["--json", "user", "add", "a@b.c", "--data"]).arg(&data).args(words), ""), 2);
    }
    let told = error(&run(tool().args(["--json", "user", "add", "a@b.c", "--data"]).arg(&data), ""), 2);
    assert_eq!(told["message"], "no password came in");
    let added = run(tool().args(["--json", "user", "add", "a@b.c", "--data"]).arg(&data), "word\n");
    assert!(added.status.success());
    let listed = objects(&run(tool().args(["--json", "user", "list", "--data"]).arg(&data), ""));
    assert_eq!(listed[0]["user"], "a@b.c");
    assert!(!String::from_utf8(added.stdout).unwrap().contains("word"));
}

#[test]
fn every_way_to_log_in_leads_to_a_session_and_a_logout_ends_it() {
    let world = World::with_users(&["alice"]);
    let login = ["login", "--server", &world.url, "--user", "alice@chat.acme", "--ca", &world.ca];
    let by = |device: &str, way: &str, input: &str| {
        let words: Vec<&str> = login.iter().copied().chain([way]).collect();
        run(tool().arg("--json").arg("--store").arg(world.store(device)).args(words), input)
    };
    let session = by("key", "--one-time-key", "secret word\n");
    assert_eq!(objects(&session)[0]["user"], "alice@chat.acme");
    assert_eq!(world.ok("key", &["inspect"])[0]["session"], "kept");

    for way in ["--one-time-key", "--one-time-hash", "--access-token", "--refresh-token"] {
        let told = error(&by("none", way, "a guess\n"), 1);
        assert!(told["message"].as_str().unwrap().contains("401"), "{way}: {told}");
    }
    error(
        &run(
            tool()
                .args(["--json", "--store"])
                .arg(world.store("none"))
                .args(login)
                .args(["--one-time-key", "--access-token"]),
            "",
        ),
        2,
    );

    world.ok("key", &["logout"]);
    assert_eq!(world.ok("key", &["inspect"])[0]["session"], "logged out");
}

/// R-33, R-42: what a second process sends goes out by the first, and what only that one can do names it.
#[test]
fn a_store_in_use_can_be_looked_into_and_written_to() {
    let world = World::with_users(&["alice", "bob"]);
    world.ok("alice", &["create", "--title", "Lunch", "bob@chat.acme", "--wait"]);
    let mut sync = tool();
    sync.args(["--json", "--store"]).arg(world.store("alice")).args(["sync", "--follow"]);
    let mut following = Running::spawn(&mut sync);
    let mut lines = following.output().lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(r#""type":"summary""#)));
    assert_eq!(world.ok("alice", &["conversations"])[0]["title"], "Lunch");
    assert_eq!(world.ok("alice", &["inspect"])[0]["account"], "alice@chat.acme");
    assert_eq!(world.ok("alice", &["inspect"])[0]["holder"]["process"], following.0.id());
    assert_eq!(world.ok("alice", &["send", "Lunch", "from here", "--wait"])[0]["state"], "settled");
    assert!(lines.any(|line| line.contains("from here")));
    let told = error(&world.run("alice", &["logout"]), 3);
    assert!(told["message"].as_str().unwrap().contains(&format!("process {}", following.0.id())), "{told}");
    assert!(told["hint"].is_string());
    world.ok("bob", &["sync"]);
    world.ok("bob", &["send", "Lunch", "hello there", "--wait"]);
    assert!(lines.any(|line| line.contains("hello there")), "what happens is printed as it happens");
    drop(following);
    assert!(world.ok("alice", &["inspect"])[0]["holder"].is_null(), "a dead one holds nothing");
}

#[test]
fn the_demo_keeps_its_claims() {
    let folder = TempDir::new().unwrap();
    let told = run(tool().args(["--json", "demo", "--dir"]).arg(folder.path().join("demo")), "");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let summary = objects(&told).pop().unwrap();
    assert_eq!((&summary["type"], &summary["ok"]), (&"summary".into(), &true.into()));
    assert!(summary["messages"].as_u64().unwrap() > 250);
    for device in ["alice", "bob", "bob-new-phone"] {
        assert!(folder.path().join("demo").join(format!("{device}.db")).exists());
    }
}
