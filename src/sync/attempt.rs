//! How an entry of the outbox becomes a request, and what an answer says about it.

use crate::model::{
    Conversation, ConversationId, ErrorCode, Intent, MessageId, MessageKey, OutboxEntry, Participant, RawJson,
    Sequence, Settlement, with_token, with_token_in_custom_data,
};
use crate::protocol::Request;

/// What has to be known before a change of some parts may leave to a server that replaces all of them.
///
/// Ours keeps a part that is absent. What others make of one is not known; the vendor's clients always send all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The conversation as it is: the server is asked, for it alone knows the present state.
    Conversation(ConversationId),
    /// The message as it is held: no request asks for a message by its id.
    Message(ConversationId, MessageId),
}

/// What was [`Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// As the server just described it.
    Conversation(Box<Conversation>),
    /// What it says.
    Message {
        /// Its text.
        text: String,
        /// Its payload; `None` when empty.
        payload: Option<RawJson>,
    },
}

/// Returns what has to be known before this may leave to a server that replaces all parts.
pub(super) const fn unknown_of(intent: &Intent) -> Option<Unknown> {
    if let Intent::EditConversation { conversation, title, public_join, custom_data } = intent
        && (title.is_none() || public_join.is_none() || custom_data.is_none())
    {
        return Some(Unknown::Conversation(*conversation));
    }
    if let Intent::EditMessage { conversation, message: MessageKey::Id(message), text, payload } = intent
        && (text.is_none() || payload.is_none())
    {
        return Some(Unknown::Message(*conversation, *message));
    }
    None
}

/// Returns the request that carries an entry out, with what is known filled in; `None` while its message has no id.
pub(super) fn request_of(entry: &OutboxEntry, fact: Option<&Fact>) -> Option<Request> {
    Some(match entry.intent.clone() {
        Intent::CreateConversation(mut config) => {
            config.custom_data = with_token_in_custom_data(&config.custom_data, entry.token);
            config.participants = as_asked(config.participants);
            Request::CreateConversation(config)
        }
        Intent::EditConversation { conversation, title, public_join, custom_data } => {
            let known = if let Some(Fact::Conversation(known)) = fact { Some(known) } else { None };
            Request::EditConversation {
                conversation,
                title: title.or_else(|| known.map(|known| known.title.clone())),
                public_join: public_join.or_else(|| known.map(|known| known.public_join)),
                custom_data: custom_data.or_else(|| known.map(|known| known.custom_data.clone())),
            }
        }
        Intent::RemoveConversation(conversation) => Request::RemoveConversation(conversation),
        Intent::JoinConversation(conversation) => Request::JoinConversation(conversation),
        Intent::LeaveConversation(conversation) => Request::LeaveConversation(conversation),
        Intent::AddParticipants { conversation, participants } => {
            Request::AddParticipants { conversation, participants: as_asked(participants) }
        }
        Intent::EditParticipants { conversation, participants } => {
            Request::EditParticipants { conversation, participants: as_asked(participants) }
        }
        Intent::RemoveParticipants { conversation, users } => Request::RemoveParticipants { conversation, users },
        Intent::SendMessage { conversation, text, payload } => {
            Request::SendMessage { conversation, text, payload: Some(with_token(payload.as_ref(), entry.token)) }
        }
        Intent::EditMessage { conversation, message, text, payload } => {
            let known = if let Some(Fact::Message { text, payload }) = fact { Some((text, payload)) } else { None };
            Request::EditMessage {
                conversation,
                message: id_of(message)?,
                text: text.or_else(|| known.map(|(text, _)| text.clone())),
                payload: payload
                    .or_else(|| known.map(|(_, payload)| payload.clone().unwrap_or_else(RawJson::empty_array))),
            }
        }
        Intent::RemoveMessage { conversation, message } => {
            Request::RemoveMessage { conversation, message: id_of(message)? }
        }
        Intent::RemoveDuplicate { conversation, message } => Request::RemoveMessage { conversation, message },
        Intent::MarkAsRead { conversation, sequence } => {
            Request::MarkAsRead { conversation, sequence: i64::from(sequence.get()) }
        }
        Intent::EditUser { custom_data, private_custom_data } => Request::EditUser { custom_data, private_custom_data },
        Intent::ManageNotifications(kinds) => Request::ManageNotifications(kinds.into_iter().map(Some).collect()),
        Intent::Subscribe(users) => Request::Subscribe(users),
        Intent::Unsubscribe(users) => Request::Unsubscribe(users),
        Intent::UnsubscribeAll => Request::UnsubscribeAll,
    })
}

/// Where somebody has read to is the server's to tell: no request says it.
fn as_asked(participants: Vec<Participant>) -> Vec<Participant> {
    participants.into_iter().map(|participant| Participant { last_read: Sequence::ZERO, ..participant }).collect()
}

const fn id_of(message: MessageKey) -> Option<MessageId> {
    match message {
        MessageKey::Id(id) => Some(id),
        MessageKey::Token(_) => None,
    }
}

/// Returns whether a refusal says that an earlier attempt, whose answer was lost, had done it.
pub(super) const fn says_done_already(entry: &OutboxEntry, code: ErrorCode) -> bool {
    let repeated = entry.attempts > 1;
    match entry.intent {
        Intent::RemoveMessage { .. } | Intent::RemoveDuplicate { .. } => matches!(code, ErrorCode::MessageDeleted),
        Intent::RemoveConversation(_) => matches!(code, ErrorCode::ConversationDeleted),
        Intent::AddParticipants { .. } | Intent::JoinConversation(_) => {
            repeated && matches!(code, ErrorCode::AlreadyInParticipantsList)
        }
        Intent::LeaveConversation(_) | Intent::RemoveParticipants { .. } => {
            repeated && matches!(code, ErrorCode::UserIsNotInTheParticipantList)
        }
        Intent::CreateConversation(_)
        | Intent::EditConversation { .. }
        | Intent::EditParticipants { .. }
        | Intent::SendMessage { .. }
        | Intent::EditMessage { .. }
        | Intent::MarkAsRead { .. }
        | Intent::EditUser { .. }
        | Intent::ManageNotifications(_)
        | Intent::Subscribe(_)
        | Intent::Unsubscribe(_)
        | Intent::UnsubscribeAll => false,
    }
}

/// Returns what an entry brought when the answer itself numbers nothing.
pub(super) fn settlement_of(entry: &OutboxEntry, sequence: Option<Sequence>) -> Settlement {
    let message = entry.intent.message().and_then(id_of);
    Settlement { conversation: entry.intent.conversation(), message, sequence }
}
