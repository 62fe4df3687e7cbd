//! What a messenger stores in the course of its work: each write path at least once, as the transactions the
//! core, and the processes that follow, would ask for.

use backscroll::model::{
    Action, ClientToken, Conversation, ConversationConfig, ConversationId, Event, EventBody, HistoryPolicy, Intent,
    Membership, MessageContent, MessageId, MessageKey, OutboxEntry, OutboxState, Participant, PushToken, RawJson,
    RequestId, Secret, Sequence, SequenceRange, ServerAddress, Session, Settlement, Timestamp, Tokens, User, UserId,
    UserName, Wish, WishAnswer, WishKind, with_token,
};
use backscroll::store::{OpenOptions, Store, StoreError};
use backscroll::sync::{HeadsCursor, HoleReason, Write};
use std::collections::BTreeSet;
use std::str::FromStr;

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Which write path it is, for people.
    pub(crate) what: &'static str,
    deed: Deed,
}

/// What is stored, all or nothing.
#[derive(Clone, Debug)]
enum Deed {
    /// By the process that syncs.
    Write(Vec<Write>),
    /// By another one, which only follows.
    Wish(Vec<Wish>),
}

impl Step {
    /// Returns whether the step must survive a power cut once it was answered.
    pub(crate) fn is_promise(&self) -> bool {
        match &self.deed {
            Deed::Write(writes) => writes.iter().any(Write::is_promise),
            Deed::Wish(_) => true,
        }
    }

    fn writes(&self) -> &[Write] {
        match &self.deed {
            Deed::Write(writes) => writes,
            Deed::Wish(_) => &[],
        }
    }

    /// Stores the transaction of this step and waits for it; `store` is the one that syncs.
    pub(crate) fn store(&self, store: &Store) -> Result<(), StoreError> {
        match &self.deed {
            Deed::Write(writes) => store.write(writes.clone()).wait().map(drop),
            Deed::Wish(wishes) => {
                let vfs = Some(powerloss::VFS.to_owned());
                let follower = Store::share(OpenOptions { vfs, ..OpenOptions::new(store.path()) })?;
                follower.wish(wishes.clone()).wait().map(drop)
            }
        }
    }
}

/// Makes a list of write paths, and the function that says which one a write takes: a kind of write without a name is
/// no program, and a name without a step of the story is a test that fails.
macro_rules! write_paths {
    ($($path:pat => $name:literal),* $(,)?) => {
        const WRITE_PATHS: &[&str] = &[$($name),*];

        const fn write_path(write: &Write) -> &'static str {
            match write {
                $($path => $name),*
            }
        }
    };
}

write_paths! {
    Write::Session(_) => "session",
    Write::PushToken(_) => "push token",
    Write::PushTokenForget(_) => "push token forgotten",
    Write::User(_) => "user",
    Write::Conversation(_) => "conversation",
    Write::Membership(..) => "membership",
    Write::Events(..) => "events",
    Write::Repeated(..) => "events told again",
    Write::Cover(..) => "coverage",
    Write::Hole(..) => "hole",
    Write::ReadMark { .. } => "read mark",
    Write::Rebuild(..) => "made anew",
    Write::Mend => "mended",
    Write::HeadsCursor(_) => "heads cursor",
    Write::History(..) => "history policy",
    Write::WholeAt(_) => "whole at",
    Write::Subscriptions(_) => "subscriptions",
    Write::Subscribed(_) => "subscribed",
    Write::Unsubscribed(_) => "unsubscribed",
    Write::PublicConversations(_) => "public conversations",
    Write::Outbox(_) => "outbox entry",
    Write::OutboxForget(_) => "outbox entry forgotten",
    Write::WishAnswered(..) => "wish answered",
}

/// D-4: what the other tests enumerate is everything there is.
#[test]
fn the_story_takes_every_write_path() {
    for story in [steps(1), samples()] {
        let taken: BTreeSet<&str> = story.iter().flat_map(Step::writes).map(write_path).collect();
        assert_eq!(taken, WRITE_PATHS.iter().copied().collect());
        assert!(story.iter().any(|step| matches!(step.deed, Deed::Wish(_))));
    }
}

