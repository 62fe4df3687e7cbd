//! Retransmission: which events of a range the caller may see.

use super::{Context, Done, Fault, Hub, header};
use crate::storage::{Stay, Storage};
use backscroll::model::{Action, Conversation, ConversationId, ErrorCode, Sequence, SequenceRange};
use backscroll::protocol::{Push, RETRANSMIT_MAX};

impl<S: Storage> Hub<S> {
    /// Answers with the visible events of the asked range, one frame each, in rising order.
    ///
    /// `from_seq` and `to_seq` tell the range that was asked for, `count` how many frames the answer has.
    pub(super) fn retransmit(
        &self,
        context: &Context,
        id: ConversationId,
        from: Option<i64>,
        to: Option<i64>,
        count: Option<i64>,
    ) -> Result<Done, Fault> {
        let asked = asked_range(from, to, count)?;
        let conversation = self.present(id)?;
        let stays = self.storage.stays(id, context.caller)?;
        if stays.is_empty() {
            return Err(ErrorCode::Acl.into());
        }
        let mut events = Vec::new();
        for range in visible(&conversation, &stays, asked) {
            events.append(&mut self.storage.events(id, range)?);
        }
        if events.is_empty() {
            return Err(ErrorCode::WrongSequenceArgument.into());
        }
        let frames = u32::try_from(events.len()).ok();
        let push = |event| Push::Retransmitted {
            header: header(context, Action::RetransmitEvents),
            from: Some(asked.first()),
            to: Some(asked.last()),
            count: frames,
            event,
        };
        Ok(Done::frames(events.into_iter().map(push).collect()))
    }
}

/// Turns two of the three numbers into a range of at most [`RETRANSMIT_MAX`] positions.
///
/// Source: protocol notes, section 8.
fn asked_range(from: Option<i64>, to: Option<i64>, count: Option<i64>) -> Result<SequenceRange, ErrorCode> {
    let (first, last) = match (from, to, count) {
        (Some(from), Some(to), None) => (from, to),
        (Some(from), None, Some(count)) => (from, from.saturating_add(checked_count(count)? - 1)),
        // Fewer, when the range would begin before the first event.
        (None, Some(to), Some(count)) => (to.saturating_sub(checked_count(count)? - 1).max(1), to),
        (Some(_), Some(_), Some(_)) => return Err(ErrorCode::SpecifyMaximumTwoParams),
        _ => return Err(ErrorCode::SpecifyAtLeastTwoParams),
    };
    if first > last && from.is_some() {
        return Err(ErrorCode::FromGreaterThanTo);
    }
    if last.saturating_sub(first) >= i64::from(RETRANSMIT_MAX) {
        return Err(ErrorCode::RequestedNumberTooBig);
    }
    let position = |number: i64| u32::try_from(number).map(Sequence).map_err(|_| ErrorCode::WrongSequenceArgument);
    SequenceRange::new(position(first)?, position(last)?).ok_or(ErrorCode::WrongSequenceArgument)
}

fn checked_count(count: i64) -> Result<i64, ErrorCode> {
    match count {
        ..=0 => Err(ErrorCode::RequestedNumberTooBigOr0),
        count if count > i64::from(RETRANSMIT_MAX) => Err(ErrorCode::RequestedNumberTooBig),
        count => Ok(count),
    }
}

