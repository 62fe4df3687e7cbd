//! Heads since a cursor: told of too much at times, of too little never.

use crate::world::*;
use backscroll::model::{ConversationId, UserId};
use backscroll::protocol::{HEADS_MAX, Push, Request};
use backscroll_server::Hub;
use backscroll_server::storage::Storage;

/// Asks for the heads since a cursor, and returns them with the new cursor.
fn heads<S: Storage>(world: &mut World<S>, who: UserId, cursor: Option<&str>) -> (Vec<(ConversationId, u32)>, String) {
    let outcome = world.ask(who, Request::HeadsSince { cursor: cursor.map(str::to_owned) });
    assert_eq!(outcome.fan_out, []);
    let mut all = Vec::new();
    let mut newest = None;
    for chat in outcome.reply {
        let Push::HeadsSince { heads, cursor, .. } = chat.push else { panic!("no heads: {:?}", chat.push) };
        assert!(heads.len() <= HEADS_MAX && newest.is_none(), "only the last frame has the cursor");
        all.extend(heads.into_iter().map(|head| (head.conversation, head.sequence.get())));
        newest = cursor;
    }
    (all, newest.expect("the last frame has a cursor"))
}

#[test]
fn only_what_moved_since_the_cursor_is_told() {
    let mut world = World::new();
    let (one, other) = (world.group(&[BOB]), world.group(&[BOB]));
    let (all, cursor) = heads(&mut world, BOB, None);
    assert_eq!(all.len(), 2);
    assert_eq!(heads(&mut world, BOB, Some(&cursor)).0, []);
    world.say(ALICE, other, "one more");
    let (moved, cursor) = heads(&mut world, BOB, Some(&cursor));
    assert_eq!(moved, [(other, 2)]);
    world.get(ALICE, read(one, 1));
    let (moved, cursor) = heads(&mut world, BOB, Some(&cursor));
    assert_eq!(moved, [(one, 1)], "a read mark has no number and moves all the same");
    world.get(ALICE, Request::Typing(one));
    world.ask(BOB, say(ConversationId::from_uuid(uuid::Uuid::max()), "refused"));
    assert_eq!(heads(&mut world, BOB, Some(&cursor)).0, [], "typing and what was refused move nothing");
}

#[test]
fn who_has_left_is_told_of_the_leaving_and_of_nothing_behind_it() {
    let mut world = World::new();
    let (group, gone) = (world.group(&[BOB]), world.group(&[BOB]));
    let cursor = heads(&mut world, BOB, None).1;
    world.event(ALICE, expel(group, &[BOB]));
    world.say(ALICE, group, "without Bob");
    world.get(ALICE, Request::RemoveConversation(gone));
    assert_eq!(heads(&mut world, BOB, Some(&cursor)).0, [(group, 2)]);
    assert_eq!(heads(&mut world, CAROL, None).0, [], "who never was in is told nothing");
    world.event(ALICE, add(group, &[BOB]));
    assert_eq!(heads(&mut world, BOB, Some(&cursor)).0, [(group, 4)]);
}

/// A restart, a folder put back to an earlier day, another server, nonsense: everything moved.
#[test]
fn a_cursor_of_another_start_is_unknown() {
    let mut world = World::new();
    let group = world.group(&[BOB]);
    let cursor = heads(&mut world, BOB, None).1;
    let number = cursor.split_once(':').unwrap().1.to_owned();
    world.hub = Hub::new(world.hub.storage().clone());
    world.say(ALICE, group, "moves the new count as far as the old one was");
    let epoch = cursor.split_once(':').unwrap().0;
    let from_the_future = format!("{epoch}:99999999");
    for unknown in [&cursor, "", ":", "x:1", &number, &from_the_future, &format!("{}:1", uuid::Uuid::max())] {
        assert_eq!(heads(&mut world, BOB, Some(unknown)).0, [(group, 2)], "{unknown}");
    }
}