/// Tells the story; the same in every run.
#[derive(Debug)]
pub(crate) struct Story {
    steps: Vec<Step>,
    ids: u64,
    position: u64,
    wishes: u64,
}

/// One conversation of the story and its newest sequence.
struct Thread {
    id: ConversationId,
    head: u32,
}

/// Returns what the user does and receives in a day: log-in, catch-up, writing, and all that can come of it.
///
/// `rounds` times around what repeats; every round has each write path.
pub(crate) fn steps(rounds: u32) -> Vec<Step> {
    let mut story = Story { steps: Vec::new(), ids: 0, position: 0, wishes: 0 };
    story.log_in();
    for round in 0..rounds {
        let mut thread = story.catch_up(round, 20);
        story.chat(&mut thread);
        story.follow(&thread);
        story.keep_house(&thread, round);
        story.lose_touch(&mut thread, round);
    }
    story.steps
}

/// Returns the beginning of the story up to the first time that every write path was taken, with short pages.
pub(crate) fn samples() -> Vec<Step> {
    let mut story = Story { steps: Vec::new(), ids: 0, position: 0, wishes: 0 };
    story.log_in();
    let mut thread = story.catch_up(0, 3);
    story.chat(&mut thread);
    story.follow(&thread);
    story.keep_house(&thread, 0);
    story.lose_touch(&mut thread, 0);
    story.steps
}

const OWN: u64 = 7;
const OTHER: u64 = 8;

fn user(number: u64) -> UserId {
    UserId::new(number).expect("a small number")
}

fn range(first: u32, last: u32) -> SequenceRange {
    SequenceRange::new(Sequence(first), Sequence(last)).expect("a range of the story")
}

/// A text of the length that such texts have, from a few characters to a few pages, and unlike its neighbours.
fn text(number: u32) -> String {
    let length = if number % 16 == 15 { 4900 } else { 20 + number * 37 % 180 };
    (0..length).map(|at| char::from(b'a' + ((number * 7 + at * at) % 26) as u8)).collect()
}

impl Story {
    fn step(&mut self, what: &'static str, writes: Vec<Write>) {
        self.steps.push(Step { what, deed: Deed::Write(writes) });
    }

    fn id<T: FromStr<Err: std::fmt::Debug>>(&mut self) -> T {
        self.ids += 1;
        // Spread like random ones, so that indices of them are touched all over.
        let (high, low) = (self.ids.wrapping_mul(0x9E37_79B9_7F4A_7C15), self.ids);
        format!("{:08x}-{:04x}-4000-8000-{low:012x}", high >> 32, high >> 16 & 0xFFFF).parse().expect("a uuid")
    }

    fn session(&mut self) -> Session {
        self.ids += 1;
        let secret = |kind: &str| Secret::new(format!("{kind} of {}", self.ids));
        Session {
            user: UserName::new("alice@chat.acme"),
            user_id: Some(user(OWN)),
            server: ServerAddress { url: "wss://127.0.0.1/platform".to_owned(), extra_root: None },
            tokens: Some(Tokens {
                access: secret("access"),
                access_expires_s: 172_800,
                refresh: secret("refresh"),
                refresh_expires_s: 2_592_000,
            }),
            refused: None,
            device: Some(secret("device")),
        }
    }

    fn log_in(&mut self) {
        let session = self.session();
        self.step("log-in", vec![Write::Session(session)]);
        for (number, name) in [(OWN, "alice@chat.acme"), (OTHER, "bob@chat.acme")] {
            let described = User {
                id: user(number),
                name: UserName::new(name),
                display_name: name.to_owned(),
                custom_data: RawJson::empty_object(),
                deleted: false,
                private: None,
            };
            self.step("user", vec![Write::User(described)]);
        }
    }

    fn described(&self, thread: &Thread, title: &str) -> Conversation {
        let config = ConversationConfig {
            title: title.to_owned(),
            participants: [OWN, OTHER].map(|number| Participant::new(user(number))).to_vec(),
            ..ConversationConfig::default()
        };
        let now = Timestamp(i64::from(thread.head));
        Conversation::recreate(thread.id, config, Sequence(thread.head), now, Timestamp(1))
    }

