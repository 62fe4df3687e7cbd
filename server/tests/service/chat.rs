//! Conversations between real clients.

use crate::client::{Client, NAMES, start};
use backscroll::model::{ConversationConfig, ConversationId, Event, EventBody, Participant, Sequence, UserId};
use backscroll::protocol::{Push, Request};

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn event(push: Push) -> Event {
    match push {
        Push::Event(event) => event,
        other => panic!("no event: {other:?}"),
    }
}

/// Makes a conversation with the users of these numbers.
pub(crate) async fn create(client: &mut Client, others: &[u64]) -> ConversationId {
    let participants = others.iter().map(|number| Participant::new(user(*number))).collect();
    let config = ConversationConfig { participants, ..ConversationConfig::default() };
    event(client.ask(Request::CreateConversation(config)).await).conversation
}

pub(crate) fn say(conversation: ConversationId, text: &str) -> Request {
    Request::SendMessage { conversation, text: text.to_owned(), payload: None }
}

pub(crate) fn text(event: &Event) -> &str {
    match &event.body {
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => &content.text,
        other => panic!("no message: {other:?}"),
    }
}

/// Reads a whole conversation, which must have `head` events.
pub(crate) async fn history(client: &mut Client, conversation: ConversationId, head: u32) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < head as usize {
        let from = i64::try_from(events.len()).unwrap() + 1;
        let request = crate::client::fresh();
        let body = Request::RetransmitEvents { conversation, from: Some(from), to: None, count: Some(100) };
        client.send(request, body).await;
        loop {
            let Push::Retransmitted { count, event, .. } = client.answer(request).await else {
                panic!("history was refused")
            };
            events.push(event);
            if events.len() as i64 == from - 1 + i64::from(count.unwrap()) {
                break;
            }
        }
    }
    events
}

#[tokio::test]
async fn two_people_chat_and_one_reads_it_later() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let conversation = create(&mut alice, &[102]).await;
    assert_eq!(event(bob.push().await).sequence, Sequence(1));
    let sent = event(alice.ask(say(conversation, "Hello")).await);
    assert_eq!((sent.sequence, text(&sent)), (Sequence(2), "Hello"));
    assert_eq!(event(bob.push().await), sent);
    assert_eq!(history(&mut bob, conversation, 2).await[1], sent);
    server.stop().await;
    assert!(alice.frame().await.is_none());
}
