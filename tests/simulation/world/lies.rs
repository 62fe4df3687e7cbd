//! A server that does not tell the truth: what it may say instead.

use super::World;
use super::medium::Medium;
use backscroll::model::{
    ConversationId, ErrorCode, Event, EventBody, MessagingError, RequestId, Sequence, Timestamp, UserId,
};
use backscroll::protocol::{Header, Push, ServerChat, ServerFrame, ServerRpc};

impl<M: Medium> World<M> {
    /// Changes a frame into one that is well formed and wrong.
    pub(super) fn twist(&mut self, frame: ServerFrame) -> ServerFrame {
        match frame {
            ServerFrame::Rpc(rpc) => ServerFrame::Rpc(self.twist_rpc(rpc)),
            ServerFrame::Chat(chat) => {
                let request = match self.rng.u32(0..8) {
                    0 => None,
                    1 => Some(RequestId::from_uuid(self.fresh())),
                    2 => self.a_request_under_way().or(chat.request),
                    _ => chat.request,
                };
                let push = self.twist_push(chat.push);
                ServerFrame::Chat(ServerChat { request, push })
            }
        }
    }

    fn twist_rpc(&mut self, rpc: ServerRpc) -> ServerRpc {
        match self.rng.u32(0..6) {
            0 => ServerRpc::GoAway,
            1 => ServerRpc::LoginFailed {
                code: [0, 301, 302, 401, 403, 404, 500, 701][self.rng.usize(0..8)],
                extra: None,
            },
            2 => ServerRpc::RefreshFailed { code: i64::MIN },
            3 => ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None },
            4 => ServerRpc::Pong,
            _ => rpc,
        }
    }

    fn twist_push(&mut self, push: Push) -> Push {
        match push {
            Push::Event(event) => Push::Event(self.twist_event(event)),
            Push::Retransmitted { header, from, to, count, event } => {
                let count = match self.rng.u32(0..4) {
                    0 => Some(0),
                    1 => Some(self.rng.u32(0..5)),
                    2 => Some(u32::MAX),
                    _ => count,
                };
                let event = if self.rng.bool() { self.twist_event(event) } else { event };
                Push::Retransmitted { header, from, to, count, event }
            }
            Push::Conversation { header, mut conversation } => {
                match self.rng.u32(0..6) {
                    0 => conversation.last_sequence = Sequence(u32::MAX),
                    1 => conversation.last_sequence = self.a_sequence_near(conversation.last_sequence),
                    2 => conversation.participants.clear(),
                    3 => conversation.id = self.a_conversation(conversation.id),
                    4 => conversation.uber = !conversation.uber,
                    _ => conversation.last_update = Timestamp(i64::MAX),
                }
                Push::Conversation { header, conversation }
            }
            Push::User { header, mut user } => {
                match (self.rng.u32(0..3), &mut user.private) {
                    (0, _) => user.id = UserId::new(4_711).expect("small"),
                    (1, Some(private)) => private.conversations.clear(),
                    (_, Some(private)) => private.left_conversations.extend(private.conversations.first()),
                    (_, None) => user.deleted = true,
                }
                Push::User { header, user }
            }
            Push::Read { header, conversation, .. } => {
                Push::Read { header, conversation, sequence: Sequence(u32::MAX) }
            }
            Push::Error { header, .. } => {
                let known = ErrorCode::KNOWN;
                let code =
                    if self.rng.bool() { known[self.rng.usize(0..known.len())] } else { ErrorCode::Other(i64::MIN) };
                Push::Error { header, error: MessagingError::from(code) }
            }
            other => self.refusal_instead(other),
        }
    }

    fn refusal_instead(&mut self, push: Push) -> Push {
        let Push::Typing { header: Header { action, .. }, .. } = push else { return push };
        let header = Header { action, initiator: None, timestamp: None, unknown: None };
        Push::Error { header, error: MessagingError::from(ErrorCode::Acl) }
    }

    fn twist_event(&mut self, mut event: Event) -> Event {
        match self.rng.u32(0..8) {
            0 => event.sequence = Sequence(u32::MAX),
            1 => event.sequence = Sequence::ZERO,
            2 => event.sequence = self.a_sequence_near(event.sequence),
            3 => event.conversation = self.a_conversation(event.conversation),
            4 => event.initiator = self.users[self.rng.usize(0..self.users.len())].0,
            5 => event.timestamp = Timestamp([i64::MIN, i64::MAX][self.rng.usize(0..2)]),
            6 => event.body = EventBody::ConversationRemoved,
            _ => match &mut event.body {
                EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
                    content.text.push_str(", changed");
                }
                EventBody::ConversationCreated(conversation) | EventBody::ConversationEdited(conversation) => {
                    conversation.last_sequence = Sequence(u32::MAX);
                }
                _ => event.body = EventBody::ConversationRemoved,
            },
        }
        event
    }

    fn a_sequence_near(&mut self, at: Sequence) -> Sequence {
        Sequence(at.get().saturating_add(self.rng.u32(0..300)).saturating_sub(150))
    }

    fn a_conversation(&mut self, other_than: ConversationId) -> ConversationId {
        let known: Vec<ConversationId> =
            self.devices.iter().flat_map(|device| device.disk.conversations.keys()).copied().collect();
        if known.is_empty() || self.rng.bool() {
            return ConversationId::from_uuid(self.fresh());
        }
        known.iter().copied().find(|id| *id != other_than).unwrap_or(other_than)
    }

    /// The id of an entry that some device is sending.
    fn a_request_under_way(&mut self) -> Option<RequestId> {
        let all: Vec<RequestId> =
            self.devices.iter().flat_map(|device| device.disk.outbox.values()).map(|entry| entry.request).collect();
        if all.is_empty() { None } else { Some(all[self.rng.usize(0..all.len())]) }
    }
}
