//! Positions in a conversation, ranges of them, and sets of ranges.

use std::fmt;

/// Position of an event in its conversation, from 1 up.
///
/// 0 stands for "before the first": a head of 0 is an unknown one, a read mark of 0 was never set.
/// 32 bits, because a store packs the conversation and the sequence into one 64-bit row id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u32);

impl Sequence {
    /// Before the first event.
    pub const ZERO: Self = Self(0);
    /// The first event of a conversation.
    pub const FIRST: Self = Self(1);

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the position after this one; the last possible one stays where it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the position before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An unbroken run of positions, inclusive at both ends, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceRange {
    first: Sequence,
    last: Sequence,
}

impl SequenceRange {
    /// Returns the range, or `None` when it would be empty or begin before position 1.
    pub const fn new(first: Sequence, last: Sequence) -> Option<Self> {
        if first.0 >= 1 && first.0 <= last.0 { Some(Self { first, last }) } else { None }
    }

    /// Returns the range of a single position, or `None` for position 0.
    pub const fn single(at: Sequence) -> Option<Self> {
        Self::new(at, at)
    }

    /// Returns the lowest position.
    pub const fn first(self) -> Sequence {
        self.first
    }

    /// Returns the highest position.
    pub const fn last(self) -> Sequence {
        self.last
    }

    /// Returns how many positions there are; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u32 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Returns whether `at` lies inside.
    pub const fn contains(self, at: Sequence) -> bool {
        self.first.0 <= at.0 && at.0 <= self.last.0
    }

    /// Returns the part both ranges share, or `None`.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Returns the upper part, of at most `count` positions.
    #[must_use]
    pub fn newest(self, count: u32) -> Self {
        let skipped = self.len().saturating_sub(count.max(1));
        Self { first: Sequence(self.first.0 + skipped), last: self.last }
    }

    /// Returns the part of at most `count` positions that lies nearest to `at`, around it where it can.
    #[must_use]
    pub fn nearest(self, at: Sequence, count: u32) -> Self {
        let count = count.clamp(1, self.len());
        let lowest = at.0.saturating_sub(count / 2).clamp(self.first.0, self.last.0 - (count - 1));
        Self { first: Sequence(lowest), last: Sequence(lowest + (count - 1)) }
    }

    /// Yields the positions in rising order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Sequence> {
        (self.first.0..=self.last.0).map(Sequence)
    }
}

impl fmt::Display for SequenceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}–{}", self.first, self.last) }
    }
}

/// A set of positions as ranges: rising, never overlapping, never touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<SequenceRange>);

impl Ranges {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds all positions of `range`, and returns whether any of them was new.
    pub fn insert(&mut self, range: SequenceRange) -> bool {
        // All ranges that overlap `range` or touch it melt into one.
        let from = self.0.partition_point(|held| held.last.next() < range.first);
        let to = self.0.partition_point(|held| held.first <= range.last.next());
        if from == to {
            self.0.insert(from, range);
            return true;
        }
        let melted =
            SequenceRange { first: range.first.min(self.0[from].first), last: range.last.max(self.0[to - 1].last) };
        if to - from == 1 && self.0[from] == melted {
            return false;
        }
        self.0.splice(from..to, [melted]);
        true
    }

    /// Takes one position out.
    pub fn remove(&mut self, at: Sequence) {
        let place = self.0.partition_point(|held| held.last < at);
        let Some(held) = self.0.get(place).copied().filter(|held| held.contains(at)) else { return };
        let below = SequenceRange::new(held.first, at.previous());
        let above = (at < held.last).then_some(SequenceRange { first: at.next(), last: held.last });
        self.0.splice(place..=place, below.into_iter().chain(above));
    }

    /// Returns whether `at` is in the set.
    pub fn contains(&self, at: Sequence) -> bool {
        let after = self.0.partition_point(|held| held.first <= at);
        after > 0 && self.0[after - 1].contains(at)
    }

    /// Returns whether every position of `range` is in the set.
    pub fn contains_range(&self, range: SequenceRange) -> bool {
        let after = self.0.partition_point(|held| held.first <= range.first);
        after > 0 && self.0[after - 1].last >= range.last
    }

    /// Returns the end of the unbroken run that begins at position 1; zero when 1 is absent.
    pub fn contiguous_end(&self) -> Sequence {
        match self.0.first() {
            Some(range) if range.first == Sequence::FIRST => range.last,
            _ => Sequence::ZERO,
        }
    }

    /// Returns the highest position of the set; zero when it is empty.
    pub fn end(&self) -> Sequence {
        self.0.last().map_or(Sequence::ZERO, |range| range.last)
    }

