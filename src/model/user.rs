//! Users, and what may be known of one.

use super::{ConversationId, RawJson, UserId, UserName};

/// A kind of event for which an absent user may get a push notification.
///
/// Source: protocol notes, section 6 (`manageNotification`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notification {
    /// A conversation was made.
    CreateConversation,
    /// A message was sent.
    SendMessage,
    /// A message was changed.
    EditMessage,
}

impl Notification {
    /// All kinds there are.
    pub const ALL: [Self; 3] = [Self::CreateConversation, Self::SendMessage, Self::EditMessage];

    /// Returns the name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateConversation => "onCreateConversation",
            Self::SendMessage => "onSendMessage",
            Self::EditMessage => "onEditMessage",
        }
    }

    /// Returns the kind with this name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A user as the server last described one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number inside messaging.
    pub id: UserId,
    /// The name in its short form.
    pub name: UserName,
    /// The name people see; may be empty.
    pub display_name: String,
    /// A JSON object that everybody sees.
    pub custom_data: RawJson,
    /// Whether the account is gone.
    pub deleted: bool,
    /// What only the user is told; `None` for everybody else.
    pub private: Option<PrivateUser>,
}

/// What only the user is told about the own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateUser {
    /// A JSON object that only the user sees.
    pub custom_data: RawJson,
    /// Kinds of event that cause a push notification, as named on the wire.
    pub notifications: Vec<Notification>,
    /// The conversations the user is in, in no stated order.
    pub conversations: Vec<ConversationId>,
    /// The conversations the user was in and that still exist.
    pub left_conversations: Vec<ConversationId>,
}
