//! Making, describing, removing and reading conversations.

use super::{Context, Done, Fault, Hub, advance, header, rights, users_of};
use crate::storage::{Answer, Storage};
use backscroll::model::{
    Action, Conversation, ConversationConfig, ConversationId, ErrorCode, Event, EventBody, Participant, Permissions,
    RawJson, Sequence, token_of_custom_data, without_token_in_custom_data,
};
use backscroll::protocol::{
    CONVERSATIONS_MAX, CUSTOM_DATA_BYTES_MAX, PARTICIPANTS_MAX, Push, TITLE_CHARS_MAX, UserKey,
};
use std::collections::BTreeSet;

/// Refuses custom data that is no object or too long. The client's own token in it does not count.
pub(super) fn check_custom_data(data: &RawJson) -> Result<(), ErrorCode> {
    let fits = data.as_str().len() <= CUSTOM_DATA_BYTES_MAX
        || without_token_in_custom_data(data).as_str().len() <= CUSTOM_DATA_BYTES_MAX;
    if data.is_object() && fits { Ok(()) } else { Err(ErrorCode::SomethingWentWrong) }
}

/// Refuses a title that is too long.
fn check_title(title: &str) -> Result<(), ErrorCode> {
    if title.chars().count() > TITLE_CHARS_MAX { Err(ErrorCode::SomethingWentWrong) } else { Ok(()) }
}

/// Returns an event that describes the conversation as it is after it.
pub(super) fn edited(context: &Context, conversation: &Conversation, action: Action) -> Event {
    event(context, conversation, action, EventBody::ConversationEdited(Box::new(conversation.clone())))
}

fn event(context: &Context, conversation: &Conversation, action: Action, body: EventBody) -> Event {
    Event {
        conversation: conversation.id,
        sequence: conversation.last_sequence,
        action,
        initiator: context.caller,
        timestamp: context.now,
        body,
        unknown: None,
    }
}

impl<S: Storage> Hub<S> {
    pub(super) fn create_conversation(&mut self, context: &Context, config: ConversationConfig) -> Result<Done, Fault> {
        let token = token_of_custom_data(&config.custom_data);
        if let Some(token) = token
            && let Some(made) = self.storage.conversation_by_token(context.caller, token)?
        {
            let first = self.event_at(made, Sequence::FIRST)?;
            return Ok(Done::again(Push::Event(first), Answer::Event(made, Sequence::FIRST)));
        }
        let participants = self.founders(context, &config)?;
        check_title(&config.title)?;
        check_custom_data(&config.custom_data)?;
        if config.direct
            && let [one, other] = participants[..]
            && let Some(existing) = self.storage.direct_conversation(one.user, other.user)?
        {
            return self.describe_existing(existing);
        }
        let conversation = Conversation::recreate(
            ConversationId::from_uuid(context.fresh),
            ConversationConfig { participants, ..config },
            Sequence::FIRST,
            context.now,
            context.now,
        );
        let body = EventBody::ConversationCreated(Box::new(conversation.clone()));
        let event = event(context, &conversation, Action::CreateConversation, body);
        self.storage.create_conversation(&conversation, context.caller, token)?;
        self.storage.append(&event, None)?;
        Ok(Done::event(event, users_of(&conversation)))
    }

    /// Returns who is in from the beginning: the creator as owner, then the others as listed, nobody twice.
    fn founders(&self, context: &Context, config: &ConversationConfig) -> Result<Vec<Participant>, Fault> {
        let mut founders = vec![Participant::new(context.caller).with_permissions(Permissions::OWNER)];
        let mut listed = BTreeSet::from([context.caller]);
        for participant in &config.participants {
            if listed.insert(participant.user) {
                founders.push(Participant { last_read: Sequence::ZERO, ..*participant });
            }
        }
        if config.direct && (config.public_join || config.uber) {
            return Err(ErrorCode::DirectCannotBePublicOrUber.into());
        }
        if config.direct && founders.len() != 2 {
            return Err(ErrorCode::NumberOfUsersInDirect.into());
        }
        if founders.len() > PARTICIPANTS_MAX {
            return Err(ErrorCode::RequestedNumberTooBig.into());
        }
        for founder in &founders {
            self.check_user(founder.user)?;
        }
        Ok(founders)
    }

