//! The storage of tests and simulations: plain maps, gone with the process.

use super::{Answer, Stay, Storage, StorageError, StoredConversation, StoredMessage};
use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, EventBody, MessageId, Notification, Participant, Permissions,
    PrivateUser, RawJson, RequestId, Sequence, SequenceRange, Timestamp, User, UserId, UserName,
};
use backscroll::protocol::UserKey;
use std::collections::{BTreeMap, BTreeSet};

/// Keeps everything in ordered maps. A copy is a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    users: BTreeMap<UserId, KeptUser>,
    subscriptions: BTreeSet<(UserId, UserId)>,
    conversations: BTreeMap<ConversationId, KeptConversation>,
    made_with: BTreeMap<(UserId, ClientToken), ConversationId>,
    answers: BTreeMap<(UserId, RequestId), (Timestamp, Answer)>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptUser {
    public: User,
    private_custom_data: RawJson,
    notifications: Vec<Notification>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptConversation {
    now: StoredConversation,
    stays: BTreeMap<UserId, Vec<Stay>>,
    /// In the order of their sequence, from 1.
    events: Vec<Event>,
    tokens: BTreeMap<(UserId, ClientToken), Sequence>,
    messages: BTreeMap<MessageId, Vec<Sequence>>,
}

impl Memory {
    /// Returns an empty storage that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a user known; one with the same number is replaced.
    pub fn add_user(&mut self, id: UserId, name: UserName, display_name: &str) {
        let public = User {
            id,
            name,
            display_name: display_name.to_owned(),
            custom_data: RawJson::empty_object(),
            deleted: false,
            private: None,
        };
        let private_custom_data = RawJson::empty_object();
        self.users.insert(id, KeptUser { public, private_custom_data, notifications: Vec::new() });
    }

    /// Returns every conversation there ever was.
    pub fn conversation_ids(&self) -> impl Iterator<Item = ConversationId> + '_ {
        self.conversations.keys().copied()
    }

    fn user_mut(&mut self, user: UserId) -> Result<&mut KeptUser, StorageError> {
        self.users.get_mut(&user).ok_or(StorageError::Damaged { table: "account", expected: "known user" })
    }

    fn kept_mut(&mut self, id: ConversationId) -> Result<&mut KeptConversation, StorageError> {
        let unknown = StorageError::Damaged { table: "conversation", expected: "known conversation" };
        self.conversations.get_mut(&id).ok_or(unknown)
    }
}

impl KeptConversation {
    fn participant_mut(&mut self, user: UserId) -> Option<&mut Participant> {
        self.now.conversation.participants.iter_mut().find(|participant| participant.user == user)
    }

    fn last_stay_mut(&mut self, user: UserId) -> Option<&mut Stay> {
        self.stays.get_mut(&user)?.last_mut()
    }

    fn begin_stays(&mut self, at: Sequence, participants: &[Participant]) {
        for participant in participants {
            let stay = Stay { joined: at, left: None, last_read: participant.last_read };
            self.stays.entry(participant.user).or_default().push(stay);
        }
    }

    fn event(&self, at: Sequence) -> Option<&Event> {
        self.events.get(usize::try_from(at.get()).ok()?.checked_sub(1)?)
    }
}

impl Storage for Memory {
    fn user(&self, key: &UserKey) -> Result<Option<User>, StorageError> {
        let kept = match key {
            UserKey::Id(id) => self.users.get(id),
            UserKey::Name(name) => self.users.values().find(|kept| kept.public.name == *name && !kept.public.deleted),
        };
        Ok(kept.map(|kept| kept.public.clone()))
    }

    fn private_user(&self, user: UserId) -> Result<PrivateUser, StorageError> {
        let unknown = StorageError::Damaged { table: "account", expected: "known user" };
        let kept = self.users.get(&user).ok_or(unknown)?;
        let mut private = PrivateUser {
            custom_data: kept.private_custom_data.clone(),
            notifications: kept.notifications.clone(),
            conversations: Vec::new(),
            left_conversations: Vec::new(),
        };
        for (id, conversation) in self.conversations.iter().filter(|(_, kept)| !kept.now.removed) {
            match conversation.stays.get(&user).and_then(|stays| stays.last()) {
                Some(stay) if stay.left.is_none() => private.conversations.push(*id),
                Some(_) => private.left_conversations.push(*id),
                None => {}
            }
        }
        Ok(private)
    }

