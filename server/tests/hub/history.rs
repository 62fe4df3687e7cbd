//! What is retransmitted, and to whom.

use crate::world::*;
use backscroll::model::{ConversationId, Sequence};
use backscroll::protocol::{Push, Request};

fn ask(conversation: ConversationId, from: Option<i64>, to: Option<i64>, count: Option<i64>) -> Request {
    Request::RetransmitEvents { conversation, from, to, count }
}

#[test]
fn an_answer_names_the_range_asked_for_and_counts_its_frames() {
    let mut world = World::new();
    let conversation = world.group(&[]);
    for number in 2..=5 {
        world.say(ALICE, conversation, &number.to_string());
    }
    for (request, from, to, sequences) in [
        (ask(conversation, Some(2), Some(4), None), 2, 4, 2..=4),
        (ask(conversation, Some(4), None, Some(100)), 4, 103, 4..=5),
        (ask(conversation, None, Some(3), Some(2)), 2, 3, 2..=3),
        (ask(conversation, None, Some(3), Some(100)), 1, 3, 1..=3),
        (ask(conversation, None, Some(9), Some(6)), 4, 9, 4..=5),
        (ask(conversation, Some(5), Some(90), None), 5, 90, 5..=5),
    ] {
        let outcome = world.ask(ALICE, request.clone());
        let frames = u32::try_from(outcome.reply.len()).unwrap();
        let mut seen = Vec::new();
        for chat in &outcome.reply {
            assert_eq!(chat.request, outcome.reply[0].request);
            let Push::Retransmitted { from: first, to: last, count, event, .. } = &chat.push else {
                panic!("no history")
            };
            assert_eq!((*first, *last, *count), (Some(Sequence(from)), Some(Sequence(to)), Some(frames)));
            seen.push(event.sequence.get());
        }
        assert_eq!(seen, Vec::from_iter(sequences), "{request:?}");
    }
    assert_eq!(world.refusal(ALICE, ask(conversation, Some(6), Some(9), None)), 24);
}

#[test]
fn a_full_page_has_a_hundred_events() {
    let mut world = World::new();
    let conversation = world.group(&[]);
    for number in 2..=150 {
        world.say(ALICE, conversation, &number.to_string());
    }
    assert_eq!(sequences(&world.range(ALICE, conversation, 51, 150)), Vec::from_iter(51..=150));
    assert_eq!(world.refusal(ALICE, range(conversation, 50, 150)), 22);
}

#[test]
fn history_describes_each_conversation_as_it_was_then() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    world.event(ALICE, rename(conversation, "one"));
    world.event(ALICE, rename(conversation, "two"));
    world.event(ALICE, expel(conversation, &[BOB]));
    let titles: Vec<_> = world
        .range(ALICE, conversation, 1, 4)
        .iter()
        .map(|event| {
            let described = event.body.conversation().unwrap();
            assert_eq!(described.last_sequence, event.sequence);
            (described.title.clone(), described.participants.len())
        })
        .collect();
    let expected = [("", 2), ("one", 2), ("two", 2), ("two", 1)];
    assert_eq!(titles, expected.map(|(title, count)| (title.to_owned(), count)));
}

#[test]
fn a_former_participant_reads_up_to_the_event_of_leaving() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    world.say(ALICE, conversation, "2");
    world.event(BOB, Request::LeaveConversation(conversation));
    world.say(ALICE, conversation, "4");
    assert_eq!(sequences(&world.range(BOB, conversation, 1, 100)), [1, 2, 3]);
    assert_eq!(world.refusal(BOB, range(conversation, 4, 4)), 24);
    assert_eq!(world.refusal(CAROL, range(conversation, 1, 4)), 12);
    world.event(ALICE, add(conversation, &[BOB]));
    assert_eq!(sequences(&world.range(BOB, conversation, 1, 100)), [1, 2, 3, 4, 5]);
}

#[test]
fn an_uber_conversation_shows_the_time_one_was_in() {
    let mut world = World::new();
    let conversation = world.create(ALICE, uber(&[]));
    world.say(ALICE, conversation, "2");
    world.event(ALICE, add(conversation, &[BOB]));
    world.say(ALICE, conversation, "4");
    world.event(ALICE, expel(conversation, &[BOB]));
    world.say(ALICE, conversation, "6");
    world.event(ALICE, add(conversation, &[BOB]));
    assert_eq!(sequences(&world.range(BOB, conversation, 1, 100)), [3, 4, 5, 7]);
    assert_eq!(sequences(&world.range(ALICE, conversation, 1, 100)), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(world.refusal(BOB, range(conversation, 6, 6)), 24);
}

#[test]
fn a_public_conversation_is_described_to_anyone_but_its_history_is_not_told() {
    let mut world = World::new();
    let conversation = world.create(ALICE, public(&[]));
    world.get(DAVE, Request::GetConversation(conversation));
    assert_eq!(world.refusal(DAVE, range(conversation, 1, 1)), 12);
}
