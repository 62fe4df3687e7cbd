//! What counts now or never: typing and presence. Dropped without a word while there is no link.

use super::core::Core;
use super::link::Phase;
use super::{CommandId, Refusal, Reply};
use crate::model::{ConversationId, ErrorCode};
use crate::protocol::{Request, TYPING_INTERVAL};

impl Core {
    /// Announces typing, at most once in ten seconds in each conversation.
    pub(super) fn typing(&mut self, id: CommandId, conversation: ConversationId) {
        let now = self.now;
        self.typed_at.retain(|_, at| now.since(*at) < TYPING_INTERVAL);
        if self.link.phase != Phase::Ready {
            return self.answer(id, Ok(Reply::Done));
        }
        if self.typed_at.contains_key(&conversation) {
            return self.answer(id, Err(Refusal::Messaging(ErrorCode::MethodCallDiscarded.into())));
        }
        self.typed_at.insert(conversation, now);
        self.volatile(id, Request::Typing(conversation));
    }

    /// Sends a request as soon as the pace allows, or drops it when there is no link.
    pub(super) fn volatile(&mut self, id: CommandId, body: Request) {
        if self.link.phase == Phase::Ready {
            self.volatile.push_back((id, body));
        } else {
            self.answer(id, Ok(Reply::Done));
        }
    }
}
