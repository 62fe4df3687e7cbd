//! The published interface as an application uses it: each call, each callback, with what it gives.

use crate::world::{World, conversation_of, user_name, within_patience};
use backscroll::engine::{MessengerEventType, Sending};
use backscroll::model::{
    Action, ConversationConfig, ConversationKind, ErrorCode, Membership, Notification, Participant, Permissions,
    RawJson, Sequence, Timestamp,
};
use backscroll::{Error, Messenger};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

fn json(text: &str) -> RawJson {
    RawJson::new(text).unwrap()
}

async fn settled<T>(sending: Result<Sending<T>, Error>) -> T {
    within_patience("the answer", sending.unwrap()).await.unwrap()
}

/// What happened so far, by name; each entry of `expected` must come, in any order.
struct Heard(watch::Sender<Vec<String>>);

impl Heard {
    fn note(&self) -> impl Fn(String) + Send + Sync + 'static {
        let sender = self.0.clone();
        move |what| sender.send_modify(|heard| heard.push(what))
    }

    async fn until(&self, expected: &str) {
        let mut heard = self.0.subscribe();
        within_patience(expected, heard.wait_for(|heard| heard.iter().any(|what| what == expected))).await.unwrap();
    }
}

#[tokio::test]
async fn people_are_looked_up_by_name_and_by_number() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let id = bob.my_id().unwrap();
    let by_name = within_patience("bob", alice.get_user_by_name(user_name("bob"))).await.unwrap().user;
    assert_eq!((by_name.id, &by_name.name, by_name.display_name.as_str()), (id, &user_name("bob"), "bob"));
    assert!(!by_name.deleted && by_name.private.is_none());
    assert_eq!(by_name.custom_data, RawJson::empty_object());
    let by_id = within_patience("bob", alice.get_user_by_im_id(id)).await.unwrap().user;
    assert_eq!(by_id, by_name);

    let names = vec![user_name("alice"), user_name("bob")];
    let several = within_patience("both", alice.get_users_by_name(names)).await.unwrap();
    let ids: Vec<_> = several.iter().map(|event| event.user.id).collect();
    assert_eq!(ids, [alice.my_id().unwrap(), id]);
    let several = within_patience("both", alice.get_users_by_im_id(ids)).await.unwrap();
    assert_eq!(several.len(), 2);
    // One's own is told in full.
    let private = several[0].user.private.as_ref().expect("one's own");
    assert_eq!((&private.conversations, &private.left_conversations), (&vec![], &vec![]));

    for wrong in [0, 51] {
        let refused = alice.get_users_by_im_id(vec![id; wrong]).await.unwrap_err();
        assert_eq!(refused.messaging().unwrap().code, ErrorCode::RequestedNumberTooBigOr0);
    }
    let refused = alice.get_user_by_name(user_name("nobody")).await.unwrap_err();
    let refused = refused.messaging().unwrap();
    assert_eq!((refused.code.number(), refused.code.name()), (25, "USER_NOT_FOUND"));
    assert!(!refused.description.is_empty());
    // What was learned is readable without asking.
    assert_eq!(alice.user(id).await.unwrap(), Some(by_name));
}

