//! Questions of the application that only the server can answer.
//!
//! A server may refuse a question about many things as a whole because of one that it does not know. Such a
//! question is halved, and its parts are asked one after the other, until those known have come back and those
//! unknown stand alone: for one unknown among fifty that takes a dozen requests, and for fifty unknown ones 99.

use super::core::{Core, timed_out};
use super::link::Phase;
use super::pending::{Compared, Heads, Purpose, Range, Users};
use super::{CommandId, Query, Refusal, Reply, Write};
use crate::model::{ErrorClass, ErrorCode, MessagingError, RequestId, Sequence, SequenceRange};
use crate::protocol::{CONVERSATIONS_MAX, RETRANSMIT_MAX, Request, USERS_MAX, UserKey};

impl Core {
    pub(super) fn query(&mut self, id: CommandId, query: Query) {
        let limit = match &query {
            Query::Conversations(ids) | Query::Descriptions { conversations: ids, .. }
                if ids.is_empty() || ids.len() > CONVERSATIONS_MAX =>
            {
                Some(ErrorCode::RequestedNumberTooBigOr0)
            }
            Query::Shown { range, .. } if range.len() > RETRANSMIT_MAX => Some(ErrorCode::RequestedNumberTooBig),
            Query::Users(users) if users.is_empty() || users.len() > USERS_MAX => {
                Some(ErrorCode::RequestedNumberTooBigOr0)
            }
            Query::Conversations(_)
            | Query::Descriptions { .. }
            | Query::Shown { .. }
            | Query::Users(_)
            | Query::PublicConversations
            | Query::Subscriptions => None,
            Query::Retransmit { from, to, count, .. } => {
                let known = [from.is_some(), to.is_some(), count.is_some()].iter().filter(|given| **given).count();
                match known {
                    3 => Some(ErrorCode::SpecifyMaximumTwoParams),
                    2 => retransmit_range(*from, *to, *count, None).err(),
                    _ => Some(ErrorCode::SpecifyAtLeastTwoParams),
                }
            }
        };
        if let Some(code) = limit {
            return self.answer(id, Err(Refusal::Messaging(code.into())));
        }
        if self.link.phase == Phase::Idle {
            return self.answer(id, Err(Refusal::NoSession));
        }
        self.queries.push_back((id, query, self.now.after(self.settings.request_timeout)));
    }

    pub(super) fn ask_query(&mut self, id: CommandId, query: Query) {
        match query {
            Query::Conversations(ids) => {
                self.ask_heads(ids.into_iter().map(|id| self.outbox.resolve(id)).collect(), Some(id));
            }
            Query::Descriptions { conversations, patience } => {
                let waiting = conversations.iter().copied().collect();
                let heads = Heads { compared: Some(patience), ..Heads::new(waiting, Some(id)) };
                self.request(Request::GetConversations(conversations), Purpose::Heads(heads));
            }
            Query::Shown { conversation, range, held, patience } => {
                let compared = Some(Compared { held, patience });
                self.ask_range(Range { compared, ..Range::new(conversation, range, Some(id)) });
            }
            Query::Users(users) => self.ask_users(users, Some(id)),
            Query::Retransmit { conversation, from, to, count } => {
                let conversation = self.outbox.resolve(conversation);
                let head = self.ledger.get(conversation).map(|track| track.head);
                match retransmit_range(from, to, count, head) {
                    Ok(range) => self.ask_range(Range::new(conversation, range, Some(id))),
                    Err(code) => self.answer(id, Err(Refusal::Messaging(code.into()))),
                }
            }
            Query::PublicConversations => self.request(Request::GetPublicConversations, Purpose::List(id)),
            Query::Subscriptions => self.request(Request::GetSubscriptions, Purpose::List(id)),
        }
    }

    /// Asks the next part of a question that was refused as a whole.
    pub(super) fn go_on(&mut self, purpose: Purpose) {
        match &purpose {
            Purpose::Users(users) => {
                let keys = users.asked.clone();
                self.request(Request::GetUsers(keys), purpose);
            }
            Purpose::Heads(heads) => {
                let ids = heads.waiting.iter().copied().collect();
                self.request(Request::GetConversations(ids), purpose);
            }
            Purpose::OwnUser
            | Purpose::HeadsSince(_)
            | Purpose::Range(_)
            | Purpose::List(_)
            | Purpose::Subscriptions
            | Purpose::Volatile(_)
            | Purpose::Fact(_)
            | Purpose::Outbox(_) => {
                unreachable!("only what names many things is asked in parts")
            }
        }
    }

    pub(super) fn ask_users(&mut self, asked: Vec<UserKey>, command: Option<CommandId>) {
        let users = Users::new(asked.clone(), command);
        self.request(Request::GetUsers(asked), Purpose::Users(users));
    }

