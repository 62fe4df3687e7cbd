//! The programs of `examples/`, run against a server.
#![expect(clippy::unwrap_used, reason = "a test that meets anything else has failed")]

use backscroll::engine::Window;
use backscroll::model::{ConversationConfig, ConversationId, Credentials, OutboxState, Participant, Secret, UserName};
use backscroll::{Config, Messenger, MessengerEvent};
use backscroll_server::{Accounts, LoginRules, Server, serve};
use futures_util::StreamExt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../examples/answering_bot.rs"]
mod answering_bot;
#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../examples/first_chat.rs"]
mod first_chat;
#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../examples/offline_start.rs"]
mod offline_start;
#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../examples/recreate.rs"]
mod recreate;

/// How long a state may take before the test counts as failed. Never waited for on the way to success.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with alice and bob, and a folder for their files.
struct World {
    folder: TempDir,
    address: SocketAddr,
    server: Option<Server>,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let accounts = Accounts::open_with(&folder.path().join("server"), LoginRules::for_tests()).unwrap();
        for name in ["alice", "bob"] {
            accounts.add(&user(name), name, &Secret::new(name)).unwrap();
        }
        let mut world = Self { folder, address: (Ipv4Addr::LOCALHOST, 0).into(), server: None };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let mut config = backscroll_server::Config::new(self.address, self.folder.path().join("server"));
        config.logins = LoginRules::for_tests();
        let server = serve(config).await.unwrap();
        self.address = server.address();
        self.server = Some(server);
    }

    async fn stop(&mut self) {
        self.server.take().expect("a server runs").stop().await;
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Returns the arguments that all examples with a login begin with.
    fn arguments(&self, name: &str) -> Vec<String> {
        let server = format!("wss://{}/platform", self.address);
        let certificate = PathBuf::from(self.path("server")).join("certificate.pem").to_str().unwrap().to_owned();
        vec![self.path(&format!("{name}.db")), server, certificate, user(name).to_string()]
    }

    /// Opens the other side of an example.
    async fn device(&self, name: &str) -> Messenger {
        let [store, server, certificate, _] = &self.arguments(name)[..] else { unreachable!("four arguments") };
        let messenger = Messenger::open(Config::new(store).server(server).extra_root(certificate)).await.unwrap();
        if messenger.me().is_none() {
            let credentials = Credentials::Password { user: user(name), password: Secret::new(name) };
            messenger.log_in(credentials).await.unwrap();
        }
        messenger
    }
}

fn user(name: &str) -> UserName {
    UserName::new(&format!("{name}@chat.acme"))
}

async fn within_patience<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
}

/// Waits for a message that reads so, and returns where it was said.
async fn until_said(
    events: &mut (impl futures_util::Stream<Item = MessengerEvent> + Unpin),
    text: &str,
) -> ConversationId {
    let waiting = async {
        while let Some(event) = events.next().await {
            if let MessengerEvent::Message(event) = event
                && event.message.text == text
            {
                return event.message.conversation;
            }
        }
        panic!("the engine ended")
    };
    within_patience(text, waiting).await
}

#[tokio::test]
async fn a_first_chat_ends_with_the_answer_and_an_offline_start_goes_on_from_there() {
    let mut world = World::new().await;
    let bob = world.device("bob").await;
    let mut heard = bob.events();
    let answering = async {
        let conversation = until_said(&mut heard, "Hello!").await;
        let conversation = bob.conversation(conversation).await.unwrap().unwrap().conversation;
        conversation.send_message("Hello yourself.", None).await.unwrap().await.unwrap();
    };
    let mut arguments = world.arguments("alice");
    arguments.push(user("bob").to_string());
    let chatting = within_patience("the first chat", first_chat::run(&arguments, "alice".to_owned()));
    let (chatted, ()) = tokio::join!(chatting, answering);
    chatted.unwrap();

    world.stop().await;
    let arguments = [world.path("alice.db"), "Written on the train".to_owned()];
    within_patience("the offline start", offline_start::run(&arguments)).await.unwrap();
    let waiting = Messenger::inspect(world.path("alice.db")).await.unwrap();
    let states: Vec<OutboxState> = waiting.outbox().await.unwrap().iter().map(|entry| entry.state).collect();
    assert!(states.contains(&OutboxState::Queued), "{states:?}");
    waiting.close().await;

    // With a network it goes by itself.
    world.start().await;
    let alice = world.device("alice").await;
    until_said(&mut heard, "Written on the train").await;
    alice.close().await;
}