#[tokio::test]
async fn what_one_says_of_oneself_stays_changes_or_is_erased() {
    let world = World::with_users(&["alice"]).await;
    let alice = world.log_in("alice").await;
    let both = settled(alice.edit_user(Some(json(r#"{"a":1}"#)), Some(json(r#"{"b":2}"#))).await).await.user;
    assert_eq!((&both.custom_data, &both.private.unwrap().custom_data), (&json(r#"{"a":1}"#), &json(r#"{"b":2}"#)));
    let unchanged = settled(alice.edit_user(None, Some(json(r#"{"b":3}"#))).await).await.user;
    assert_eq!(unchanged.custom_data, json(r#"{"a":1}"#));
    let erased = settled(alice.edit_user(Some(RawJson::empty_object()), None).await).await.user;
    assert_eq!(erased.custom_data, RawJson::empty_object());
    assert_eq!(erased.private.unwrap().custom_data, json(r#"{"b":3}"#));

    let wanted = vec![Notification::SendMessage, Notification::EditMessage];
    let kept = settled(alice.manage_push_notifications(wanted.clone()).await).await.user;
    assert_eq!(kept.private.unwrap().notifications, wanted);
}

#[tokio::test]
async fn whom_one_follows_is_told_listed_and_ended() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let carol = world.log_in("carol").await;
    let (bob_id, carol_id) = (bob.my_id().unwrap(), carol.my_id().unwrap());
    let followed = settled(alice.subscribe(vec![bob_id, carol_id]).await).await;
    assert_eq!((followed.kind, followed.users), (MessengerEventType::Subscribe, vec![bob_id, carol_id]));

    let seen = watch::Sender::new(None);
    let _subscription = alice.on_set_status({
        let seen = seen.clone();
        move |event| seen.send_modify(|seen| *seen = Some(*event))
    });
    bob.set_status(true).await.unwrap();
    let mut seen = seen.subscribe();
    let status = within_patience("bob", seen.wait_for(Option::is_some)).await.unwrap().expect("just seen");
    assert_eq!((status.user, status.online), (bob_id, true));

    let ended = settled(alice.unsubscribe(vec![bob_id]).await).await;
    assert_eq!((ended.kind, ended.users), (MessengerEventType::Unsubscribe, vec![bob_id]));
    let listed = within_patience("the list", alice.get_subscriptions()).await.unwrap();
    assert_eq!((listed.kind, listed.users), (MessengerEventType::GetSubscriptions, vec![carol_id]));
    settled(alice.unsubscribe_from_all().await).await;
    assert_eq!(within_patience("the list", alice.get_subscriptions()).await.unwrap().users, []);
}

#[tokio::test]
async fn a_public_conversation_is_found_joined_and_left() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let wish = ConversationConfig { title: "Square".to_owned(), public_join: true, ..ConversationConfig::default() };
    let square = settled(alice.create_conversation(wish).await).await.conversation;
    let listed = within_patience("the list", bob.get_public_conversations()).await.unwrap();
    assert_eq!(listed.conversations, [square.id]);

    let joined = settled(bob.join_conversation(square.id).await).await;
    assert_eq!((joined.kind, joined.action), (MessengerEventType::EditConversation, Action::JoinConversation));
    assert_eq!((joined.sequence, joined.initiator), (Sequence(2), bob.my_id()));
    let left = settled(bob.leave_conversation(square.id).await).await;
    assert_eq!((left.action, left.conversation.participants.len()), (Action::LeaveConversation, 1));
    let kept = bob.conversation(square.id).await.unwrap().unwrap();
    assert_eq!(kept.membership, Membership::Left);
}

#[tokio::test]
async fn a_conversation_has_its_kind_its_people_and_their_rights() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let other = Participant::new(bob.my_id().unwrap());
    let wish = |participants: &[Participant]| ConversationConfig {
        participants: participants.to_vec(),
        ..ConversationConfig::default()
    };
    for (wish, kind) in [
        (ConversationConfig { direct: true, ..wish(&[other]) }, ConversationKind::Direct),
        (ConversationConfig { public_join: true, ..wish(&[]) }, ConversationKind::Public),
        (ConversationConfig { uber: true, ..wish(&[other]) }, ConversationKind::Uber),
    ] {
        let made = settled(alice.create_conversation(wish).await).await.conversation;
        let flags = (made.direct, made.public_join, made.uber);
        let of = |this| kind == this;
        let expected = (of(ConversationKind::Direct), of(ConversationKind::Public), of(ConversationKind::Uber));
        assert_eq!((made.kind(), flags), (kind, expected));
    }

    let (team, _) = conversation_of(&alice, &bob).await;
    assert_eq!((team.kind(), team.last_sequence), (ConversationKind::Regular, Sequence(1)));
    assert!(team.created_at > Timestamp(0) && team.last_update >= team.created_at);
    let owner = team.participant(alice.my_id().unwrap()).unwrap().permissions;
    assert!(owner.is_owner() && owner.can_edit_all() && owner.can_remove_all() && owner.can_manage_participants());
    let writer = team.participant(other.user).unwrap();
    assert_eq!((writer.permissions, writer.last_read), (Permissions::WRITER, Sequence::ZERO));
    assert!(writer.permissions.can_write() && writer.permissions.can_edit() && writer.permissions.can_remove());

    let mute = other.with_permissions(Permissions::NONE);
    let muted = settled(team.edit_participants(vec![mute]).await).await;
    assert_eq!(muted.action, Action::EditParticipants);
    assert_eq!(muted.conversation.participant(other.user).unwrap().permissions, Permissions::NONE);

    // One part at a time: what is not named stays.
    settled(team.update(None, None, Some(json(r#"{"a":1}"#))).await).await;
    settled(team.update(Some("Dinner".to_owned()), None, None).await).await;
    let edited = settled(team.update(None, Some(true), None).await).await.conversation;
    let now = (edited.title.as_str(), edited.public_join, &edited.custom_data);
    assert_eq!(now, ("Dinner", true, &json(r#"{"a":1}"#)));

    let removed = settled(team.remove_participants(vec![other.user]).await).await;
    assert_eq!((removed.action, removed.conversation.participants.len()), (Action::RemoveParticipants, 1));
    let ended = settled(team.remove().await).await;
    assert_eq!((ended.kind, ended.conversation.id), (MessengerEventType::RemoveConversation, team.id));
}

#[tokio::test]
async fn typing_is_told_at_most_once_in_ten_seconds() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let seen = Heard(watch::Sender::default());
    let _subscription = bob.on_typing({
        let (heard, note) = (Arc::clone(&heard), seen.note());
        move |event| {
            heard.lock().unwrap().push((event.conversation, event.initiator, event.kind));
            note("typing".to_owned());
        }
    });
    ours.typing().await.unwrap();
    seen.until("typing").await;
    let refused = ours.typing().await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::MethodCallDiscarded);
    assert_eq!(*heard.lock().unwrap(), [(ours.id, alice.my_id(), MessengerEventType::Typing)]);
}

#[tokio::test]
async fn each_of_the_twelve_callbacks_is_called() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let heard = Heard(watch::Sender::default());
    let note = || heard.note();
    macro_rules! listen {
        ($($name:ident)*) => {
            [$(bob.$name({
                let note = note();
                move |_| note(stringify!($name).to_owned())
            })),*]
        };
    }
    let _subscriptions = listen! {
        on_create_conversation on_edit_conversation on_remove_conversation
        on_send_message on_edit_message on_remove_message
        on_typing on_read on_edit_user on_set_status on_subscribe on_unsubscribe
    };
    let follower = alice.my_id().unwrap();
    settled(bob.subscribe(vec![follower]).await).await;
    heard.until("on_subscribe").await;
    let (ours, _) = conversation_of(&alice, &bob).await;
    heard.until("on_create_conversation").await;
    does_everything(&alice, &ours).await;
    for name in ["on_send_message", "on_edit_message", "on_remove_message", "on_typing", "on_read"] {
        heard.until(name).await;
    }
    for name in ["on_edit_conversation", "on_edit_user", "on_set_status", "on_remove_conversation"] {
        heard.until(name).await;
    }
    settled(bob.unsubscribe(vec![follower]).await).await;
    heard.until("on_unsubscribe").await;
    // Once each: the subscriptions live as long as they are held.
    let mut names = heard.0.borrow().clone();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 12, "{names:?}");
}

/// What others are told of, one of each kind.
async fn does_everything(messenger: &Messenger, conversation: &backscroll::Conversation) {
    let sent = settled(conversation.send_message("Soup?", None).await).await.message;
    settled(sent.update(Some("Salad?".to_owned()), None).await).await;
    settled(sent.remove().await).await;
    conversation.typing().await.unwrap();
    settled(conversation.mark_as_read(Sequence(2)).await).await;
    settled(conversation.update(Some("Dinner".to_owned()), None, None).await).await;
    settled(messenger.edit_user(Some(json(r#"{"mood":"hungry"}"#)), None).await).await;
    messenger.set_status(true).await.unwrap();
    settled(conversation.remove().await).await;
}