    /// A conversation, and its history in three pages of so many events.
    fn catch_up(&mut self, round: u32, page: u32) -> Thread {
        let mut thread = Thread { id: self.id(), head: 3 * page };
        let described = self.described(&thread, "as listed");
        self.step(
            "conversation",
            vec![Write::Conversation(described.clone()), Write::Membership(thread.id, Membership::Member)],
        );
        thread.head = 0;
        let created = self.event(&mut thread, OTHER, EventBody::ConversationCreated(Box::new(described)));
        let mut history = vec![created];
        while thread.head < 3 * page {
            let content = self.content(round * 100 + thread.head);
            history.push(self.event(&mut thread, OTHER, EventBody::MessageSent(content)));
        }
        // The newest page first, as catch-up does, then the rest in two.
        for behind in [2 * page, 0, page] {
            let (first, last) = (behind + 1, behind + page);
            let page = history[behind as usize..last as usize].to_vec();
            self.step("page", vec![Write::Events(thread.id, page), Write::Cover(thread.id, range(first, last))]);
        }
        thread
    }

    fn content(&mut self, number: u32) -> MessageContent {
        MessageContent { id: self.id(), text: text(number), payload: None }
    }

    fn event(&mut self, thread: &mut Thread, initiator: u64, body: EventBody) -> Event {
        thread.head += 1;
        Event {
            conversation: thread.id,
            sequence: Sequence(thread.head),
            action: match body.name() {
                "onCreateConversation" => Action::CreateConversation,
                "onEditMessage" => Action::EditMessage,
                "onRemoveMessage" => Action::RemoveMessage,
                _ => Action::SendMessage,
            },
            initiator: user(initiator),
            timestamp: Timestamp(i64::from(thread.head)),
            body,
            unknown: None,
        }
    }

    fn live(&mut self, what: &'static str, thread: &mut Thread, body: EventBody) {
        let event = self.event(thread, OTHER, body);
        let at = range(thread.head, thread.head);
        self.step(what, vec![Write::Events(thread.id, vec![event]), Write::Cover(thread.id, at)]);
    }

    fn entry(&mut self, token: ClientToken, intent: Intent) -> OutboxEntry {
        self.position += 1;
        OutboxEntry {
            token,
            position: self.position,
            intent,
            state: OutboxState::Queued,
            request: self.id::<RequestId>(),
            attempts: 0,
            queued_at: Timestamp(1_700_000_000),
            settlement: None,
            error: None,
        }
    }

    fn accept(&mut self, what: &'static str, intent: Intent) -> OutboxEntry {
        let token = self.id();
        let entry = self.entry(token, intent);
        self.step(what, vec![Write::Outbox(entry.clone())]);
        entry
    }

    fn send(&mut self, entry: &mut OutboxEntry) {
        entry.state = OutboxState::Sending;
        entry.attempts += 1;
        self.step("about to be sent", vec![Write::Outbox(entry.clone())]);
    }

    /// The answer: the event and the settled entry, in one transaction.
    fn answer(&mut self, what: &'static str, thread: &mut Thread, mut entry: OutboxEntry, body: EventBody) {
        self.send(&mut entry);
        let message = body.message();
        let event = self.event(thread, OWN, body);
        entry.state = OutboxState::Settled;
        entry.settlement = Some(Settlement { conversation: Some(thread.id), message, sequence: Some(event.sequence) });
        self.step(
            what,
            vec![
                Write::Events(thread.id, vec![event]),
                Write::Cover(thread.id, range(thread.head, thread.head)),
                Write::Outbox(entry),
            ],
        );
    }

    /// Writes a message and returns it as the server has it.
    fn send_message(&mut self, thread: &mut Thread) -> MessageId {
        let mut content = self.content(thread.head);
        let intent = Intent::SendMessage { conversation: thread.id, text: content.text.clone(), payload: None };
        let entry = self.accept("message accepted", intent);
        content.payload = Some(with_token(None, entry.token));
        let id = content.id;
        self.answer("message answered", thread, entry, EventBody::MessageSent(content));
        id
    }