    /// Yields what `within` holds and the set does not, in rising order.
    pub fn missing(&self, within: SequenceRange) -> impl DoubleEndedIterator<Item = SequenceRange> + '_ {
        let from = self.0.partition_point(|held| held.last < within.first);
        let to = self.0.partition_point(|held| held.first <= within.last);
        let held = &self.0[from..to];
        (0..=held.len()).filter_map(move |place| {
            let first = match place.checked_sub(1).map(|below| held[below].last) {
                None => within.first,
                // Nothing is left above; there may be no position above.
                Some(last) if last >= within.last => return None,
                Some(last) => last.next().max(within.first),
            };
            let last = held.get(place).map_or(within.last, |next| next.first.previous().min(within.last));
            SequenceRange::new(first, last)
        })
    }

    /// Returns what is in this set and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.iter().flat_map(|range| other.missing(range)).collect()
    }

    /// Yields the ranges in rising order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = SequenceRange> + '_ {
        self.0.iter().copied()
    }

    /// Returns how many positions there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.len())).sum()
    }

    /// Returns whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<SequenceRange> for Ranges {
    fn from_iter<I: IntoIterator<Item = SequenceRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(first: u32, last: u32) -> SequenceRange {
        SequenceRange::new(Sequence(first), Sequence(last)).expect("a test range")
    }

    #[test]
    fn neighbours_melt_and_gaps_stay() {
        let mut set = Ranges::new();
        assert!(set.insert(range(5, 7)));
        assert!(set.insert(range(1, 2)));
        assert!(!set.insert(range(6, 6)));
        assert_eq!(set.missing(range(1, 9)).collect::<Vec<_>>(), [range(3, 4), range(8, 9)]);
        assert!(set.insert(range(3, 4)));
        assert_eq!(set.iter().collect::<Vec<_>>(), [range(1, 7)]);
        assert_eq!(set.contiguous_end(), Sequence(7));
    }

    #[test]
    fn what_is_taken_out_of_a_set_leaves_the_rest() {
        let set: Ranges = [range(1, 5), range(8, 8)].into_iter().collect();
        let mut left = set.clone();
        for taken in [3, 3, 1, 5, 8, 9] {
            left.remove(Sequence(taken));
            assert!(!left.contains(Sequence(taken)));
        }
        assert_eq!(left.iter().collect::<Vec<_>>(), [range(2, 2), range(4, 4)]);
        let taken = set.without(&left);
        assert_eq!(taken.iter().collect::<Vec<_>>(), [range(1, 1), range(3, 3), range(5, 5), range(8, 8)]);
        assert_eq!(set.without(&Ranges::new()), set);
    }

    #[test]
    fn the_nearest_part_of_a_range_touches_or_surrounds_the_place() {
        let all = range(11, 30);
        assert_eq!(all.nearest(Sequence(5), 4), range(11, 14));
        assert_eq!(all.nearest(Sequence(20), 4), range(18, 21));
        assert_eq!(all.nearest(Sequence(30), 4), range(27, 30));
        assert_eq!(all.nearest(Sequence(u32::MAX), 4), range(27, 30));
        assert_eq!(all.nearest(Sequence(1), 100), all);
        assert_eq!(range(1, u32::MAX).nearest(Sequence(u32::MAX), 2), range(u32::MAX - 1, u32::MAX));
    }

    #[test]
    fn the_last_possible_position_does_not_overflow() {
        let mut set = Ranges::new();
        set.insert(range(u32::MAX, u32::MAX));
        set.insert(range(u32::MAX - 1, u32::MAX));
        assert_eq!(set.iter().collect::<Vec<_>>(), [range(u32::MAX - 1, u32::MAX)]);
        assert_eq!(set.missing(range(1, u32::MAX)).collect::<Vec<_>>(), [range(1, u32::MAX - 2)]);
        set.remove(Sequence(u32::MAX));
        assert_eq!(set.iter().collect::<Vec<_>>(), [range(u32::MAX - 1, u32::MAX - 1)]);
    }

    proptest! {
        /// R-02, L-3, L-4: whatever arrives in whatever order, the set equals a plain set of numbers.
        #[test]
        fn ranges_equal_a_plain_set(inserted in proptest::collection::vec((1..60_u32, 0..9_u32), 0..40)) {
            let mut set = Ranges::new();
            let mut plain = BTreeSet::new();
            for (first, more) in inserted {
                let new = (first..=first + more).filter(|n| plain.insert(*n)).count() > 0;
                prop_assert_eq!(set.insert(range(first, first + more)), new);
            }
            let end = (1..).find(|n| !plain.contains(n)).expect("endless") - 1;
            prop_assert_eq!(set.contiguous_end(), Sequence(end));
            prop_assert_eq!(set.count(), plain.len() as u64);
            let held: Vec<_> = set.iter().collect();
            prop_assert!(held.windows(2).all(|pair| pair[0].last().next() < pair[1].first()));
            let missing: BTreeSet<u32> = set.missing(range(1, 80)).flat_map(|r| r.iter().map(Sequence::get).collect::<Vec<_>>()).collect();
            for at in 1..=80 {
                prop_assert_eq!(set.contains(Sequence(at)), plain.contains(&at));
                prop_assert_eq!(missing.contains(&at), !plain.contains(&at));
            }
        }
    }
}
