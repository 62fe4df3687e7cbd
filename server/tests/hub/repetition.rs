//! The same request twice: the same answer, and nothing happens again.

use crate::world::*;
use backscroll::model::{
    ClientToken, ConversationConfig, ConversationId, RequestId, Sequence, Timestamp, with_token,
    with_token_in_custom_data,
};
use backscroll::protocol::Request;
use backscroll_server::hub::ANSWERS_KEPT_S;

fn tokened(conversation: ConversationId, text: &str, token: ClientToken) -> Request {
    Request::SendMessage { conversation, text: text.to_owned(), payload: Some(with_token(None, token)) }
}

/// V-3 for every change: the second time the same reply, nobody else is told, nothing is stored.
#[test]
fn a_repeated_request_is_answered_as_the_first_time() {
    let mut world = World::new();
    let group = world.create(ALICE, public(&[BOB]));
    let message = world.say(ALICE, group, "2");
    let doomed = world.say(ALICE, group, "3");
    let other = world.group(&[BOB]);
    let pair = world.create(ALICE, direct(BOB));
    assert_ne!(pair, other);
    for (who, request) in [
        (ALICE, Request::CreateConversation(with(&[BOB]))),
        (ALICE, Request::CreateConversation(direct(BOB))),
        (ALICE, say(group, "Hello")),
        (ALICE, edit(group, message, "Hi")),
        (ALICE, remove(group, doomed)),
        (ALICE, rename(group, "Team")),
        (ALICE, add(group, &[CAROL])),
        (ALICE, allow(group, CAROL, 1)),
        (ALICE, expel(group, &[CAROL])),
        (DAVE, Request::JoinConversation(group)),
        (DAVE, Request::LeaveConversation(group)),
        (BOB, read(group, 2)),
        (ALICE, Request::RemoveConversation(other)),
        (ALICE, Request::EditUser { custom_data: Some(json("{}")), private_custom_data: None }),
        (ALICE, Request::Subscribe(vec![BOB])),
        (ALICE, Request::Unsubscribe(vec![BOB])),
        (ALICE, Request::UnsubscribeAll),
        (ALICE, Request::ManageNotifications(vec![])),
    ] {
        let action = request.action();
        let id = RequestId::from_uuid(world.fresh());
        let first = world.ask_as(id, who, request.clone());
        assert_eq!(code(&first.reply[0].push), None, "{action}");
        let stored = world.hub.storage().clone();
        let second = world.ask_as(id, who, request);
        assert_eq!(second.reply[0], first.reply[0], "{action}");
        assert_eq!((second.reply.len(), second.fan_out), (1, vec![]), "{action}");
        assert!(stored == *world.hub.storage(), "{action} did something again");
    }
}

#[test]
fn request_ids_belong_to_their_user() {
    let mut world = World::new();
    let group = world.group(&[BOB]);
    let id = RequestId::from_uuid(world.fresh());
    world.ask_as(id, ALICE, say(group, "Alice"));
    let outcome = world.ask_as(id, BOB, say(group, "Bob"));
    assert_eq!(text(&event(&outcome.reply[0].push)), "Bob");
}

#[test]
fn a_refused_request_may_be_asked_again() {
    let mut world = World::new();
    let group = world.group(&[]);
    let id = RequestId::from_uuid(world.fresh());
    assert_eq!(code(&world.ask_as(id, BOB, say(group, "Bob")).reply[0].push), Some(19));
    world.event(ALICE, add(group, &[BOB]));
    assert_eq!(code(&world.ask_as(id, BOB, say(group, "Bob")).reply[0].push), None);
}

#[test]
fn a_message_with_a_known_token_is_the_first_one() {
    let mut world = World::new();
    let group = world.group(&[BOB]);
    let token = ClientToken::from_uuid(world.fresh());
    let first = world.event(BOB, tokened(group, "once", token));
    world.event(ALICE, expel(group, &[BOB]));
    // Whatever happened since, and under whatever request id.
    let again = world.ask(BOB, tokened(group, "once", token));
    assert_eq!(event(&again.reply[0].push), first);
    assert_eq!(again.fan_out, []);
    // Somebody else's token, and the same one in another conversation, are others.
    assert_eq!(world.event(ALICE, tokened(group, "mine", token)).sequence, Sequence(4));
    let other = world.group(&[BOB]);
    assert_eq!(world.event(BOB, tokened(other, "there", token)).sequence, Sequence(2));
}

#[test]
fn a_message_that_was_removed_does_not_come_back_by_repetition() {
    let mut world = World::new();
    let group = world.group(&[]);
    let token = ClientToken::from_uuid(world.fresh());
    let id = RequestId::from_uuid(world.fresh());
    let sent = world.ask_as(id, ALICE, tokened(group, "secret", token));
    let message = event(&sent.reply[0].push).body.message().unwrap();
    world.event(ALICE, remove(group, message));
    for outcome in
        [world.ask_as(id, ALICE, tokened(group, "secret", token)), world.ask(ALICE, tokened(group, "secret", token))]
    {
        let again = event(&outcome.reply[0].push);
        assert_eq!((again.sequence, text(&again), again.body.message()), (Sequence(2), "", Some(message)));
    }
}

#[test]
fn a_conversation_with_a_known_token_is_the_first_one() {
    let mut world = World::new();
    let token = ClientToken::from_uuid(world.fresh());
    let custom_data = with_token_in_custom_data(&json("{}"), token);
    let config = ConversationConfig { custom_data, ..with(&[BOB]) };
    let first = world.event(ALICE, Request::CreateConversation(config.clone()));
    world.say(BOB, first.conversation, "2");
    let again = world.ask(ALICE, Request::CreateConversation(config.clone()));
    assert_eq!(event(&again.reply[0].push), first);
    assert_eq!(again.fan_out, []);
    assert_ne!(
        world.create(BOB, ConversationConfig { participants: with(&[ALICE]).participants, ..config }),
        first.conversation
    );
}

#[test]
fn answers_are_kept_for_two_days_and_then_forgotten() {
    let mut world = World::new();
    let group = world.group(&[]);
    let id = RequestId::from_uuid(world.fresh());
    let sent_at = event(&world.ask_as(id, ALICE, say(group, "2")).reply[0].push).timestamp;
    world.hub.forget_old_answers(Timestamp(sent_at.0 + ANSWERS_KEPT_S)).unwrap();
    assert_eq!(event(&world.ask_as(id, ALICE, say(group, "2")).reply[0].push).sequence, Sequence(2));
    world.hub.forget_old_answers(Timestamp(sent_at.0 + ANSWERS_KEPT_S + 1)).unwrap();
    assert_eq!(event(&world.ask_as(id, ALICE, say(group, "2")).reply[0].push).sequence, Sequence(3));
}
