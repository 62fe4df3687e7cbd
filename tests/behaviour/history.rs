//! How much history is fetched, what lies outside of it, and what no server will ever show.

use crate::raw::Raw;
use crate::world::{World, assert_sound, conversation_of, until, until_live, within_patience};
use backscroll::Messenger;
use backscroll::engine::{Freshness, TimelineItem, Window};
use backscroll::model::{
    ConversationConfig, ConversationId, HistoryPolicy, Membership, Participant, Sequence, SequenceRange, UserId,
};
use backscroll::protocol::{Push, Request};
use backscroll::sync::HoleReason;
use futures_util::future::join_all;

fn range(first: u32, last: u32) -> SequenceRange {
    SequenceRange::new(Sequence(first), Sequence(last)).unwrap()
}

async fn gaps(device: &Messenger, conversation: ConversationId) -> Vec<SequenceRange> {
    device.gaps(Some(conversation)).await.unwrap().into_iter().map(|(_, range)| range).collect()
}

/// Fails the test when the server refused.
fn done(answer: Vec<Push>) {
    assert!(matches!(answer[..], [Push::Event(_)]), "refused: {answer:?}");
}

/// A device of Alice with this policy, after an absence in which 1,000 messages were written.
async fn alice_comes_back_with(policy: HistoryPolicy) -> (World, Messenger, ConversationId) {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    alice.close().await;
    bob.close().await;
    Raw::log_in(&world, "bob").await.send_messages(ours.id, 0..1_000).await;
    let alice = Messenger::open(world.config("alice").history(policy)).await.unwrap();
    until_live(&alice).await;
    (world, alice, ours.id)
}

/// what a policy leaves out is a gap that is shown, and scrolling back fetches it page by page.
#[tokio::test]
async fn scrolling_back_fetches_what_the_policy_left_out() {
    let (_world, alice, conversation) = alice_comes_back_with(HistoryPolicy::Newest(100)).await;
    assert_eq!(gaps(&alice, conversation).await, [range(2, 901)]);
    let summary = alice.conversation(conversation).await.unwrap().unwrap();
    assert_eq!(
        (summary.freshness, summary.missing),
        (Freshness::Live, 900),
        "R-88: a gap that nobody wants is no delay"
    );
    scroll_back(&alice, conversation, 50).await;
    assert_sound(&alice).await;
}

/// any number of windows over one conversation leave what one would.
#[tokio::test]
async fn many_windows_over_one_conversation_leave_what_one_would() {
    let (_world, alice, conversation) = alice_comes_back_with(HistoryPolicy::OnDemand).await;
    let windows = [20, 50, 99, 100, 250].map(|limit| scroll_back(&alice, conversation, limit));
    within_patience("the beginning", join_all(windows)).await;
    assert_eq!(gaps(&alice, conversation).await, []);
    assert_sound(&alice).await;
}

/// Reads to the beginning, a page at a time, and waits where something is missing.
async fn scroll_back(alice: &Messenger, conversation: ConversationId, limit: u32) {
    let mut oldest = Sequence(u32::MAX);
    while oldest > Sequence(2) {
        let page = alice.messages(conversation, Window::Before(oldest), limit).await.unwrap();
        let held = page.iter().find_map(|item| match item {
            TimelineItem::Message(message) => Some(message.sequence),
            TimelineItem::Gap(_) => None,
        });
        if matches!(page[..], [.., TimelineItem::Gap(_)]) {
            let reaches = |gaps: Vec<SequenceRange>| gaps.last().is_none_or(|gap| gap.last().next() < oldest);
            until(alice, "the gap above the page to close", || async { reaches(gaps(alice, conversation).await) })
                .await;
        } else if let Some(first) = held {
            oldest = first;
        }
    }
}

/// an explicit fetch returns when what it names is held, and no more than that was asked for.
#[tokio::test]
async fn a_fetch_returns_when_the_range_is_held() {
    let (_world, alice, conversation) = alice_comes_back_with(HistoryPolicy::OnDemand).await;
    assert_eq!(gaps(&alice, conversation).await, [range(2, 1_001)]);
    assert!(!alice.conversation(conversation).await.unwrap().unwrap().is_known_to_be_empty(), "R-99: not loaded");
    within_patience("the range", alice.fetch(conversation, range(300, 649))).await.unwrap();
    assert_eq!(gaps(&alice, conversation).await, [range(2, 299), range(650, 1_001)]);
    // A policy of its own outlives the process, and wants the rest.
    alice.set_history(conversation, Some(HistoryPolicy::Everything)).await.unwrap();
    alice.close().await;
    let alice = Messenger::open(_world.config("alice").history(HistoryPolicy::OnDemand)).await.unwrap();
    until_live(&alice).await;
    let summary = alice.conversation(conversation).await.unwrap().unwrap();
    assert_eq!((summary.history, summary.missing), (HistoryPolicy::Everything, 0));
    assert_sound(&alice).await;
}

