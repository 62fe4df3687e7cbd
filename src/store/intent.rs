//! An intent in the JSON of its row.
//!
//! Names and members written once are read for ever; a member that may be absent is new since some version.

use crate::model::{
    ClientToken, ConversationConfig, ConversationId, Intent, MessageId, MessageKey, Notification, Participant,
    Permissions, RawJson, Sequence, UserId,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// User, permissions, last read.
type StoredParticipant = (UserId, u32, Sequence);

/// A message by its id, or by our own token as long as it has none.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredMessage {
    Id(MessageId),
    Unsent { unsent: ClientToken },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredIntent {
    CreateConversation {
        title: String,
        participants: Vec<StoredParticipant>,
        direct: bool,
        public_join: bool,
        uber: bool,
        #[serde(deserialize_with = "object")]
        custom_data: RawJson,
    },
    EditConversation {
        conversation: ConversationId,
        title: Option<String>,
        public_join: Option<bool>,
        #[serde(default, deserialize_with = "some_object")]
        custom_data: Option<RawJson>,
    },
    RemoveConversation(ConversationId),
    JoinConversation(ConversationId),
    LeaveConversation(ConversationId),
    AddParticipants {
        conversation: ConversationId,
        participants: Vec<StoredParticipant>,
    },
    EditParticipants {
        conversation: ConversationId,
        participants: Vec<StoredParticipant>,
    },
    RemoveParticipants {
        conversation: ConversationId,
        users: Vec<UserId>,
    },
    SendMessage {
        conversation: ConversationId,
        text: String,
        #[serde(default, deserialize_with = "some_payload")]
        payload: Option<RawJson>,
    },
    // The first version wrote text and payload in full, a payload of null for a message that has none.
    EditMessage {
        conversation: ConversationId,
        message: StoredMessage,
        text: Option<String>,
        #[serde(default, deserialize_with = "some_payload")]
        payload: Option<RawJson>,
    },
    RemoveMessage {
        conversation: ConversationId,
        message: StoredMessage,
    },
    RemoveDuplicate {
        conversation: ConversationId,
        message: MessageId,
    },
    MarkAsRead {
        conversation: ConversationId,
        sequence: Sequence,
    },
    EditUser {
        #[serde(default, deserialize_with = "some_object")]
        custom_data: Option<RawJson>,
        #[serde(default, deserialize_with = "some_object")]
        private_custom_data: Option<RawJson>,
    },
    // Names on the wire; one that is no kind of notification is left out.
    ManageNotifications(Vec<String>),
    Subscribe(Vec<UserId>),
    Unsubscribe(Vec<UserId>),
    UnsubscribeAll,
}

/// Reads custom data. It was checked before it was accepted: anything but an object is damage, and no server reads it.
fn object<'de, D: Deserializer<'de>>(stored: D) -> Result<RawJson, D::Error> {
    some_object(stored)?.ok_or_else(|| D::Error::custom("custom data is no object"))
}

fn some_object<'de, D: Deserializer<'de>>(stored: D) -> Result<Option<RawJson>, D::Error> {
    let data = Option::<RawJson>::deserialize(stored)?;
    if data.as_ref().is_none_or(RawJson::is_object) {
        Ok(data)
    } else {
        Err(D::Error::custom("custom data is no object"))
    }
}

fn some_payload<'de, D: Deserializer<'de>>(stored: D) -> Result<Option<RawJson>, D::Error> {
    let payload = Option::<RawJson>::deserialize(stored)?;
    let is_sound = payload.as_ref().is_none_or(RawJson::is_array_of_objects);
    if is_sound { Ok(payload) } else { Err(D::Error::custom("a payload is no array of objects")) }
}

impl From<MessageKey> for StoredMessage {
    fn from(key: MessageKey) -> Self {
        match key {
            MessageKey::Id(id) => Self::Id(id),
            MessageKey::Token(unsent) => Self::Unsent { unsent },
        }
    }
}

impl From<StoredMessage> for MessageKey {
    fn from(stored: StoredMessage) -> Self {
        match stored {
            StoredMessage::Id(id) => Self::Id(id),
            StoredMessage::Unsent { unsent } => Self::Token(unsent),
        }
    }
}

fn to_stored(participants: &[Participant]) -> Vec<StoredParticipant> {
    participants.iter().map(|one| (one.user, one.permissions.bits(), one.last_read)).collect()
}

fn from_stored(participants: Vec<StoredParticipant>) -> Vec<Participant> {
    let participant =
        |(user, bits, last_read)| Participant { user, permissions: Permissions::from_bits(bits), last_read };
    participants.into_iter().map(participant).collect()
}

impl From<&Intent> for StoredIntent {
    fn from(intent: &Intent) -> Self {
        match intent.clone() {
            Intent::CreateConversation(config) => Self::CreateConversation {
                title: config.title,
                participants: to_stored(&config.participants),
                direct: config.direct,
                public_join: config.public_join,
                uber: config.uber,
                custom_data: config.custom_data,
            },
            Intent::EditConversation { conversation, title, public_join, custom_data } => {
                Self::EditConversation { conversation, title, public_join, custom_data }
            }
            Intent::RemoveConversation(conversation) => Self::RemoveConversation(conversation),
            Intent::JoinConversation(conversation) => Self::JoinConversation(conversation),
            Intent::LeaveConversation(conversation) => Self::LeaveConversation(conversation),
            Intent::AddParticipants { conversation, participants } => {
                Self::AddParticipants { conversation, participants: to_stored(&participants) }
            }
            Intent::EditParticipants { conversation, participants } => {
                Self::EditParticipants { conversation, participants: to_stored(&participants) }
            }
            Intent::RemoveParticipants { conversation, users } => Self::RemoveParticipants { conversation, users },
            Intent::SendMessage { conversation, text, payload } => Self::SendMessage { conversation, text, payload },
            Intent::EditMessage { conversation, message, text, payload } => {
                Self::EditMessage { conversation, message: message.into(), text, payload }
            }
            Intent::RemoveMessage { conversation, message } => {
                Self::RemoveMessage { conversation, message: message.into() }
            }
            Intent::RemoveDuplicate { conversation, message } => Self::RemoveDuplicate { conversation, message },
            Intent::MarkAsRead { conversation, sequence } => Self::MarkAsRead { conversation, sequence },
            Intent::EditUser { custom_data, private_custom_data } => {
                Self::EditUser { custom_data, private_custom_data }
            }
            Intent::ManageNotifications(kinds) => {
                Self::ManageNotifications(kinds.into_iter().map(|kind| kind.name().to_owned()).collect())
            }
            Intent::Subscribe(users) => Self::Subscribe(users),
            Intent::Unsubscribe(users) => Self::Unsubscribe(users),
            Intent::UnsubscribeAll => Self::UnsubscribeAll,
        }
    }
}

impl From<StoredIntent> for Intent {
    fn from(stored: StoredIntent) -> Self {
        match stored {
            StoredIntent::CreateConversation { title, participants, direct, public_join, uber, custom_data } => {
                let participants = from_stored(participants);
                Self::CreateConversation(ConversationConfig {
                    title,
                    participants,
                    direct,
                    public_join,
                    uber,
                    custom_data,
                })
            }
            StoredIntent::EditConversation { conversation, title, public_join, custom_data } => {
                Self::EditConversation { conversation, title, public_join, custom_data }
            }
            StoredIntent::RemoveConversation(conversation) => Self::RemoveConversation(conversation),
            StoredIntent::JoinConversation(conversation) => Self::JoinConversation(conversation),
            StoredIntent::LeaveConversation(conversation) => Self::LeaveConversation(conversation),
            StoredIntent::AddParticipants { conversation, participants } => {
                Self::AddParticipants { conversation, participants: from_stored(participants) }
            }
            StoredIntent::EditParticipants { conversation, participants } => {
                Self::EditParticipants { conversation, participants: from_stored(participants) }
            }
            StoredIntent::RemoveParticipants { conversation, users } => {
                Self::RemoveParticipants { conversation, users }
            }
            StoredIntent::SendMessage { conversation, text, payload } => {
                Self::SendMessage { conversation, text, payload }
            }
            StoredIntent::EditMessage { conversation, message, text, payload } => {
                Self::EditMessage { conversation, message: message.into(), text, payload }
            }
            StoredIntent::RemoveMessage { conversation, message } => {
                Self::RemoveMessage { conversation, message: message.into() }
            }
            StoredIntent::RemoveDuplicate { conversation, message } => Self::RemoveDuplicate { conversation, message },
            StoredIntent::MarkAsRead { conversation, sequence } => Self::MarkAsRead { conversation, sequence },
            StoredIntent::EditUser { custom_data, private_custom_data } => {
                Self::EditUser { custom_data, private_custom_data }
            }
            StoredIntent::ManageNotifications(names) => {
                Self::ManageNotifications(names.iter().filter_map(|name| Notification::from_name(name)).collect())
            }
            StoredIntent::Subscribe(users) => Self::Subscribe(users),
            StoredIntent::Unsubscribe(users) => Self::Unsubscribe(users),
            StoredIntent::UnsubscribeAll => Self::UnsubscribeAll,
        }
    }
}
