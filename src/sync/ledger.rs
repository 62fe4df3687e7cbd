//! What is held of each conversation, and what to ask for next.
//!
//! The **head** is the newest sequence the server told of, the **coverage** the positions asked for and
//! completely answered. From these follow the **gaps** (up to the head, outside coverage) and the
//! **cursor** (end of the unbroken coverage). The largest stored sequence decides nothing.

use super::SavedConversation;
use super::pace::Backoff;
use crate::model::{ConversationId, Membership, Ranges, Sequence, SequenceRange, Timestamp, Uptime};
use crate::protocol::RETRANSMIT_MAX;
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Delays between attempts at a range that stays incomplete or is refused for now.
const RANGE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(600));

/// After so many incomplete answers in a row, what an uber conversation does not show counts as a time
/// in which the user was not in it.
pub(super) const UBER_ATTEMPTS: u32 = 3;

/// One conversation.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) head: Sequence,
    pub(super) described_at: Sequence,
    pub(super) membership: Membership,
    pub(super) uber: bool,
    pub(super) coverage: Ranges,
    pub(super) last_activity: Timestamp,
    /// The own read mark: the server's, or ours on its way.
    pub(super) own_read: Sequence,
    /// Whether the head was compared on the present link.
    pub(super) compared: bool,
    /// Ranges asked for and not yet answered.
    asked: BTreeSet<SequenceRange>,
    /// Refused for good: nothing is asked until something about the membership changes.
    refused: bool,
    /// Not asked before this.
    rest_until: Uptime,
    backoff: Backoff,
}

impl Track {
    fn new(membership: Membership) -> Self {
        Self {
            head: Sequence::ZERO,
            described_at: Sequence::ZERO,
            membership,
            uber: false,
            coverage: Ranges::new(),
            last_activity: Timestamp::default(),
            own_read: Sequence::ZERO,
            compared: false,
            asked: BTreeSet::new(),
            refused: false,
            rest_until: Uptime::default(),
            backoff: Backoff::new(RANGE_BACKOFF),
        }
    }

    fn whole(&self) -> Option<SequenceRange> {
        SequenceRange::new(Sequence::FIRST, self.head)
    }

    /// The user came, left or was removed: what was refused may be allowed now.
    pub(super) const fn set_membership(&mut self, membership: Membership) {
        self.membership = membership;
        self.refused = false;
    }

    /// Returns how many positions up to the head are not held.
    pub(super) fn missing(&self) -> u64 {
        let Some(whole) = self.whole() else { return 0 };
        self.coverage.missing(whole).map(|gap| u64::from(gap.len())).sum()
    }

    /// Returns the newest range that is missing and not yet asked for.
    fn next_range(&self) -> Option<SequenceRange> {
        if self.refused || !matches!(self.membership, Membership::Member | Membership::Left) {
            return None;
        }
        self.coverage.missing(self.whole()?).rev().find_map(|gap| {
            let mut rest = gap;
            loop {
                let range = rest.newest(RETRANSMIT_MAX);
                let Some(overlap) = self.asked.iter().rev().find(|asked| asked.intersection(range).is_some()) else {
                    return Some(range);
                };
                // What lies above the range under way is tried first, then what lies below it.
                if let Some(above) = SequenceRange::new(overlap.last().next(), range.last()) {
                    return Some(above);
                }
                rest = SequenceRange::new(gap.first(), overlap.first().previous())?;
            }
        })
    }
}

/// All conversations.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    tracks: BTreeMap<ConversationId, Track>,
    /// Conversations with a range to ask for, the most recently active last.
    wanting: BTreeSet<(Timestamp, Reverse<ConversationId>)>,
    /// Conversations that wait before they are asked about again.
    resting: BTreeSet<(Uptime, ConversationId)>,
    /// On screen, in the order the application gave.
    focus: Vec<ConversationId>,
    missing: u64,
}

impl Ledger {
    pub(super) fn restore(saved: Vec<SavedConversation>) -> Self {
        let mut ledger = Self::default();
        for conversation in saved {
            let id = conversation.id;
            let track = Track {
                head: conversation.head,
                described_at: conversation.described_at,
                uber: conversation.uber,
                coverage: conversation.coverage,
                last_activity: conversation.last_activity,
                own_read: conversation.own_read,
                ..Track::new(conversation.membership)
            };
            ledger.tracks.insert(id, track);
            ledger.change(id, |_| {});
            ledger.missing += ledger.tracks[&id].missing();
        }
        ledger
    }

