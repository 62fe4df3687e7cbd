//! Damaged rows: the engine opens all the same, what is sound goes on, what is damaged is named, and what the server
//! tells again comes back.

use crate::verifying::talk;
use crate::world::{World, assert_sound, texts, until, until_live, until_texts};
use backscroll::Messenger;
use backscroll::engine::{Fault, Finding};
use backscroll::model::OutboxState;

/// Damages Alice's file in a way that SQLite itself would have refused to write.
fn damage(world: &World, statements: &str) {
    world.damage("alice", &format!("PRAGMA ignore_check_constraints = ON; {statements}"));
}

fn faults(found: &[Finding]) -> Vec<Fault> {
    found.iter().map(|found| found.fault).collect()
}

/// Looks into the file as a tool does, next to whoever has it open.
async fn look_into(world: &World) -> Messenger {
    Messenger::inspect(world.store("alice")).await.unwrap()
}

/// D-9, R-47: an entry of the outbox that cannot be read is neither sent nor forgotten, and keeps nothing else back.
#[tokio::test]
async fn a_damaged_entry_of_the_outbox_costs_itself_only() {
    let (mut world, alice, bob, conversation) = talk().await;
    let mut arrived = texts(&bob, conversation).await;
    world.take_server_from(&alice).await;
    let here = alice.conversation(conversation).await.unwrap().unwrap().conversation;
    for text in ["first", "second", "third"] {
        drop(here.send_message(text, None).await.unwrap());
    }
    alice.close().await;
    damage(
        &world,
        "UPDATE outbox SET state = 9 WHERE position = (SELECT max(position) FROM outbox);
         UPDATE outbox SET checksum = checksum + 1 WHERE position = (SELECT max(position) - 2 FROM outbox)",
    );

    let inspected = look_into(&world).await;
    let found = inspected.verify().await.unwrap();
    assert_eq!(faults(&found), [Fault::Outbox, Fault::Outbox], "{found:?}");
    let overview = inspected.overview().await.unwrap();
    assert_eq!((overview.unreadable, overview.outbox[&OutboxState::Queued]), (2, 1));

    world.start_server().await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    let here = alice.conversation(conversation).await.unwrap().unwrap().conversation;
    here.send_message("fourth", None).await.unwrap().await.unwrap();
    arrived.extend(["second".to_owned(), "fourth".to_owned()]);
    until_texts(&bob, conversation, &arrived.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let repair = alice.repair().await.unwrap();
    assert_eq!((&repair.found, &repair.left), (&found, &found), "reported, and left for whoever can read it");
}

/// D-9: whatever of a conversation is damaged, a tool can look into the file, and the engine opens it; a
/// repair and the server bring the conversation back as it was.
#[tokio::test]
async fn a_damaged_conversation_comes_back_as_it_was() {
    let (world, mut alice, _bob, conversation) = talk().await;
    let before = texts(&alice, conversation).await;
    let described = alice.conversation(conversation).await.unwrap().unwrap().conversation;
    for (statements, fault) in [
        ("UPDATE conversation SET head = -1", Fault::Conversation),
        ("UPDATE conversation SET membership = 7", Fault::Conversation),
        ("UPDATE conversation SET title = CAST(x'4c75ff' AS TEXT)", Fault::Conversation),
        ("UPDATE conversation SET custom_data = '{'", Fault::Conversation),
        ("UPDATE conversation SET own_read = 4294967296", Fault::Conversation),
        ("UPDATE participant SET user_id = -3 WHERE place = 0", Fault::Conversation),
        ("INSERT INTO history SELECT id, -1 FROM conversation", Fault::Conversation),
        ("UPDATE coverage SET last = 0", Fault::Coverage),
        ("INSERT INTO hole SELECT id, 3, 3, 9 FROM conversation", Fault::Coverage),
        ("UPDATE message SET text = CAST(x'ff' AS TEXT) WHERE id & 4294967295 IN (3, 5)", Fault::Row),
        ("UPDATE message SET text = CAST(x'ff' AS TEXT); UPDATE coverage SET last = 0", Fault::Row),
    ] {
        alice.close().await;
        damage(&world, statements);
        let inspected = look_into(&world).await;
        let found = inspected.verify().await.unwrap();
        assert!(faults(&found).contains(&fault), "{statements}: {found:?}");
        inspected.overview().await.unwrap();
        inspected.conversations(0, 10).await.unwrap();
        inspected.gaps(None).await.unwrap();
        inspected.holes(None).await.unwrap();

        alice = world.open("alice").await;
        until_live(&alice).await;
        let repair = alice.repair().await.unwrap();
        assert_eq!(repair.left, [], "{statements}");
        until_live(&alice).await;
        until(&alice, statements, || async { alice.gaps(None).await.unwrap().is_empty() }).await;
        let now = alice.conversation(conversation).await.unwrap().unwrap().conversation;
        assert_eq!(*now, *described, "{statements}");
        assert_eq!(texts(&alice, conversation).await, before, "{statements}");
        assert_sound(&alice).await;
    }
}

/// what belongs to no conversation is named where it is, and what the server tells again is asked for.
#[tokio::test]
async fn damage_beside_conversations_is_named_and_asked_for_again() {
    let (world, alice, bob, _) = talk().await;
    let (me, friend) = (alice.my_id().unwrap(), bob.my_id().unwrap());
    let name = alice.user(friend).await.unwrap().unwrap().name;
    alice.close().await;
    damage(
        &world,
        &format!(
            "UPDATE user SET custom_data = 'no JSON' WHERE id = {friend};
             INSERT INTO push_token (token, wanted) VALUES (CAST(x'ff' AS TEXT), 1);
             INSERT OR REPLACE INTO heads_cursor (id, server_url, cursor) VALUES (1, CAST(x'ff' AS TEXT), '');
             UPDATE session SET access = CAST(x'ff' AS TEXT)"
        ),
    );
    let inspected = look_into(&world).await;
    assert_eq!(inspected.my_id(), Some(me));
    let found = inspected.verify().await.unwrap();
    assert_eq!(faults(&found), [Fault::Other, Fault::Other, Fault::User, Fault::Other], "{found:?}");

    // The tokens are gone with the damage, and nothing else is.
    let alice = world.log_in("alice").await;
    let repair = alice.repair().await.unwrap();
    assert_eq!(faults(&repair.left), [Fault::Other], "the push token is the application's: {:?}", repair.left);
    until_live(&alice).await;
    let is_known = || async { alice.user(friend).await.unwrap().is_some_and(|user| user.name == name) };
    until(&alice, "the friend's name", is_known).await;
}
