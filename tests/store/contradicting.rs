//! What the server tells of an event held, a second time: compared, and noted where it is another story.

use super::*;
use backscroll::model::{Contradiction, EventPart};
use backscroll::store::{ChangeSet, Fault};
use backscroll::sync::HoleReason;
use std::sync::Arc;

fn told_again(store: &Store, event: Event) -> Arc<ChangeSet> {
    store.write(vec![Write::Repeated(conversation(1), vec![event])]).wait().unwrap()
}

fn texts(store: &Store) -> Vec<String> {
    let items = store.read(|reader| reader.messages(conversation(1), backscroll::store::Window::Newest, 100)).unwrap();
    items
        .into_iter()
        .filter_map(|item| match item {
            backscroll::store::Item::Message(message) => Some(message.text),
            backscroll::store::Item::Gap(_) => None,
        })
        .collect()
}

/// L-1: the first telling stays; another one is noted once, told with its commit, and found by `verify`.
#[test]
fn a_second_telling_that_differs_is_reported_and_changes_nothing() {
    let (_folder, store) = new_store();
    store.write(page(&[sent(1, 2, 11, "one"), sent(2, 3, 12, "two")])).wait().unwrap();
    let contradiction =
        Contradiction { conversation: conversation(1), sequence: Sequence(1), part: EventPart::Content };
    let set = told_again(&store, sent(1, 2, 11, "another one"));
    assert_eq!((set.contradictions.as_slice(), set.concerns(conversation(1))), (&[contradiction][..], true));
    let again = told_again(&store, sent(1, 2, 11, "yet another one"));
    assert!(again.contradictions.is_empty() && again.changes.is_empty(), "once a position");
    assert_eq!(texts(&store), ["one", "two"]);
    assert_eq!(store.read(|reader| reader.contradictions(None)).unwrap(), [contradiction]);
    let found = store.read(|reader| reader.verify()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].fault, found[0].range), (Fault::Server, Some(range(1, 1))));
}

/// L-1: equal tellings, and those in which the protocol lets a server differ, leave no trace.
#[test]
fn a_second_telling_that_may_differ_is_no_contradiction() {
    let (_folder, store) = new_store();
    let log = [
        sent(1, 2, 11, "one"),
        edited(2, 2, 11, "one, edited"),
        edited(3, 2, 11, "one, edited twice"),
        sent(4, 2, 12, "to be removed"),
        removed(5, 2, 12),
        sent(6, 2, 13, "removed, and not heard of yet"),
    ];
    store.write(page(&log)).wait().unwrap();
    let other_tellings = [
        // As it is after its edits, as it was before its removal, and stripped ahead of the news.
        sent(1, 2, 11, "one, edited twice"),
        edited(2, 2, 11, "one, edited twice"),
        sent(4, 2, 12, ""),
        sent(6, 2, 13, ""),
    ];
    for event in log.into_iter().chain(other_tellings) {
        let set = told_again(&store, event);
        assert!(set.contradictions.is_empty() && set.changes.is_empty(), "{set:?}");
    }
    let set = told_again(&store, edited(3, 2, 11, "one, edited"));
    assert_eq!(set.contradictions.len(), 1, "an edit never goes back to an earlier one");
    let only = store.read(|reader| reader.contradictions(None)).unwrap();
    assert_eq!(only.len(), 1);
}

/// a repair puts the server's copy in place of what is held, and all that follows from it follows.
#[test]
fn a_repair_replaces_what_the_server_tells_differently() {
    let (_folder, store) = new_store();
    store.write(page(&[sent(1, 2, 11, "one"), edited(2, 2, 11, "one, edited"), sent(3, 2, 12, "two")])).wait().unwrap();
    told_again(&store, edited(2, 2, 11, "one, edited well"));
    told_again(&store, sent(3, 2, 13, "another"));
    let instead = vec![edited(2, 2, 11, "one, edited well"), sent(3, 2, 13, "another")];
    store.write(vec![Write::Rebuild(conversation(1), instead)]).wait().unwrap();
    assert_eq!(texts(&store), ["one, edited well", "another"]);
    assert_sound(&store);
}

/// L-1, L-2: an event at a hole is stored, counted, and the hole is gone; the rest of the hole stays.
#[test]
fn an_event_at_a_hole_takes_its_place() {
    let (_folder, store) = new_store();
    let mut writes = page(&[sent(1, 2, 11, "one")]);
    writes.push(Write::Hole(conversation(1), range(2, 4), HoleReason::NotInHistory));
    writes.push(Write::Cover(conversation(1), range(2, 4)));
    store.write(writes).wait().unwrap();
    store.write(page(&[sent(3, 2, 12, "late")])).wait().unwrap();
    let (row, holes) =
        store.read(|reader| Ok((reader.conversation(conversation(1))?.expect("known"), reader.holes(None)?))).unwrap();
    assert_eq!((texts(&store), row.unread), (vec!["one".to_owned(), "late".to_owned()], 2));
    assert_eq!(holes.iter().map(|hole| hole.range).collect::<Vec<_>>(), [range(2, 2), range(4, 4)]);
    let saved = store.saved_state().unwrap().conversations;
    assert_eq!(saved[0].held().iter().collect::<Vec<_>>(), [range(1, 1), range(3, 3)]);
    assert_sound(&store);
}