    /// One part of a question about users is answered, or nothing more of it will come.
    pub(super) fn users_answered(&mut self, mut users: Users, complete: bool) {
        if complete {
            self.succeeded();
        }
        if let Some(next) = users.parts.pop() {
            users.ask(next);
            return self.continued.push_back(Purpose::Users(users));
        }
        let Some(command) = users.command else { return };
        // Some servers say nothing at all about whom they do not know.
        let outcome = if complete || !users.got.is_empty() { Ok(Reply::Users(users.got)) } else { Err(timed_out()) };
        self.answer(command, outcome);
    }

    pub(super) fn users_refused(&mut self, mut users: Users, error: MessagingError) {
        match error.code.class() {
            ErrorClass::Never if users.asked.len() > 1 => {
                users.halve();
                self.continued.push_back(Purpose::Users(users));
            }
            // Unknown, and one of many: absent from the answer.
            ErrorClass::Never if users.many => self.users_answered(users, true),
            ErrorClass::Never | ErrorClass::Later | ErrorClass::TooFast | ErrorClass::SignIn => {
                if let Some(command) = users.command {
                    self.answer(command, Err(Refusal::Messaging(error)));
                }
            }
        }
    }

    /// One part of a question of the application about conversations is answered, or nothing more of it will come.
    pub(super) fn conversations_answered(&mut self, mut heads: Heads, command: CommandId, complete: bool) {
        if let Some(next) = heads.parts.pop() {
            heads.waiting = next;
            return self.continued.push_back(Purpose::Heads(heads));
        }
        let some = complete || !heads.got.is_empty();
        self.answer(command, if some { Ok(Reply::Conversations(heads.got)) } else { Err(timed_out()) });
    }

    /// The application's question about conversations was refused.
    pub(super) fn conversations_refused(&mut self, mut heads: Heads, command: CommandId, error: MessagingError) {
        match error.code.class() {
            ErrorClass::Never if heads.waiting.len() > 1 => {
                heads.halve();
                self.continued.push_back(Purpose::Heads(heads));
            }
            ErrorClass::Never if heads.many => self.conversations_answered(heads, command, true),
            ErrorClass::Never | ErrorClass::Later | ErrorClass::TooFast | ErrorClass::SignIn => {
                self.answer(command, Err(Refusal::Messaging(error)));
            }
        }
    }

    /// A list was told, whoever asked for it.
    pub(super) fn list_told(&mut self, request: Option<RequestId>, kept: Write, list: Reply) {
        self.write(kept);
        let Some(request) = request else { return };
        let command = match self.pending.get_mut(request) {
            Some(Purpose::List(command)) => Some(*command),
            Some(Purpose::Subscriptions) => None,
            Some(
                Purpose::OwnUser
                | Purpose::Heads(_)
                | Purpose::HeadsSince(_)
                | Purpose::Users(_)
                | Purpose::Range(_)
                | Purpose::Volatile(_)
                | Purpose::Outbox(_)
                | Purpose::Fact(_),
            )
            | None => return,
        };
        self.pending.remove(request);
        self.succeeded();
        if let Some(command) = command {
            self.answer(command, Ok(list));
        }
    }
}

/// Turns two of three numbers into an inclusive range, clipped to the head where that is known.
///
/// The range form is the only one that every server is known to understand.
fn retransmit_range(
    from: Option<Sequence>,
    to: Option<Sequence>,
    count: Option<u32>,
    head: Option<Sequence>,
) -> Result<SequenceRange, ErrorCode> {
    if count.is_some_and(|count| count > RETRANSMIT_MAX) {
        return Err(ErrorCode::RequestedNumberTooBig);
    }
    let (first, last) = match (from, to, count) {
        (Some(from), Some(to), None) => (from, to),
        (Some(from), None, Some(count)) => (from, Sequence(from.get().saturating_add(count.saturating_sub(1)))),
        (None, Some(to), Some(count)) => (Sequence(to.get().saturating_sub(count.saturating_sub(1)).max(1)), to),
        (Some(_), Some(_), Some(_)) => return Err(ErrorCode::SpecifyMaximumTwoParams),
        (_, None, None) | (None, _, None) | (None, None, _) => return Err(ErrorCode::SpecifyAtLeastTwoParams),
    };
    if first > last {
        return Err(ErrorCode::FromGreaterThanTo);
    }
    if count == Some(0) || first == Sequence::ZERO {
        return Err(ErrorCode::InvalidArguments);
    }
    let clipped = head.filter(|head| *head >= first).map_or(last, |head| last.min(head));
    let range = SequenceRange::new(first, clipped).ok_or(ErrorCode::InvalidArguments)?;
    if range.len() > RETRANSMIT_MAX {
        return Err(ErrorCode::RequestedNumberTooBig);
    }
    Ok(range)
}