    pub(super) fn get(&self, id: ConversationId) -> Option<&Track> {
        self.tracks.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConversationId, &Track)> {
        self.tracks.iter().map(|(id, track)| (*id, track))
    }

    /// Returns how many positions are missing in all conversations that are asked about.
    pub(super) const fn missing(&self) -> u64 {
        self.missing
    }

    /// Makes a conversation known, and returns whether it was not.
    pub(super) fn ensure(&mut self, id: ConversationId, membership: Membership) -> bool {
        let Entry::Vacant(unknown) = self.tracks.entry(id) else { return false };
        unknown.insert(Track::new(membership));
        true
    }

    /// Changes one conversation and keeps the order of asking true.
    ///
    /// An unknown conversation is left alone.
    pub(super) fn change(&mut self, id: ConversationId, change: impl FnOnce(&mut Track)) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let missing_before = track.missing();
        self.wanting.remove(&(track.last_activity, Reverse(id)));
        self.resting.remove(&(track.rest_until, id));
        change(track);
        if track.next_range().is_some() {
            if track.rest_until > Uptime::default() {
                self.resting.insert((track.rest_until, id));
            } else {
                self.wanting.insert((track.last_activity, Reverse(id)));
            }
        }
        self.missing = (self.missing + track.missing()).saturating_sub(missing_before);
    }

    /// These conversations come first from now on.
    pub(super) fn set_focus(&mut self, focus: Vec<ConversationId>) {
        self.focus = focus;
    }

    /// A conversation on screen got its real id.
    pub(super) fn rename_focus(&mut self, provisional: ConversationId, made: ConversationId) {
        self.focus.iter_mut().filter(|id| **id == provisional).for_each(|id| *id = made);
    }

    pub(super) fn focus(&self) -> &[ConversationId] {
        &self.focus
    }

    /// Wakes conversations whose rest is over.
    pub(super) fn wake(&mut self, now: Uptime) {
        while let Some((until, id)) = self.resting.first().copied().filter(|(until, _)| *until <= now) {
            self.resting.remove(&(until, id));
            self.change(id, |track| track.rest_until = Uptime::default());
        }
    }

    /// Returns when the next conversation wakes.
    pub(super) fn next_wake(&self) -> Option<Uptime> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// Returns whether there is a range to ask for now.
    pub(super) fn is_wanting(&self) -> bool {
        !self.wanting.is_empty()
    }

    /// Returns the next range to ask for and marks it as asked, or `None` when nothing is missing
    /// that may be asked for now.
    ///
    /// The range is inclusive and holds at most [`RETRANSMIT_MAX`] positions. Conversations on screen
    /// come first, then those with the latest activity; in each, the newest range.
    ///
    /// Source: protocol notes, section 8; a larger range is refused with error 22.
    pub(super) fn take_range(&mut self) -> Option<(ConversationId, SequenceRange)> {
        let on_screen = self.focus.iter().copied().find(|id| {
            let key = self.tracks.get(id).map(|track| (track.last_activity, Reverse(*id)));
            key.is_some_and(|key| self.wanting.contains(&key))
        });
        let id = on_screen.or_else(|| self.wanting.last().map(|(_, Reverse(id))| *id))?;
        let range = self.tracks[&id].next_range()?;
        self.change(id, |track| {
            track.asked.insert(range);
        });
        Some((id, range))
    }

    /// A range is no longer under way, for whatever reason.
    pub(super) fn give_back(&mut self, id: ConversationId, range: SequenceRange) {
        self.change(id, |track| {
            track.asked.remove(&range);
        });
    }

    /// A range was answered in full.
    pub(super) fn answered(&mut self, id: ConversationId, range: SequenceRange) {
        self.change(id, |track| {
            track.asked.remove(&range);
            track.coverage.insert(range);
            track.backoff.reset();
        });
    }

    /// A range was not answered in full: the conversation rests. Returns how often that happened in a row.
    pub(super) fn disappointed(&mut self, id: ConversationId, range: SequenceRange, now: Uptime, rng: &mut Rng) -> u32 {
        let mut failures = 0;
        self.change(id, |track| {
            track.asked.remove(&range);
            let delay = track.backoff.fail(rng);
            track.rest_until = now.after(delay);
            failures = track.backoff.failures();
        });
        failures
    }

    /// A range was refused for good.
    pub(super) fn refused(&mut self, id: ConversationId, range: SequenceRange) {
        self.change(id, |track| {
            track.asked.remove(&range);
            track.refused = true;
        });
    }

    /// The link is gone: nothing is under way, no head is compared, nothing rests.
    pub(super) fn link_lost(&mut self) {
        let ids: Vec<ConversationId> = self.tracks.keys().copied().collect();
        for id in ids {
            self.change(id, |track| {
                track.asked.clear();
                track.compared = false;
                track.refused = false;
                track.rest_until = Uptime::default();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(n: u128) -> ConversationId {
        ConversationId::from_uuid(Uuid::from_u128(n))
    }

    fn range(first: u32, last: u32) -> SequenceRange {
        SequenceRange::new(Sequence(first), Sequence(last)).expect("a test range")
    }

    fn ledger(heads: &[(u128, u32)]) -> Ledger {
        Ledger::restore(
            heads
                .iter()
                .map(|(n, head)| SavedConversation {
                    id: id(*n),
                    head: Sequence(*head),
                    described_at: Sequence(*head),
                    membership: Membership::Member,
                    uber: false,
                    coverage: Ranges::new(),
                    last_activity: Timestamp(i64::try_from(*n).expect("small")),
                    own_read: Sequence::ZERO,
                })
                .collect(),
        )
    }

    /// requests never ask for more than 100, and none repeats a window.
    #[test]
    fn a_gap_is_asked_for_newest_first_in_windows_of_at_most_a_hundred() {
        let mut ledger = ledger(&[(1, 250)]);
        let asked: Vec<_> = std::iter::from_fn(|| ledger.take_range()).map(|(_, range)| range).collect();
        assert_eq!(asked, [range(151, 250), range(51, 150), range(1, 50)]);
        asked.into_iter().for_each(|range| ledger.answered(id(1), range));
        assert_eq!((ledger.missing(), ledger.take_range()), (0, None));
    }

    /// a live event far beyond the head leaves a gap that is reported until it is filled.
    #[test]
    fn an_event_beyond_the_head_leaves_a_gap() {
        let mut ledger = ledger(&[(1, 10)]);
        ledger.take_range().expect("the first ten");
        ledger.answered(id(1), range(1, 10));
        ledger.change(id(1), |track| {
            track.head = Sequence(510);
            track.coverage.insert(range(510, 510));
        });
        assert_eq!(ledger.missing(), 499);
        assert_eq!(ledger.get(id(1)).expect("known").coverage.contiguous_end(), Sequence(10));
        assert_eq!(ledger.take_range(), Some((id(1), range(410, 509))));
    }

    #[test]
    fn what_arrives_above_a_range_under_way_is_asked_for_by_itself() {
        let mut ledger = ledger(&[(1, 100)]);
        assert_eq!(ledger.take_range(), Some((id(1), range(1, 100))));
        ledger.change(id(1), |track| track.head = Sequence(120));
        assert_eq!(ledger.take_range(), Some((id(1), range(101, 120))));
        assert_eq!(ledger.take_range(), None);
    }

    #[test]
    fn the_conversation_on_screen_comes_first_then_the_latest() {
        let mut ledger = ledger(&[(1, 10), (2, 10), (3, 10)]);
        ledger.set_focus(vec![id(1)]);
        let order: Vec<_> = std::iter::from_fn(|| ledger.take_range()).map(|(id, _)| id).collect();
        assert_eq!(order, [id(1), id(3), id(2)]);
    }

    /// L-10: a disappointing range rests, and a lost link begins anew.
    #[test]
    fn a_range_that_stays_incomplete_rests_before_it_is_asked_again() {
        let mut ledger = ledger(&[(1, 10)]);
        let (conversation, asked) = ledger.take_range().expect("a gap");
        let mut rng = Rng::with_seed(7);
        assert_eq!(ledger.disappointed(conversation, asked, Uptime::default(), &mut rng), 1);
        assert_eq!(ledger.take_range(), None);
        let wake = ledger.next_wake().expect("it rests");
        ledger.wake(wake);
        assert_eq!(ledger.take_range(), Some((conversation, asked)));
        ledger.refused(conversation, asked);
        assert_eq!((ledger.take_range(), ledger.next_wake(), ledger.missing()), (None, None, 10));
        ledger.link_lost();
        assert_eq!(ledger.take_range(), Some((conversation, asked)));
    }
}
