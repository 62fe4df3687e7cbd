//! What is done with any bytes at all: to frames, to a core, to rows and to whole files.
//!
//! Plain functions, so that the tests drive them with a short run in every build, and `cargo fuzz` with a long one.

use backscroll::model::{
    Action, ClientToken, ConversationId, Credentials, Event, EventBody, Intent, MessageContent, MessageId, RawJson,
    Secret, Sequence, SequenceRange, ServerAddress, Timestamp, Uptime, UserId, UserName,
};
use backscroll::protocol::{decode_client, decode_server, encode_client, encode_server};
use backscroll::store::{PAGE_MAX, Store, StoreError, Window};
use backscroll::sync::{Command, CommandId, Core, Input, LinkId, Output, SavedState, Settings, Write};
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// A frame of a client: what is understood is written and understood again.
pub(crate) fn client_frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(frame) = decode_client(text) {
        let again = decode_client(&encode_client(&frame)).expect("what we write we understand");
        assert_eq!(encode_client(&again), encode_client(&frame));
    }
}

/// Frames of a server, one a line: what is understood is written and understood again, and a core that is logged in
/// takes them all without asking to be woken over and over.
pub(crate) fn server_frames(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (mut core, mut link, mut now) = (live_core(), None, Uptime::default());
    let mut commands = 0_u64;
    for line in text.lines().take(64) {
        let input = match decode_server(line) {
            Ok(frame) => {
                let again = decode_server(&encode_server(&frame)).expect("what we write we understand");
                assert_eq!(encode_server(&again), encode_server(&frame));
                Input::Frame(link.unwrap_or(LinkId(0)), frame)
            }
            Err(_) => Input::Noise(link.unwrap_or(LinkId(0))),
        };
        follow(&mut core, now, input, &mut link);
        commands += 1;
        let token = ClientToken::from_uuid(Uuid::from_u128(commands.into()));
        let intent = wish("a wish among lies");
        let command = Command::Submit { token, intent, queued_at: Timestamp(0) };
        follow(&mut core, now, Input::Command(CommandId(commands), command), &mut link);
        for _ in 0..64 {
            let Some(due) = core.deadline().filter(|due| *due <= now) else { break };
            follow(&mut core, due.max(now), Input::DeadlinePassed, &mut link);
        }
        assert!(core.deadline().is_none_or(|due| due > now), "a core that is always due");
        now = now.after(Duration::from_secs(1));
    }
}

/// A row of any table holds any bytes in any column: the store opens, or says what is wrong.
pub(crate) fn stored_row(bytes: &[u8], scratch: &Path) {
    let [place, value @ ..] = bytes else { return };
    let file = scratch.join("row.db");
    std::fs::copy(sample(scratch), &file).expect("a copy");
    let db = Connection::open(&file).expect("a file of ours");
    let columns = columns_of(&db).expect("the columns there are");
    let (table, column) = &columns[usize::from(*place) % columns.len()];
    // What the checks of a table refuse cannot get there; half of the values go past them.
    db.pragma_update(None, "ignore_check_constraints", place % 2 == 0).expect("a switch");
    let text = String::from_utf8_lossy(value);
    let changed = db.execute(&format!("UPDATE \"{table}\" SET \"{column}\" = ?1"), [text.as_ref()]);
    let changed = changed.or_else(|_| {
        let mut number = [0; 8];
        number.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        db.execute(&format!("UPDATE \"{table}\" SET \"{column}\" = ?1"), [i64::from_le_bytes(number)])
    });
    drop(changed.or_else(|_| db.execute(&format!("UPDATE \"{table}\" SET \"{column}\" = ?1"), [value])));
    drop(db);
    read_all(&file);
}

