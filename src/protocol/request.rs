//! Every messaging request. Which event answers it stands with each variant.

use crate::model::{
    Action, ConversationConfig, ConversationId, MessageId, Notification, Participant, RawJson, RequestId, UserId,
    UserName,
};
use std::fmt;

/// A messaging request in its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientChat {
    /// Made by the client; its answer carries the same.
    pub request: RequestId,
    /// What is asked for.
    pub body: Request,
}

/// How a user is named in a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserKey {
    /// By name, exactly as it was given: the answer must repeat it.
    Name(UserName),
    /// By number.
    Id(UserId),
}

/// What a client asks for. Numbers are as the client sent them; the server checks their range.
/// `Debug` tells of what people wrote the sizes only.
///
/// Source: protocol notes, section 6.
#[derive(Clone, PartialEq)]
pub enum Request {
    /// Answered by `onCreateConversation`.
    CreateConversation(ConversationConfig),
    /// Replaces the three members, an absent one is kept. Answered by `onEditConversation`.
    EditConversation {
        /// Which.
        conversation: ConversationId,
        /// The new title.
        title: Option<String>,
        /// Whether anyone may join.
        public_join: Option<bool>,
        /// A JSON object.
        custom_data: Option<RawJson>,
    },
    /// Answered by `onRemoveConversation`.
    RemoveConversation(ConversationId),
    /// Answered by `onEditConversation`.
    JoinConversation(ConversationId),
    /// Answered by `onEditConversation`.
    LeaveConversation(ConversationId),
    /// Answered by `onGetConversation`.
    GetConversation(ConversationId),
    /// At most 30. Answered by one `onGetConversation` for each.
    GetConversations(Vec<ConversationId>),
    /// Answered by `onGetPublicConversations`.
    GetPublicConversations,
    /// Answered by `onEditConversation`.
    AddParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whom, with what rights.
        participants: Vec<Participant>,
    },
    /// Changes the rights of those listed. Answered by `onEditConversation`.
    EditParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whose, and the new rights.
        participants: Vec<Participant>,
    },
    /// Answered by `onEditConversation`.
    RemoveParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whom.
        users: Vec<UserId>,
    },
    /// Answered by `onGetUser`.
    GetUser(UserKey),
    /// At most 50. Answered by one `onGetUser` for each.
    GetUsers(Vec<UserKey>),
    /// An absent part is kept, an empty object erases. Answered by `onEditUser`.
    EditUser {
        /// What everybody sees; a JSON object.
        custom_data: Option<RawJson>,
        /// What only the user sees; a JSON object.
        private_custom_data: Option<RawJson>,
    },
    /// Answered by `onSetStatus`.
    SetStatus {
        /// Whether the user is there.
        online: bool,
    },
    /// Answered by `onSubscribe`.
    Subscribe(Vec<UserId>),
    /// Answered by `onUnsubscribe`.
    Unsubscribe(Vec<UserId>),
    /// Answered by `onUnsubscribe`, which lists who was dropped.
    UnsubscribeAll,
    /// Answered by `onGetSubscriptionList`.
    GetSubscriptions,
    /// Replaces the set. `None` stands for a name that is no kind of notification. Answered by `onEditUser`.
    ManageNotifications(Vec<Option<Notification>>),
    /// Answered by `onSendMessage`.
    SendMessage {
        /// Where.
        conversation: ConversationId,
        /// At most 5,000 characters.
        text: String,
        /// A JSON array of objects; absent stands for an empty one.
        payload: Option<RawJson>,
    },
    /// An absent part is kept. Answered by `onEditMessage`.
    EditMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
        /// The new text.
        text: Option<String>,
        /// A JSON array of objects.
        payload: Option<RawJson>,
    },
    /// Answered by `onRemoveMessage`.
    RemoveMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
    },
    /// Answered by `onTyping`.
    Typing(ConversationId),
    /// Answered by `isRead`.
    MarkAsRead {
        /// Where.
        conversation: ConversationId,
        /// Up to and including this event; below 1 takes the mark back to 1.
        sequence: i64,
    },
    /// Two of the three numbers, at most 100 events. Answered by one `onRetransmitEvents` for each event.
    RetransmitEvents {
        /// Where.
        conversation: ConversationId,
        /// The lowest position.
        from: Option<i64>,
        /// The highest position, inclusive.
        to: Option<i64>,
        /// How many.
        count: Option<i64>,
    },
    /// An extension of our own server, announced in its greeting: which conversations that the user takes or took
    /// part in moved since an earlier answer. Answered by one or more `onHeadsSince`, the last of which is complete.
    HeadsSince {
        /// The cursor of that answer; without one, or with one the server does not know, all of them moved.
        cursor: Option<String>,
    },
}

