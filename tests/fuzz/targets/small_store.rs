//! A small store with something in every table, and every question that can be asked of one.

use super::hostile_server::Shell;
use backscroll::model::{
    Action, ClientToken, Conversation, ConversationConfig, ConversationId, ErrorCode, Event, EventBody, HistoryPolicy,
    Intent, Membership, Message, MessageContent, MessageId, MessageKey, MessagingError, OutboxEntry, OutboxState,
    Participant, PrivateUser, PushToken, RawJson, RequestId, Secret, Sequence, SequenceRange, ServerAddress, Session,
    Settlement, Timestamp, Tokens, User, UserId, UserName,
};
use backscroll::store::{Durability, Item, OpenOptions, PAGE_MAX, Reader, Store, StoreError, Window};
use backscroll::sync::{HoleReason, SavedState, Write};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;
use uuid::{Uuid, uuid};

/// The conversation that nearly all captured frames are about.
const ROOM_UUID: Uuid = uuid!("fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e");

/// The message that most captured frames are about.
const MESSAGE_UUID: Uuid = uuid!("e2c492b3-6027-4a8d-8aca-ebd59fb93965");

/// The conversation with something in it.
pub(super) fn room() -> ConversationId {
    ConversationId::from_uuid(ROOM_UUID)
}

/// A conversation of which only the head is known.
fn other_room() -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(2))
}

/// The user whose store it is.
pub(super) fn own() -> UserId {
    UserId::new(102).expect("small")
}

fn stranger() -> UserId {
    UserId::new(101).expect("small")
}

fn range(first: u32, last: u32) -> SequenceRange {
    SequenceRange::new(Sequence(first), Sequence(last)).expect("a range")
}

fn json(text: &str) -> RawJson {
    RawJson::new(text).expect("JSON")
}

fn event(sequence: u32, action: Action, body: EventBody) -> Event {
    let initiator = if sequence.is_multiple_of(3) { own() } else { stranger() };
    let timestamp = Timestamp(1_700_000_000 + i64::from(sequence));
    Event { conversation: room(), sequence: Sequence(sequence), action, initiator, timestamp, body, unknown: None }
}