fn columns_of(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut columns = db.prepare(
        "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY 1, 2",
    )?;
    columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Bytes of a whole file are others: the store opens, or says what is wrong.
pub(crate) fn store_file(bytes: &[u8], scratch: &Path) {
    let file = scratch.join("file.db");
    let mut content = std::fs::read(sample(scratch)).expect("the sample");
    for change in bytes.chunks(4) {
        let [high, middle, low, value] = *change else { continue };
        let place = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let length = content.len();
        content[place % length] = value;
    }
    // A short input cuts the file as well.
    if let [length, _] = bytes {
        content.truncate(content.len() * usize::from(*length) / 256);
    }
    std::fs::write(&file, content).expect("room");
    read_all(&file);
}

/// Reads everything there is to read. Errors are answers; a panic is not.
fn read_all(file: &Path) {
    let read = || -> Result<(), StoreError> {
        let store = Store::open(file)?;
        let saved = store.saved_state();
        store.read(|reader| {
            drop(reader.verify());
            drop(reader.overview());
            drop(reader.gaps(None));
            drop(reader.holes(None));
            drop(reader.conversations(100, 0));
            drop(reader.messages(conversation(), Window::Newest, PAGE_MAX));
            let all = SequenceRange::new(Sequence::FIRST, Sequence(100)).expect("not empty");
            drop(reader.events(conversation(), all));
            Ok(())
        })?;
        // What a damaged file says must not hurt the core either.
        let mut core = Core::restore(saved?, Settings::default(), 1, Uptime::default());
        drop(core.handle(Uptime::default(), Input::DeadlinePassed));
        drop(store.write(vec![Write::Cover(conversation(), range(1, 3))]).wait());
        Ok(())
    };
    drop(read());
    for side_file in ["-wal", "-shm", "-journal"] {
        let mut name = file.as_os_str().to_owned();
        name.push(side_file);
        drop(std::fs::remove_file(name));
    }
}

fn range(first: u32, last: u32) -> SequenceRange {
    SequenceRange::new(Sequence(first), Sequence(last)).expect("not empty")
}

fn conversation() -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(7))
}

fn wish(text: &str) -> Intent {
    Intent::SendMessage { conversation: conversation(), text: text.to_owned(), payload: None }
}

fn me() -> UserId {
    UserId::new(101).expect("small")
}

/// Makes a small store once, and returns where it is.
fn sample(scratch: &Path) -> std::path::PathBuf {
    let file = scratch.join("sample.db");
    if file.exists() {
        return file;
    }
    let message = |at: u32, text: &str| Event {
        conversation: conversation(),
        sequence: Sequence(at),
        action: Action::SendMessage,
        initiator: me(),
        timestamp: Timestamp(1_800_000_000),
        body: EventBody::MessageSent(MessageContent {
            id: MessageId::from_uuid(Uuid::from_u128(at.into())),
            text: text.to_owned(),
            payload: Some(RawJson::new(r#"[{"kind":"card"}]"#).expect("JSON")),
        }),
        unknown: None,
    };
    let store = Store::open(&file).expect("a new store");
    let mut core = live_core();
    let command = Command::Submit {
        token: ClientToken::from_uuid(Uuid::from_u128(9)),
        intent: wish("unsent"),
        queued_at: Timestamp(0),
    };
    let mut writes = vec![
        Write::Events(conversation(), vec![message(1, "one"), message(2, "two"), message(5, "five")]),
        Write::Cover(conversation(), range(1, 2)),
        Write::Cover(conversation(), range(5, 5)),
    ];
    for output in core.handle(Uptime::default(), Input::Command(CommandId(1), command)) {
        if let Output::Write(more) = output {
            writes.extend(more);
        }
    }
    store.write(writes).wait().expect("a store that writes");
    drop(store);
    file
}

/// A core that knows somebody to log in as.
fn live_core() -> Core {
    let mut core = Core::restore(SavedState::default(), Settings::default(), 1, Uptime::default());
    let credentials = Credentials::Password { user: UserName::new("alice@chat.acme"), password: Secret::new("alice") };
    let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
    let log_in = Command::LogIn { credentials, server };
    drop(core.handle(Uptime::default(), Input::Command(CommandId(0), log_in)));
    core
}

/// Gives an input, and opens every link that is asked for.
fn follow(core: &mut Core, now: Uptime, input: Input, link: &mut Option<LinkId>) {
    let mut inputs = vec![input];
    while let Some(input) = inputs.pop() {
        for output in core.handle(now, input) {
            match output {
                Output::Dial(id, _) => {
                    *link = Some(id);
                    inputs.push(Input::Connected(id));
                }
                Output::HangUp(_) => *link = None,
                _ => {}
            }
        }
    }
}
