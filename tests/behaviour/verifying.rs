//! The file against the server: what differs is found where it is, and fetched.

use crate::raw::Raw;
use crate::world::{
    World, assert_sound, conversation_of, messages, texts, until, until_live, until_texts, within_patience,
};
use backscroll::engine::{Depth, DescriptionPart, Difference, Discrepancy, Fault};
use backscroll::model::{
    ConversationConfig, ConversationId, EventPart, Membership, Participant, Sequence, SequenceRange,
};
use backscroll::{Error, Messenger, MessengerEvent};
use futures_util::StreamExt;

/// Alice and Bob have talked: the making of the conversation and twenty messages.
pub(crate) async fn talk() -> (World, Messenger, Messenger, ConversationId) {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (conversation, _) = conversation_of(&alice, &bob).await;
    Raw::log_in(&world, "bob").await.send_messages(conversation.id, 0..20).await;
    let has_all = || async { texts(&alice, conversation.id).await.len() == 20 };
    until(&alice, "twenty messages", has_all).await;
    // From here on the server has nothing new to describe, so that damage is not healed by chance.
    alice.close().await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    (world, alice, bob, conversation.id)
}

pub(crate) fn at(conversation: ConversationId, first: u32, last: u32, difference: Difference) -> Discrepancy {
    let range = SequenceRange::new(Sequence(first), Sequence(last));
    Discrepancy { conversation, range, difference }
}

pub(crate) fn about(conversation: ConversationId, difference: Difference) -> Discrepancy {
    Discrepancy { conversation, range: None, difference }
}

/// Changes what the server holds while Alice is away, and lets her come back.
async fn forge(world: &mut World, alice: Messenger, sql: &str) -> Messenger {
    alice.close().await;
    world.stop_server().await;
    world.forge(sql);
    world.start_server().await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    alice
}

/// everything that differs is found at its place; what the server has is fetched, and nothing else is touched.
#[tokio::test]
async fn what_differs_from_the_server_is_found_exactly_and_fetched() {
    let (mut world, alice, bob, conversation) = talk().await;
    let before = texts(&alice, conversation).await;
    bob.close().await;
    let alice = forge(
        &mut world,
        alice,
        "UPDATE event SET text = 'forged' WHERE sequence = 10; DELETE FROM event WHERE sequence = 12",
    )
    .await;
    alice.close().await;
    world.damage(
        "alice",
        "DELETE FROM message WHERE id & 4294967295 IN (5, 6, 8);
         INSERT INTO hole (conversation, first, last, reason) SELECT id, 8, 8, 0 FROM conversation;
         UPDATE conversation SET title = 'Dinner'; UPDATE participant SET last_read = 3 WHERE place = 1",
    );
    let alice = world.open("alice").await;
    until_live(&alice).await;

    let heads = alice.verify_online(Depth::Heads).await.unwrap();
    let described = [DescriptionPart::Title, DescriptionPart::ReadMarks]
        .map(|part| about(conversation, Difference::Description(part)));
    assert_eq!((heads.found.as_slice(), heads.positions), (&described[..], 0));

    let full = alice.verify_online(Depth::Full).await.unwrap();
    let content = at(conversation, 10, 10, Difference::Event(EventPart::Content));
    let unshown = at(conversation, 12, 12, Difference::NotShown(None));
    let mut expected = described.to_vec();
    expected.extend([
        at(conversation, 5, 6, Difference::Lost),
        at(conversation, 8, 8, Difference::Hole),
        content,
        unshown,
    ]);
    assert_eq!((full.found.as_slice(), full.wrong), (&expected[..], 6));
    assert_eq!((full.conversations, full.positions), (1, 21));
    let sampled = alice.verify_online(Depth::Sample { positions: 100, seed: 1 }).await.unwrap();
    assert_eq!(sampled.found.len(), expected.len(), "a sample of more than there is");

    let repair = alice.repair_online(Depth::Full).await.unwrap();
    assert_eq!(repair.found.found, expected);
    assert_eq!(repair.left.found, [unshown], "nothing is taken away that the server cannot replace");
    assert_eq!(repair.fixed.len(), 5);
    until_live(&alice).await;
    assert_sound(&alice).await;
    let mut after = before;
    after[8] = "forged".to_owned();
    assert_eq!(texts(&alice, conversation).await, after);
    assert_eq!(alice.verify_online(Depth::Full).await.unwrap().found, [unshown]);
}

