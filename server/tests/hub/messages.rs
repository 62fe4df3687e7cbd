//! Messages, typing and read marks.

use crate::world::*;
use backscroll::model::{Action, ConversationId, EventBody, Sequence};
use backscroll::protocol::{Push, Request};

fn send(conversation: ConversationId, text: &str, payload: Option<&str>) -> Request {
    Request::SendMessage { conversation, text: text.to_owned(), payload: payload.map(json) }
}

#[test]
fn a_message_reaches_every_participant_as_it_was_sent() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    let outcome = world.ask(BOB, send(conversation, "Hé\n", Some(r#"[{"n" : 1.50}]"#)));
    let sent = event(&outcome.reply[0].push);
    assert_eq!((text(&sent), payload(&sent)), ("Hé\n", Some(r#"[{"n" : 1.50}]"#)));
    assert_eq!((sent.initiator, sent.action.clone()), (BOB, Action::SendMessage));
    assert_eq!(told(&outcome.fan_out), [ALICE, BOB]);
    assert_eq!(outcome.fan_out[0].push, Push::Event(sent.clone()));
    assert_eq!(world.range(ALICE, conversation, 2, 2), [sent]);
}

#[test]
fn a_text_has_at_most_5000_characters_however_many_bytes() {
    let mut world = World::new();
    let conversation = world.group(&[]);
    world.get(ALICE, say(conversation, &"€".repeat(5_000)));
    assert_eq!(world.refusal(ALICE, say(conversation, &"€".repeat(5_001))), 23);
    let message = world.say(ALICE, conversation, "short");
    assert_eq!(world.refusal(ALICE, edit(conversation, message, &"x".repeat(5_001))), 23);
}

#[test]
fn an_edit_keeps_the_part_it_does_not_name() {
    let mut world = World::new();
    let conversation = world.group(&[]);
    let sent = world.event(ALICE, send(conversation, "one", Some(r#"[{"n":1}]"#)));
    let message = sent.body.message().unwrap();
    let edited = world.event(ALICE, edit(conversation, message, "two"));
    assert_eq!((text(&edited), payload(&edited)), ("two", Some(r#"[{"n":1}]"#)));
    let change = |text: Option<&str>, payload: Option<&str>| Request::EditMessage {
        conversation,
        message,
        text: text.map(str::to_owned),
        payload: payload.map(json),
    };
    let edited = world.event(ALICE, change(None, Some(r#"[{"n":2}]"#)));
    assert_eq!((text(&edited), payload(&edited)), ("two", Some(r#"[{"n":2}]"#)));
    let erased = world.event(ALICE, change(None, Some(" [ ] ")));
    assert_eq!((text(&erased), payload(&erased)), ("two", None));
}

#[test]
fn a_removal_takes_the_content_out_of_history() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    let message = event(&world.get(ALICE, send(conversation, "secret", Some(r#"[{"k":"secret"}]"#)))).body.message();
    let message = message.unwrap();
    let other = world.say(ALICE, conversation, "stays");
    world.event(ALICE, edit(conversation, message, "secret again"));
    let removal = world.event(ALICE, remove(conversation, message));
    assert_eq!(removal.body, EventBody::MessageRemoved(message));
    let events = world.range(BOB, conversation, 1, 100);
    assert_eq!(sequences(&events), [1, 2, 3, 4, 5]);
    assert_eq!((text(&events[1]), payload(&events[1])), ("", None));
    assert_eq!((text(&events[3]), payload(&events[3])), ("", None));
    assert_eq!(text(&events[2]), "stays");
    assert_eq!(world.refusal(ALICE, remove(conversation, message)), 11);
    assert_eq!(world.refusal(ALICE, edit(conversation, message, "back")), 11);
    world.event(ALICE, remove(conversation, other));
}

/// S-9: for every right and for both kinds of message, against the table of the protocol notes.
#[test]
fn rights_decide_about_messages() {
    for bits in [0, 1, 2, 4, 8, 16, 32, 3, 48, 32768, 65535] {
        let mut world = World::new();
        let conversation = world.group(&[BOB]);
        let own = [world.say(BOB, conversation, "1"), world.say(BOB, conversation, "2")];
        let foreign = [world.say(ALICE, conversation, "3"), world.say(ALICE, conversation, "4")];
        world.event(ALICE, allow(conversation, BOB, bits));
        let owner = bits >= 32768;
        let has = |bit: u32| owner || bits & bit != 0;
        for (request, allowed) in [
            (say(conversation, "5"), has(1)),
            (edit(conversation, own[0], "6"), has(2) || has(16)),
            (edit(conversation, foreign[0], "7"), has(16)),
            (remove(conversation, own[1]), has(4) || has(32)),
            (remove(conversation, foreign[1]), has(32)),
        ] {
            let action = request.action();
            let outcome = world.ask(BOB, request);
            let refused = code(&outcome.reply[0].push);
            assert_eq!(refused, (!allowed).then_some(12), "{action} with {bits}");
        }
    }
}

#[test]
fn an_edit_by_a_moderator_leaves_the_message_its_senders() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    let message = world.say(BOB, conversation, "one");
    let edited = world.event(ALICE, edit(conversation, message, "two"));
    assert_eq!(edited.initiator, ALICE);
    world.event(BOB, edit(conversation, message, "three"));
    world.event(BOB, remove(conversation, message));
}

#[test]
fn a_read_mark_goes_where_it_is_put_and_takes_no_sequence() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    world.say(ALICE, conversation, "2");
    world.say(ALICE, conversation, "3");
    for (asked, stored) in [(3, 3), (2, 2), (0, 1), (-7, 1), (i64::MIN, 1), (3, 3)] {
        let outcome = world.ask(BOB, read(conversation, asked));
        assert!(matches!(outcome.reply[0].push, Push::Read { sequence: Sequence(at), .. } if at == stored));
        assert_eq!(told(&outcome.fan_out), [ALICE, BOB]);
        let Push::Conversation { conversation: now, .. } = world.get(ALICE, Request::GetConversation(conversation))
        else {
            panic!("no conversation")
        };
        assert_eq!(now.participant(BOB).unwrap().last_read, Sequence(stored));
        assert_eq!(now.last_sequence, Sequence(3));
    }
    for beyond in [4, i64::from(u32::MAX), i64::MAX] {
        assert_eq!(world.refusal(BOB, read(conversation, beyond)), 24);
    }
}

#[test]
fn typing_is_told_and_forgotten() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    let outcome = world.ask(BOB, Request::Typing(conversation));
    assert!(matches!(outcome.reply[0].push, Push::Typing { .. }));
    assert_eq!(told(&outcome.fan_out), [ALICE, BOB]);
    assert_eq!(world.event(BOB, say(conversation, "done")).sequence, Sequence(2));
}

#[test]
fn a_payload_is_an_array_of_objects_or_refused() {
    let mut world = World::new();
    let conversation = world.group(&[]);
    for payload in ["{}", "1", "[1]", "[{},null]", "\"x\""] {
        assert_eq!(world.refusal(ALICE, send(conversation, "", Some(payload))), 0, "{payload}");
    }
    let sent = world.event(ALICE, send(conversation, "", Some("[]")));
    assert_eq!(payload(&sent), None);
}
