//! Events in any order, in pages of any size, any number of times → the rows people read.

use super::*;
use backscroll::model::{Conversation, ConversationConfig, Message, Participant, fold_messages, without_token};
use backscroll::store::{Item, Window};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

/// The messages of the first conversation as the store shows them.
fn shown(store: &Store) -> Vec<Message> {
    let items = store.read(|reader| reader.messages(conversation(1), Window::Newest, 1_000)).unwrap();
    items.into_iter().filter_map(|item| if let Item::Message(message) = item { Some(message) } else { None }).collect()
}

fn folded(events: &[Event]) -> Vec<Message> {
    let mut messages = fold_messages(events);
    for message in &mut messages {
        message.payload = without_token(message.payload.take());
    }
    messages
}

/// What the log may still hold: the content of removed messages is gone.
fn without_removed_content(events: &[Event]) -> Vec<Event> {
    let gone: Vec<_> =
        fold_messages(events).into_iter().filter(|message| message.removed).map(|message| message.id).collect();
    let wipe = |event: &Event| {
        let mut event = event.clone();
        let removed = gone.contains(&event.body.message());
        if let EventBody::MessageSent(content) | EventBody::MessageEdited(content) = &mut event.body
            && removed
        {
            content.text.clear();
            content.payload = None;
            event.unknown = None;
        }
        event
    };
    events.iter().map(wipe).collect()
}

#[test]
fn an_edit_that_comes_before_its_message_waits_for_it() {
    let (_folder, store) = new_store();
    store.write(page(&[edited(9, 2, 5, "better"), edited(11, 2, 5, "best")])).wait().unwrap();
    assert_sound(&store);
    assert!(shown(&store).is_empty());
    store.write(page(&[sent(3, 2, 5, "good")])).wait().unwrap();
    assert_sound(&store);
    let messages = shown(&store);
    assert_eq!((messages[0].text.as_str(), messages[0].revision, messages[0].edited), ("best", Sequence(11), true));
}

#[test]
fn a_removal_takes_all_content_whatever_comes_first() {
    let events =
        [sent(1, 2, 5, "SECRET-1"), edited(2, 2, 5, "SECRET-2"), removed(3, 2, 5), edited(4, 2, 5, "SECRET-3")];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 1, 3], [1, 3, 2, 0], [0, 2, 3, 1], [1, 2, 3, 0]] {
        let (folder, store) = new_store();
        for at in order {
            store.write(page(&events[at..=at])).wait().unwrap();
            assert_sound(&store);
        }
        let log = store.read(|reader| reader.events(conversation(1), range(1, 9))).unwrap();
        assert_eq!(log, without_removed_content(&events), "order {order:?}");
        let row = store.read(|reader| reader.conversation(conversation(1))).unwrap().unwrap();
        assert_eq!((row.unread, row.preview), (0, None), "order {order:?}");
        drop(store);
        let file = std::fs::read(folder.path().join("store.db")).unwrap();
        let left = file.windows(7).filter(|bytes| bytes == b"SECRET-").count();
        assert_eq!(left, 0, "the file still holds removed text, order {order:?}");
    }
}

#[test]
fn what_was_held_first_stays() {
    let (_folder, store) = new_store();
    store.write(page(&[sent(1, 2, 5, "first")])).wait().unwrap();
    let again = store.write(page(&[sent(1, 2, 5, "second"), removed(1, 2, 5)])).wait().unwrap();
    assert_eq!(again.contradictions.len(), 1, "L-1: it is told, and changes nothing");
    assert_eq!(shown(&store)[0].text, "first");
}

