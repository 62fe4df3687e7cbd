//! The table of `docs/PARITY.md` is true: what it names of ours exists, and so do the tests it names.

use backscroll::engine::{
    ConversationEvent, ConversationListEvent, ConversationServiceEvent, MessageEvent, MessengerEventType,
    RetransmitEvent, StatusEvent, SubscriptionEvent, UserEvent,
};
use backscroll::model::{
    Action, ConversationConfig, ErrorCode, MessagingError, Notification, Participant, Permissions, PrivateUser, User,
};
use backscroll::{Conversation, Error, Message, Messenger, MessengerEvent};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Uses each name in a function that is compiled and never called, and lists all of them.
macro_rules! names {
    (
        members { $($owner:ident { $($member:ident $(($($argument:expr),*))?,)* })* }
        variants { $($kind:ident { $($variant:ident,)* })* }
    ) => {
        #[expect(dead_code, unused_must_use, reason = "that it compiles is all there is to show")]
        fn every_name_exists() {
            $({
                let it: &$owner = any();
                $(&it.$member $(($($argument),*))?;)*
            })*
            $($(let _ = |it: $kind| matches!(it, $kind::$variant { .. });)*)*
        }

        const NAMES: &[&str] = &[
            $($(concat!(stringify!($owner), "::", stringify!($member)),)*)*
            $($(concat!(stringify!($kind), "::", stringify!($variant)),)*)*
        ];
    };
}

/// Stands for an argument of any type.
fn any<T>() -> T {
    unreachable!("only types are looked at")
}

/// Stands for a callback.
fn told<T>() -> impl Fn(&T) + Send + Sync + 'static {
    |_| ()
}

names! {
    members {
        Messenger {
            create_conversation(any()), edit_user(any(), any()), get_conversation(any()), get_conversations(any()),
            get_public_conversations(), get_subscriptions(), get_user_by_im_id(any()), get_user_by_name(any()),
            get_users_by_im_id(any()), get_users_by_name(any()), join_conversation(any()), leave_conversation(any()),
            manage_push_notifications(any()), recreate_conversation(any(), any(), any(), any(), any()),
            recreate_message(any(), any(), any::<String>(), any(), any()), set_status(any()), subscribe(any()),
            unsubscribe(any()), unsubscribe_from_all(), me(),
            on_create_conversation(told()), on_edit_conversation(told()), on_remove_conversation(told()),
            on_send_message(told()), on_edit_message(told()), on_remove_message(told()), on_edit_user(told()),
            on_set_status(told()), on_subscribe(told()), on_unsubscribe(told()), on_typing(told()), on_read(told()),
        }
        Conversation {
            add_participants(any()), edit_participants(any()), remove_participants(any()), update(any(), any(), any()),
            remove(), mark_as_read(any()), typing(), send_message(any::<String>(), any()),
            retransmit_events(any(), any()), retransmit_events_from(any(), any()), retransmit_events_to(any(), any()),
            id, title, direct, uber, public_join, participants, custom_data, created_at, last_sequence, last_update,
        }
        ConversationConfig { title, direct, uber, public_join, participants, custom_data, }
        Participant { user, last_read, }
        Permissions {
            is_owner(), can_write(), can_edit(), can_edit_all(), can_remove(), can_remove_all(), can_manage_participants(),
        }
        Message { update(any(), any()), remove(), id, conversation, sequence, text, payload, }
        User { id, name, display_name, deleted, custom_data, }
        PrivateUser { custom_data, notifications, conversations, left_conversations, }
        MessengerEvent { kind(), }
        ConversationEvent { kind, action, initiator, conversation, sequence, timestamp, }
        MessageEvent { kind, action, initiator, message, sequence, timestamp, }
        ConversationServiceEvent { kind, initiator, conversation, sequence, }
        UserEvent { user, }
        StatusEvent { online, user, }
        SubscriptionEvent { kind, users, }
        ConversationListEvent { conversations, }
        RetransmitEvent { events, from_sequence, to_sequence, }
        Error { messaging(), }
        MessagingError { description, }
    }
    variants {
        MessengerEvent { Unknown, }
        Action {
            AddParticipants, CreateConversation, EditConversation, EditMessage, EditParticipants, EditUser,
            GetConversation, GetConversations, GetSubscriptionList, GetPublicConversations, GetUser, GetUsers, IsRead,
            JoinConversation, LeaveConversation, ManageNotification, RemoveConversation, RemoveMessage,
            RemoveParticipants, RetransmitEvents, SendMessage, SetStatus, Subscribe, TypingMessage, Unsubscribe, Other,
        }
        MessengerEventType {
            CreateConversation, EditConversation, RemoveConversation, SendMessage, EditMessage, RemoveMessage, Typing,
            Read, EditUser, SetStatus, Subscribe, Unsubscribe, GetSubscriptions,
        }
        Notification { SendMessage, EditMessage, }
        ErrorCode {
            SomethingWentWrong, MessageStructureIsWrong, EventNameIsUnknown, NotAuthorized, ConversationDoesNotExist,
            MessageDoesNotExist, MessageDeleted, Acl, AlreadyInParticipantsList, PublicJoinIsUnavailable,
            ConversationDeleted, UserValidation, UserIsNotInTheParticipantList, RequestedNumberTooBigOr0,
            RequestedNumberTooBig, MessageSizeExceedsLimit, WrongSequenceArgument, UserNotFound,
            NotificationEventIncorrect, FromGreaterThanTo, ServiceUnavailable, LimitPerSecond, LimitPerMinute,
            DirectCannotBePublicOrUber, NumberOfUsersInDirect, SpecifyMaximumTwoParams, AddingToDirect,
            RemovingFromDirect, EditingParticipantsInDirect, LeavingDirectNotAllowed, SpecifyAtLeastTwoParams, Internal,
            MethodCallDiscarded, InvalidArguments, Timeout, ClientNotLoggedIn, FailedToProcessResponse,
        }
    }
}

/// A row of the table.
struct Row {
    published: String,
    ours: String,
    test: String,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let table = read("docs/PARITY.md");
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        let mut next = || cells.next().filter(|cell| !cell.is_empty()).unwrap_or_else(|| panic!("empty: {line}"));
        Row { published: next(), ours: next(), test: next() }
    });
    rows.collect()
}

#[test]
fn each_row_names_something_of_ours_that_exists() {
    let named: BTreeSet<String> = rows().into_iter().map(|row| row.ours).collect();
    let used: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(named, used);
}

#[test]
fn each_row_names_a_test_that_exists() {
    for row in rows() {
        let (file, name) = row.test.split_once("::").unwrap_or_else(|| panic!("{}: {}", row.published, row.test));
        let test = format!("#[test]\n    fn {name}()");
        let (outer, asynchronous) = (test.replace("\n    ", "\n"), format!("#[tokio::test]\nasync fn {name}()"));
        let source = read(file);
        let exists = [test, outer, asynchronous].iter().any(|test| source.contains(test.as_str()));
        assert!(exists, "{}: {file} has no test {name}", row.published);
    }
}

#[test]
fn each_published_error_has_its_published_name() {
    let rows = rows();
    for code in ErrorCode::KNOWN {
        let row = rows.iter().find(|row| row.ours == format!("ErrorCode::{code:?}"));
        // The two codes of billing have no published name.
        let published = row.map(|row| row.published.as_str());
        let expected = format!("ERROR_{}", code.name());
        let expected = (!matches!(code, ErrorCode::TierExceeded | ErrorCode::TierUpgrading)).then_some(&*expected);
        assert_eq!(published, expected);
    }
}
