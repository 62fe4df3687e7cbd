//! Making and changing conversations, and who takes part.

use crate::world::*;
use backscroll::model::{Action, EventBody, Participant, Permissions, Sequence, Timestamp};
use backscroll::protocol::{Push, Request};

#[test]
fn the_creator_becomes_owner_and_everybody_hears_of_it() {
    let mut world = World::new();
    let mut config = with(&[BOB, CAROL, BOB, ALICE]);
    config.title = "Team".to_owned();
    config.custom_data = json(r#"{"icon" : "star"}"#);
    config.participants[1].permissions = Permissions::NONE;
    let outcome = world.ask(ALICE, Request::CreateConversation(config));
    let created = event(&outcome.reply[0].push);
    let none = Sequence::ZERO;
    assert_eq!(participants(&created), [(ALICE, 65535, none), (BOB, 7, none), (CAROL, 0, none)]);
    assert_eq!((created.sequence, created.initiator), (Sequence(1), ALICE));
    let described = created.body.conversation().unwrap();
    assert_eq!((described.title.as_str(), described.custom_data.as_str()), ("Team", r#"{"icon" : "star"}"#));
    assert_eq!(told(&outcome.fan_out), [ALICE, BOB, CAROL]);
    assert_eq!(outcome.fan_out[0].push, Push::Event(created));
}

#[test]
fn two_people_have_one_direct_conversation_whoever_asks() {
    let mut world = World::new();
    let first = world.create(ALICE, direct(BOB));
    let outcome = world.ask(BOB, Request::CreateConversation(direct(ALICE)));
    let described = event(&outcome.reply[0].push);
    assert_eq!((described.sequence, described.initiator), (Sequence(1), ALICE), "by whom it was made, not who asks");
    world.say(BOB, first, "Hello");
    let outcome = world.ask(BOB, Request::CreateConversation(direct(ALICE)));
    let described = event(&outcome.reply[0].push);
    assert_eq!((described.conversation, described.sequence), (first, Sequence(2)));
    assert_eq!(outcome.fan_out, []);
    // Nothing happened: the next event is the third.
    assert_eq!(world.event(ALICE, say(first, "Hi")).sequence, Sequence(3));
    assert_ne!(world.create(ALICE, direct(CAROL)), first);
}

#[test]
fn an_edit_keeps_what_it_does_not_name() {
    let mut world = World::new();
    let mut config = public(&[BOB]);
    config.title = "Team".to_owned();
    let conversation = world.create(ALICE, config);
    let edited = world.event(
        ALICE,
        Request::EditConversation {
            conversation,
            title: None,
            public_join: None,
            custom_data: Some(json(r#"{"a":1}"#)),
        },
    );
    let described = edited.body.conversation().unwrap();
    assert_eq!((described.title.as_str(), described.public_join), ("Team", true));
    assert_eq!(described.custom_data.as_str(), r#"{"a":1}"#);
    assert!(described.last_update > described.created_at);
    let Push::Conversation { conversation: now, .. } = world.get(BOB, Request::GetConversation(conversation)) else {
        panic!("no conversation")
    };
    assert_eq!(&now, described);
}

#[test]
fn whoever_is_removed_hears_of_it_and_of_nothing_later() {
    let mut world = World::new();
    let conversation = world.group(&[BOB, CAROL]);
    let outcome = world.ask(ALICE, expel(conversation, &[BOB, BOB]));
    let removal = event(&outcome.reply[0].push);
    assert_eq!(participants(&removal).len(), 2);
    assert_eq!(told(&outcome.fan_out), [ALICE, BOB, CAROL]);
    let later = world.ask(ALICE, say(conversation, "gone"));
    assert_eq!(told(&later.fan_out), [ALICE, CAROL]);
    let private = world.private(BOB);
    assert_eq!((private.conversations, private.left_conversations), (vec![], vec![conversation]));
}

#[test]
fn whoever_comes_back_keeps_the_read_mark_and_goes_to_the_end() {
    let mut world = World::new();
    let conversation = world.group(&[BOB, CAROL]);
    world.get(BOB, read(conversation, 1));
    world.get(BOB, Request::LeaveConversation(conversation));
    let back = world.event(ALICE, add(conversation, &[BOB, BOB, DAVE]));
    let order: Vec<_> = participants(&back).into_iter().map(|(user, _, mark)| (user, mark.get())).collect();
    assert_eq!(order, [(ALICE, 0), (CAROL, 0), (BOB, 1), (DAVE, 0)]);
    let private = world.private(BOB);
    assert_eq!((private.conversations, private.left_conversations), (vec![conversation], vec![]));
}

#[test]
fn adding_is_all_or_nothing() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    assert_eq!(world.refusal(ALICE, add(conversation, &[CAROL, NOBODY])), 18);
    assert_eq!(world.refusal(ALICE, add(conversation, &[CAROL, BOB])), 13);
    let sent = world.ask(ALICE, say(conversation, "still two"));
    assert_eq!(told(&sent.fan_out), [ALICE, BOB]);
    assert_eq!(event(&sent.reply[0].push).sequence, Sequence(2));
}

#[test]
fn anyone_joins_a_public_conversation_as_a_writer() {
    let mut world = World::new();
    let conversation = world.create(ALICE, public(&[]));
    assert!(matches!(
        world.get(DAVE, Request::GetPublicConversations),
        Push::PublicConversations { conversations, .. } if conversations == [conversation]
    ));
    let joined = world.event(DAVE, Request::JoinConversation(conversation));
    assert_eq!(joined.action, Action::JoinConversation);
    assert_eq!(participants(&joined)[1], (DAVE, 7, Sequence::ZERO));
    world.say(DAVE, conversation, "Hello");
}

#[test]
fn the_last_one_out_ends_the_conversation() {
    let mut world = World::new();
    let conversation = world.create(ALICE, public(&[]));
    let outcome = world.ask(ALICE, Request::LeaveConversation(conversation));
    let (left, ended) = (event(&outcome.reply[0].push), event(&outcome.reply[1].push));
    assert_eq!((left.action, left.sequence), (Action::LeaveConversation, Sequence(2)));
    assert_eq!((ended.action, ended.sequence), (Action::RemoveEmptyConversation, Sequence(3)));
    assert_eq!(outcome.reply[1].request, None);
    assert_eq!(told(&outcome.fan_out), [ALICE, ALICE]);
    assert_eq!(world.refusal(ALICE, Request::GetConversation(conversation)), 16);
    assert!(world.private(ALICE).left_conversations.is_empty());
}

#[test]
fn a_removed_conversation_is_gone_for_everybody() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    assert_eq!(world.refusal(BOB, Request::RemoveConversation(conversation)), 12);
    let outcome = world.ask(ALICE, Request::RemoveConversation(conversation));
    let removal = event(&outcome.reply[0].push);
    assert_eq!((&removal.body, removal.sequence), (&EventBody::ConversationRemoved, Sequence(2)));
    assert_eq!(told(&outcome.fan_out), [ALICE, BOB]);
    for who in [ALICE, BOB] {
        let private = world.private(who);
        assert!(private.conversations.is_empty() && private.left_conversations.is_empty());
    }
    // The pair may have a direct conversation again once theirs was removed.
    let first = world.create(ALICE, direct(BOB));
    world.get(ALICE, Request::RemoveConversation(first));
    assert_ne!(world.create(BOB, direct(ALICE)), first);
}

#[test]
fn only_who_is_owner_and_manager_changes_owners() {
    let mut world = World::new();
    let conversation = world.group(&[BOB, CAROL, DAVE]);
    let granted = world.event(ALICE, allow(conversation, BOB, 8));
    assert_eq!(participants(&granted)[1].1, 8);
    world.event(ALICE, allow(conversation, CAROL, 32768));
    // Bob manages, Carol owns: neither changes owners, each changes others.
    for who in [BOB, CAROL] {
        assert_eq!(world.refusal(who, allow(conversation, ALICE, 0)), 12);
        assert_eq!(world.refusal(who, allow(conversation, DAVE, 65535)), 12);
        assert_eq!(world.refusal(who, expel(conversation, &[ALICE])), 12);
        world.event(who, allow(conversation, DAVE, 1));
    }
    let owner = Participant::new(NOBODY).with_permissions(Permissions::OWNER);
    let adding = Request::AddParticipants { conversation, participants: vec![owner] };
    assert_eq!(world.refusal(BOB, adding), 12);
    world.event(ALICE, expel(conversation, &[CAROL]));
}

#[test]
fn every_change_takes_the_next_sequence_and_the_time() {
    let mut world = World::new();
    let conversation = world.create(ALICE, public(&[BOB]));
    let message = world.say(ALICE, conversation, "1");
    let requests = [
        (ALICE, rename(conversation, "Team")),
        (ALICE, add(conversation, &[CAROL])),
        (CAROL, Request::LeaveConversation(conversation)),
        (DAVE, Request::JoinConversation(conversation)),
        (ALICE, allow(conversation, DAVE, 1)),
        (ALICE, expel(conversation, &[DAVE])),
        (ALICE, edit(conversation, message, "2")),
        (ALICE, remove(conversation, message)),
    ];
    for (place, (who, request)) in requests.into_iter().enumerate() {
        let change = world.event(who, request);
        assert_eq!(change.sequence.get() as usize, place + 3);
        let Push::Conversation { conversation: now, .. } = world.get(BOB, Request::GetConversation(conversation))
        else {
            panic!("no conversation")
        };
        assert_eq!((now.last_sequence, now.last_update), (change.sequence, change.timestamp));
        assert!(now.created_at < now.last_update && now.created_at > Timestamp(0));
    }
    let events = world.range(BOB, conversation, 1, 100);
    assert_eq!(sequences(&events), Vec::from_iter(1..=10));
}

#[test]
fn up_to_a_thousand_take_part() {
    let mut world = World::new();
    for number in 1_000..2_000 {
        let name = backscroll::model::UserName::new(&format!("u{number}@chat.acme"));
        world.hub.storage_mut().add_user(user(number), name, "");
    }
    let others: Vec<_> = (1_000..1_999).map(user).collect();
    let full = world.group(&others);
    assert_eq!(world.refusal(ALICE, add(full, &[BOB])), 22);
    let more: Vec<_> = (1_000..2_000).map(user).collect();
    assert_eq!(world.refusal(ALICE, Request::CreateConversation(with(&more))), 22);
}