/// Returns the parts of `asked` that a user with these stays may see, in rising order and never overlapping.
///
/// A participant sees everything, a former one everything up to the event of leaving; in an uber conversation
/// only the stays count. Both ends of a stay belong to it.
fn visible(conversation: &Conversation, stays: &[Stay], asked: SequenceRange) -> Vec<SequenceRange> {
    let head = conversation.last_sequence;
    let end = |stay: &Stay| stay.left.unwrap_or(head).min(head);
    let allowed = if conversation.uber {
        stays.iter().filter_map(|stay| SequenceRange::new(stay.joined, end(stay))).collect()
    } else {
        let last = stays.iter().map(end).max().unwrap_or_default();
        Vec::from_iter(SequenceRange::new(Sequence::FIRST, last))
    };
    let clip =
        |range: SequenceRange| SequenceRange::new(range.first().max(asked.first()), range.last().min(asked.last()));
    allowed.into_iter().filter_map(clip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use backscroll::model::ConversationConfig;
    use backscroll::model::Timestamp;

    fn range(first: u32, last: u32) -> SequenceRange {
        SequenceRange::new(Sequence(first), Sequence(last)).unwrap()
    }

    fn stay(joined: u32, left: Option<u32>) -> Stay {
        Stay { joined: Sequence(joined), left: left.map(Sequence), last_read: Sequence::ZERO }
    }

    fn conversation(uber: bool, head: u32) -> Conversation {
        let id = "6f0e1c5a-8a30-4a4b-9a1d-2d7a4d4ad5b0".parse().unwrap();
        let config = ConversationConfig { uber, ..ConversationConfig::default() };
        Conversation::recreate(id, config, Sequence(head), Timestamp(0), Timestamp(0))
    }

    #[test]
    fn two_of_three_numbers_make_a_range() {
        assert_eq!(asked_range(Some(3), Some(102), None), Ok(range(3, 102)));
        assert_eq!(asked_range(Some(3), None, Some(100)), Ok(range(3, 102)));
        assert_eq!(asked_range(None, Some(102), Some(100)), Ok(range(3, 102)));
        assert_eq!(asked_range(None, Some(5), Some(100)), Ok(range(1, 5)));
        assert_eq!(asked_range(Some(7), Some(7), None), Ok(range(7, 7)));
    }

    #[test]
    fn a_range_that_cannot_be_is_refused_with_its_code() {
        for (from, to, count, code) in [
            (Some(1), Some(2), Some(2), 36),
            (Some(1), None, None, 41),
            (None, Some(1), None, 41),
            (None, None, Some(1), 41),
            (None, None, None, 41),
            (Some(2), Some(1), None, 28),
            (Some(1), Some(101), None, 22),
            (Some(1), None, Some(101), 22),
            (None, Some(500), Some(101), 22),
            (Some(1), None, Some(0), 21),
            (None, Some(9), Some(-1), 21),
            (Some(0), Some(5), None, 24),
            (Some(-5), Some(-1), None, 24),
            (None, Some(0), Some(5), 24),
            (Some(i64::MIN), Some(i64::MAX), None, 22),
            (Some(i64::MAX), None, Some(100), 24),
            (Some(1 << 32), Some((1 << 32) + 1), None, 24),
        ] {
            let refused = asked_range(from, to, count).map_err(ErrorCode::number);
            assert_eq!(refused, Err(code), "{from:?} {to:?} {count:?}");
        }
    }

    #[test]
    fn a_former_participant_sees_up_to_the_event_of_leaving() {
        let regular = conversation(false, 50);
        assert_eq!(visible(&regular, &[stay(10, None)], range(1, 99)), [range(1, 50)]);
        assert_eq!(visible(&regular, &[stay(10, Some(20))], range(1, 99)), [range(1, 20)]);
        assert_eq!(visible(&regular, &[stay(10, Some(20)), stay(30, None)], range(1, 99)), [range(1, 50)]);
        assert_eq!(visible(&regular, &[stay(10, Some(20))], range(21, 99)), []);
    }

    #[test]
    fn an_uber_conversation_shows_the_stays_only() {
        let uber = conversation(true, 50);
        let stays = [stay(10, Some(20)), stay(30, None)];
        assert_eq!(visible(&uber, &stays, range(1, 99)), [range(10, 20), range(30, 50)]);
        assert_eq!(visible(&uber, &stays, range(15, 32)), [range(15, 20), range(30, 32)]);
        assert_eq!(visible(&uber, &stays, range(21, 29)), []);
    }
}
