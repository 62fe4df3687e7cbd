//! V-5: both storages give the same outcomes and the same logs for the same commands.

use crate::world::*;
use backscroll::model::{
    Action, ClientToken, ConversationConfig, ConversationId, MessageId, Notification, Permissions, RequestId, Secret,
    UserId, UserName, with_token, with_token_in_custom_data,
};
use backscroll::protocol::{Push, Request, UserKey};
use backscroll_server::hub::Outcome;
use backscroll_server::storage::{Memory, Sqlite, Storage};
use backscroll_server::{Accounts, LoginRules};
use fastrand::Rng;
use std::collections::BTreeSet;
use uuid::Uuid;

const COMMANDS: usize = 500;
const USERS: [UserId; 5] = [ALICE, BOB, CAROL, DAVE, NOBODY];

/// Makes up commands from what earlier ones brought about, so that most of them mean something.
struct Author {
    rng: Rng,
    conversations: Vec<ConversationId>,
    messages: Vec<(ConversationId, MessageId)>,
    requests: Vec<(RequestId, UserId, Request)>,
}

impl Author {
    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        self.rng.choice(from).cloned()
    }

    fn user(&mut self) -> UserId {
        // Nobody is rare.
        if self.rng.u8(..) < 4 { NOBODY } else { USERS[self.rng.usize(..4)] }
    }

    fn users(&mut self) -> Vec<UserId> {
        (0..self.rng.usize(..3)).map(|_| self.user()).collect()
    }

    fn conversation(&mut self) -> ConversationId {
        let known = self.conversations.clone();
        self.pick(&known).unwrap_or(ConversationId::from_uuid(Uuid::max()))
    }

    fn token(&mut self) -> ClientToken {
        ClientToken::from_uuid(Uuid::from_u128(self.rng.u128(..8)))
    }

    fn config(&mut self) -> ConversationConfig {
        let mut config = with(&self.users());
        for participant in &mut config.participants {
            participant.permissions = Permissions::from_bits(self.rng.u32(..64));
        }
        config.direct = self.rng.u8(..) < 80;
        config.public_join = self.rng.bool();
        config.uber = self.rng.bool();
        config.title = "título".to_owned();
        if self.rng.bool() {
            config.custom_data = with_token_in_custom_data(&json(r#"{"a" :1}"#), self.token());
        }
        config
    }

    fn request(&mut self) -> Request {
        let conversation = self.conversation();
        let messages = self.messages.clone();
        let (of, message) = self.pick(&messages).unwrap_or((conversation, MessageId::from_uuid(Uuid::max())));
        match self.rng.u8(..26) {
            0 => Request::CreateConversation(self.config()),
            1 => Request::EditConversation {
                conversation,
                title: self.rng.bool().then(|| "new".to_owned()),
                public_join: self.rng.bool().then(|| self.rng.bool()),
                custom_data: self.rng.bool().then(|| json("{ }")),
            },
            2 if self.rng.u8(..) < 40 => Request::RemoveConversation(conversation),
            2 | 3 => Request::JoinConversation(conversation),
            4 => Request::LeaveConversation(conversation),
            5 => Request::GetConversation(conversation),
            6 => Request::GetConversations(vec![conversation, self.conversation()]),
            7 => Request::GetPublicConversations,
            8 => add(conversation, &self.users()),
            9 => allow(conversation, self.user(), self.rng.u32(..64)),
            10 => expel(conversation, &self.users()),
            11 => Request::GetUser(UserKey::Id(self.user())),
            12 => Request::EditUser {
                custom_data: self.rng.bool().then(|| json(r#"{"mood" : 1}"#)),
                private_custom_data: self.rng.bool().then(|| json(r#"{"pin":2}"#)),
            },
            13 => Request::Subscribe(self.users()),
            14 => Request::Unsubscribe(self.users()),
            15 => Request::GetSubscriptions,
            16 => Request::ManageNotifications(vec![Some(Notification::ALL[self.rng.usize(..3)])]),
            17 => edit(of, message, "edited"),
            18 => remove(of, message),
            19 => read(conversation, self.rng.i64(-1..9)),
            20 => range(conversation, self.rng.i64(1..5), self.rng.i64(3..99)),
            21 => Request::SetStatus { online: true },
            22 => Request::HeadsSince { cursor: None },
            _ => {
                let payload = self.rng.bool().then(|| with_token(Some(&json(r#"[{"k" : "v"}]"#)), self.token()));
                Request::SendMessage { conversation, text: "Hé".to_owned(), payload }
            }
        }
    }
}

/// A command, and everything that was answered and told.
#[derive(Debug, PartialEq)]
struct Line {
    who: UserId,
    request: Request,
    outcome: Outcome,
}

impl Line {
    fn is_refused(&self) -> bool {
        code(&self.outcome.reply[0].push).is_some()
    }
}

/// Runs the same made-up commands over a storage.
fn run<S: Storage>(storage: S, seed: u64) -> (Vec<Line>, World<S>) {
    let mut world = World::over(storage);
    let rng = Rng::with_seed(seed);
    let mut author = Author { rng, conversations: Vec::new(), messages: Vec::new(), requests: Vec::new() };
    let mut log = Vec::new();
    for _ in 0..COMMANDS {
        let earlier = author.requests.clone();
        let repeated = if author.rng.u8(..) < 30 { author.pick(&earlier) } else { None };
        let (id, who, request) = repeated.unwrap_or_else(|| {
            let who = USERS[author.rng.usize(..4)];
            (RequestId::from_uuid(world.fresh()), who, author.request())
        });
        author.requests.push((id, who, request.clone()));
        let outcome = world.ask_as(id, who, request.clone());
        if let Push::Event(event) = &outcome.reply[0].push {
            author.conversations.push(event.conversation);
            author.messages.extend(event.body.message().map(|message| (event.conversation, message)));
        }
        log.push(Line { who, request, outcome });
    }
    (log, world)
}

fn sqlite(data: &std::path::Path) -> Sqlite {
    let accounts = Accounts::open_with(data, LoginRules::for_tests()).unwrap();
    for (id, name) in [(ALICE, "alice"), (BOB, "bob"), (CAROL, "carol"), (DAVE, "dave")] {
        let name = UserName::new(&format!("{name}@chat.acme"));
        assert_eq!(accounts.add(&name, "", &Secret::new("x")).unwrap(), id);
    }
    Sqlite::open(data).unwrap()
}

#[test]
fn both_storages_answer_alike_and_keep_the_same_logs() {
    let data = tempfile::tempdir().unwrap();
    for seed in 0..12 {
        let storage = sqlite(&data.path().join(seed.to_string()));
        storage.begin().unwrap();
        let (expected, memory) = run(self::memory(), seed);
        let (found, sqlite) = run(storage, seed);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected, found, "seed {seed}");
        }
        sqlite.hub.storage().commit().unwrap();
        // What is on disk, read again, is what memory holds, and no log has a gap.
        let reopened = Sqlite::open(&data.path().join(seed.to_string())).unwrap();
        let mut events = 0;
        for id in memory.hub.storage().conversation_ids() {
            let kept = memory.hub.storage().conversation(id).unwrap();
            assert_eq!(kept, reopened.conversation(id).unwrap(), "seed {seed}");
            let head = kept.unwrap().conversation.last_sequence;
            let all = backscroll::model::SequenceRange::new(backscroll::model::Sequence::FIRST, head).unwrap();
            let log = reopened.events(id, all).unwrap();
            assert_eq!(sequences(&log), Vec::from_iter(1..=head.get()), "seed {seed}");
            assert_eq!(log, memory.hub.storage().events(id, all).unwrap(), "seed {seed}");
            events += log.len();
        }
        // The commands must mean something, or nothing was compared.
        assert!(events > 20, "only {events} events in seed {seed}");
        let refused = expected.iter().filter(|line| line.is_refused()).count();
        assert!(refused > 20 && refused < COMMANDS * 3 / 4, "{refused} refusals in seed {seed}");
    }
}

fn memory() -> Memory {
    World::new().hub.storage().clone()
}

/// The author's choices must reach every kind of command, or the comparison above is blind somewhere.
#[test]
fn the_made_up_commands_cover_every_change() {
    let mut succeeded = BTreeSet::new();
    for seed in 0..12 {
        let (log, _) = run(memory(), seed);
        let done = log.into_iter().filter(|line| !line.is_refused());
        succeeded.extend(done.map(|line| line.request.action()));
    }
    // Nobody asks for the removal of empty conversations, and users are read one at a time.
    let left_out = [Action::RemoveEmptyConversation, Action::GetUsers, Action::TypingMessage];
    for action in Action::KNOWN.iter().filter(|action| !left_out.contains(action)) {
        assert!(succeeded.contains(action), "{action} never succeeded");
    }
}