fn content(id: Uuid, text: &str) -> MessageContent {
    MessageContent { id: MessageId::from_uuid(id), text: text.to_owned(), payload: Some(json(r#"[{"n":1}]"#)) }
}

fn sent(sequence: u32) -> Event {
    let id = if sequence == 2 { MESSAGE_UUID } else { Uuid::from_u128(sequence.into()) };
    event(sequence, Action::SendMessage, EventBody::MessageSent(content(id, &format!("text {sequence}"))))
}

fn described() -> Conversation {
    let config = ConversationConfig {
        title: "Lunch".to_owned(),
        participants: vec![Participant::new(own()), Participant::new(stranger())],
        custom_data: json(r#"{"icon":"x"}"#),
        ..ConversationConfig::default()
    };
    Conversation::recreate(room(), config, Sequence(20), Timestamp(1_700_000_020), Timestamp(1_700_000_000))
}

fn user(id: UserId, name: &str, private: Option<PrivateUser>) -> User {
    User {
        id,
        name: UserName::new(name),
        display_name: "Somebody".to_owned(),
        custom_data: RawJson::empty_object(),
        deleted: false,
        private,
    }
}

/// Returns an entry of the outbox.
pub(super) fn entry(position: u64, state: OutboxState, intent: Intent) -> OutboxEntry {
    let settled = Settlement { conversation: Some(room()), ..Settlement::default() };
    OutboxEntry {
        token: ClientToken::from_uuid(Uuid::from_u128(u128::from(position) + (1 << 64))),
        position,
        intent,
        state,
        request: RequestId::from_uuid(Uuid::from_u128(u128::from(position) + (2 << 64))),
        attempts: 1,
        queued_at: Timestamp(1_700_000_000),
        settlement: (state == OutboxState::Settled).then_some(settled),
        error: (state == OutboxState::Failed).then(|| MessagingError::from(ErrorCode::MessageStructureIsWrong)),
    }
}

/// Returns a session that can be resumed.
pub(super) fn session() -> Session {
    let tokens = Tokens {
        access: Secret::new("access"),
        access_expires_s: 172_800,
        refresh: Secret::new("refresh"),
        refresh_expires_s: 2_592_000,
    };
    Session {
        user: UserName::new("bob@chat.acme"),
        user_id: Some(own()),
        server: ServerAddress { url: "wss://localhost/platform".to_owned(), extra_root: None },
        tokens: Some(tokens),
        refused: None,
        device: Some(Secret::new("device")),
    }
}

fn history() -> Vec<Event> {
    let edit = |text: &str| EventBody::MessageEdited(content(MESSAGE_UUID, text));
    let unknown = EventBody::Unknown { name: "onWhatever".into(), payload: json(r#"{"seq":9}"#) };
    let mut events = vec![event(1, Action::CreateConversation, EventBody::ConversationCreated(Box::new(described())))];
    events.extend((2..=4).map(sent));
    events.push(event(5, Action::EditMessage, edit("changed")));
    events.push(event(6, Action::RemoveMessage, EventBody::MessageRemoved(MessageId::from_uuid(Uuid::from_u128(3)))));
    events.push(event(7, Action::EditConversation, EventBody::ConversationEdited(Box::new(described()))));
    // Its message is not held: it waits.
    events.push(event(8, Action::RemoveMessage, EventBody::MessageRemoved(MessageId::from_uuid(Uuid::from_u128(99)))));
    events.push(event(9, Action::from("whatever"), unknown));
    events.extend((15..=20).map(sent));
    events
}

fn outbox() -> Vec<OutboxEntry> {
    let text = |text: &str| Intent::SendMessage { conversation: room(), text: text.to_owned(), payload: None };
    let message = MessageKey::Id(MessageId::from_uuid(MESSAGE_UUID));
    vec![
        entry(1, OutboxState::Settled, text("one")),
        entry(2, OutboxState::Failed, Intent::RemoveMessage { conversation: room(), message }),
        entry(3, OutboxState::Uncertain, text("three")),
        entry(4, OutboxState::Queued, text("four")),
        entry(5, OutboxState::Queued, Intent::CreateConversation(ConversationConfig::default())),
        entry(6, OutboxState::Queued, Intent::MarkAsRead { conversation: room(), sequence: Sequence(15) }),
    ]
}

/// Everything that can be written, in small.
fn everything() -> Vec<Write> {
    let private = PrivateUser {
        custom_data: RawJson::empty_object(),
        notifications: backscroll::model::Notification::ALL.to_vec(),
        conversations: vec![room(), other_room()],
        left_conversations: Vec::new(),
    };
    let mut writes = vec![
        Write::Session(session()),
        Write::PushToken(PushToken { token: Secret::new("push"), wanted: true }),
        Write::User(user(own(), "bob@chat.acme", Some(private))),
        Write::User(user(stranger(), "alice@chat.acme", None)),
        Write::Conversation(described()),
        Write::Membership(other_room(), Membership::Left),
        Write::Events(room(), history()),
        Write::Cover(room(), range(1, 10)),
        Write::Cover(room(), range(15, 20)),
        Write::Hole(room(), range(10, 10), HoleReason::NotInHistory),
        Write::ReadMark { conversation: room(), user: own(), sequence: Sequence(4) },
        Write::History(room(), Some(HistoryPolicy::Newest(100))),
        Write::WholeAt(Timestamp(1_700_000_000)),
        Write::Subscriptions(vec![stranger()]),
        Write::PublicConversations(vec![room()]),
    ];
    writes.extend(outbox().into_iter().map(Write::Outbox));
    writes
}

/// A store as files.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) main: Vec<u8>,
    /// The write-ahead log; empty for none.
    pub(super) log: Vec<u8>,
}

fn options(path: PathBuf) -> OpenOptions {
    // Nobody cuts the power here.
    OpenOptions { commits: Durability::Normal, ..OpenOptions::new(path) }
}

fn made(leave: bool) -> Image {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Store::open_with(options(path.clone())).expect("a store");
    for writes in everything() {
        store.write(vec![writes]).wait().expect("a store that writes");
    }
    if leave {
        store.leave()
    } else {
        drop(store)
    }
    let log = fs::read(folder.path().join("store.db-wal")).unwrap_or_default();
    Image { main: fs::read(path).expect("a file"), log }
}

/// The small store, closed.
pub(super) fn image() -> &'static Image {
    static IMAGE: LazyLock<Image> = LazyLock::new(|| made(false));
    &IMAGE
}

/// The small store as a process leaves it that ends at once: nearly everything is in the log.
pub(super) fn image_with_log() -> &'static Image {
    static IMAGE: LazyLock<Image> = LazyLock::new(|| made(true));
    &IMAGE
}

/// What a core is restored from, and the message it may ask for.
fn known() -> &'static (SavedState, Message) {
    static KNOWN: LazyLock<(SavedState, Message)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        fs::write(&path, &image().main).expect("room");
        let store = Store::open_with(options(path)).expect("a sound file");
        let message = store.read(|reader| reader.message(room(), MessageId::from_uuid(MESSAGE_UUID)));
        (store.saved_state().expect("a sound file"), message.expect("a sound file").expect("a message that is held"))
    });
    &KNOWN
}

/// What a core is restored from.
pub(super) fn saved_state() -> &'static SavedState {
    &known().0
}