    fn chat(&mut self, thread: &mut Thread) {
        let (conversation, kept) = (thread.id, self.send_message(thread));
        let mut content = self.content(thread.head + 1000);
        content.id = kept;
        let (message, new_text) = (MessageKey::Id(kept), Some(content.text.clone()));
        let intent = Intent::EditMessage { conversation, message, text: new_text, payload: None };
        let entry = self.accept("edit accepted", intent);
        self.answer("edit answered", thread, entry, EventBody::MessageEdited(content));

        let removed = self.send_message(thread);
        let intent = Intent::RemoveMessage { conversation, message: MessageKey::Id(removed) };
        let entry = self.accept("removal accepted", intent);
        self.answer("removal answered", thread, entry, EventBody::MessageRemoved(removed));

        let heard = self.content(thread.head);
        let foreign = heard.id;
        self.live("live message", thread, EventBody::MessageSent(heard));
        let mut edited = self.content(thread.head + 2000);
        edited.id = foreign;
        self.live("live edit", thread, EventBody::MessageEdited(edited));
        let sequence = Sequence(thread.head);
        let mut entry = self.accept("read mark accepted", Intent::MarkAsRead { conversation, sequence });
        self.send(&mut entry);
        entry.state = OutboxState::Settled;
        entry.settlement = Some(Settlement { conversation: Some(conversation), ..Settlement::default() });
        self.step(
            "read mark answered",
            vec![Write::ReadMark { conversation, user: user(OWN), sequence }, Write::Outbox(entry)],
        );
        self.step("read mark of another", vec![Write::ReadMark { conversation, user: user(OTHER), sequence }]);

        let session = self.session();
        self.step("tokens renewed", vec![Write::Session(session)]);

        let mut entry = self.accept(
            "message accepted",
            Intent::SendMessage {
                conversation,
                text: text(15),
                payload: Some(RawJson::new(r#"[{"kind":"card"}]"#).expect("JSON")),
            },
        );
        self.send(&mut entry);
        entry.state = OutboxState::Uncertain;
        self.step("link lost", vec![Write::Outbox(entry.clone())]);
        self.step("taken back", vec![Write::OutboxForget(entry.token)]);
    }

    /// A process that follows wishes for something; returns the number of the wish.
    fn wish(&mut self, what: &'static str, token: ClientToken, kind: WishKind) -> u64 {
        self.wishes += 1;
        let wish = Wish { token, kind, wished_at: Timestamp(1_700_000_000) };
        self.steps.push(Step { what, deed: Deed::Wish(vec![wish]) });
        self.wishes
    }

    /// What other processes want: a message, and to have it back. The one that syncs takes both over.
    fn follow(&mut self, thread: &Thread) {
        let token: ClientToken = self.id();
        let intent = Intent::SendMessage { conversation: thread.id, text: text(3), payload: None };
        let number = self.wish("message wished", token, WishKind::Submit(intent.clone()));
        let entry = self.entry(token, intent);
        let accepted = Write::WishAnswered(number, WishAnswer::Accepted(token));
        self.step("wish taken over", vec![Write::Outbox(entry), accepted]);
        let number = self.wish("taking back wished", token, WishKind::Cancel);
        let done = Write::WishAnswered(number, WishAnswer::Done);
        self.step("wish carried out", vec![Write::OutboxForget(token), done]);
        let number = self.wish("trying again wished", token, WishKind::Retry);
        self.step("wish refused", vec![Write::WishAnswered(number, WishAnswer::Refused)]);
    }

    /// Everything that is neither history nor outbox, and what a repair does.
    fn keep_house(&mut self, thread: &Thread, round: u32) {
        let token = PushToken { token: Secret::new(format!("push token {round}")), wanted: true };
        self.step("push token registered", vec![Write::PushToken(token.clone())]);
        self.step("push token not wanted", vec![Write::PushToken(PushToken { wanted: false, ..token.clone() })]);
        self.step("push token forgotten", vec![Write::PushTokenForget(token.token)]);
        self.step("followed users listed", vec![Write::Subscriptions([OWN, OTHER].map(user).to_vec())]);
        self.step("user followed", vec![Write::Subscribed(vec![user(9)])]);
        self.step("users no longer followed", vec![Write::Unsubscribed([OWN, OTHER].map(user).to_vec())]);
        let public: Vec<ConversationId> = (0..3).map(|_| self.id()).collect();
        self.step("public conversations listed", vec![Write::PublicConversations(public)]);
        let policy = Some(HistoryPolicy::Newest(50 + round));
        self.step("history policy of its own", vec![Write::History(thread.id, policy)]);
        self.step("history policy of all", vec![Write::History(thread.id, None)]);
        let cursor = HeadsCursor {
            server_url: "wss://127.0.0.1/platform".to_owned(),
            cursor: format!("c0ffee:{}", 100 + round),
        };
        self.step("heads cursor", vec![Write::HeadsCursor(cursor)]);
        let again = self.told_again(thread);
        self.step("whole", vec![again, Write::WholeAt(Timestamp(1_700_000_000 + i64::from(round)))]);
        self.step("made anew", vec![Write::Rebuild(thread.id, Vec::new()), Write::Mend]);
    }

    /// The newest events once more, as they are.
    fn told_again(&self, thread: &Thread) -> Write {
        let mut writes = self.steps.iter().rev().flat_map(Step::writes);
        let told = writes.find_map(|write| {
            if let Write::Events(id, events) = write { (*id == thread.id).then(|| events.clone()) } else { None }
        });
        Write::Repeated(thread.id, told.expect("something was told"))
    }

    /// Events far ahead, holes, a description that changes, and the end of a membership.
    fn lose_touch(&mut self, thread: &mut Thread, round: u32) {
        let behind = thread.head;
        thread.head += 20;
        let content = self.content(thread.head);
        self.live("live message beyond the head", thread, EventBody::MessageSent(content));
        self.step(
            "hole",
            vec![
                Write::Hole(thread.id, range(behind + 1, behind + 5), HoleReason::NotInHistory),
                Write::Cover(thread.id, range(behind + 1, behind + 5)),
            ],
        );
        let unknown = EventBody::Unknown {
            name: "onSomethingNew".into(),
            payload: RawJson::new(r#"{"object":{"new":true}}"#).expect("JSON"),
        };
        self.live("live event of an unknown kind", thread, unknown);
        let described = self.described(thread, "renamed");
        self.step("conversation", vec![Write::Conversation(described)]);
        if round.is_multiple_of(2) {
            self.step(
                "membership",
                vec![
                    Write::Membership(thread.id, Membership::Left),
                    Write::Hole(thread.id, range(behind + 6, behind + 20), HoleReason::NotAMember),
                    Write::Cover(thread.id, range(behind + 6, behind + 20)),
                ],
            );
        }
    }
}

/// Returns the tokens of the entries that a store must hold after these steps, and no others.
pub(crate) fn tokens_after<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<ClientToken> {
    let mut held = Vec::new();
    for write in steps.into_iter().flat_map(Step::writes) {
        match write {
            Write::Outbox(entry) if !held.contains(&entry.token) => held.push(entry.token),
            Write::OutboxForget(token) => held.retain(|other| other != token),
            Write::Outbox(_)
            | Write::Session(_)
            | Write::PushToken(_)
            | Write::PushTokenForget(_)
            | Write::User(_)
            | Write::Conversation(_)
            | Write::Membership(..)
            | Write::Events(..)
            | Write::Repeated(..)
            | Write::Cover(..)
            | Write::Hole(..)
            | Write::ReadMark { .. }
            | Write::History(..)
            | Write::Rebuild(..)
            | Write::Mend
            | Write::HeadsCursor(_)
            | Write::WholeAt(_)
            | Write::Subscriptions(_)
            | Write::Subscribed(_)
            | Write::Unsubscribed(_)
            | Write::PublicConversations(_)
            | Write::WishAnswered(..) => {}
        }
    }
    held
}
