//! The server on a disk that loses power: what it answered, it still has. One client, a real socket, the real
//! server; its process would end at the cut, so what counts is what the next one finds.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use backscroll::model::{
    ConversationConfig, ConversationId, Credentials, Participant, Secret, Sequence, SequenceRange, UserName,
};
use backscroll::protocol::UserKey;
use backscroll::{Config, Messenger};
use backscroll_server::storage::{Sqlite, Storage};
use backscroll_server::{LoginRules, Server, Tls, serve};
use powerloss::{Image, Recorder, after_every_operation};
use rusqlite::Connection;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::tempdir_in(powerloss::scratch_root()).expect("a scratch folder")
}

fn alice() -> UserName {
    UserName::new("alice@chat.acme")
}

/// What the server had answered when its record stood at a position.
#[derive(Clone, Copy, Debug)]
struct Answered {
    position: usize,
    conversation: Option<ConversationId>,
    head: Sequence,
}

async fn start(data: &Path) -> Server {
    let mut config = backscroll_server::Config::new((Ipv4Addr::LOCALHOST, 0).into(), data);
    config.tls = Tls::Plain;
    config.logins = LoginRules::for_tests();
    serve(config).await.unwrap()
}

/// Lives through an account, a login, a conversation, messages, an edit, a removal and a read mark, and stops.
async fn record(recorder: &Recorder, data: &Path) -> Vec<Answered> {
    let server = start(data).await;
    let password = || Secret::new("of alice");
    server.accounts().add(&alice(), "Alice", &password()).unwrap();
    let bob = server.accounts().add(&UserName::new("bob@chat.acme"), "Bob", &Secret::new("of bob")).unwrap();
    let mut answered = vec![Answered { position: recorder.position(), conversation: None, head: Sequence::ZERO }];

    let device = scratch();
    let config = Config::new(device.path().join("store.db")).server(server.url()).allow_plain_loopback();
    let messenger = Messenger::open(config).await.unwrap();
    messenger.log_in(Credentials::Password { user: alice(), password: password() }).await.unwrap();
    let wish = ConversationConfig { participants: vec![Participant::new(bob)], ..ConversationConfig::default() };
    let made = messenger.create_conversation(wish).await.unwrap().await.unwrap();
    let lunch = made.conversation;
    let mut answer = |head| {
        answered.push(Answered { position: recorder.position(), conversation: Some(lunch.id), head });
    };
    answer(Sequence::FIRST);
    for number in 0..8 {
        let text = "soup ".repeat(1 + number * 60);
        let sent = lunch.send_message(text, None).await.unwrap().await.unwrap();
        answer(sent.sequence);
        match number {
            3 => answer(sent.message.update(Some("salad".to_owned()), None).await.unwrap().await.unwrap().sequence),
            5 => answer(sent.message.remove().await.unwrap().await.unwrap().sequence),
            _ => {}
        }
    }
    messenger.close().await;
    server.stop().await;
    answered
}

/// Opens what is left as the next process would, and returns how many events the conversation holds.
fn recovered(folder: &Path, answered: &Answered) -> Result<Sequence, String> {
    let said = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let storage = Sqlite::open(folder).map_err(|error| said(&error))?;
    let damage = Connection::open(folder.join("server.sqlite"))
        .and_then(|db| db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    if damage.as_deref() != Ok("ok") {
        return Err(said(&damage));
    }
    if storage.user(&UserKey::Name(alice())).map_err(|error| said(&error))?.is_none() {
        return Err("the account is gone".to_owned());
    }
    let Some(conversation) = answered.conversation else { return Ok(Sequence::ZERO) };
    let everything = SequenceRange::new(Sequence::FIRST, Sequence(1000)).expect("a range");
    let events = storage.events(conversation, everything).map_err(|error| said(&error))?;
    let stored = storage.conversation(conversation).map_err(|error| said(&error))?;
    let head = stored.map_or(Sequence::ZERO, |stored| stored.conversation.last_sequence);
    let gapless = (1..).map(Sequence).zip(&events).all(|(expected, event)| event.sequence == expected);
    let whole = gapless && events.last().map_or(Sequence::ZERO, |event| event.sequence) == head;
    if whole { Ok(head) } else { Err(format!("holds {} events up to {head}", events.len())) }
}

/// V-1, V-2: an answered event survives, and what is found has no hole and no half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_answered_survives_power_loss_anywhere() {
    powerloss::make_default();
    let (data, found) = (scratch(), scratch());
    let recorder = Recorder::watch(data.path()).unwrap();
    let answered = record(&recorder, data.path()).await;
    let operations = recorder.operations();
    let mut seen = HashMap::new();
    let mut disks = 0;
    for cut in after_every_operation(&Image::default(), &operations, 6) {
        let Some(last) = answered.iter().rfind(|answered| answered.position <= cut.after) else { continue };
        let head = seen.entry((cut.fingerprint, last.conversation)).or_insert_with(|| {
            cut.image.lay_out(found.path()).unwrap();
            recovered(found.path(), last)
        });
        disks += 1;
        assert!(
            head.as_ref().is_ok_and(|head| *head >= last.head),
            "{:?} behind operation {} ({}): {head:?}, answered {last:?}",
            cut.survival,
            cut.after,
            operations[cut.after - 1]
        );
    }
    println!("{} operations, {disks} disks, {} of them different", operations.len(), seen.len());
    assert!(
        disks > 1000 && answered.last().is_some_and(|last| last.head >= Sequence(11)),
        "too little to mean anything"
    );
}
