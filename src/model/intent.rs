//! What a user wants done.

use super::{
    Action, ClientToken, ConversationConfig, ConversationId, MessageId, Notification, Participant, RawJson, Sequence,
    UserId,
};
use std::fmt;

/// How a message is named that the server may not have given an id yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKey {
    /// By the id that the server gave it.
    Id(MessageId),
    /// By our own token, while it waits in the outbox or is under way.
    Token(ClientToken),
}

/// Something the user wants done, kept until it is. `Debug` tells of what people wrote the sizes only.
///
/// A part that is `None` stays as it is. Source: protocol notes, section 6, for the action behind each.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Intent {
    /// Make a conversation.
    CreateConversation(ConversationConfig),
    /// Change title, public join or custom data.
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
    /// Remove a conversation for everybody.
    RemoveConversation(ConversationId),
    /// Join a public conversation.
    JoinConversation(ConversationId),
    /// Leave a conversation.
    LeaveConversation(ConversationId),
    /// Add participants.
    AddParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whom, with what rights.
        participants: Vec<Participant>,
    },
    /// Change the rights of participants.
    EditParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whose, and the new rights.
        participants: Vec<Participant>,
    },
    /// Remove participants.
    RemoveParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whom.
        users: Vec<UserId>,
    },
    /// Send a message.
    SendMessage {
        /// Where.
        conversation: ConversationId,
        /// At most 5,000 Unicode scalar values.
        text: String,
        /// What the application gave, without our token; `None` when empty.
        payload: Option<RawJson>,
    },
    /// Change a message.
    EditMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageKey,
        /// The new text.
        text: Option<String>,
        /// The new payload; an empty array erases it.
        payload: Option<RawJson>,
    },
    /// Remove a message.
    RemoveMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageKey,
    },
    /// Remove the second copy of a message of one's own that a server stored twice. Wanted by the engine itself.
    RemoveDuplicate {
        /// Where.
        conversation: ConversationId,
        /// The copy with the higher sequence.
        message: MessageId,
    },
    /// Set the own read mark.
    MarkAsRead {
        /// Where.
        conversation: ConversationId,
        /// Up to and including this event.
        sequence: Sequence,
    },
    /// Change what is known of oneself; an empty object erases.
    EditUser {
        /// What everybody sees; a JSON object.
        custom_data: Option<RawJson>,
        /// What only the user sees; a JSON object.
        private_custom_data: Option<RawJson>,
    },
    /// Choose the kinds of event that cause a push notification; replaces the earlier choice.
    ManageNotifications(Vec<Notification>),
    /// Follow users.
    Subscribe(Vec<UserId>),
    /// Stop following users.
    Unsubscribe(Vec<UserId>),
    /// Stop following anybody.
    UnsubscribeAll,
}