impl Request {
    /// Returns the action that the wire names.
    pub const fn action(&self) -> Action {
        match self {
            Self::CreateConversation(_) => Action::CreateConversation,
            Self::EditConversation { .. } => Action::EditConversation,
            Self::RemoveConversation(_) => Action::RemoveConversation,
            Self::JoinConversation(_) => Action::JoinConversation,
            Self::LeaveConversation(_) => Action::LeaveConversation,
            Self::GetConversation(_) => Action::GetConversation,
            Self::GetConversations(_) => Action::GetConversations,
            Self::GetPublicConversations => Action::GetPublicConversations,
            Self::AddParticipants { .. } => Action::AddParticipants,
            Self::EditParticipants { .. } => Action::EditParticipants,
            Self::RemoveParticipants { .. } => Action::RemoveParticipants,
            Self::GetUser(_) => Action::GetUser,
            Self::GetUsers(_) => Action::GetUsers,
            Self::EditUser { .. } => Action::EditUser,
            Self::SetStatus { .. } => Action::SetStatus,
            Self::Subscribe(_) => Action::Subscribe,
            Self::Unsubscribe(_) | Self::UnsubscribeAll => Action::Unsubscribe,
            Self::GetSubscriptions => Action::GetSubscriptionList,
            Self::ManageNotifications(_) => Action::ManageNotification,
            Self::SendMessage { .. } => Action::SendMessage,
            Self::EditMessage { .. } => Action::EditMessage,
            Self::RemoveMessage { .. } => Action::RemoveMessage,
            Self::Typing(_) => Action::TypingMessage,
            Self::MarkAsRead { .. } => Action::IsRead,
            Self::RetransmitEvents { .. } => Action::RetransmitEvents,
            Self::HeadsSince { .. } => Action::HeadsSince,
        }
    }

    /// Returns whether carrying it out twice could do something twice.
    pub const fn is_mutation(&self) -> bool {
        match self {
            Self::CreateConversation(_)
            | Self::EditConversation { .. }
            | Self::RemoveConversation(_)
            | Self::JoinConversation(_)
            | Self::LeaveConversation(_)
            | Self::AddParticipants { .. }
            | Self::EditParticipants { .. }
            | Self::RemoveParticipants { .. }
            | Self::EditUser { .. }
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::UnsubscribeAll
            | Self::ManageNotifications(_)
            | Self::SendMessage { .. }
            | Self::EditMessage { .. }
            | Self::RemoveMessage { .. }
            | Self::MarkAsRead { .. } => true,
            Self::GetConversation(_)
            | Self::GetConversations(_)
            | Self::GetPublicConversations
            | Self::GetUser(_)
            | Self::GetUsers(_)
            | Self::SetStatus { .. }
            | Self::GetSubscriptions
            | Self::Typing(_)
            | Self::RetransmitEvents { .. }
            | Self::HeadsSince { .. } => false,
        }
    }
}

impl fmt::Debug for Request {
    /// Writes the action, and in parentheses what it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action();
        let mut shown = f.debug_tuple(action.name());
        match self {
            Self::CreateConversation(config) => shown.field(config),
            Self::EditConversation { conversation, title, public_join, custom_data } => {
                shown.field(conversation).field(title).field(public_join).field(custom_data)
            }
            Self::RemoveConversation(conversation)
            | Self::JoinConversation(conversation)
            | Self::LeaveConversation(conversation)
            | Self::GetConversation(conversation)
            | Self::Typing(conversation) => shown.field(conversation),
            Self::GetConversations(conversations) => shown.field(conversations),
            Self::GetPublicConversations | Self::GetSubscriptions => &mut shown,
            Self::AddParticipants { conversation, participants }
            | Self::EditParticipants { conversation, participants } => shown.field(conversation).field(participants),
            Self::RemoveParticipants { conversation, users } => shown.field(conversation).field(users),
            Self::GetUser(key) => shown.field(key),
            Self::GetUsers(keys) => shown.field(keys),
            Self::EditUser { custom_data, private_custom_data } => shown.field(custom_data).field(private_custom_data),
            Self::SetStatus { online } => shown.field(online),
            Self::Subscribe(users) | Self::Unsubscribe(users) => shown.field(users),
            Self::UnsubscribeAll => shown.field(&"all"),
            Self::ManageNotifications(kinds) => shown.field(kinds),
            Self::SendMessage { conversation, text, payload } => {
                shown.field(conversation).field(&format_args!("{} bytes", text.len())).field(payload)
            }
            Self::EditMessage { conversation, message, text, payload } => {
                let bytes = text.as_ref().map(String::len);
                shown.field(conversation).field(message).field(&format_args!("{bytes:?} bytes")).field(payload)
            }
            Self::RemoveMessage { conversation, message } => shown.field(conversation).field(message),
            Self::MarkAsRead { conversation, sequence } => shown.field(conversation).field(sequence),
            Self::RetransmitEvents { conversation, from, to, count } => {
                shown.field(conversation).field(from).field(to).field(count)
            }
            Self::HeadsSince { cursor } => shown.field(cursor),
        }
        .finish()
    }
}