    fn set_custom_data(&mut self, user: UserId, data: &RawJson) -> Result<(), StorageError> {
        self.user_mut(user)?.public.custom_data = data.clone();
        Ok(())
    }

    fn set_private_custom_data(&mut self, user: UserId, data: &RawJson) -> Result<(), StorageError> {
        self.user_mut(user)?.private_custom_data = data.clone();
        Ok(())
    }

    fn set_notifications(&mut self, user: UserId, kinds: &[Notification]) -> Result<(), StorageError> {
        self.user_mut(user)?.notifications = kinds.to_vec();
        Ok(())
    }

    fn subscriptions(&self, user: UserId) -> Result<Vec<UserId>, StorageError> {
        Ok(self.subscriptions.iter().filter(|(who, _)| *who == user).map(|(_, whom)| *whom).collect())
    }

    fn subscribers(&self, user: UserId) -> Result<Vec<UserId>, StorageError> {
        Ok(self.subscriptions.iter().filter(|(_, whom)| *whom == user).map(|(who, _)| *who).collect())
    }

    fn subscribe(&mut self, user: UserId, others: &[UserId]) -> Result<(), StorageError> {
        self.subscriptions.extend(others.iter().map(|other| (user, *other)));
        Ok(())
    }

    fn unsubscribe(&mut self, user: UserId, others: &[UserId]) -> Result<(), StorageError> {
        self.subscriptions.retain(|(who, whom)| *who != user || !others.contains(whom));
        Ok(())
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<StoredConversation>, StorageError> {
        Ok(self.conversations.get(&id).map(|kept| kept.now.clone()))
    }

    fn direct_conversation(&self, one: UserId, other: UserId) -> Result<Option<ConversationId>, StorageError> {
        let is_theirs = |now: &StoredConversation| {
            let conversation = &now.conversation;
            conversation.direct
                && !now.removed
                && [one, other].iter().all(|user| conversation.participant(*user).is_some())
        };
        Ok(self.conversations.iter().find(|(_, kept)| is_theirs(&kept.now)).map(|(id, _)| *id))
    }

    fn conversation_by_token(
        &self,
        creator: UserId,
        token: ClientToken,
    ) -> Result<Option<ConversationId>, StorageError> {
        Ok(self.made_with.get(&(creator, token)).copied())
    }

    fn public_conversations(&self) -> Result<Vec<ConversationId>, StorageError> {
        let open = |kept: &KeptConversation| kept.now.conversation.public_join && !kept.now.removed;
        Ok(self.conversations.iter().filter(|(_, kept)| open(kept)).map(|(id, _)| *id).collect())
    }

    fn create_conversation(
        &mut self,
        conversation: &Conversation,
        creator: UserId,
        token: Option<ClientToken>,
    ) -> Result<(), StorageError> {
        let mut kept = KeptConversation {
            now: StoredConversation { conversation: conversation.clone(), removed: false },
            stays: BTreeMap::new(),
            events: Vec::new(),
            tokens: BTreeMap::new(),
            messages: BTreeMap::new(),
        };
        kept.begin_stays(Sequence::FIRST, &conversation.participants);
        self.conversations.insert(conversation.id, kept);
        if let Some(token) = token {
            self.made_with.insert((creator, token), conversation.id);
        }
        Ok(())
    }

    fn describe_conversation(&mut self, conversation: &Conversation) -> Result<(), StorageError> {
        let kept = &mut self.kept_mut(conversation.id)?.now.conversation;
        kept.title.clone_from(&conversation.title);
        kept.public_join = conversation.public_join;
        kept.custom_data = conversation.custom_data.clone();
        Ok(())
    }

    fn remove_conversation(&mut self, id: ConversationId) -> Result<(), StorageError> {
        self.kept_mut(id)?.now.removed = true;
        Ok(())
    }

    fn stays(&self, conversation: ConversationId, user: UserId) -> Result<Vec<Stay>, StorageError> {
        Ok(self.conversations.get(&conversation).and_then(|kept| kept.stays.get(&user)).cloned().unwrap_or_default())
    }

    fn heads(&self, user: UserId) -> Result<Vec<(ConversationId, Sequence)>, StorageError> {
        let known = self.conversations.iter().filter(|(_, kept)| !kept.now.removed);
        let head = |kept: &KeptConversation| {
            let stay = kept.stays.get(&user)?.last()?;
            Some(stay.left.unwrap_or(kept.now.conversation.last_sequence))
        };
        Ok(known.filter_map(|(id, kept)| Some((*id, head(kept)?))).collect())
    }

    fn add_participants(
        &mut self,
        conversation: ConversationId,
        at: Sequence,
        participants: &[Participant],
    ) -> Result<(), StorageError> {
        let kept = self.kept_mut(conversation)?;
        kept.begin_stays(at, participants);
        kept.now.conversation.participants.extend_from_slice(participants);
        Ok(())
    }

    fn set_permissions(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        permissions: Permissions,
    ) -> Result<(), StorageError> {
        if let Some(participant) = self.kept_mut(conversation)?.participant_mut(user) {
            participant.permissions = permissions;
        }
        Ok(())
    }

    fn set_last_read(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        last_read: Sequence,
    ) -> Result<(), StorageError> {
        let kept = self.kept_mut(conversation)?;
        if let Some(participant) = kept.participant_mut(user) {
            participant.last_read = last_read;
        }
        if let Some(stay) = kept.last_stay_mut(user) {
            stay.last_read = last_read;
        }
        Ok(())
    }

    fn remove_participants(
        &mut self,
        conversation: ConversationId,
        at: Sequence,
        users: &[UserId],
    ) -> Result<(), StorageError> {
        let kept = self.kept_mut(conversation)?;
        for user in users {
            if let Some(stay) = kept.last_stay_mut(*user) {
                stay.left = Some(at);
            }
        }
        kept.now.conversation.participants.retain(|participant| !users.contains(&participant.user));
        Ok(())
    }

    fn append(&mut self, event: &Event, token: Option<ClientToken>) -> Result<(), StorageError> {
        let kept = self.kept_mut(event.conversation)?;
        kept.now.conversation.last_sequence = event.sequence;
        kept.now.conversation.last_update = event.timestamp;
        if let Some(token) = token {
            kept.tokens.insert((event.initiator, token), event.sequence);
        }
        if let Some(message) = event.body.message() {
            kept.messages.entry(message).or_default().push(event.sequence);
        }
        kept.events.push(event.clone());
        Ok(())
    }

    fn events(&self, conversation: ConversationId, range: SequenceRange) -> Result<Vec<Event>, StorageError> {
        let Some(kept) = self.conversations.get(&conversation) else { return Ok(Vec::new()) };
        let after = kept.events.partition_point(|event| event.sequence < range.first());
        Ok(kept.events[after..].iter().take_while(|event| event.sequence <= range.last()).cloned().collect())
    }

    fn event_by_token(
        &self,
        conversation: ConversationId,
        sender: UserId,
        token: ClientToken,
    ) -> Result<Option<Sequence>, StorageError> {
        Ok(self.conversations.get(&conversation).and_then(|kept| kept.tokens.get(&(sender, token)).copied()))
    }

    fn message(&self, conversation: ConversationId, message: MessageId) -> Result<Option<StoredMessage>, StorageError> {
        let found = self.conversations.get(&conversation).and_then(|kept| {
            let positions = kept.messages.get(&message)?;
            let birth = kept.event(*positions.first()?)?;
            let newest = kept.event(*positions.last()?)?;
            Some(StoredMessage { sender: birth.initiator, newest: newest.body.clone() })
        });
        Ok(found)
    }

    fn erase_message(&mut self, conversation: ConversationId, message: MessageId) -> Result<(), StorageError> {
        for event in &mut self.kept_mut(conversation)?.events {
            if let EventBody::MessageSent(content) | EventBody::MessageEdited(content) = &mut event.body
                && content.id == message
            {
                content.text.clear();
                content.payload = None;
            }
        }
        Ok(())
    }

    fn answer(&self, user: UserId, request: RequestId) -> Result<Option<Answer>, StorageError> {
        Ok(self.answers.get(&(user, request)).map(|(_, answer)| answer.clone()))
    }

    fn keep_answer(
        &mut self,
        user: UserId,
        request: RequestId,
        now: Timestamp,
        answer: &Answer,
    ) -> Result<(), StorageError> {
        self.answers.insert((user, request), (now, answer.clone()));
        Ok(())
    }

    fn forget_answers(&mut self, before: Timestamp) -> Result<(), StorageError> {
        self.answers.retain(|_, (kept_at, _)| *kept_at >= before);
        Ok(())
    }
}
