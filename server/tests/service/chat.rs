//! Conversations between real clients.

use crate::client::{Client, NAMES, config, fresh, start, start_with};
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
        let request = fresh();
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
}

/// V-1: many writers at once; every reader sees 1…n in order, live and in history.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_are_gapless_under_concurrent_writers() {
    const EACH: usize = 40;
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut reader = Client::log_in(&server, NAMES[3]).await;
    let conversation = create(&mut reader, &[101, 102, 103]).await;
    let mut writers = Vec::new();
    for place in 0..6 {
        let mut writer = Client::log_in(&server, NAMES[place % 3]).await;
        writers.push(tokio::spawn(async move {
            let requests: Vec<_> = (0..EACH).map(|_| fresh()).collect();
            for (number, request) in requests.iter().enumerate() {
                writer.send(*request, say(conversation, &format!("{place}/{number}"))).await;
            }
            let mut own = Vec::new();
            for request in requests {
                own.push(event(writer.answer(request).await).sequence);
            }
            assert!(own.is_sorted(), "requests of one link are carried out in their order");
            own
        }));
    }
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    written.sort();
    let expected: Vec<_> = (2..=u32::try_from(6 * EACH).unwrap() + 1).map(Sequence).collect();
    assert_eq!(written, expected);
    for at in &expected {
        assert_eq!(event(reader.push().await).sequence, *at);
    }
    let events = history(&mut reader, conversation, u32::try_from(expected.len()).unwrap() + 1).await;
    assert!(events.iter().map(|event| event.sequence.get()).eq(1..=u32::try_from(events.len()).unwrap()));
}

#[tokio::test]
async fn each_connection_hears_of_an_event_exactly_once() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut second = Client::log_in(&server, NAMES[0]).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let mut carol = Client::log_in(&server, NAMES[2]).await;
    let mut silent = Client::connect(&server).await;
    let conversation = create(&mut alice, &[102]).await;
    let message = event(alice.ask(say(conversation, "Hello")).await).body.message().unwrap();
    alice.ask(Request::MarkAsRead { conversation, sequence: 2 }).await;
    alice.ask(Request::RemoveMessage { conversation, message }).await;
    for client in [&mut second, &mut bob] {
        assert_eq!(event(client.push().await).sequence, Sequence(1));
        assert_eq!(event(client.push().await).sequence, Sequence(2));
        assert!(matches!(client.push().await, Push::Read { sequence: Sequence(2), .. }));
        assert_eq!(event(client.push().await).body, EventBody::MessageRemoved(message));
        assert_eq!(client.count_until_pong().await, 0);
    }
    for client in [&mut alice, &mut carol, &mut silent] {
        assert_eq!(client.count_until_pong().await, 0);
    }
}

/// V-1: four users on three connections each, all of them writing into two conversations at once.
#[tokio::test(flavor = "multi_thread")]
async fn every_connection_hears_of_every_event_once_and_in_order_under_load() {
    const CONNECTIONS: usize = 12;
    const EACH: usize = 25;
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut clients = Vec::new();
    for place in 0..CONNECTIONS {
        clients.push(Client::log_in(&server, NAMES[place % 4]).await);
    }
    let conversations =
        [create(&mut clients[0], &[102, 103, 104]).await, create(&mut clients[0], &[102, 103, 104]).await];
    let head = u32::try_from(CONNECTIONS / 2 * EACH).unwrap() + 1;
    let mut listeners = Vec::new();
    for (place, mut client) in clients.into_iter().enumerate() {
        listeners.push(tokio::spawn(async move {
            for number in 0..EACH {
                client.send(fresh(), say(conversations[place % 2], &format!("{place}/{number}"))).await;
            }
            // Whoever made the conversations has their creation as answers; everybody else is told of it.
            let mut heads = if place == 0 { [1, 1] } else { [0, 0] };
            while heads != [head, head] {
                let event = event(client.receive().await.push);
                let one = conversations.iter().position(|id| *id == event.conversation).unwrap();
                heads[one] += 1;
                assert_eq!(event.sequence.get(), heads[one], "connection {place}");
            }
            assert_eq!(client.count_until_pong().await, 0, "connection {place}");
        }));
    }
    for listener in listeners {
        listener.await.unwrap();
    }
}

#[tokio::test]
async fn whoever_is_removed_is_told_and_then_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let conversation = create(&mut alice, &[102, 103]).await;
    alice.ask(Request::RemoveParticipants { conversation, users: vec![user(102)] }).await;
    alice.ask(say(conversation, "gone")).await;
    assert_eq!(event(bob.push().await).sequence, Sequence(1));
    let removal = event(bob.push().await);
    assert!(removal.body.conversation().unwrap().participant(user(102)).is_none());
    assert_eq!(bob.count_until_pong().await, 0);
}

#[tokio::test]
async fn many_conversations_are_answered_in_one_frame_each() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(create(&mut alice, &[]).await);
    }
    let request = fresh();
    alice.send(request, Request::GetConversations(ids.clone())).await;
    for id in &ids {
        assert!(matches!(
            alice.answer(request).await,
            Push::Conversation { conversation, .. } if conversation.id == *id
        ));
    }
    ids.push(ids[0]);
    assert_eq!(alice.refusal(Request::GetConversations(ids)).await, 21);
}

#[tokio::test]
async fn a_page_of_history_waits_in_one_piece_for_a_client_that_asks_for_much() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    // Far fewer than the frames asked for: answers wait as one each.
    config.limits.backlog = 70;
    let server = start_with(config).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let conversation = create(&mut alice, &[]).await;
    for number in 0..99 {
        alice.ask(say(conversation, &number.to_string())).await;
    }
    let requests: Vec<_> = (0..50).map(|_| fresh()).collect();
    for request in &requests {
        let body = Request::RetransmitEvents { conversation, from: Some(1), to: Some(100), count: None };
        alice.send(*request, body).await;
    }
    for request in requests {
        for at in 1..=100 {
            let Push::Retransmitted { event, .. } = alice.answer(request).await else { panic!("no history") };
            assert_eq!(event.sequence, Sequence(at));
        }
    }
}