#[tokio::test]
async fn a_bot_answers_once_what_is_said_now_and_what_was_said_while_it_was_away() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    // Known to the server before anybody can name the bot.
    world.device("bob").await.close().await;
    let bot = alice.get_user_by_name(user("bob")).await.unwrap().user.id;
    let wish = ConversationConfig { participants: vec![Participant::new(bot)], ..ConversationConfig::default() };
    let talk = alice.create_conversation(wish).await.unwrap().await.unwrap().conversation;
    let mut heard = alice.events();
    talk.send_message("Anybody?", None).await.unwrap().await.unwrap();

    let arguments = world.arguments("bob");
    let bot = tokio::spawn(async move {
        answering_bot::run(&arguments, "bob".to_owned()).await.map_err(|error| error.to_string())
    });
    until_said(&mut heard, "You said: Anybody?").await;
    for text in ["one", "two", "three"] {
        drop(talk.send_message(text, None).await.unwrap());
    }
    for text in ["one", "two", "three"] {
        until_said(&mut heard, &format!("You said: {text}")).await;
    }
    assert!(!bot.is_finished());
    bot.abort();
    let said = alice.messages(talk.id, Window::Newest, 100).await.unwrap();
    assert_eq!(said.len(), 8, "four messages, four answers");
}

#[tokio::test]
async fn objects_rebuilt_from_rows_are_used_and_erase_nothing() {
    let world = World::new().await;
    let bob = world.device("bob").await;
    // What the application of alice kept, from a time before it used this engine.
    let alice = world.device("alice").await;
    let participants = vec![Participant::new(bob.my_id().unwrap())];
    let data = backscroll::model::RawJson::new(r#"{"colour":"green"}"#).unwrap();
    let wish = ConversationConfig {
        title: "Lunch".to_owned(),
        participants,
        custom_data: data.clone(),
        ..ConversationConfig::default()
    };
    let lunch = alice.create_conversation(wish).await.unwrap().await.unwrap().conversation;
    let card = backscroll::model::RawJson::new(r#"[{"kind":"card"}]"#).unwrap();
    let sent = lunch.send_message("Soup?", Some(card.clone())).await.unwrap().await.unwrap().message;
    alice.close().await;
    let (id, message) = (lunch.id, sent.id.unwrap());
    let rows = format!(
        "{{\"conversation\":\"{id}\",\"title\":\"Lunch\",\"last_sequence\":2,\"last_update\":1,\"created\":1}}\n\
         {{\"message\":\"{message}\",\"conversation\":\"{id}\",\"text\":\"Soup?\",\"sequence\":2}}\n"
    );
    std::fs::write(world.path("rows.jsonl"), rows).unwrap();

    let mut heard = bob.events();
    let mut arguments = world.arguments("alice");
    arguments[0] = world.path("new.db");
    arguments.push(world.path("rows.jsonl"));
    within_patience("the example", recreate::run(&arguments, "alice".to_owned())).await.unwrap();
    until_said(&mut heard, "Soup? (edited)").await;
    let edited = bob.message(id, message).await.unwrap().unwrap();
    assert_eq!((edited.text.as_str(), &edited.payload), ("Soup? (edited)", &Some(card)));
    let kept = bob.conversation(id).await.unwrap().unwrap().conversation;
    assert_eq!((kept.title.as_str(), &kept.custom_data), ("Lunch", &data));
}
