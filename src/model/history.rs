//! How much of a conversation's history is fetched without anybody asking.

use super::{Sequence, SequenceRange};

/// How much of a conversation's history is fetched without anybody asking.
///
/// What lies outside stays a gap: it is shown as one, counts neither as missing nor against being up to date, and is
/// fetched when somebody reads into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HistoryPolicy {
    /// All of it.
    #[default]
    Everything,
    /// So many positions below the newest, events that are no messages included; the window moves with the newest.
    Newest(u32),
    /// Nothing but what is told as it happens.
    OnDemand,
}

impl HistoryPolicy {
    /// Returns the positions wanted of a conversation whose newest is `head`; `None` for none.
    pub fn wanted(self, head: Sequence) -> Option<SequenceRange> {
        let whole = SequenceRange::new(Sequence::FIRST, head)?;
        match self {
            Self::Everything => Some(whole),
            Self::Newest(0) | Self::OnDemand => None,
            Self::Newest(count) => Some(whole.newest(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_wants_a_window_that_ends_with_the_newest() {
        let wanted = |policy: HistoryPolicy, head| policy.wanted(Sequence(head)).map(|range| range.to_string());
        assert_eq!(wanted(HistoryPolicy::Everything, 250).as_deref(), Some("1–250"));
        assert_eq!(wanted(HistoryPolicy::Newest(100), 250).as_deref(), Some("151–250"));
        assert_eq!(wanted(HistoryPolicy::Newest(100), 40).as_deref(), Some("1–40"));
        assert_eq!(wanted(HistoryPolicy::Newest(0), 40), None);
        assert_eq!(wanted(HistoryPolicy::OnDemand, 40), None);
        assert_eq!(wanted(HistoryPolicy::Everything, 0), None);
    }
}
