//! What is held of each conversation, and what to ask for next.
//!
//! The **head** is the newest sequence the server told of, the **coverage** the positions asked for and
//! completely answered. From these follow the **gaps** (up to the head, outside coverage) and the
//! **cursor** (end of the unbroken coverage). The largest stored sequence decides nothing.
//!
//! Of the gaps, those are asked for that the history policy wants, and those that somebody waits for. Whose turn it
//! is stands in ordered sets that each change keeps true, so that nothing here looks through all conversations.

use super::SavedConversation;
use super::pace::Backoff;
use crate::model::{ConversationId, HistoryPolicy, Membership, Ranges, Sequence, SequenceRange, Timestamp, Uptime};
use crate::protocol::RETRANSMIT_MAX;
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Delays between attempts at a range that stays incomplete or is refused for now.
const RANGE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(600));

/// After so many incomplete answers in a row, what an uber conversation does not show counts as a time
/// in which the user was not in it.
pub(super) const UBER_ATTEMPTS: u32 = 3;

/// How many conversations count as on screen: more than any screen shows at once.
const FOCUS_MAX: usize = 100;

/// How much a conversation is wanted; the greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Nobody looks at it.
    Background,
    /// On screen, at this place of the application's list.
    OnScreen(Reverse<usize>),
    /// Somebody waits for a part of its history.
    Awaited,
}

/// Whose turn it is: the greatest is next. Among equals the latest activity, then the lowest id.
type Turn = (Urgency, Timestamp, Reverse<ConversationId>);

/// One conversation.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) head: Sequence,
    pub(super) described_at: Sequence,
    pub(super) membership: Membership,
    pub(super) uber: bool,
    pub(super) coverage: Ranges,
    /// Positions of the coverage that hold nothing.
    pub(super) holes: Ranges,
    pub(super) last_activity: Timestamp,
    /// The own read mark: the server's, or ours on its way.
    pub(super) own_read: Sequence,
    pub(super) history: HistoryPolicy,
    /// Whether the head was compared on the present link.
    pub(super) compared: bool,
    /// Whether the head waits to be compared.
    uncompared: bool,
    /// Positions somebody waits for, whatever the policy says.
    awaited: Ranges,
    /// Its place among those on screen.
    on_screen: Option<usize>,
    /// Ranges asked for and not yet answered.
    asked: BTreeSet<SequenceRange>,
    /// Refused for good: nothing is asked until something about the membership changes.
    refused: bool,
    /// Not shown to somebody outside: not asked for either, until something about the membership changes.
    withheld: Ranges,
    /// Not asked before this.
    rest_until: Uptime,
    backoff: Backoff,
    /// What this conversation adds to the sum of missing positions.
    counted: u64,
}

impl Track {
    fn new(membership: Membership, history: HistoryPolicy) -> Self {
        Self {
            head: Sequence::ZERO,
            described_at: Sequence::ZERO,
            membership,
            uber: false,
            coverage: Ranges::new(),
            holes: Ranges::new(),
            last_activity: Timestamp::default(),
            own_read: Sequence::ZERO,
            history,
            compared: false,
            uncompared: false,
            awaited: Ranges::new(),
            on_screen: None,
            asked: BTreeSet::new(),
            refused: false,
            withheld: Ranges::new(),
            rest_until: Uptime::default(),
            backoff: Backoff::new(RANGE_BACKOFF),
            counted: 0,
        }
    }

    /// The user came, left or was removed: what was refused may be allowed now.
    pub(super) fn set_membership(&mut self, membership: Membership) {
        self.membership = membership;
        self.refused = false;
        self.withheld = Ranges::new();
    }

    /// Returns whether an event is held at this position.
    pub(super) fn holds(&self, at: Sequence) -> bool {
        self.coverage.contains(at) && !self.holes.contains(at)
    }

    /// Returns whether nothing up to the head is missing, whatever the policy wants.
    pub(super) fn is_whole(&self) -> bool {
        SequenceRange::new(Sequence::FIRST, self.head).is_none_or(|whole| self.coverage.contains_range(whole))
    }

    /// Returns whether the server may be asked for history: not where it said no for good.
    pub(super) const fn may_ask(&self) -> bool {
        !self.refused && matches!(self.membership, Membership::Member | Membership::Left)
    }

    /// Returns whether nothing is left to ask for of what somebody waits for. What is withheld is not waited for: it
    /// cannot be had.
    pub(super) fn is_searched(&self) -> bool {
        !self.may_ask() || self.awaited_gaps().next().is_none()
    }

    /// Returns whether anything is under way, waited for or refused, which a link takes with it.
    fn is_marked(&self) -> bool {
        self.uncompared
            || self.refused
            || self.is_resting()
            || !(self.asked.is_empty() && self.awaited.is_empty() && self.withheld.is_empty())
    }

