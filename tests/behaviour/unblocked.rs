//! Nobody waits for the disk who did not ask it to, and nothing of the engine is locked while an application is called.

use crate::world::{World, conversation_of, messages, until_live, until_texts, within_patience};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// while a commit cannot go through, its caller waits in a task; the one thread there is goes on, and reads.
#[tokio::test]
async fn a_commit_that_is_held_up_holds_up_nothing_else() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    within_patience("the answer", ours.send_message("one", None).await.unwrap()).await.unwrap();
    until_live(&alice).await;

    let somebody = Connection::open(world.store("alice")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut held_up = Box::pin(ours.send_message("two", None));
    tokio::select! {
        biased;
        stored = &mut held_up => panic!("stored past a lock: {stored:?}"),
        page = messages(&alice, ours.id) => assert_eq!(page.len(), 1),
    }
    assert!(alice.conversation(ours.id).await.unwrap().is_some());
    somebody.execute_batch("ROLLBACK").unwrap();
    drop(held_up.await.unwrap());
    until_texts(&bob, ours.id, &["one", "two"]).await;
}

/// a callback may use the engine as everybody else, listen anew and stop listening.
#[tokio::test]
async fn a_callback_uses_the_engine() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    let called = Arc::new(AtomicU32::new(0));
    let (engine, count) = (alice.clone(), Arc::clone(&called));
    let _subscription = alice.on_event(move |_| {
        assert_eq!(
            engine.me().map(|name| name.as_str().to_owned()),
            engine.session().map(|one| one.user.as_str().to_owned())
        );
        drop((engine.events(), engine.connection(), engine.role(), engine.server()));
        drop(engine.on_event(|_| ()));
        count.fetch_add(1, Ordering::Relaxed);
    });
    within_patience("the answer", ours.send_message("one", None).await.unwrap()).await.unwrap();
    until_texts(&alice, ours.id, &["one"]).await;
    assert!(called.load(Ordering::Relaxed) > 0);
}
