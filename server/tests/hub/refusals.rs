//! Every error code the hub can give, and that a refusal changes nothing.

use crate::world::*;
use backscroll::model::{ConversationConfig, ConversationId, MessageId, Participant};
use backscroll::protocol::{Request, UserKey};
use uuid::Uuid;

fn edit_conversation(conversation: ConversationId, public_join: Option<bool>, data: Option<&str>) -> Request {
    Request::EditConversation { conversation, title: None, public_join, custom_data: data.map(json) }
}

/// V-8: the codes of the protocol notes, section 9.
#[test]
fn each_refusal_has_its_code_and_changes_nothing() {
    let mut world = World::new();
    let group = world.group(&[BOB]);
    let message = world.say(ALICE, group, "2");
    let removed_message = world.say(ALICE, group, "3");
    world.get(ALICE, remove(group, removed_message));
    world.event(ALICE, add(group, &[DAVE]));
    world.event(DAVE, Request::LeaveConversation(group));
    let pair = world.create(ALICE, direct(BOB));
    let open = world.create(ALICE, public(&[]));
    let removed = world.create(ALICE, public(&[BOB]));
    world.get(ALICE, Request::RemoveConversation(removed));
    let unknown = ConversationId::from_uuid(Uuid::max());
    let unknown_message = MessageId::from_uuid(Uuid::max());
    let create = |config| Request::CreateConversation(config);
    let both = |config: ConversationConfig| ConversationConfig { public_join: true, ..config };
    let too_much = format!(r#"{{"a":"{}"}}"#, "x".repeat(5_000));
    let large = || ConversationConfig { custom_data: json(&too_much), ..with(&[BOB]) };
    let array = || ConversationConfig { custom_data: json("[]"), ..with(&[BOB]) };
    let history = |from, to, count| Request::RetransmitEvents { conversation: group, from, to, count };
    let nobody_added = Request::AddParticipants { conversation: group, participants: Vec::<Participant>::new() };

    let with_payload = |bytes| Request::SendMessage {
        conversation: group,
        text: String::new(),
        payload: Some(json(&format!(r#"[{{"a":"{}"}}]"#, "x".repeat(bytes)))),
    };

    let table = vec![
        (0, ALICE, create(large())),
        (0, ALICE, create(array())),
        (0, ALICE, create(ConversationConfig { title: "x".repeat(5_001), ..with(&[BOB]) })),
        (0, ALICE, rename(group, &"x".repeat(5_001))),
        (0, ALICE, with_payload(1 << 20)),
        (0, ALICE, edit_conversation(group, None, Some(&too_much))),
        (0, ALICE, Request::EditUser { custom_data: Some(json(&too_much)), private_custom_data: None }),
        (8, ALICE, Request::GetConversation(unknown)),
        (8, ALICE, Request::GetConversations(vec![group, unknown])),
        (8, ALICE, Request::JoinConversation(unknown)),
        (8, ALICE, Request::LeaveConversation(unknown)),
        (8, ALICE, Request::RemoveConversation(unknown)),
        (8, ALICE, Request::Typing(unknown)),
        (8, ALICE, say(unknown, "")),
        (8, ALICE, edit(unknown, message, "")),
        (8, ALICE, remove(unknown, message)),
        (8, ALICE, read(unknown, 1)),
        (8, ALICE, range(unknown, 1, 1)),
        (8, ALICE, add(unknown, &[CAROL])),
        (8, ALICE, rename(unknown, "")),
        (10, ALICE, edit(group, unknown_message, "")),
        (10, ALICE, remove(group, unknown_message)),
        (10, ALICE, edit(pair, message, "")),
        (11, ALICE, edit(group, removed_message, "")),
        (11, ALICE, remove(group, removed_message)),
        (12, CAROL, Request::GetConversation(group)),
        (12, CAROL, range(group, 1, 1)),
        (12, BOB, rename(group, "")),
        (12, BOB, Request::RemoveConversation(group)),
        (12, BOB, add(group, &[CAROL])),
        (12, BOB, allow(group, ALICE, 1)),
        (12, BOB, expel(group, &[ALICE])),
        (12, BOB, edit(group, message, "")),
        (12, BOB, remove(group, message)),
        (13, ALICE, add(group, &[BOB])),
        (13, ALICE, Request::JoinConversation(open)),
        (15, CAROL, Request::JoinConversation(group)),
        (16, ALICE, Request::GetConversation(removed)),
        (16, ALICE, Request::GetConversations(vec![removed])),
        (16, CAROL, Request::JoinConversation(removed)),
        (16, BOB, say(removed, "")),
        (16, BOB, read(removed, 1)),
        (16, BOB, range(removed, 1, 1)),
        (16, ALICE, Request::RemoveConversation(removed)),
        (18, ALICE, create(with(&[NOBODY]))),
        (18, ALICE, add(group, &[NOBODY])),
        (19, ALICE, allow(group, CAROL, 1)),
        (19, ALICE, expel(group, &[CAROL])),
        (19, CAROL, say(group, "")),
        (19, DAVE, say(group, "")),
        (19, CAROL, edit(group, message, "")),
        (19, CAROL, remove(group, message)),
        (19, CAROL, Request::Typing(group)),
        (19, CAROL, read(group, 1)),
        (19, CAROL, Request::LeaveConversation(group)),
        (19, CAROL, rename(group, "")),
        (19, CAROL, add(group, &[CAROL])),
        (21, ALICE, Request::GetConversations(vec![])),
        (21, ALICE, Request::GetConversations(vec![group; 31])),
        (21, ALICE, Request::GetUsers(vec![])),
        (21, ALICE, Request::GetUsers(vec![UserKey::Id(BOB); 51])),
        (21, ALICE, nobody_added),
        (21, ALICE, expel(group, &[])),
        (21, ALICE, Request::Subscribe(vec![])),
        (22, ALICE, history(Some(1), Some(101), None)),
        (22, ALICE, history(Some(1), None, Some(101))),
        (23, ALICE, say(group, &"x".repeat(5_001))),
        (23, ALICE, edit(group, message, &"x".repeat(5_001))),
        (24, ALICE, read(group, 99)),
        (24, ALICE, history(Some(90), Some(99), None)),
        (25, ALICE, Request::GetUser(UserKey::Id(NOBODY))),
        (25, ALICE, Request::GetUsers(vec![UserKey::Id(BOB), UserKey::Id(NOBODY)])),
        (25, ALICE, Request::Subscribe(vec![BOB, NOBODY])),
        (26, ALICE, Request::ManageNotifications(vec![None])),
        (28, ALICE, history(Some(2), Some(1), None)),
        (34, ALICE, create(both(direct(CAROL)))),
        (34, ALICE, create(ConversationConfig { uber: true, ..direct(CAROL) })),
        (34, ALICE, edit_conversation(pair, Some(true), None)),
        (35, ALICE, create(ConversationConfig { direct: true, ..with(&[]) })),
        (35, ALICE, create(ConversationConfig { direct: true, ..with(&[BOB, CAROL]) })),
        (35, ALICE, create(direct(ALICE))),
        (36, ALICE, history(Some(1), Some(2), Some(2))),
        (37, ALICE, add(pair, &[CAROL])),
        (38, ALICE, expel(pair, &[BOB])),
        (39, CAROL, Request::JoinConversation(pair)),
        (39, ALICE, allow(pair, BOB, 1)),
        (40, BOB, Request::LeaveConversation(pair)),
        (41, ALICE, history(Some(1), None, None)),
        (41, ALICE, history(None, None, None)),
    ];
    for (code, who, request) in table {
        let described = format!("{request:?}");
        let before = world.hub.storage().clone();
        assert_eq!(world.refusal(who, request), code, "{described}");
        assert!(before == *world.hub.storage(), "{described} changed something");
    }
}

/// A client's own token makes the custom data longer, but not too long.
#[test]
fn custom_data_of_5000_bytes_fits_with_a_token_in_it() {
    let mut world = World::new();
    let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(5_000 - 8));
    assert_eq!(data.len(), 5_000);
    let token = backscroll::model::ClientToken::from_uuid(Uuid::max());
    let custom_data = backscroll::model::with_token_in_custom_data(&json(&data), token);
    world.create(ALICE, ConversationConfig { custom_data, ..with(&[BOB]) });
}
