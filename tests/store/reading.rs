//! Pages, lists and names.

use super::*;
use backscroll::model::{ClientToken, Membership, with_token};
use backscroll::store::{Item, Window};

/// Messages at 1–10, 31–40 and 51–60 of 70; an edit stands at 35.
fn with_gaps() -> (TempDir, Store) {
    let (folder, store) = new_store();
    for (first, last) in [(51, 60), (1, 10), (31, 40)] {
        let mut writes = page(
            &(first..=last)
                .map(|at| if at == 35 { edited(at, 2, 34, "edited") } else { sent(at, 2, at.into(), "x") })
                .collect::<Vec<_>>(),
        );
        writes.push(Write::Cover(conversation(1), range(first, last)));
        store.write(writes).wait().unwrap();
    }
    let head = backscroll::model::Conversation::recreate(
        conversation(1),
        Default::default(),
        Sequence(70),
        Timestamp(0),
        Timestamp(0),
    );
    store.write(vec![Write::Conversation(head)]).wait().unwrap();
    (folder, store)
}

/// A window as text: messages by position, gaps in brackets.
fn window(store: &Store, window: Window, limit: u32) -> String {
    let items = store.read(|reader| reader.messages(conversation(1), window, limit)).unwrap();
    let text = |item: &Item| match item {
        Item::Message(message) => message.sequence.to_string(),
        Item::Gap(range) => format!("[{range}]"),
    };
    items.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// R-07: everything held is readable, whatever is missing beside it.
#[test]
fn windows_show_messages_oldest_first_and_each_gap_once() {
    let (_folder, store) = with_gaps();
    assert_eq!(window(&store, Window::Newest, 3), "58 59 60 [61–70]");
    assert_eq!(window(&store, Window::Newest, 12), "39 40 [41–50] 51 52 53 54 55 56 57 58 59 60 [61–70]");
    assert_eq!(window(&store, Window::Before(Sequence(51)), 2), "39 40 [41–50]");
    assert_eq!(window(&store, Window::Before(Sequence(37)), 3), "33 34 36");
    assert_eq!(window(&store, Window::Before(Sequence(3)), 5), "1 2");
    assert_eq!(window(&store, Window::Before(Sequence(31)), 1), "10 [11–30]");
    assert_eq!(window(&store, Window::Before(Sequence(1)), 5), "");
    assert_eq!(window(&store, Window::After(Sequence(9)), 2), "10 [11–30] 31");
    assert_eq!(window(&store, Window::After(Sequence(59)), 5), "60 [61–70]");
    assert_eq!(window(&store, Window::After(Sequence(99)), 5), "");
    assert_eq!(window(&store, Window::Around(Sequence(40)), 4), "39 40 [41–50] 51 52");
    assert_eq!(window(&store, Window::Around(Sequence(5)), 1), "5");
    assert_eq!(window(&store, Window::Around(Sequence(20)), 2), "10 [11–30] 31");
    assert!(store.read(|reader| reader.messages(conversation(9), Window::Newest, 5)).unwrap().is_empty());
    assert_sound(&store);
}

/// R-09: nothing looks like the beginning before it is held, and what was shown stays what it was when a gap closes.
#[test]
fn the_beginning_is_shown_once_it_is_held_and_filling_a_gap_changes_nothing_shown() {
    let (_folder, store) = new_store();
    let mut newest = page(&(21..=24).map(|at| sent(at, 2, at.into(), "x")).collect::<Vec<_>>());
    newest.push(Write::Cover(conversation(1), range(21, 24)));
    store.write(newest).wait().unwrap();
    assert_eq!(window(&store, Window::Newest, 9), "[1–20] 21 22 23 24");
    let items = || store.read(|reader| reader.messages(conversation(1), Window::Newest, 99)).unwrap();
    let shown: Vec<Item> = items().split_off(1);
    let mut oldest = page(&(1..=20).map(|at| sent(at, 2, at.into(), "x")).collect::<Vec<_>>());
    oldest.push(Write::Cover(conversation(1), range(1, 20)));
    store.write(oldest).wait().unwrap();
    assert_eq!(items().split_off(20), shown);
    assert_eq!(window(&store, Window::Before(Sequence(3)), 9), "1 2");
    assert_sound(&store);
}

#[test]
fn paging_back_and_forth_meets_every_message_once() {
    let (_folder, store) = with_gaps();
    let positions = |items: &[Item]| -> Vec<u32> {
        let at = |item: &Item| if let Item::Message(message) = item { Some(message.sequence.get()) } else { None };
        items.iter().filter_map(at).collect()
    };
    let expected: Vec<u32> = (1..=10).chain(31..=34).chain(36..=40).chain(51..=60).collect();
    for limit in [1, 2, 7, 100] {
        let mut back = Vec::new();
        let mut at = Sequence(u32::MAX);
        loop {
            let page = store.read(|reader| reader.messages(conversation(1), Window::Before(at), limit)).unwrap();
            let Some(first) = positions(&page).first().copied() else { break };
            back.splice(0..0, positions(&page));
            at = Sequence(first);
        }
        assert_eq!(back, expected);
        let mut forth = Vec::new();
        let mut at = Sequence::ZERO;
        loop {
            let page = store.read(|reader| reader.messages(conversation(1), Window::After(at), limit)).unwrap();
            let Some(last) = positions(&page).last().copied() else { break };
            forth.extend(positions(&page));
            at = Sequence(last);
        }
        assert_eq!(forth, expected);
    }
}

#[test]
fn a_row_says_what_is_covered_missing_and_whether_unread_is_all() {
    let (_folder, store) = with_gaps();
    let row = || store.read(|reader| reader.conversation(conversation(1))).unwrap().unwrap();
    assert_eq!((row().coverage.count(), row().head), (30, Sequence(70)));
    assert_eq!((row().unread, row().unread_exact), (29, false));
    store.write(vec![Write::Cover(conversation(1), range(61, 70))]).wait().unwrap();
    let mark = Write::ReadMark { conversation: conversation(1), user: user(OWN), sequence: Sequence(50) };
    store.write(vec![mark]).wait().unwrap();
    assert_eq!((row().unread, row().unread_exact), (10, true));
}

#[test]
fn our_own_token_is_hidden_and_known() {
    let token = ClientToken::from_uuid(Uuid::from_u128(77));
    let given = json(r#"[{"card" : 1}]"#);
    let (_folder, store) = new_store();
    let mut mine = sent(1, OWN, 5, "mine");
    let mut theirs = sent(2, 2, 6, "theirs");
    for event in [&mut mine, &mut theirs] {
        if let EventBody::MessageSent(content) = &mut event.body {
            content.payload = Some(with_token(Some(&given), token));
        }
    }
    store.write(page(&[mine, theirs])).wait().unwrap();
    let read = |id| store.read(|reader| reader.message(conversation(1), message(id))).unwrap().unwrap();
    assert_eq!((read(5).payload, read(5).token), (Some(given.clone()), Some(token)));
    assert_eq!((read(6).payload, read(6).token), (Some(given), None), "another device's token is not ours");
    assert_sound(&store);
}

#[test]
fn the_list_is_sorted_by_activity_and_leaves_out_what_is_gone() {
    let (_folder, store) = new_store();
    for number in 1..=4_u128 {
        let mut event = sent(1, 2, number, &"long ".repeat(50));
        event.timestamp = Timestamp(if number == 2 { 9_000 } else { 1_000 });
        event.conversation = conversation(number);
        let comes_in = Write::Membership(conversation(number), Membership::Member);
        store.write(vec![comes_in, Write::Events(conversation(number), vec![event])]).wait().unwrap();
    }
    store.write(vec![Write::Membership(conversation(3), Membership::Removed)]).wait().unwrap();
    // What nobody told of is no conversation of the user's, whatever the user says to have read of it.
    let mark = Write::ReadMark { conversation: conversation(5), user: user(OWN), sequence: Sequence(1) };
    store.write(vec![mark]).wait().unwrap();
    let list = store.read(|reader| reader.conversations(10, 0)).unwrap();
    let ids: Vec<_> = list.iter().map(|row| row.conversation.id).collect();
    assert_eq!(ids, [conversation(2), conversation(4), conversation(1)]);
    assert_eq!(list[0].preview.as_ref().unwrap().text.chars().count(), 100);
    let second = store.read(|reader| reader.conversations(1, 1)).unwrap();
    assert_eq!(second[0].conversation.id, conversation(4));
}

#[test]
fn a_conversation_is_found_by_the_beginning_of_its_uuid_or_its_title() {
    let (_folder, store) = new_store();
    let uuid: ConversationId = "ab12cd34-0000-4000-8000-00000000beef".parse().unwrap();
    let config = backscroll::model::ConversationConfig { title: "Über uns".to_owned(), ..Default::default() };
    let known = backscroll::model::Conversation::recreate(uuid, config, Sequence(1), Timestamp(0), Timestamp(0));
    store
        .write(vec![Write::Conversation(known), Write::Membership(conversation(1), Membership::Member)])
        .wait()
        .unwrap();
    let found = |name: &str| -> Vec<ConversationId> {
        let rows = store.read(|reader| reader.find_conversations(name)).unwrap();
        rows.into_iter().map(|row| row.conversation.id).collect()
    };
    for name in
        ["a", "AB12", "ab12cd34", "ab12cd34-", "ab12cd34-00", "ab12cd34-0000-4000-8000-00000000beef", "Über uns"]
    {
        assert_eq!(found(name), [uuid], "{name}");
    }
    for name in ["", "ab12cd340", "ab13", "über uns", "x", "' OR 1 = 1 --", "ab12cd34-0000-4000-8000-00000000beef0"] {
        assert_eq!(found(name), [], "{name}");
    }
}