#[test]
fn events_of_every_kind_come_back_as_they_were_told() {
    let described = Conversation::recreate(
        conversation(1),
        ConversationConfig {
            title: "Türkçe".to_owned(),
            participants: vec![Participant::new(user(OWN)), Participant::new(user(2))],
            public_join: true,
            custom_data: json(r#"{ "a" : [1.50] }"#),
            ..ConversationConfig::default()
        },
        Sequence(1),
        Timestamp(8),
        Timestamp(7),
    );
    let mut odd = sent(3, 2, 5, "odd");
    odd.action = Action::from("importMessage");
    odd.unknown = Some(json(r#"{"object":{"colour":"red"}}"#));
    let mut with_payload = sent(4, 2, 6, "");
    if let EventBody::MessageSent(content) = &mut with_payload.body {
        content.payload = Some(json(r#"[{"b" : 2}]"#));
    }
    let told = vec![
        event(1, 2, Action::CreateConversation, EventBody::ConversationCreated(Box::new(described.clone()))),
        event(2, 2, Action::AddParticipants, EventBody::ConversationEdited(Box::new(described))),
        odd,
        with_payload,
        edited(5, 3, 6, "edited by another"),
        event(6, 2, Action::from("dance"), EventBody::Unknown { name: "onDance".into(), payload: json(r#"{"x":1}"#) }),
        event(7, 2, Action::RemoveEmptyConversation, EventBody::ConversationRemoved),
    ];
    let (_folder, store) = new_store();
    store.write(page(&told)).wait().unwrap();
    assert_eq!(store.read(|reader| reader.events(conversation(1), range(1, 7))).unwrap(), told);
    assert_sound(&store);
}

#[test]
fn a_page_far_longer_than_a_row_of_hashes_is_found_by_uuid() {
    let (_folder, store) = new_store();
    // Uuids that count upwards fold to hashes that collide often.
    let events: Vec<Event> = (1..=600).map(|at| sent(at, 2, u128::from(at) << 32 | u128::from(at), "x")).collect();
    for part in events.chunks(90).rev() {
        store.write(page(part)).wait().unwrap();
    }
    for at in [1_u32, 127, 128, 129, 256, 599, 600] {
        let id = message(u128::from(at) << 32 | u128::from(at));
        let found = store.read(|reader| reader.message(conversation(1), id)).unwrap().unwrap();
        assert_eq!(found.sequence, Sequence(at));
        assert_eq!(store.read(|reader| reader.find_message(id)).unwrap().unwrap(), found);
    }
    assert_eq!(store.read(|reader| reader.find_message(message(7))).unwrap(), None);
    assert_sound(&store);
}

/// What happens at one position.
#[derive(Clone, Debug)]
enum Happening {
    Sent { by: u64 },
    Edited { which: usize },
    Removed { which: usize },
    Else,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..4_u64).prop_map(|by| Happening::Sent { by }),
        3 => (0..64_usize).prop_map(|which| Happening::Edited { which }),
        2 => (0..64_usize).prop_map(|which| Happening::Removed { which }),
        1 => Just(Happening::Else),
    ]
}

/// A history that a server could have: messages are changed after their birth only.
fn history() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(happening(), 1..40).prop_map(|happenings| {
        let mut born: Vec<(u128, u64)> = Vec::new();
        let mut events = Vec::new();
        for (happening, at) in happenings.iter().zip(1..) {
            let text = format!("text {at}");
            let known = |which: usize| born.get(which % born.len().max(1)).copied();
            events.push(match happening {
                Happening::Sent { by } => {
                    born.push((u128::from(at) * 0x0001_0000_0001, *by));
                    sent(at, *by, u128::from(at) * 0x0001_0000_0001, &text)
                }
                Happening::Edited { which } if !born.is_empty() => {
                    let (id, by) = known(*which).unwrap();
                    edited(at, by, id, &text)
                }
                Happening::Removed { which } if !born.is_empty() => {
                    let (id, by) = known(*which).unwrap();
                    removed(at, by, id)
                }
                Happening::Edited { .. } | Happening::Removed { .. } | Happening::Else => {
                    let payload = json(r#"{"n":1}"#);
                    event(at, 2, Action::from("x"), EventBody::Unknown { name: "onElse".into(), payload })
                }
            });
        }
        events
    })
}

/// A page, and the own read mark set behind it, if one is.
type Arrival = (Vec<Event>, Option<u32>);

/// A history, and pages of it in some order, some of them told twice.
fn arrivals() -> impl Strategy<Value = (Vec<Event>, Vec<Arrival>)> {
    (history(), proptest::collection::vec(1..9_usize, 1..40)).prop_flat_map(|(events, lengths)| {
        let mut pages = Vec::new();
        let mut rest = events.as_slice();
        for length in lengths.into_iter().chain([usize::MAX]) {
            let (page, later) = rest.split_at(length.min(rest.len()));
            if !page.is_empty() {
                pages.push(page.to_vec());
            }
            rest = later;
        }
        let repeated: Vec<Vec<Event>> = pages.iter().step_by(3).cloned().collect();
        pages.extend(repeated);
        let count = pages.len();
        let marks = proptest::collection::vec(proptest::option::weighted(0.3, 0..45_u32), count);
        (Just(events), Just(pages).prop_shuffle(), marks)
            .prop_map(|(events, pages, marks)| (events, pages.into_iter().zip(marks).collect()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// M-1, M-2, M-3, M-4, L-1: at every commit the rows are the fold of the log, the counts a recount,
    /// and at the end nothing tells in which order, in which pages and how often the events came.
    #[test]
    fn any_order_of_pages_gives_the_rows_of_the_fold((events, arrivals) in arrivals()) {
        let (_folder, store) = new_store();
        for (events, mark) in arrivals {
            let mut writes = page(&events);
            let own = |sequence| Write::ReadMark { conversation: conversation(1), user: user(OWN), sequence: Sequence(sequence) };
            writes.extend(mark.map(own));
            store.write(writes).wait().unwrap();
            let findings = store.read(|reader| reader.verify()).unwrap();
            prop_assert!(findings.is_empty(), "{findings:?}");
        }
        prop_assert_eq!(shown(&store), folded(&events));
        let log = store.read(|reader| reader.events(conversation(1), range(1, 99))).unwrap();
        prop_assert_eq!(log, without_removed_content(&events));
        let row = store.read(|reader| reader.conversation(conversation(1))).unwrap().unwrap();
        let newest = folded(&events).into_iter().rfind(|message| !message.removed);
        prop_assert_eq!(row.preview.map(|preview| (preview.sequence, preview.text)), newest.map(|message| (message.sequence, message.text)));
        prop_assert_eq!(row.head, events.last().unwrap().sequence);
        prop_assert_eq!(row.last_activity, events.last().unwrap().timestamp);
    }
}

/// What a fold would show that takes the edit that came last for the newest.
fn texts_in_order_of_arrival(pages: &[Arrival]) -> Vec<String> {
    let mut arrived: Vec<Event> = Vec::new();
    for event in pages.iter().flat_map(|(events, _)| events) {
        if arrived.iter().all(|earlier| earlier.sequence != event.sequence) {
            arrived.push(event.clone());
        }
    }
    for (event, place) in arrived.iter_mut().zip(1_000..) {
        if let EventBody::MessageEdited(_) = event.body {
            event.sequence = Sequence(place);
        }
    }
    folded(&arrived).into_iter().map(|message| message.text).collect()
}

/// M-2, the control: a fold in order of arrival must be seen to differ, or the property above says nothing.
#[test]
fn a_fold_in_order_of_arrival_is_seen_to_differ() {
    let mut runner = TestRunner::deterministic();
    let differs = runner.run(&arrivals(), |(events, arrivals)| {
        let texts: Vec<String> = folded(&events).into_iter().map(|message| message.text).collect();
        prop_assert_eq!(texts, texts_in_order_of_arrival(&arrivals));
        Ok(())
    });
    assert!(matches!(differs, Err(TestError::Fail(..))), "{differs:?}");
}
