//! After any absence, everything that happened is held: once, in order, with nothing left out.

use crate::raw::Raw;
use crate::world::{World, assert_sound, conversation_of, until_live, until_texts, within_patience};
use backscroll::Messenger;
use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationId, Sequence};
use backscroll::sync::LinkState;
use std::fs;

/// A conversation of Alice and Bob that both hold, with Alice's device closed.
async fn alice_goes_away() -> (World, ConversationId) {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    until_live(&alice).await;
    alice.close().await;
    bob.close().await;
    (world, ours.id)
}

/// Reads all messages, page by page as an application scrolls back; a gap fails the test.
async fn whole_history(device: &Messenger, conversation: ConversationId) -> Vec<(Sequence, String)> {
    let mut pages = Vec::new();
    let mut window = Window::Newest;
    loop {
        let page: Vec<(Sequence, String)> = device
            .messages(conversation, window, 500)
            .await
            .unwrap()
            .into_iter()
            .map(|item| match item {
                TimelineItem::Message(message) => (message.sequence, message.text.clone()),
                TimelineItem::Gap(range) => panic!("a gap at {range:?}"),
            })
            .collect();
        let Some((first, _)) = page.first() else { break };
        window = Window::Before(*first);
        pages.push(page);
    }
    pages.into_iter().rev().flatten().collect()
}

/// Fails unless exactly the messages numbered below `count` are held, each once, in order, without a gap.
async fn assert_holds(device: &Messenger, conversation: ConversationId, count: u32) {
    let held = whole_history(device, conversation).await;
    let expected: Vec<(Sequence, String)> =
        (0..count).map(|number| (Sequence(number + 2), format!("message {number}"))).collect();
    assert_eq!(held.len(), expected.len());
    assert_eq!(held, expected);
    assert_sound(device).await;
}

/// Absences of one page, its neighbours, several pages, and many.
async fn comes_back_after(count: u32) {
    let (world, conversation) = alice_goes_away().await;
    Raw::log_in(&world, "bob").await.send_messages(conversation, 0..count).await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    assert_holds(&alice, conversation, count).await;
}

#[tokio::test]
async fn a_gap_of_one_event_is_filled() {
    comes_back_after(1).await;
}

#[tokio::test]
async fn a_gap_of_a_page_less_one_is_filled() {
    comes_back_after(99).await;
}

///
#[tokio::test]
async fn a_gap_of_exactly_a_page_is_filled() {
    comes_back_after(100).await;
}

#[tokio::test]
async fn a_gap_of_a_page_and_one_is_filled() {
    comes_back_after(101).await;
}

#[tokio::test]
async fn a_gap_of_two_pages_and_a_half_is_filled() {
    comes_back_after(250).await;
}

/// no number of events is too many to be asked for.
#[tokio::test]
async fn a_gap_of_ten_thousand_events_is_filled() {
    comes_back_after(10_000).await;
}

/// what is written while somebody catches up neither hides what is missing nor stops the fetching.
#[tokio::test]
async fn live_events_between_the_pages_lose_nothing() {
    let (world, conversation) = alice_goes_away().await;
    let mut bob = Raw::log_in(&world, "bob").await;
    bob.send_messages(conversation, 0..1_000).await;
    let alice = world.open("alice").await;
    let mut link = alice.connection();
    let catching_up = link.wait_for(|state| matches!(state, LinkState::CatchingUp { .. } | LinkState::Live));
    within_patience("the link", catching_up).await.unwrap();
    bob.send_messages(conversation, 1_000..1_050).await;
    let newest: Vec<String> = (0..1_050).map(|number| format!("message {number}")).collect();
    let newest: Vec<&str> = newest[50..].iter().map(String::as_str).collect();
    until_texts(&alice, conversation, &newest).await;
    until_live(&alice).await;
    assert_holds(&alice, conversation, 1_050).await;
}

/// R-04, L-6: wherever the link breaks, the next one goes on and the end is the same.
#[tokio::test]
async fn a_link_that_breaks_at_any_frame_of_a_catch_up_loses_nothing() {
    let (world, conversation) = alice_goes_away().await;
    let count = 120;
    Raw::log_in(&world, "bob").await.send_messages(conversation, 0..count).await;
    // Greeting, login, own user, one head, and one frame an event.
    for frames in 1..=u64::from(count) + 4 {
        let device = format!("alice-{frames}");
        fs::copy(world.store("alice"), world.store(&device)).unwrap();
        world.server().faults().drop_link_after(frames, 0);
        let alice = world.open(&device).await;
        let mut link = alice.connection();
        // The first link comes and goes; it may have been enough, if it broke with its last frame.
        let began = link.wait_for(|state| !matches!(state, LinkState::SignedOut(_) | LinkState::Offline { .. }));
        within_patience("a link", began).await.unwrap();
        let ended = link.wait_for(|state| matches!(state, LinkState::Offline { .. } | LinkState::Live));
        within_patience("its end", ended).await.unwrap();
        world.server().faults().clear();
        until_live(&alice).await;
        assert_holds(&alice, conversation, count).await;
        alice.close().await;
    }
}
