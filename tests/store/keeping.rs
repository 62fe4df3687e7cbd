//! What is kept beside events: sessions, users, conversations, the outbox, and what changed.

use super::*;
use backscroll::model::{
    ClientToken, Conversation, ConversationConfig, ErrorCode, Intent, Membership, MessageKey, MessagingError,
    Notification, OutboxEntry, OutboxState, Participant, Permissions, PrivateUser, RequestId, Secret, Settlement,
    Tokens, User,
};
use backscroll::store::{Change, OpenOptions};
use backscroll::sync::HoleReason;
use std::collections::BTreeSet;

pub(crate) fn entry(number: u64) -> OutboxEntry {
    OutboxEntry {
        token: ClientToken::from_uuid(Uuid::from_u128(number.into())),
        position: number,
        intent: Intent::SendMessage {
            conversation: conversation(1),
            text: format!("message {number}"),
            payload: Some(json(r#"[{"n" : 1}]"#)),
        },
        state: OutboxState::Queued,
        request: RequestId::from_uuid(Uuid::from_u128(u128::from(number) + 1_000_000)),
        attempts: 0,
        queued_at: Timestamp(1_700_000_000),
        settlement: None,
        error: None,
    }
}

fn described(last_sequence: u32, own_read: u32) -> Conversation {
    let own = Participant { last_read: Sequence(own_read), ..Participant::new(user(OWN)) };
    let other = Participant::new(user(2)).with_permissions(Permissions::OWNER);
    Conversation::recreate(
        conversation(1),
        ConversationConfig {
            title: "Plans".to_owned(),
            participants: vec![other, own],
            uber: true,
            custom_data: json(r#"{"icon" : "x"}"#),
            ..ConversationConfig::default()
        },
        Sequence(last_sequence),
        Timestamp(1_800_000_000),
        Timestamp(1_600_000_000),
    )
}

fn row(store: &Store) -> backscroll::store::ConversationRow {
    store.read(|reader| reader.conversation(conversation(1))).unwrap().unwrap()
}

#[test]
fn everything_comes_back_after_reopening() {
    let (folder, store) = new_store();
    let tokens = Tokens {
        access: Secret::new("a"),
        access_expires_s: 172_800,
        refresh: Secret::new("r"),
        refresh_expires_s: 2_592_000,
    };
    let session = Session { tokens: Some(tokens), ..session() };
    let mut settled = entry(2);
    settled.state = OutboxState::Settled;
    settled.settlement =
        Some(Settlement { conversation: None, message: Some(message(5)), sequence: Some(Sequence(4)) });
    let mut failed = entry(3);
    failed.state = OutboxState::Failed;
    failed.error = Some(MessagingError::new(ErrorCode::Acl, "no"));
    failed.intent = Intent::CreateConversation(ConversationConfig {
        title: "T".to_owned(),
        participants: vec![Participant::new(user(2))],
        ..ConversationConfig::default()
    });
    let outbox = vec![entry(1), settled, failed];
    let mut writes = vec![Write::Session(session.clone()), Write::Conversation(described(7, 2))];
    writes.extend(outbox.iter().cloned().map(Write::Outbox));
    writes.push(Write::Cover(conversation(1), range(5, 7)));
    writes.push(Write::Membership(conversation(1), Membership::Left));
    writes.push(Write::Hole(conversation(1), range(5, 7), HoleReason::NotAMember));
    store.write(writes).wait().unwrap();
    let before = store.saved_state().unwrap();
    drop(store);

    let store = Store::open(folder.path().join("store.db")).unwrap();
    let saved = store.saved_state().unwrap();
    assert_eq!(saved.session, Some(session));
    assert_eq!(saved.outbox, outbox);
    assert_eq!(saved.conversations, before.conversations);
    let known = &saved.conversations[0];
    assert_eq!((known.head, known.described_at, known.membership), (Sequence(7), Sequence(7), Membership::Left));
    assert!(known.uber && known.coverage.contains_range(range(5, 7)) && known.coverage.count() == 3);
    assert_eq!(row(&store).conversation, described(7, 2));
    assert_eq!(row(&store).last_activity, Timestamp(1_800_000_000));
    assert_sound(&store);
}

#[test]
fn every_intent_comes_back_as_it_was() {
    let (_folder, store) = new_store();
    let here = conversation(1);
    let intents = [
        Intent::AddParticipants { conversation: here, participants: vec![Participant::new(user(4))] },
        Intent::EditParticipants { conversation: here, participants: vec![Participant::new(user(4))] },
        Intent::RemoveParticipants { conversation: here, users: vec![user(4)] },
        Intent::EditConversation {
            conversation: here,
            title: Some(String::new()),
            public_join: Some(true),
            custom_data: None,
        },
        Intent::RemoveConversation(here),
        Intent::JoinConversation(here),
        Intent::LeaveConversation(here),
        Intent::SendMessage { conversation: here, text: "\u{0}\"🦀".to_owned(), payload: None },
        Intent::EditMessage {
            conversation: here,
            message: MessageKey::Id(message(1)),
            text: Some("t".to_owned()),
            payload: Some(json("[]")),
        },
        Intent::RemoveMessage { conversation: here, message: MessageKey::Id(message(1)) },
        Intent::EditMessage {
            conversation: here,
            message: MessageKey::Token(entry(1).token),
            text: None,
            payload: Some(json("[]")),
        },
        Intent::RemoveMessage { conversation: here, message: MessageKey::Token(entry(1).token) },
        Intent::RemoveDuplicate { conversation: here, message: message(1) },
        Intent::MarkAsRead { conversation: here, sequence: Sequence(9) },
        Intent::EditUser { custom_data: Some(json("{}")), private_custom_data: None },
        Intent::ManageNotifications(Notification::ALL.to_vec()),
        Intent::Subscribe(vec![user(4), user(5)]),
        Intent::Unsubscribe(vec![user(4)]),
        Intent::UnsubscribeAll,
    ];
    let entries: Vec<OutboxEntry> =
        intents.into_iter().zip(1..).map(|(intent, number)| OutboxEntry { intent, ..entry(number) }).collect();
    store.write(entries.iter().cloned().map(Write::Outbox).collect()).wait().unwrap();
    assert_eq!(store.read(|reader| reader.outbox()).unwrap(), entries);
}

#[test]
fn lists_that_were_looked_up_are_read_offline() {
    let (_folder, store) = new_store();
    let public = vec![conversation(9), conversation(2)];
    let told = vec![
        Write::Subscriptions(vec![user(7), user(3)]),
        Write::Subscribed(vec![user(5), user(3)]),
        Write::Unsubscribed(vec![user(7)]),
        Write::PublicConversations(vec![conversation(1)]),
        Write::PublicConversations(public.clone()),
    ];
    store.write(told).wait().unwrap();
    assert_eq!(store.read(|reader| reader.subscriptions()).unwrap(), [user(3), user(5)]);
    assert_eq!(store.read(|reader| reader.public_conversations()).unwrap(), public);
}

#[test]
fn a_private_part_survives_a_description_without_one() {
    let (_folder, store) = new_store();
    let private = PrivateUser {
        custom_data: json(r#"{"p":1}"#),
        notifications: vec![Notification::SendMessage, Notification::EditMessage],
        conversations: vec![conversation(1), conversation(2)],
        left_conversations: vec![],
    };
    let whole = User {
        id: user(OWN),
        name: UserName::new("me@chat.acme"),
        display_name: "Me".to_owned(),
        custom_data: json("{}"),
        deleted: false,
        private: Some(private.clone()),
    };
    store.write(vec![Write::User(whole.clone())]).wait().unwrap();
    assert_eq!(store.read(|reader| reader.user(user(OWN))).unwrap(), Some(whole.clone()));
    let public = User { display_name: "Myself".to_owned(), private: None, ..whole };
    store.write(vec![Write::User(public.clone())]).wait().unwrap();
    assert_eq!(store.read(|reader| reader.user(user(OWN))).unwrap(), Some(User { private: Some(private), ..public }));
    assert_eq!(store.read(|reader| reader.user(user(9))).unwrap(), None);
}

#[test]
fn read_marks_and_the_user_decide_what_is_unread() {
    let (_folder, store) = new_store();
    store
        .write(page(&[sent(1, OWN, 1, "mine"), sent(2, 2, 2, "a"), sent(3, 3, 3, "b"), sent(4, 2, 4, "c")]))
        .wait()
        .unwrap();
    assert_eq!(row(&store).unread, 3);
    let mark =
        |user_id, at| Write::ReadMark { conversation: conversation(1), user: user(user_id), sequence: Sequence(at) };
    store.write(vec![mark(2, 4)]).wait().unwrap();
    assert_eq!(row(&store).unread, 3, "somebody else's mark");
    store.write(vec![mark(OWN, 3)]).wait().unwrap();
    assert_eq!(row(&store).unread, 1);
    store.write(vec![mark(OWN, 1)]).wait().unwrap();
    assert_eq!(row(&store).unread, 3, "an explicit mark may go back");
    store.write(vec![Write::Conversation(described(4, 2))]).wait().unwrap();
    assert_eq!((row(&store).unread, row(&store).own_read_mark), (2, Sequence(2)));
    store.write(vec![mark(OWN, 4), Write::Conversation(described(4, 1))]).wait().unwrap();
    assert_eq!((row(&store).unread, row(&store).own_read_mark), (0, Sequence(4)), "a description takes no mark back");
    store.write(vec![Write::Session(Session { user_id: Some(user(2)), ..session() })]).wait().unwrap();
    assert_eq!(row(&store).unread, 0);
    assert_sound(&store);
}

#[test]
fn the_mark_of_a_user_who_becomes_known_later_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_with(OpenOptions::new(folder.path().join("store.db"))).unwrap();
    store.write(vec![Write::Conversation(described(3, 2))]).wait().unwrap();
    store.write(page(&[sent(1, OWN, 1, "mine"), sent(2, 2, 2, "a"), sent(3, 3, 3, "b")])).wait().unwrap();
    assert_eq!(row(&store).unread, 3);
    store.write(vec![Write::Session(session())]).wait().unwrap();
    assert_eq!((row(&store).unread, row(&store).own_read_mark), (1, Sequence(2)));
    assert_sound(&store);
}

#[test]
fn coverage_melts_and_holes_are_filled_by_what_comes_after_all() {
    let (_folder, store) = new_store();
    let here = conversation(1);
    let cover = |first, last| Write::Cover(here, range(first, last));
    store
        .write(vec![cover(10, 19), cover(30, 39), cover(50, 59), cover(20, 29), cover(1, 5), cover(35, 45)])
        .wait()
        .unwrap();
    let coverage = store.saved_state().unwrap().conversations[0].coverage.clone();
    assert_eq!(coverage.iter().collect::<Vec<_>>(), [range(1, 5), range(10, 45), range(50, 59)]);
    assert!(store.write(vec![cover(12, 40)]).wait().unwrap().changes.is_empty(), "nothing new");

    let hole = |first, last, reason| Write::Hole(here, range(first, last), reason);
    let (absent, stranger) = (HoleReason::NotInHistory, HoleReason::NotAMember);
    store
        .write(vec![hole(1, 5, absent), hole(10, 20, absent), hole(15, 45, stranger), hole(50, 59, absent)])
        .wait()
        .unwrap();
    let mut writes = page(&[sent(12, 2, 5, "after all"), sent(52, 2, 6, "and this")]);
    writes.truncate(1);
    store.write(writes).wait().unwrap();
    let holes: Vec<_> = store
        .read(|reader| reader.holes(Some(here)))
        .unwrap()
        .into_iter()
        .map(|hole| (hole.range, hole.reason))
        .collect();
    let expected = [
        (range(1, 5), absent),
        (range(10, 11), absent),
        (range(13, 20), absent),
        (range(21, 45), stranger),
        (range(50, 51), absent),
        (range(53, 59), absent),
    ];
    assert_eq!(holes, expected);
    assert_eq!(store.read(|reader| reader.holes(None)).unwrap().len(), expected.len());
    let gaps = store.read(|reader| reader.gaps(None)).unwrap();
    assert_eq!(gaps, [(here, range(6, 9)), (here, range(46, 49))]);
    assert_sound(&store);
}

#[test]
fn changes_are_numbered_told_and_empty_when_nothing_changed() {
    let (folder, store) = new_store();
    let mut listener = store.subscribe();
    let first = store.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    assert!(first.concerns(conversation(1)) && first.changes.len() == 1);
    let nothing = store.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    assert_eq!((nothing.number, nothing.changes.len()), (first.number, 0));
    let second = store.write(vec![Write::Outbox(entry(1)), Write::Session(session())]).wait().unwrap();
    assert_eq!(second.number, first.number + 1);
    assert_eq!(second.changes, BTreeSet::from([Change::Session, Change::Outbox(entry(1).token)]));
    assert_eq!(*listener.try_recv().unwrap(), *first);
    assert_eq!(*listener.try_recv().unwrap(), *second);
    drop(store);
    let store = Store::open(folder.path().join("store.db")).unwrap();
    let third = store.write(vec![Write::OutboxForget(entry(1).token)]).wait().unwrap();
    assert_eq!(third.number, second.number + 1);

    let after = |number| store.read(|reader| reader.changes_after(number)).unwrap().unwrap();
    assert_eq!((after(second.number).number, after(second.number).changes), (third.number, third.changes.clone()));
    let all = first.changes.union(&second.changes).copied().collect::<BTreeSet<_>>();
    assert_eq!(after(first.number - 1).changes, all);
    assert!(after(third.number).changes.is_empty());
}

#[test]
fn changes_too_long_ago_are_forgotten_and_said_to_be() {
    let (_folder, store) = new_store();
    let first = store.write(vec![Write::OutboxForget(entry(1).token), Write::Session(session())]).wait().unwrap();
    let read = |number| store.read(|reader| reader.changes_after(number)).unwrap();
    for at in 1..=10_000 {
        // Alternating, so that each changes something; none waits for the disk.
        let membership = if at % 2 == 0 { Membership::Member } else { Membership::Left };
        store.write(vec![Write::Membership(conversation(1), membership)]).wait().unwrap();
    }
    assert_eq!(read(first.number).unwrap().changes, BTreeSet::from([Change::Conversation(conversation(1))]));
    store.write(vec![Write::Membership(conversation(1), Membership::Left)]).wait().unwrap();
    assert_eq!(read(first.number), None);
}

/// D-2, D-4, D-5: what fails in the middle leaves nothing behind, and the store goes on.
#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let (_folder, store) = new_store();
    store.write(vec![Write::Outbox(entry(1))]).wait().unwrap();
    let usurper = OutboxEntry { position: 1, ..entry(2) };
    let mut writes = page(&[sent(1, 2, 5, "one")]);
    writes.push(Write::Outbox(usurper));
    let before = store.read(|reader| reader.overview()).unwrap();
    assert!(store.write(writes).wait().is_err(), "two entries cannot share a position");
    assert_eq!(store.read(|reader| reader.overview()).unwrap(), before);
    store.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    assert_sound(&store);
}