/// damage of the file is left out by the offline repair, fetched through the gap, and then it is as the server's.
#[tokio::test]
async fn a_damaged_file_comes_back_to_what_the_server_has() {
    let (world, alice, _bob, conversation) = talk().await;
    let before = texts(&alice, conversation).await;
    alice.close().await;
    world.damage(
        "alice",
        "UPDATE message SET text = 'forged' WHERE id & 4294967295 IN (4, 5); DELETE FROM message_hash;
         DELETE FROM coverage; UPDATE conversation SET unread = 77, title = 'Dinner'",
    );
    let alice = world.open("alice").await;
    until_live(&alice).await;
    let offline = alice.repair().await.unwrap();
    assert_eq!((offline.rebuilt.as_slice(), offline.left.len()), (&[conversation][..], 0));
    until_live(&alice).await;
    let is_whole = || async { alice.gaps(None).await.unwrap().is_empty() };
    until(&alice, "what was damaged", is_whole).await;
    let online = alice.repair_online(Depth::Full).await.unwrap();
    assert_eq!(online.fixed, [about(conversation, Difference::Description(DescriptionPart::Title))]);
    assert!(online.left.is_same());
    assert_eq!(texts(&alice, conversation).await, before);
    assert_sound(&alice).await;
    assert!(alice.verify_online(Depth::Full).await.unwrap().is_same());
}

/// of a conversation that the user left, or where the user was away for a time, the rest is no difference.
#[tokio::test]
async fn what_somebody_outside_is_not_told_is_no_difference() {
    let (_world, alice, bob, conversation) = talk().await;
    let me = alice.my_id().expect("logged in");
    let config = ConversationConfig { uber: true, ..ConversationConfig::default() };
    let uber = within_patience("a conversation", bob.create_conversation(config).await.unwrap()).await.unwrap();
    let (uber, first) = (uber.conversation, bob.conversation(conversation).await.unwrap().expect("held").conversation);
    for round in 0..2 {
        let added = uber.add_participants(vec![Participant::new(me)]).await.unwrap();
        within_patience("Alice to be added", added).await.unwrap();
        within_patience("a message", uber.send_message(&format!("round {round}"), None).await.unwrap()).await.unwrap();
        let removed = uber.remove_participants(vec![me]).await.unwrap();
        within_patience("Alice to be removed", removed).await.unwrap();
        within_patience("a message", uber.send_message("among ourselves", None).await.unwrap()).await.unwrap();
    }
    within_patience("leaving", alice.leave_conversation(conversation).await.unwrap()).await.unwrap();
    within_patience("a message", first.send_message("behind her back", None).await.unwrap()).await.unwrap();
    let title = uber.update(Some("Without Alice".to_owned()), None, None).await.unwrap();
    within_patience("another title", title).await.unwrap();
    let has_both = || async {
        let held = alice.conversation(uber.id).await.unwrap();
        held.is_some_and(|held| held.membership == Membership::Left)
    };
    until(&alice, "the uber conversation", has_both).await;
    until_live(&alice).await;
    let comparison = alice.verify_online(Depth::Full).await.unwrap();
    assert!(comparison.is_same(), "{:?}", comparison.found);
    assert_eq!(comparison.conversations, 2);
    assert!(comparison.positions >= 21);
}

/// what goes on while the file is compared is no difference.
#[tokio::test]
async fn live_traffic_is_no_difference() {
    let (_world, alice, bob, conversation) = talk().await;
    let theirs = bob.conversation(conversation).await.unwrap().expect("held").conversation;
    let traffic = async {
        for round in 0..30_u32 {
            let sent = theirs.send_message(&format!("round {round}"), None).await.unwrap();
            let sent = within_patience("a message", sent).await.unwrap().message;
            within_patience("an edit", sent.update(Some("edited".to_owned()), None).await.unwrap()).await.unwrap();
            drop(theirs.mark_as_read(sent.sequence).await.unwrap());
            if round % 2 == 0 {
                within_patience("a removal", sent.remove().await.unwrap()).await.unwrap();
            }
        }
    };
    let comparing = async {
        let mut positions = 0;
        for _ in 0..15 {
            let comparison = alice.verify_online(Depth::Full).await.unwrap();
            assert_eq!(comparison.found, []);
            positions += comparison.positions;
        }
        positions
    };
    let ((), positions) = tokio::join!(traffic, comparing);
    assert!(positions >= 15 * 21);
    let last = messages(&alice, conversation).await.len();
    assert!(last >= 20);
}

