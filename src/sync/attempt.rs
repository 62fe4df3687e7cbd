//! How an entry of the outbox becomes a request, and what an answer says about it.

use crate::model::{
    ErrorCode, Intent, MessageId, MessageKey, OutboxEntry, Sequence, Settlement, with_token, with_token_in_custom_data,
};
use crate::protocol::Request;

/// Returns the request that carries an entry out; `None` while its message has no id.
pub(super) fn request_of(entry: &OutboxEntry) -> Option<Request> {
    Some(match entry.intent.clone() {
        Intent::CreateConversation(mut config) => {
            config.custom_data = with_token_in_custom_data(&config.custom_data, entry.token);
            Request::CreateConversation(config)
        }
        Intent::EditConversation { conversation, title, public_join, custom_data } => {
            Request::EditConversation { conversation, title, public_join, custom_data }
        }
        Intent::RemoveConversation(conversation) => Request::RemoveConversation(conversation),
        Intent::JoinConversation(conversation) => Request::JoinConversation(conversation),
        Intent::LeaveConversation(conversation) => Request::LeaveConversation(conversation),
        Intent::AddParticipants { conversation, participants } => {
            Request::AddParticipants { conversation, participants }
        }
        Intent::EditParticipants { conversation, participants } => {
            Request::EditParticipants { conversation, participants }
        }
        Intent::RemoveParticipants { conversation, users } => Request::RemoveParticipants { conversation, users },
        Intent::SendMessage { conversation, text, payload } => {
            Request::SendMessage { conversation, text, payload: Some(with_token(payload.as_ref(), entry.token)) }
        }
        Intent::EditMessage { conversation, message, text, payload } => {
            Request::EditMessage { conversation, message: id_of(message)?, text, payload }
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
