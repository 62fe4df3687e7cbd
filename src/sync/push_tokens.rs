//! Push tokens and push feedback: wishes that the protocol never answers.
//!
//! A token that is wanted is told after each login, for nobody says how long a server remembers it. One that is not
//! is told at once and after each login, until an answer on the same link proves that what left before it was heard.

use super::core::Core;
use super::link::Phase;
use super::{CommandId, Reply, Write};
use crate::model::{PushToken, RawJson};
use crate::protocol::{ClientFrame, ClientRpc};
use std::collections::VecDeque;

/// Tokens kept at once. A device has one for each push service and purpose; beyond that the oldest is long dead.
const TOKENS_MAX: usize = 16;

/// Notices of notifications that wait for a login: those that woke this very process.
const FEEDBACK_MAX: usize = 16;

/// What the server is to know of push notifications.
#[derive(Clone, Debug, Default)]
pub(super) struct PushTokens {
    /// The oldest first.
    tokens: Vec<PushToken>,
    /// Those told right behind the login of the present link: what is answered later proves that they arrived.
    told: Vec<PushToken>,
    feedback: VecDeque<RawJson>,
}

impl PushTokens {
    pub(super) fn restore(tokens: Vec<PushToken>) -> Self {
        Self { tokens, ..Self::default() }
    }
}

impl Core {
    pub(super) fn push_token(&mut self, id: CommandId, token: PushToken) {
        self.push.tokens.retain(|known| known.token != token.token);
        if self.push.tokens.len() == TOKENS_MAX {
            let oldest = self.push.tokens.remove(0);
            self.write(Write::PushTokenForget(oldest.token));
        }
        self.push.tokens.push(token.clone());
        self.write(Write::PushToken(token.clone()));
        self.answer(id, Ok(Reply::Done));
        if self.link.phase == Phase::Ready {
            self.tell_push_token(token);
        }
    }

    pub(super) fn push_feedback(&mut self, id: CommandId, notification: RawJson) {
        if self.push.feedback.len() == FEEDBACK_MAX {
            self.push.feedback.pop_front();
        }
        self.push.feedback.push_back(notification);
        self.answer(id, Ok(Reply::Done));
        if self.link.phase == Phase::Ready {
            self.tell_push_feedback();
        }
    }

    /// The link is logged in: the server learns what it is to know.
    pub(super) fn tell_push_tokens(&mut self) {
        self.push.told.clone_from(&self.push.tokens);
        for token in self.push.tokens.clone() {
            self.tell_push_token(token);
        }
        self.tell_push_feedback();
    }

    fn tell_push_token(&mut self, PushToken { token, wanted }: PushToken) {
        let rpc = if wanted { ClientRpc::RegisterPushToken(token) } else { ClientRpc::UnregisterPushToken(token) };
        self.send(ClientFrame::Rpc(rpc));
    }

    fn tell_push_feedback(&mut self) {
        for notification in std::mem::take(&mut self.push.feedback) {
            self.send(ClientFrame::Rpc(ClientRpc::PushFeedback(notification)));
        }
    }

    /// The first request after a login was answered: what left before it has arrived.
    pub(super) fn push_tokens_heard(&mut self) {
        let told = std::mem::take(&mut self.push.told);
        let done = |known: &mut PushToken| !known.wanted && told.contains(known);
        let done: Vec<PushToken> = self.push.tokens.extract_if(.., done).collect();
        for PushToken { token, .. } in done {
            self.write(Write::PushTokenForget(token));
        }
    }
}
