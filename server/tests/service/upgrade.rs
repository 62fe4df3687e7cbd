//! Data folders that earlier versions left: everything in them is served on.

use crate::chat::{event, history, say};
use crate::client::{Client, NAMES, start};
use backscroll::model::{ConversationId, Sequence, UserName};
use backscroll::protocol::{Push, Request, UserKey};
use std::fs;
use std::path::Path;

/// The accounts, the history and the read marks of a folder of schema 1 are those of before, and go on.
#[tokio::test]
async fn a_folder_of_schema_1_is_served_on() {
    let data = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1.sqlite");
    fs::copy(fixture, data.path().join("server.sqlite")).unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::connect(&server).await;
    alice.password(NAMES[0], "pw-alice").await.unwrap();
    let lunch: ConversationId = "f1a36c5b-9b96-4049-8f61-3b055ac9841d".parse().unwrap();
    let Push::Conversation { conversation, .. } = alice.ask(Request::GetConversation(lunch)).await else {
        panic!("no conversation")
    };
    assert_eq!((conversation.title.as_str(), conversation.last_sequence), ("Lunch", Sequence(15)));
    let read: Vec<u32> = conversation.participants.iter().map(|participant| participant.last_read.get()).collect();
    assert_eq!(read, [5, 0, 0]);
    assert_eq!(history(&mut alice, lunch, 15).await.len(), 15);
    let Push::User { user, .. } = alice.ask(Request::GetUser(UserKey::Name(UserName::new(NAMES[0])))).await else {
        panic!("no user")
    };
    assert_eq!(user.private.unwrap().conversations.len(), 3);
    assert_eq!(event(alice.ask(say(lunch, "and on")).await).sequence, Sequence(16));
}
