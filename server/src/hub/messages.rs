//! Messages, and the notices about them: typing and reading.

use super::{Context, Done, Fault, Hub, advance, header, rights, users_of};
use crate::storage::{Answer, Storage, StorageError};
use backscroll::model::{
    Action, ClientToken, Conversation, ConversationId, ErrorCode, Event, EventBody, MessageContent, MessageId, RawJson,
    Sequence, token_of_payload, without_token,
};
use backscroll::protocol::{PAYLOAD_BYTES_MAX, Push, TEXT_CHARS_MAX};

/// A message as it is before a change, and the conversation around it.
struct Present {
    conversation: Conversation,
    is_own: bool,
    content: MessageContent,
}

impl<S: Storage> Hub<S> {
    pub(super) fn send_message(
        &mut self,
        context: &Context,
        id: ConversationId,
        text: String,
        payload: Option<RawJson>,
    ) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        // Looked for before any right: what was accepted once stays accepted, whatever happened since.
        let token = token_of_payload(payload.as_ref());
        if let Some(token) = token
            && let Some(at) = self.storage.event_by_token(id, context.caller, token)?
        {
            let first = self.event_at(id, at)?;
            return Ok(Done::again(Push::Event(first), Answer::Event(id, at)));
        }
        let own = rights::participant(&conversation, context.caller)?.permissions;
        rights::require(rights::may_write(own))?;
        check_text(&text)?;
        let content = MessageContent { id: MessageId::from_uuid(context.fresh), text, payload: checked(payload)? };
        self.append_message(context, conversation, Action::SendMessage, EventBody::MessageSent(content), token)
    }

    pub(super) fn edit_message(
        &mut self,
        context: &Context,
        id: ConversationId,
        message: MessageId,
        text: Option<String>,
        payload: Option<RawJson>,
    ) -> Result<Done, Fault> {
        let Present { conversation, is_own, mut content } = self.message(context, id, message)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        rights::require(rights::may_edit(own, is_own))?;
        if let Some(text) = text {
            check_text(&text)?;
            content.text = text;
        }
        if payload.is_some() {
            content.payload = checked(payload)?;
        }
        self.append_message(context, conversation, Action::EditMessage, EventBody::MessageEdited(content), None)
    }

    pub(super) fn remove_message(
        &mut self,
        context: &Context,
        id: ConversationId,
        message: MessageId,
    ) -> Result<Done, Fault> {
        let Present { conversation, is_own, .. } = self.message(context, id, message)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        rights::require(rights::may_remove(own, is_own))?;
        let body = EventBody::MessageRemoved(message);
        let done = self.append_message(context, conversation, Action::RemoveMessage, body, None)?;
        self.storage.erase_message(id, message)?;
        Ok(done)
    }

    /// Returns a message that can still be changed, to a participant.
    fn message(&self, context: &Context, id: ConversationId, message: MessageId) -> Result<Present, Fault> {
        let conversation = self.present(id)?;
        rights::participant(&conversation, context.caller)?;
        let stored = self.storage.message(id, message)?.ok_or(ErrorCode::MessageDoesNotExist)?;
        let is_own = stored.sender == context.caller;
        if let EventBody::MessageRemoved(_) = stored.newest {
            return Err(ErrorCode::MessageDeleted.into());
        }
        let (EventBody::MessageSent(content) | EventBody::MessageEdited(content)) = stored.newest else {
            return Err(StorageError::Damaged { table: "event", expected: "event of a message" }.into());
        };
        Ok(Present { conversation, is_own, content })
    }

    fn append_message(
        &mut self,
        context: &Context,
        mut conversation: Conversation,
        action: Action,
        body: EventBody,
        token: Option<ClientToken>,
    ) -> Result<Done, Fault> {
        let sequence = advance(&mut conversation, context)?;
        let event = Event {
            conversation: conversation.id,
            sequence,
            action,
            initiator: context.caller,
            timestamp: context.now,
            body,
            unknown: None,
        };
        self.storage.append(&event, token)?;
        Ok(Done::event(event, users_of(&conversation)))
    }

    pub(super) fn typing(&self, context: &Context, id: ConversationId) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        rights::participant(&conversation, context.caller)?;
        let push = Push::Typing { header: header(context, Action::TypingMessage), conversation: id };
        Ok(Done::notice(push, users_of(&conversation)))
    }

    pub(super) fn mark_as_read(&mut self, context: &Context, id: ConversationId, sequence: i64) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        rights::participant(&conversation, context.caller)?;
        let sequence = u32::try_from(sequence.max(1)).map_or(Sequence(u32::MAX), Sequence);
        if sequence > conversation.last_sequence {
            return Err(ErrorCode::WrongSequenceArgument.into());
        }
        self.storage.set_last_read(id, context.caller, sequence)?;
        let push = Push::Read { header: header(context, Action::IsRead), conversation: id, sequence };
        Ok(Done::notice(push, users_of(&conversation)))
    }
}

fn check_text(text: &str) -> Result<(), ErrorCode> {
    // A text of so many bytes has no more characters: most are decided without counting.
    let fits = text.len() <= TEXT_CHARS_MAX || text.chars().count() <= TEXT_CHARS_MAX;
    if fits { Ok(()) } else { Err(ErrorCode::MessageSizeExceedsLimit) }
}

/// Returns the payload, `None` for an empty one; refuses what is no array of objects, or so long that what tells of it
/// would not fit into a frame. The client's own token in it does not count.
fn checked(payload: Option<RawJson>) -> Result<Option<RawJson>, ErrorCode> {
    let Some(payload) = payload else { return Ok(None) };
    let fits = |payload: &RawJson| payload.as_str().len() <= PAYLOAD_BYTES_MAX;
    let is_short = fits(&payload) || without_token(Some(payload.clone())).is_none_or(|rest| fits(&rest));
    if !payload.is_array_of_objects() || !is_short {
        return Err(ErrorCode::SomethingWentWrong);
    }
    let is_empty = payload.as_str().bytes().all(|byte| byte == b'[' || byte == b']' || byte.is_ascii_whitespace());
    Ok((!is_empty).then_some(payload))
}