/// Returns a message that the small store holds.
pub(super) fn held(id: MessageId) -> Option<Message> {
    Some(&known().1).filter(|message| message.id == Some(id)).cloned()
}

/// A folder of this thread in which one store after the other lies.
pub(super) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// Works in the folder of this thread.
    pub(super) fn with<T>(work: impl FnOnce(&Self) -> T) -> T {
        thread_local! {
            static SCRATCH: Scratch = Scratch { folder: tempfile::tempdir().expect("a folder") };
        }
        SCRATCH.with(work)
    }

    /// Replaces the store in the folder.
    pub(super) fn place(&self, image: &Image) -> OpenOptions {
        let path = self.folder.path().join("store.db");
        for beside in ["-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(beside);
            match fs::remove_file(name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                Ok(()) | Err(_) => {}
            }
        }
        fs::write(&path, &image.main).expect("room");
        if !image.log.is_empty() {
            fs::write(self.folder.path().join("store.db-wal"), &image.log).expect("room");
        }
        options(path)
    }
}

/// Takes an answer or an error for equally right: of a damaged file nobody knows more.
fn either<T>(answer: Result<T, StoreError>) -> Option<T> {
    answer.inspect_err(|error| assert!(!error.to_string().is_empty())).ok()
}

/// Reads a conversation to its beginning, a page at a time.
fn read_back(reader: &Reader<'_>, conversation: ConversationId) {
    let (mut window, mut before) = (Window::Newest, None);
    while let Some(items) = either(reader.messages(conversation, window, 7)) {
        let Some(first) = items.first() else { break };
        let at = match first {
            Item::Message(message) => message.sequence,
            Item::Gap(gap) => gap.first(),
        };
        assert!(before.is_none_or(|before| at < before), "a page before {before:?} begins at {at}");
        before = Some(at);
        window = Window::Before(at);
    }
    for window in [Window::Around(Sequence(5)), Window::After(Sequence(0)), Window::After(Sequence(u32::MAX))] {
        either(reader.messages(conversation, window, PAGE_MAX));
    }
}

/// Asks everything there is to ask.
fn ask(reader: &Reader<'_>) {
    let listed = either(reader.conversations(PAGE_MAX, 0)).unwrap_or_default();
    for conversation in listed.iter().map(|row| row.conversation.id).chain([room(), other_room()]) {
        either(reader.conversation(conversation));
        read_back(reader, conversation);
        either(reader.events(conversation, range(1, u32::MAX)));
        either(reader.message(conversation, MessageId::from_uuid(MESSAGE_UUID)));
        either(reader.gaps(Some(conversation)));
        either(reader.holes(Some(conversation)));
    }
    either(reader.find_conversations("Lunch"));
    either(reader.find_message(MessageId::from_uuid(MESSAGE_UUID)));
    either(reader.user(own()));
    either(reader.user_named(&UserName::new("alice@chat.acme")));
    either(reader.subscriptions());
    either(reader.public_conversations());
    either(reader.whole_at());
    either(reader.overview());
    either(reader.unsettled(Some(room())));
    either(reader.unsettled(None));
    either(reader.unsettled_makings());
    either(reader.changes_after(0));
}

/// Writes, each in a transaction of its own, and lets nothing pass but a refusal.
fn write(store: &Store, transactions: impl IntoIterator<Item = Vec<Write>>) {
    for writes in transactions {
        match store.write(writes).wait() {
            Err(StoreError::Closed) => panic!("the writer thread has died"),
            answer => drop(either(answer)),
        }
    }
}

/// S-6: opens a file that anything may be wrong with, asks everything, lets a core work on it, repairs it and asks again.
pub(super) fn live_with(options: OpenOptions) {
    let Some(store) = either(Store::open_with(options)) else { return };
    let check = |store: &Store| {
        either(store.read(|reader| {
            ask(reader);
            Ok(())
        }));
        either(store.read(|reader| reader.verify()));
    };
    check(&store);
    if let Some(saved) = either(store.saved_state()) {
        let mut shell = Shell::restore(saved);
        shell.come_up();
        (0..10).for_each(|_| shell.wait());
        write(&store, shell.transactions);
    }
    let page = vec![Write::Events(room(), (21..=24).map(sent).collect()), Write::Cover(room(), range(21, 24))];
    let read = Write::ReadMark { conversation: room(), user: own(), sequence: Sequence(22) };
    let text = Intent::SendMessage { conversation: room(), text: "seven".to_owned(), payload: None };
    let queued = Write::Outbox(entry(7, OutboxState::Queued, text));
    write(&store, [page, vec![read], vec![Write::Conversation(described())], vec![queued]]);
    check(&store);
    // What a repair does.
    write(&store, [vec![Write::Rebuild(room(), Vec::new())]]);
    check(&store);
    store.leave();
}
