//! What processes that only follow want done: taken over from the file as if the application had said it here.

use super::core::Core;
use super::{CommandId, Refusal, Reply, Write, check_intent};
use crate::model::{OutboxEntry, OutboxState, Wish, WishAnswer, WishKind};

impl Core {
    /// Takes a wish over. The process that made it has accepted it: it ends in the outbox, whatever is wrong with it.
    ///
    /// Before anybody has logged in it stays where it is, and comes again with the next restart.
    pub(super) fn take_wish(&mut self, number: u64, wish: Wish) {
        if self.session.is_none() {
            return;
        }
        let (id, token) = (CommandId::of_wish(number), wish.token);
        match wish.kind {
            WishKind::Submit(intent) => match check_intent(&intent) {
                Ok(()) => self.submit(id, token, intent, wish.wished_at),
                // Another version may have let it pass.
                Err(error) => {
                    let entry = OutboxEntry {
                        token,
                        position: self.outbox.next_position(),
                        intent,
                        state: OutboxState::Failed,
                        request: self.fresh_request_id(),
                        attempts: 0,
                        queued_at: wish.wished_at,
                        settlement: None,
                        error: Some(error),
                    };
                    self.outbox.put(entry.clone());
                    self.record(entry.clone());
                    self.answer(id, Ok(Reply::Accepted(entry)));
                }
            },
            WishKind::Cancel => self.cancel(id, token),
            WishKind::Retry => self.retry(id, token),
        }
    }

    /// Stores what became of a wish.
    pub(super) fn wish_answered(&mut self, number: u64, reply: Result<Reply, Refusal>) {
        let answer = match reply {
            Ok(Reply::Accepted(entry)) => WishAnswer::Accepted(entry.token),
            Ok(
                Reply::Done
                | Reply::LoggedIn(..)
                | Reply::OneTimeKey(_)
                | Reply::Conversations(_)
                | Reply::Users(_)
                | Reply::Events(_)
                | Reply::PublicConversations(_)
                | Reply::Subscriptions(_),
            ) => WishAnswer::Done,
            Err(_) => WishAnswer::Refused,
        };
        self.write(Write::WishAnswered(number, answer));
    }
}
