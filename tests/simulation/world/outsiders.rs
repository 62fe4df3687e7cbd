//! What the same users do with other clients than ours: the server hears of it, and tells.

use super::World;
use super::medium::Medium;
use backscroll::model::{
    ConversationConfig, ConversationId, EventBody, Membership, Participant, RequestId, Sequence, UserId,
};
use backscroll::protocol::{Push, Request};
use backscroll_server::hub::Context;
use backscroll_server::storage::Storage;

impl<M: Medium> World<M> {
    /// A long conversation that is there before anybody logs in.
    pub(super) fn make_history(&mut self) {
        let owner = self.users[0].0;
        let conversation = self.make_conversation(owner);
        for number in 0..self.rng.u32(1..250) {
            let text = format!("history {number}");
            self.elsewhere(owner, Request::SendMessage { conversation, text, payload: None });
        }
    }

    /// A conversation of everybody.
    pub(super) fn make_conversation(&mut self, owner: UserId) -> ConversationId {
        let others = self.users.iter().map(|(user, _)| *user).filter(|user| *user != owner);
        let participants = others.map(Participant::new).collect();
        let config = ConversationConfig { participants, ..ConversationConfig::default() };
        let made = self.elsewhere(owner, Request::CreateConversation(config));
        let id = made.iter().find_map(|push| match push {
            Push::Event(event) => Some(event.conversation),
            _ => None,
        });
        id.expect("a conversation can be made")
    }

    /// Somebody does something with another client. Whether it is allowed is for the server to say.
    pub(super) fn act_elsewhere(&mut self) {
        let conversations: Vec<ConversationId> = self.hub.storage().conversation_ids().collect();
        if conversations.is_empty() {
            return;
        }
        let conversation = conversations[self.rng.usize(0..conversations.len())];
        let (caller, other) =
            (self.users[self.rng.usize(0..self.users.len())].0, self.users[self.rng.usize(0..self.users.len())].0);
        let messages: Vec<_> = super::checks::events(&self.hub, conversation)
            .iter()
            .filter_map(|event| match &event.body {
                EventBody::MessageSent(content) => Some(content.id),
                _ => None,
            })
            .collect();
        let message = if messages.is_empty() { None } else { Some(messages[self.rng.usize(0..messages.len())]) };
        let text = format!("elsewhere {}", self.steps);
        let request = match (self.rng.u32(0..12), message) {
            (0, _) => Request::LeaveConversation(conversation),
            (1, _) => Request::JoinConversation(conversation),
            (2, _) => Request::RemoveParticipants { conversation, users: vec![other] },
            (3 | 4, _) => Request::AddParticipants { conversation, participants: vec![Participant::new(other)] },
            (5, _) if self.rng.u32(0..6) == 0 => Request::RemoveConversation(conversation),
            (6, Some(message)) => Request::EditMessage { conversation, message, text: Some(text), payload: None },
            (7, Some(message)) => Request::RemoveMessage { conversation, message },
            (8, _) => Request::Typing(conversation),
            (9, _) => {
                let head = self.hub.storage().conversation(conversation).ok().flatten();
                let head = head.map_or(Sequence::FIRST, |stored| stored.conversation.last_sequence);
                Request::MarkAsRead { conversation, sequence: i64::from(head.get()) }
            }
            _ => Request::SendMessage { conversation, text, payload: None },
        };
        self.elsewhere(caller, request);
    }

    /// Lets the hub carry out what another client asks, and tells our devices what they must hear of it.
    fn elsewhere(&mut self, caller: UserId, request: Request) -> Vec<Push> {
        let id = RequestId::from_uuid(self.fresh());
        let context = Context { now: self.time_of_day(), caller, request: id, fresh: self.fresh() };
        let outcome = self.hub.handle(&context, request).expect("memory does not fail");
        self.tell_others(None, outcome.fan_out);
        outcome.reply.into_iter().map(|chat| chat.push).collect()
    }

    /// Where the hub says that a user stands.
    pub(super) fn stands(&self, conversation: ConversationId, user: UserId) -> Option<Membership> {
        let stored = self.hub.storage().conversation(conversation).ok().flatten()?;
        let stays = self.hub.storage().stays(conversation, user).ok()?;
        Some(match stays.last() {
            _ if stored.removed => Membership::Removed,
            Some(stay) if stay.left.is_none() => Membership::Member,
            Some(_) => Membership::Left,
            None => Membership::Stranger,
        })
    }
}