/// what happened to a conversation while somebody was away is told, also where the policy wants none of its events.
#[tokio::test]
async fn what_changed_in_an_absence_is_told_whatever_the_policy() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (id, user) = (conversation_of(&bob, &alice).await.0.id, alice.my_id().unwrap());
    alice.close().await;
    bob.close().await;
    let mut bob = Raw::log_in(&world, "bob").await;
    let come_back = async || Messenger::open(world.config("alice").history(HistoryPolicy::OnDemand)).await.unwrap();

    done(
        bob.ask(Request::EditConversation {
            conversation: id,
            title: Some("Dinner".to_owned()),
            public_join: None,
            custom_data: None,
        })
        .await,
    );
    let alice = come_back().await;
    let shown = async || alice.conversation(id).await.unwrap().unwrap();
    until(&alice, "the new title", || async { shown().await.conversation.title == "Dinner" }).await;
    assert_eq!(shown().await.missing, 1, "its event was not wanted");
    alice.close().await;

    done(bob.ask(Request::RemoveParticipants { conversation: id, users: vec![user] }).await);
    let alice = come_back().await;
    let shown = async || alice.conversation(id).await.unwrap().unwrap();
    until(&alice, "that she is out", || async { shown().await.membership == Membership::Left }).await;
}

/// what was said in an uber conversation while somebody was out is a hole with its reason, not asked for again.
#[tokio::test]
async fn the_time_somebody_was_out_of_an_uber_conversation_is_a_hole_with_its_reason() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let user: UserId = alice.my_id().unwrap();
    let wish = ConversationConfig { uber: true, participants: vec![Participant::new(user)], ..Default::default() };
    let made = within_patience("a conversation", bob.create_conversation(wish).await.unwrap()).await.unwrap();
    let conversation = made.conversation.id;
    let is_held = || async { alice.conversation(conversation).await.unwrap().is_some() };
    until(&alice, "the conversation", is_held).await;
    alice.close().await;
    bob.close().await;

    let mut bob = Raw::log_in(&world, "bob").await;
    bob.send_messages(conversation, 0..98).await;
    // Number 100 is the removal, number 160 the return.
    done(bob.ask(Request::RemoveParticipants { conversation, users: vec![user] }).await);
    bob.send_messages(conversation, 98..157).await;
    done(bob.ask(Request::AddParticipants { conversation, participants: vec![Participant::new(user)] }).await);
    bob.send_messages(conversation, 157..200).await;

    let alice = world.open("alice").await;
    until_live(&alice).await;
    let holes = alice.holes(Some(conversation)).await.unwrap();
    let holes: Vec<(SequenceRange, HoleReason)> = holes.into_iter().map(|hole| (hole.range, hole.reason)).collect();
    assert_eq!(holes, [(range(101, 159), HoleReason::NotAMember)]);
    let summary = alice.conversation(conversation).await.unwrap().unwrap();
    assert_eq!((summary.freshness, summary.missing), (Freshness::Live, 0));
    assert_sound(&alice).await;
}

/// D-9: damage is found where it is, put right while the engine runs, and what was lost comes back.
#[tokio::test]
async fn what_is_damaged_is_fetched_again_while_the_engine_runs() {
    let (world, alice, conversation) = alice_comes_back_with(HistoryPolicy::Everything).await;
    alice.close().await;
    let file = rusqlite::Connection::open(world.store("alice")).unwrap();
    file.execute_batch(
        "UPDATE message SET text = 'forged' WHERE id & 4294967295 IN (10, 11, 700); DELETE FROM message_hash;
         UPDATE conversation SET unread = 3",
    )
    .unwrap();
    drop(file);

    let alice = world.open("alice").await;
    until_live(&alice).await;
    let repair = alice.repair().await.unwrap();
    assert_eq!(repair.rebuilt, [conversation]);
    assert_eq!(repair.left, []);
    let missing: Vec<SequenceRange> = repair.missing.into_iter().map(|(_, range)| range).collect();
    assert_eq!(missing, [range(10, 11), range(700, 700)]);
    let is_whole = || async { gaps(&alice, conversation).await.is_empty() };
    until(&alice, "what was damaged", is_whole).await;
    assert_sound(&alice).await;
    let page = alice.messages(conversation, Window::Around(Sequence(10)), 2).await.unwrap();
    assert!(matches!(&page[..], [TimelineItem::Message(message), ..] if message.text.starts_with("message ")));
    assert_eq!(alice.repair().await.unwrap().found, []);
}