/// Where an intent names its conversation, be the intent borrowed for reading or for changing.
macro_rules! conversation_of {
    ($intent:expr) => {
        match $intent {
            Self::EditConversation { conversation, .. }
            | Self::RemoveConversation(conversation)
            | Self::JoinConversation(conversation)
            | Self::LeaveConversation(conversation)
            | Self::AddParticipants { conversation, .. }
            | Self::EditParticipants { conversation, .. }
            | Self::RemoveParticipants { conversation, .. }
            | Self::SendMessage { conversation, .. }
            | Self::EditMessage { conversation, .. }
            | Self::RemoveMessage { conversation, .. }
            | Self::RemoveDuplicate { conversation, .. }
            | Self::MarkAsRead { conversation, .. } => Some(conversation),
            Self::CreateConversation(_)
            | Self::EditUser { .. }
            | Self::ManageNotifications(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::UnsubscribeAll => None,
        }
    };
}

/// Where an intent names its message, likewise.
macro_rules! message_of {
    ($intent:expr) => {
        match $intent {
            Self::EditMessage { message, .. } | Self::RemoveMessage { message, .. } => Some(message),
            Self::CreateConversation(_)
            | Self::EditConversation { .. }
            | Self::RemoveConversation(_)
            | Self::JoinConversation(_)
            | Self::LeaveConversation(_)
            | Self::AddParticipants { .. }
            | Self::EditParticipants { .. }
            | Self::RemoveParticipants { .. }
            | Self::SendMessage { .. }
            | Self::RemoveDuplicate { .. }
            | Self::MarkAsRead { .. }
            | Self::EditUser { .. }
            | Self::ManageNotifications(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::UnsubscribeAll => None,
        }
    };
}

impl Intent {
    /// Returns the action that carries it out.
    pub const fn action(&self) -> Action {
        match self {
            Self::CreateConversation(_) => Action::CreateConversation,
            Self::EditConversation { .. } => Action::EditConversation,
            Self::RemoveConversation(_) => Action::RemoveConversation,
            Self::JoinConversation(_) => Action::JoinConversation,
            Self::LeaveConversation(_) => Action::LeaveConversation,
            Self::AddParticipants { .. } => Action::AddParticipants,
            Self::EditParticipants { .. } => Action::EditParticipants,
            Self::RemoveParticipants { .. } => Action::RemoveParticipants,
            Self::SendMessage { .. } => Action::SendMessage,
            Self::EditMessage { .. } => Action::EditMessage,
            Self::RemoveMessage { .. } | Self::RemoveDuplicate { .. } => Action::RemoveMessage,
            Self::MarkAsRead { .. } => Action::IsRead,
            Self::EditUser { .. } => Action::EditUser,
            Self::ManageNotifications(_) => Action::ManageNotification,
            Self::Subscribe(_) => Action::Subscribe,
            Self::Unsubscribe(_) | Self::UnsubscribeAll => Action::Unsubscribe,
        }
    }

    /// Returns the conversation it is about; `None` for a new one, and for what is about the user.
    pub const fn conversation(&self) -> Option<ConversationId> {
        match conversation_of!(self) {
            Some(conversation) => Some(*conversation),
            None => None,
        }
    }

    /// Returns the conversation it is about; for a new one that which is made under this token.
    pub(crate) const fn about(&self, token: ClientToken) -> Option<ConversationId> {
        if matches!(self, Self::CreateConversation(_)) {
            return Some(ConversationId::provisional(token));
        }
        self.conversation()
    }

    /// Returns the place that names the conversation it is about.
    pub const fn conversation_mut(&mut self) -> Option<&mut ConversationId> {
        conversation_of!(self)
    }

    /// Returns the place that names the message to be changed or removed.
    pub const fn message_mut(&mut self) -> Option<&mut MessageKey> {
        message_of!(self)
    }

    /// Returns the message to be changed or removed; `None` for a new one, and for everything else.
    pub const fn message(&self) -> Option<MessageKey> {
        match message_of!(self) {
            Some(message) => Some(*message),
            None => None,
        }
    }
}

impl fmt::Debug for Intent {
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
            | Self::LeaveConversation(conversation) => shown.field(conversation),
            Self::AddParticipants { conversation, participants }
            | Self::EditParticipants { conversation, participants } => shown.field(conversation).field(participants),
            Self::RemoveParticipants { conversation, users } => shown.field(conversation).field(users),
            Self::SendMessage { conversation, text, payload } => {
                shown.field(conversation).field(&format_args!("{} bytes", text.len())).field(payload)
            }
            Self::EditMessage { conversation, message, text, payload } => {
                let bytes = text.as_ref().map(String::len);
                shown.field(conversation).field(message).field(&format_args!("{bytes:?} bytes")).field(payload)
            }
            Self::RemoveMessage { conversation, message } => shown.field(conversation).field(message),
            Self::RemoveDuplicate { conversation, message } => shown.field(conversation).field(message),
            Self::MarkAsRead { conversation, sequence } => shown.field(conversation).field(sequence),
            Self::EditUser { custom_data, private_custom_data } => shown.field(custom_data).field(private_custom_data),
            Self::ManageNotifications(kinds) => shown.field(kinds),
            Self::Subscribe(users) | Self::Unsubscribe(users) => shown.field(users),
            Self::UnsubscribeAll => shown.field(&"all"),
        }
        .finish()
    }
}
