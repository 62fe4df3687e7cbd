//! A conversation as the list shows it: with what is held of it, and how far that can be trusted.

use super::{Conversation, Messenger};
use crate::model::{Delivery, HistoryPolicy, Membership, Ranges, Sequence, SequenceRange, Timestamp};
use crate::store::{ConversationRow, Preview};
use crate::sync::LinkState;

/// How far the local copy of a conversation can be trusted to be whole, up to its history policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// Everything the server has told of is held, and more will be told as it happens.
    Live,
    /// Something is missing, or not yet known to be whole, and being fetched.
    CatchingUp {
        /// Positions still to be fetched, as far as known; zero while the newest one is not known.
        missing: u64,
    },
    /// There is no link: what happened since is not known.
    Stale {
        /// Since when, by the clock of this machine: never too late, too early by up to five minutes, or by the time
        /// that something was missing. `None` when everything was never held.
        since: Option<Timestamp>,
    },
}

/// A conversation with everything the file knows of it.
#[derive(Clone, Debug)]
pub struct ConversationSummary {
    /// As last described by the server; bare when it never was.
    pub conversation: Conversation,
    /// Where the user stands to it.
    pub membership: Membership,
    /// The newest sequence the server told of; zero when it never did.
    pub head: Sequence,
    /// How many positions were asked for and completely answered.
    pub covered: u64,
    /// How many positions up to the head are not held, whether anybody wants them or not.
    pub missing: u64,
    /// How much history is fetched without anybody asking: the conversation's own policy, else that of all.
    pub history: HistoryPolicy,
    /// Messages of others, not removed, above the own read mark.
    pub unread: u64,
    /// `false` when a gap may hide more: then it is at least that many.
    pub unread_exact: bool,
    /// Up to and including which event the user has read; zero when never said.
    pub own_read_mark: Sequence,
    /// When something last happened.
    pub last_activity: Timestamp,
    /// The newest message that is not removed, the user's own on its way included, if there is one; with changes of it
    /// that are on their way shown as if done.
    pub preview: Option<Preview>,
    /// Whether what is shown is whole.
    pub freshness: Freshness,
    /// How far the user's own changes have come, its making included; settled when none is on its way.
    pub delivery: Delivery,
}

impl ConversationSummary {
    pub(super) fn new(
        messenger: &Messenger,
        (row, delivery): (ConversationRow, Delivery),
        whole_at: Option<Timestamp>,
    ) -> Self {
        let history = row.history.unwrap_or(messenger.shared.history);
        let freshness = freshness(&messenger.shared.link.borrow(), wanted(&row, history), whole_at);
        Self {
            membership: row.membership,
            head: row.head,
            covered: row.coverage.count(),
            missing: missing(&row.coverage, SequenceRange::new(Sequence::FIRST, row.head)),
            history,
            unread: row.unread,
            unread_exact: row.unread_exact,
            own_read_mark: row.own_read_mark,
            last_activity: row.last_activity,
            preview: row.preview,
            freshness,
            delivery,
            conversation: Conversation::new(messenger, row.conversation),
        }
    }

    /// Returns whether there is nothing to read for certain: everything up to the head is held, and no message is.
    ///
    /// Otherwise an empty page means "not loaded".
    pub fn is_known_to_be_empty(&self) -> bool {
        self.head > Sequence::ZERO && self.missing == 0 && self.preview.is_none()
    }
}

/// Returns how many positions are missing that the policy wants.
fn wanted(row: &ConversationRow, history: HistoryPolicy) -> u64 {
    match row.membership {
        Membership::Member | Membership::Left => missing(&row.coverage, history.wanted(row.head)),
        Membership::Removed | Membership::Stranger => 0,
    }
}

fn missing(coverage: &Ranges, within: Option<SequenceRange>) -> u64 {
    within.map_or(0, |within| coverage.missing(within).map(|gap| u64::from(gap.len())).sum())
}

fn freshness(link: &LinkState, missing: u64, whole_at: Option<Timestamp>) -> Freshness {
    match link {
        LinkState::Live | LinkState::CatchingUp { unchecked: 0, .. } if missing == 0 => Freshness::Live,
        LinkState::Live | LinkState::CatchingUp { .. } => Freshness::CatchingUp { missing },
        LinkState::SignedOut(_) | LinkState::Offline { .. } | LinkState::Connecting | LinkState::Paused => {
            Freshness::Stale { since: whole_at }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a conversation that is whole is live as soon as no newest sequence is in doubt, whatever others lack.
    #[test]
    fn a_conversation_is_live_once_its_head_is_known_and_held() {
        let link = |unchecked, missing| LinkState::CatchingUp { unchecked, missing };
        let at = Some(Timestamp(7));
        assert_eq!(freshness(&link(3, 0), 0, at), Freshness::CatchingUp { missing: 0 });
        assert_eq!(freshness(&link(0, 900), 40, at), Freshness::CatchingUp { missing: 40 });
        assert_eq!(freshness(&link(0, 900), 0, at), Freshness::Live);
        assert_eq!(freshness(&LinkState::Live, 0, at), Freshness::Live);
        assert_eq!(freshness(&LinkState::Connecting, 0, at), Freshness::Stale { since: at });
        assert_eq!(freshness(&LinkState::Paused, 9, None), Freshness::Stale { since: None });
    }
}
