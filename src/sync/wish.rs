//! What processes that only follow want done: taken over from the file as if the application had said it here.

use super::core::Core;
use super::{CommandId, Refusal, Reply, Write};
use crate::model::{Wish, WishAnswer, WishKind};

impl Core {
    /// Takes a wish over. The process that made it has accepted it: it ends in the outbox, whatever is wrong with it.
    ///
    /// A new entry stays where it is before anybody has logged in, and comes again with the next restart. What is about
    /// an entry is too late then, for there is none.
    pub(super) fn take_wish(&mut self, number: u64, wish: Wish) {
        let (id, token) = (CommandId::of_wish(number), wish.token);
        match wish.kind {
            WishKind::Submit(_) if self.session.is_none() => {}
            WishKind::Submit(intent) => self.submit_wished(id, token, intent, wish.wished_at),
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