    fn lacks_comparison(&self) -> bool {
        self.membership == Membership::Member && !self.compared
    }

    /// Returns whether an answer was lacking lately, and the next attempt is put off.
    pub(super) fn is_resting(&self) -> bool {
        self.rest_until > Uptime::default()
    }

    /// Returns how many positions that the policy wants are not held and may be asked for.
    fn missing(&self) -> u64 {
        let Some(wanted) = self.history.wanted(self.head).filter(|_| self.may_ask()) else { return 0 };
        self.gaps(wanted).map(|gap| u64::from(gap.len())).sum()
    }

    /// Yields what a range lacks and may be asked for, newest first.
    fn gaps(&self, within: SequenceRange) -> impl Iterator<Item = SequenceRange> + '_ {
        self.coverage.missing(within).rev().flat_map(|gap| self.withheld.missing(gap).rev())
    }

    /// Yields what is missing of what somebody waits for, newest first.
    fn awaited_gaps(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        let known = SequenceRange::new(Sequence::FIRST, self.head);
        let awaited = self.awaited.iter().rev().filter_map(move |range| range.intersection(known?));
        awaited.flat_map(|range| self.gaps(range))
    }

    /// Yields what is missing and wanted: what somebody waits for, then what the policy wants, newest first each.
    fn wanted_gaps(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        let by_policy = self.history.wanted(self.head).into_iter().flat_map(|range| self.gaps(range));
        self.awaited_gaps().chain(by_policy)
    }

    /// Returns the next range that is missing, wanted and not yet asked for.
    fn next_range(&self) -> Option<SequenceRange> {
        if !self.may_ask() {
            return None;
        }
        self.wanted_gaps().find_map(|gap| {
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

    fn turn(&self, id: ConversationId) -> Turn {
        let urgency = match self.on_screen {
            _ if !self.awaited.is_empty() => Urgency::Awaited,
            Some(place) => Urgency::OnScreen(Reverse(place)),
            None => Urgency::Background,
        };
        (urgency, self.last_activity, Reverse(id))
    }
}

/// All conversations.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    tracks: BTreeMap<ConversationId, Track>,
    /// The policy of conversations that have none of their own.
    history: HistoryPolicy,
    /// Conversations with a range to ask for.
    wanting: BTreeSet<Turn>,
    /// Conversations whose head waits to be compared.
    comparing: BTreeSet<Turn>,
    /// Conversations that wait before they are asked about again.
    resting: BTreeSet<(Uptime, ConversationId)>,
    /// Conversations of which nothing awaited is left to ask for since lately.
    searched: BTreeSet<ConversationId>,
    /// Conversations the user is in whose heads were not compared on the present link.
    not_compared: BTreeSet<ConversationId>,
    /// On screen, in the order the application gave.
    focus: Vec<ConversationId>,
    missing: u64,
}

impl Ledger {
    pub(super) fn restore(saved: Vec<SavedConversation>, history: HistoryPolicy) -> Self {
        let mut ledger = Self { history, ..Self::default() };
        for conversation in saved {
            let id = conversation.id;
            let track = Track {
                head: conversation.head,
                described_at: conversation.described_at,
                uber: conversation.uber,
                coverage: conversation.coverage,
                holes: conversation.holes,
                last_activity: conversation.last_activity,
                own_read: conversation.own_read,
                ..Track::new(conversation.membership, conversation.history.unwrap_or(history))
            };
            ledger.tracks.insert(id, track);
            ledger.change(id, |_| {});
        }
        ledger
    }

    pub(super) fn get(&self, id: ConversationId) -> Option<&Track> {
        self.tracks.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConversationId, &Track)> {
        self.tracks.iter().map(|(id, track)| (*id, track))
    }

    /// Returns how many positions are missing that the policies want, where the server may be asked for them.
    pub(super) const fn missing(&self) -> u64 {
        self.missing
    }

    /// Makes a conversation known, and returns whether it was not.
    pub(super) fn ensure(&mut self, id: ConversationId, membership: Membership) -> bool {
        let Entry::Vacant(unknown) = self.tracks.entry(id) else { return false };
        unknown.insert(Track::new(membership, self.history));
        self.change(id, |_| {});
        true
    }

    /// Changes one conversation and keeps the order of asking true.
    ///
    /// An unknown conversation is left alone.
    pub(super) fn change(&mut self, id: ConversationId, change: impl FnOnce(&mut Track)) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let (before, was_searched) = (track.turn(id), track.is_searched());
        self.wanting.remove(&before);
        self.comparing.remove(&before);
        self.resting.remove(&(track.rest_until, id));
        change(track);
        let turn = track.turn(id);
        if track.uncompared {
            self.comparing.insert(turn);
        }
        if track.next_range().is_some() {
            if track.is_resting() {
                self.resting.insert((track.rest_until, id));
            } else {
                self.wanting.insert(turn);
            }
        }
        if !was_searched && track.is_searched() {
            self.searched.insert(id);
        }
        if track.lacks_comparison() {
            self.not_compared.insert(id);
        } else {
            self.not_compared.remove(&id);
        }
        let missing = track.missing();
        self.missing = (self.missing + missing).saturating_sub(track.counted);
        track.counted = missing;
    }

    /// These conversations come first from now on, also among those that wait already.
    pub(super) fn set_focus(&mut self, mut focus: Vec<ConversationId>) {
        focus.truncate(FOCUS_MAX);
        for id in std::mem::replace(&mut self.focus, focus.clone()) {
            self.change(id, |track| track.on_screen = None);
        }
        // Backwards, so that of one named twice the first place counts.
        for (place, id) in focus.into_iter().enumerate().rev() {
            self.change(id, |track| track.on_screen = Some(place));
        }
    }

    /// A conversation on screen got its real id.
    pub(super) fn rename_focus(&mut self, provisional: ConversationId, made: ConversationId) {
        let mut focus = self.focus.clone();
        focus.iter_mut().filter(|id| **id == provisional).for_each(|id| *id = made);
        self.set_focus(focus);
    }

    /// Gives a conversation a policy of its own, or that of all.
    pub(super) fn set_history(&mut self, id: ConversationId, history: Option<HistoryPolicy>) {
        let history = history.unwrap_or(self.history);
        self.change(id, |track| track.history = history);
    }

    /// Somebody waits for these positions, whatever the policy says.
    pub(super) fn await_range(&mut self, id: ConversationId, range: SequenceRange) {
        self.change(id, |track| {
            track.awaited.insert(range);
        });
    }

    /// The head of a conversation is to be compared.
    pub(super) fn await_head(&mut self, id: ConversationId) {
        self.change(id, |track| track.uncompared = true);
    }

    /// Nothing happened in all but these conversations since their heads were last compared.
    pub(super) fn unmoved(&mut self, but: &BTreeSet<ConversationId>) {
        // Whether a head was compared decides no turn.
        for (id, track) in &mut self.tracks {
            track.compared |= !but.contains(id) && !track.uncompared;
        }
        self.not_compared.retain(|id| self.tracks.get(id).is_some_and(Track::lacks_comparison));
    }

    /// Returns whether the head of every conversation the user is in was compared on the present link.
    pub(super) fn is_compared(&self) -> bool {
        self.not_compared.is_empty()
    }

    /// Takes out the conversations in which the last of what somebody waited for came, or turned out not to come.
    pub(super) fn take_searched(&mut self) -> BTreeSet<ConversationId> {
        std::mem::take(&mut self.searched)
    }

    /// Yields the conversations the user is in, once round from behind this one.
    pub(super) fn members_behind(&self, from: Option<ConversationId>) -> impl Iterator<Item = ConversationId> {
        let behind = (from.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let before = from.map(|from| self.tracks.range(..=from));
        let round = self.tracks.range(behind).chain(before.into_iter().flatten());
        round.filter(|(_, track)| track.membership == Membership::Member).map(|(id, _)| *id)
    }

    /// Returns how many heads wait to be compared.
    pub(super) fn heads_waiting(&self) -> usize {
        self.comparing.len()
    }

    /// Takes out the next conversations whose heads are to be compared, at most `count`.
    pub(super) fn take_heads(&mut self, count: usize) -> BTreeSet<ConversationId> {
        let ids: BTreeSet<ConversationId> =
            self.comparing.iter().rev().take(count).map(|(_, _, Reverse(id))| *id).collect();
        for id in &ids {
            self.change(*id, |track| track.uncompared = false);
        }
        ids
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
    /// The range is inclusive and holds at most [`RETRANSMIT_MAX`] positions. What somebody waits for comes first, then
    /// conversations on screen, then those with the latest activity; in each, the newest range.
    ///
    /// Source: protocol notes, section 8; a larger range is refused with error 22.
    pub(super) fn take_range(&mut self) -> Option<(ConversationId, SequenceRange)> {
        let (_, _, Reverse(id)) = *self.wanting.last()?;
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
            if track.awaited.iter().all(|awaited| track.coverage.contains_range(awaited)) {
                track.awaited = Ranges::new();
            }
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

    /// A range was answered with less than there is, to somebody outside: what is missing of it is not asked for again.
    /// No hole, for they may come back.
    pub(super) fn withheld(&mut self, id: ConversationId, range: SequenceRange, missing: &[SequenceRange]) {
        self.change(id, |track| {
            track.asked.remove(&range);
            track.backoff.reset();
            missing.iter().for_each(|range| {
                track.withheld.insert(*range);
            });
        });
    }

    /// The link is gone: nothing is under way or waited for, no head is compared, nothing rests.
    pub(super) fn link_lost(&mut self) {
        // A dial that fails costs a glance at each: only what the link left its marks on is put in its place anew.
        self.tracks.values_mut().for_each(|track| track.compared = false);
        let marked: Vec<ConversationId> =
            self.tracks.iter().filter(|(_, track)| track.is_marked()).map(|(id, _)| *id).collect();
        for id in marked {
            self.change(id, |track| {
                track.asked.clear();
                track.awaited = Ranges::new();
                track.uncompared = false;
                track.refused = false;
                track.withheld = Ranges::new();
                track.rest_until = Uptime::default();
            });
        }
        self.searched.clear();
        self.not_compared = self.members_behind(None).collect();
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
                    holes: Ranges::new(),
                    last_activity: Timestamp(i64::try_from(*n).expect("small")),
                    own_read: Sequence::ZERO,
                    history: None,
                })
                .collect(),
            HistoryPolicy::Everything,
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

    /// whoever comes on screen overtakes those that wait already, with heads as with ranges.
    #[test]
    fn a_change_of_focus_reorders_the_heads_that_wait() {
        let mut ledger = ledger(&[(1, 10), (2, 10), (3, 10), (4, 10)]);
        (1..=4).for_each(|n| ledger.await_head(id(n)));
        ledger.set_focus(vec![id(3)]);
        ledger.set_focus(vec![id(2), id(1), id(2)]);
        let order: Vec<_> = (0..4).flat_map(|_| ledger.take_heads(1)).collect();
        assert_eq!(order, [id(2), id(1), id(4), id(3)]);
        assert_eq!((ledger.heads_waiting(), ledger.take_heads(30).len()), (0, 0));
    }

    #[test]
    fn a_policy_asks_for_its_window_and_what_lies_below_does_not_count() {
        let mut ledger = ledger(&[(1, 500)]);
        ledger.set_history(id(1), Some(HistoryPolicy::Newest(150)));
        assert_eq!(ledger.missing(), 150);
        let asked: Vec<_> = std::iter::from_fn(|| ledger.take_range()).map(|(_, range)| range).collect();
        assert_eq!(asked, [range(401, 500), range(351, 400)]);
        asked.into_iter().for_each(|range| ledger.answered(id(1), range));
        assert_eq!((ledger.missing(), ledger.is_wanting()), (0, false));
        assert!(!ledger.get(id(1)).expect("known").is_whole());
        ledger.set_history(id(1), None);
        assert_eq!((ledger.missing(), ledger.take_range()), (350, Some((id(1), range(251, 350)))));
    }

    #[test]
    fn what_somebody_waits_for_comes_before_everything_else() {
        let mut ledger = ledger(&[(1, 500), (2, 500)]);
        ledger.set_history(id(1), Some(HistoryPolicy::OnDemand));
        ledger.set_focus(vec![id(2)]);
        ledger.await_range(id(1), range(90, 110));
        assert_eq!(ledger.take_range(), Some((id(1), range(90, 110))));
        ledger.answered(id(1), range(90, 110));
        assert_eq!((ledger.take_range(), ledger.missing()), (Some((id(2), range(401, 500))), 500));
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
        assert_eq!((ledger.take_range(), ledger.next_wake(), ledger.missing()), (None, None, 0));
        ledger.link_lost();
        assert_eq!(ledger.missing(), 10);
        assert_eq!(ledger.take_range(), Some((conversation, asked)));
    }

    /// Who left is shown what came before: that the newest is withheld says nothing of the rest.
    #[test]
    fn what_is_withheld_from_somebody_outside_does_not_end_the_asking() {
        let mut ledger = ledger(&[(1, 250)]);
        let (conversation, newest) = ledger.take_range().expect("a gap");
        ledger.withheld(conversation, newest, &[newest]);
        let (_, partly) = ledger.take_range().expect("what lies below");
        assert_eq!(partly, SequenceRange::new(Sequence(51), Sequence(150)).expect("a range"));
        let above = SequenceRange::new(Sequence(101), Sequence(150)).expect("a range");
        ledger.change(conversation, |track| {
            track.coverage.insert(SequenceRange::new(Sequence(51), Sequence(100)).expect("a range"));
        });
        ledger.withheld(conversation, partly, &[above]);
        let (_, oldest) = ledger.take_range().expect("what lies below");
        assert_eq!(oldest, SequenceRange::new(Sequence(1), Sequence(50)).expect("a range"));
        ledger.answered(conversation, oldest);
        assert_eq!((ledger.take_range(), ledger.missing()), (None, 0));
        ledger.change(conversation, |track| track.set_membership(Membership::Member));
        assert_eq!(ledger.missing(), 150);
    }
}
