//! Who takes part, and with what rights.

use super::conversations::edited;
use super::{Context, Done, FanOut, Fault, Hub, advance, rights, users_of};
use crate::storage::Storage;
use backscroll::model::{Action, Conversation, ConversationId, ErrorCode, Participant, Permissions, Sequence, UserId};
use backscroll::protocol::{PARTICIPANTS_MAX, Push};
use std::collections::{BTreeMap, BTreeSet};

impl<S: Storage> Hub<S> {
    pub(super) fn join_conversation(&mut self, context: &Context, id: ConversationId) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        if conversation.direct {
            return Err(ErrorCode::EditingParticipantsInDirect.into());
        }
        if !conversation.public_join {
            return Err(ErrorCode::PublicJoinIsUnavailable.into());
        }
        let joining = Participant::new(context.caller);
        self.bring_in(context, conversation, vec![joining], Action::JoinConversation)
    }

    pub(super) fn add_participants(
        &mut self,
        context: &Context,
        id: ConversationId,
        mut added: Vec<Participant>,
    ) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        if conversation.direct {
            return Err(ErrorCode::AddingToDirect.into());
        }
        let mut listed = BTreeSet::new();
        added.retain(|participant| listed.insert(participant.user));
        let with_owners = added.iter().any(|participant| participant.permissions.is_owner());
        check_managing(own, added.len(), with_owners)?;
        for participant in &added {
            self.check_user(participant.user)?;
        }
        self.bring_in(context, conversation, added, Action::AddParticipants)
    }

    /// Begins a stay for each of `added`, who carry the read marks of their earlier stays.
    fn bring_in(
        &mut self,
        context: &Context,
        mut conversation: Conversation,
        mut added: Vec<Participant>,
        action: Action,
    ) -> Result<Done, Fault> {
        if added.iter().any(|participant| conversation.participant(participant.user).is_some()) {
            return Err(ErrorCode::AlreadyInParticipantsList.into());
        }
        if conversation.participants.len() + added.len() > PARTICIPANTS_MAX {
            return Err(ErrorCode::RequestedNumberTooBig.into());
        }
        for participant in &mut added {
            let earlier = self.storage.stays(conversation.id, participant.user)?;
            participant.last_read = earlier.last().map_or(Sequence::ZERO, |stay| stay.last_read);
        }
        let at = advance(&mut conversation, context)?;
        conversation.participants.extend_from_slice(&added);
        let event = edited(context, &conversation, action);
        self.storage.add_participants(conversation.id, at, &added)?;
        self.storage.append(&event, None)?;
        Ok(Done::event(event, users_of(&conversation)))
    }

    pub(super) fn edit_participants(
        &mut self,
        context: &Context,
        id: ConversationId,
        changed: &[Participant],
    ) -> Result<Done, Fault> {
        let mut conversation = self.present(id)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        if conversation.direct {
            return Err(ErrorCode::EditingParticipantsInDirect.into());
        }
        // Of somebody listed twice the last rights count.
        let wanted: BTreeMap<UserId, Permissions> =
            changed.iter().map(|participant| (participant.user, participant.permissions)).collect();
        let mut with_owners = wanted.values().any(|permissions| permissions.is_owner());
        for user in wanted.keys() {
            with_owners |= rights::participant(&conversation, *user)?.permissions.is_owner();
        }
        check_managing(own, wanted.len(), with_owners)?;
        for participant in &mut conversation.participants {
            if let Some(permissions) = wanted.get(&participant.user) {
                participant.permissions = *permissions;
            }
        }
        advance(&mut conversation, context)?;
        let event = edited(context, &conversation, Action::EditParticipants);
        for (user, permissions) in wanted {
            self.storage.set_permissions(id, user, permissions)?;
        }
        self.storage.append(&event, None)?;
        Ok(Done::event(event, users_of(&conversation)))
    }

    pub(super) fn remove_participants(
        &mut self,
        context: &Context,
        id: ConversationId,
        users: Vec<UserId>,
    ) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        let own = rights::participant(&conversation, context.caller)?.permissions;
        if conversation.direct {
            return Err(ErrorCode::RemovingFromDirect.into());
        }
        let mut with_owners = false;
        for user in &users {
            with_owners |= rights::participant(&conversation, *user)?.permissions.is_owner();
        }
        check_managing(own, users.len(), with_owners)?;
        self.take_out(context, conversation, &BTreeSet::from_iter(users), Action::RemoveParticipants)
    }

    pub(super) fn leave_conversation(&mut self, context: &Context, id: ConversationId) -> Result<Done, Fault> {
        let conversation = self.present(id)?;
        rights::participant(&conversation, context.caller)?;
        if conversation.direct {
            return Err(ErrorCode::LeavingDirectNotAllowed.into());
        }
        self.take_out(context, conversation, &BTreeSet::from([context.caller]), Action::LeaveConversation)
    }

    /// Ends stays. Those taken out hear of it like those who remain; a conversation that nobody is left in ends.
    fn take_out(
        &mut self,
        context: &Context,
        mut conversation: Conversation,
        leaving: &BTreeSet<UserId>,
        action: Action,
    ) -> Result<Done, Fault> {
        let told = users_of(&conversation);
        let at = advance(&mut conversation, context)?;
        conversation.participants.retain(|participant| !leaving.contains(&participant.user));
        let event = edited(context, &conversation, action);
        self.storage.remove_participants(conversation.id, at, &Vec::from_iter(leaving.iter().copied()))?;
        self.storage.append(&event, None)?;
        let mut done = Done::event(event, told.clone());
        if conversation.participants.is_empty() {
            let removal = Push::Event(self.end(context, &mut conversation, Action::RemoveEmptyConversation)?);
            done.reply.push(removal.clone());
            done.fan_out.push(FanOut { users: told, push: removal });
        }
        Ok(done)
    }
}

/// Refuses an empty list, and the change of participants without the right to it.
fn check_managing(own: Permissions, listed: usize, with_owners: bool) -> Result<(), ErrorCode> {
    rights::require(if with_owners { rights::may_manage_owners(own) } else { rights::may_manage(own) })?;
    if listed == 0 { Err(ErrorCode::RequestedNumberTooBigOr0) } else { Ok(()) }
}