/// L-1: a second telling that differs is told and found, and what was told first stays until it is repaired.
#[tokio::test]
async fn a_server_that_contradicts_itself_is_reported() {
    let (mut world, alice, _bob, conversation) = talk().await;
    let before = texts(&alice, conversation).await;
    let alice = forge(&mut world, alice, "UPDATE event SET text = 'another story' WHERE sequence = 4").await;
    let mut events = alice.events();
    let held = alice.conversation(conversation).await.unwrap().expect("held").conversation;
    for _ in 0..2 {
        held.retransmit_events(Sequence(1), Sequence(21)).await.unwrap();
    }
    let told = within_patience("the contradiction", async {
        loop {
            if let MessengerEvent::Contradicted(told) = events.next().await.expect("open") {
                return told;
            }
        }
    });
    let told = told.await;
    assert_eq!((told.conversation, told.sequence, told.part), (conversation, Sequence(4), EventPart::Content));
    assert_eq!(texts(&alice, conversation).await, before);
    let found = alice.verify().await.unwrap();
    assert_eq!(found.iter().map(|found| found.fault).collect::<Vec<_>>(), [Fault::Server]);
    let repair = alice.repair_online(Depth::Full).await.unwrap();
    assert_eq!(repair.fixed, [at(conversation, 4, 4, Difference::Event(EventPart::Content))]);
    assert_sound(&alice).await;
    assert_eq!(texts(&alice, conversation).await[2], "another story");
}

/// L-1, L-2: what the server shows at a hole after all is told once, and counted.
#[tokio::test]
async fn an_event_that_comes_at_a_hole_is_told_once() {
    let (world, alice, _bob, conversation) = talk().await;
    let unread = alice.conversation(conversation).await.unwrap().expect("held").unread;
    alice.close().await;
    world.damage(
        "alice",
        "DELETE FROM message WHERE id & 4294967295 = 8; UPDATE conversation SET unread = unread - 1;
         INSERT INTO hole (conversation, first, last, reason) SELECT id, 8, 8, 0 FROM conversation;
         UPDATE message_hash SET hashes = zeroblob(length(hashes))",
    );
    let alice = world.open("alice").await;
    until_live(&alice).await;
    let mut events = alice.events();
    let held = alice.conversation(conversation).await.unwrap().expect("held").conversation;
    for _ in 0..2 {
        held.retransmit_events(Sequence(1), Sequence(21)).await.unwrap();
    }
    drop(held.send_message("the end", None).await.unwrap());
    let mut told = Vec::new();
    within_patience("what was told", async {
        while let Some(event) = events.next().await {
            if let MessengerEvent::Message(event) = event {
                if event.message.text == "the end" {
                    break;
                }
                told.push(event.sequence);
            }
        }
    })
    .await;
    assert_eq!(told, [Sequence(8)]);
    assert_eq!(alice.conversation(conversation).await.unwrap().expect("held").unread, unread);
    assert_eq!(alice.holes(None).await.unwrap(), []);
}

/// a conversation that is the user's in the file alone is found, and not taken away: only the list of the server,
/// read at the next login, says that it is gone.
#[tokio::test]
async fn a_conversation_that_the_server_does_not_know_is_found_and_left_to_the_next_login() {
    let (world, alice, _bob, conversation) = talk().await;
    let stray = ConversationId::from_uuid(uuid::Uuid::from_u128(0x0057_2a70));
    world.damage(
        "alice",
        "CREATE TEMP TABLE stray AS SELECT * FROM conversation;
         UPDATE stray SET id = 77, uuid = unhex('00000000000000000000000000572a70'), title = 'Stray';
         INSERT INTO conversation SELECT * FROM stray",
    );
    let found = [about(stray, Difference::UnknownToServer)];
    assert_eq!(alice.verify_online(Depth::Full).await.unwrap().found, found);
    let repair = alice.repair_online(Depth::Full).await.unwrap();
    assert_eq!((repair.fixed.len(), repair.left.found.as_slice()), (0, &found[..]));
    assert!(alice.conversation(stray).await.unwrap().is_some(), "nothing is taken away");

    alice.close().await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    let held = alice.conversation(stray).await.unwrap().expect("readable for ever");
    assert_eq!(held.membership, Membership::Removed);
    let comparison = alice.verify_online(Depth::Full).await.unwrap();
    assert!(comparison.is_same() && comparison.conversations == 1, "{comparison:?}");
    assert_eq!(texts(&alice, conversation).await.len(), 20);
}

/// without a server nothing is compared, and that is said.
#[tokio::test]
async fn nothing_is_compared_without_a_link() {
    let (mut world, alice, bob, conversation) = talk().await;
    until_texts(&bob, conversation, &texts(&alice, conversation).await.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    world.take_server_from(&alice).await;
    assert!(matches!(alice.verify_online(Depth::Full).await, Err(Error::Offline { .. })));
    assert!(matches!(alice.repair_online(Depth::Heads).await, Err(Error::Offline { .. })));
}