    /// Refuses who is not, or no longer, a user with error 18.
    pub(super) fn check_user(&self, user: backscroll::model::UserId) -> Result<(), Fault> {
        match self.storage.user(&UserKey::Id(user))? {
            Some(found) if !found.deleted => Ok(()),
            Some(_) | None => Err(ErrorCode::UserValidation.into()),
        }
    }

    /// Answers the wish for a second direct conversation of the same two with the first one as it is now:
    /// shaped like its creation, but with the head as its sequence, and no event.
    fn describe_existing(&self, existing: ConversationId) -> Result<Done, Fault> {
        let conversation = self.present(existing)?;
        // A client that does not hold the newest event may take the answer for it: it says by whom that was, and when.
        let newest = self.event_at(existing, conversation.last_sequence)?;
        let body = EventBody::ConversationCreated(Box::new(conversation));
        Ok(Done::answer(Push::Event(Event { action: Action::CreateConversation, body, ..newest })))
    }

    pub(super) fn edit_conversation(
        &mut self,
        context: &Context,
        id: ConversationId,
        title: Option<String>,
        public_join: Option<bool>,
        custom_data: Option<RawJson>,
    ) -> Result<Done, Fault> {
        let mut conversation = self.present(id)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        rights::require(rights::may_edit_conversation(own))?;
        if let Some(data) = custom_data {
            check_custom_data(&data)?;
            conversation.custom_data = data;
        }
        if let Some(public_join) = public_join {
            if conversation.direct && public_join {
                return Err(ErrorCode::DirectCannotBePublicOrUber.into());
            }
            conversation.public_join = public_join;
        }
        if let Some(title) = title {
            check_title(&title)?;
            conversation.title = title;
        }
        advance(&mut conversation, context)?;
        let event = edited(context, &conversation, Action::EditConversation);
        self.storage.describe_conversation(&conversation)?;
        self.storage.append(&event, None)?;
        Ok(Done::event(event, users_of(&conversation)))
    }

    pub(super) fn remove_conversation(&mut self, context: &Context, id: ConversationId) -> Result<Done, Fault> {
        let mut conversation = self.present(id)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        rights::require(rights::may_edit_conversation(own))?;
        let users = users_of(&conversation);
        let event = self.end(context, &mut conversation, Action::RemoveConversation)?;
        Ok(Done::event(event, users))
    }

    /// Ends a conversation with its last event.
    pub(super) fn end(
        &mut self,
        context: &Context,
        conversation: &mut Conversation,
        action: Action,
    ) -> Result<Event, Fault> {
        advance(conversation, context)?;
        let event = event(context, conversation, action, EventBody::ConversationRemoved);
        self.storage.append(&event, None)?;
        self.storage.remove_conversation(conversation.id)?;
        Ok(event)
    }

    pub(super) fn get_conversation(&self, context: &Context, id: ConversationId) -> Result<Done, Fault> {
        let conversation = self.readable(context, id)?;
        Ok(Done::answer(description(context, Action::GetConversation, conversation)))
    }

    /// All or nothing: one conversation that cannot be read refuses the whole request, with its id in the text.
    pub(super) fn get_conversations(&self, context: &Context, ids: &[ConversationId]) -> Result<Done, Fault> {
        if ids.is_empty() || ids.len() > CONVERSATIONS_MAX {
            return Err(ErrorCode::RequestedNumberTooBigOr0.into());
        }
        let frames = ids.iter().map(|id| {
            let conversation = self.readable(context, *id).map_err(|fault| fault.about(id))?;
            Ok(description(context, Action::GetConversations, conversation))
        });
        Ok(Done::frames(frames.collect::<Result<_, Fault>>()?))
    }

    pub(super) fn get_public_conversations(&self, context: &Context) -> Result<Done, Fault> {
        let conversations = self.storage.public_conversations()?;
        let header = header(context, Action::GetPublicConversations);
        Ok(Done::answer(Push::PublicConversations { header, conversations }))
    }

    /// Returns a conversation that the caller may read: is or was in it, or anyone may join.
    fn readable(&self, context: &Context, id: ConversationId) -> Result<Conversation, Fault> {
        let conversation = self.present(id)?;
        let may_read = conversation.public_join
            || conversation.participant(context.caller).is_some()
            || !self.storage.stays(id, context.caller)?.is_empty();
        rights::require(may_read)?;
        Ok(conversation)
    }
}

fn description(context: &Context, action: Action, conversation: Conversation) -> Push {
    Push::Conversation { header: header(context, action), conversation }
}
