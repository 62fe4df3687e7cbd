//! Heads, ranges, gaps and holes, frame by frame.

use super::*;
use crate::model::{Membership, Ranges};
use crate::protocol::REQUEST_TIMEOUT;
use crate::sync::SavedConversation;

#[test]
fn an_event_is_stored_before_it_is_shown() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.push(None, Push::Event(message(ROOM, 1, stranger(), None)));
    let stored = position(&outputs, |output| matches!(output, Output::Write(_)));
    let shown = position(&outputs, |output| matches!(output, Output::Signal(Signal::Event { live: true, .. })));
    assert!(stored < shown);
}

/// L-1: a second copy settles and tells nothing; whether it says the same, only the store can see.
#[test]
fn a_second_copy_is_compared_and_nothing_else() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    shell.push(None, Push::Event(message(ROOM, 1, stranger(), None)));
    let again = message(ROOM, 1, stranger(), None);
    let outputs = shell.push(None, Push::Event(again.clone()));
    let [Output::Write(writes)] = &outputs[..] else { panic!("a second copy changes nothing: {outputs:?}") };
    assert_eq!(writes[..], [Write::Repeated(again.conversation, vec![again])]);
}

/// L-1, L-2: what comes after all at a position that was said to hold nothing is stored and told, once.
#[test]
fn an_event_at_a_hole_is_taken() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(true, 3);
    let (request, ..) = ranges(&outputs)[0];
    let nothing = MessagingError::from(ErrorCode::WrongSequenceArgument);
    let outputs = shell.push(Some(request), Push::Error { header: header(Action::RetransmitEvents), error: nothing });
    assert_eq!(holes(&outputs), [(1, 3)]);
    let late = message(ROOM, 2, stranger(), None);
    let is_told = |output: &Output| matches!(output, Output::Signal(Signal::Event { live: true, .. }));
    let outputs = shell.push(None, Push::Event(late.clone()));
    assert_eq!(stored(&outputs, |write| matches!(write, Write::Events(..)).then_some(())).len(), 1);
    assert_eq!(outputs.iter().filter(|output| is_told(output)).count(), 1);
    let outputs = shell.push(None, Push::Event(late));
    assert!(!outputs.iter().any(is_told), "told once");
    assert_eq!(stored(&outputs, |write| matches!(write, Write::Repeated(..)).then_some(())).len(), 1);
}

/// L-9: an event far beyond the head is stored and shown, and hides nothing.
#[test]
fn an_event_far_beyond_the_head_leaves_a_gap_that_is_fetched() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.push(None, Push::Event(message(ROOM, 501, stranger(), None)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Signal(Signal::Event { live: true, .. }))));
    let asked: Vec<_> = ranges(&outputs).into_iter().map(|(_, from, to)| (from, to)).collect();
    assert_eq!(asked, [(401, 500), (301, 400), (201, 300), (101, 200), (1, 100)]);
    assert_eq!(shell.state, LinkState::CatchingUp { unchecked: 1, missing: 500 });
}

/// L-5: an answer that lacks something covers no more than it brought; what is asked for again is the rest.
#[test]
fn an_incomplete_answer_of_a_foreign_server_covers_only_what_came() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(false, 10);
    let (request, from, to) = ranges(&outputs)[0];
    assert_eq!((from, to), (1, 10));
    for sequence in [1, 2, 3, 5, 6, 7, 8, 9, 10] {
        let push = Push::Retransmitted {
            header: header(Action::RetransmitEvents),
            from: None,
            to: None,
            count: Some(9),
            event: message(ROOM, sequence, stranger(), None),
        };
        assert!(shell.push(Some(request), push).is_empty(), "the number of frames is not believed");
    }
    // The peer lives; only this answer does not come.
    let again = |outputs: &[Output]| ranges(outputs).iter().any(|(id, ..)| *id != request);
    let outputs = shell.live_until(Duration::from_secs(60), again);
    assert_eq!(ranges(&outputs).iter().map(|(_, from, to)| (*from, *to)).collect::<Vec<_>>(), [(4, 4)]);
}

/// an answer of one event, and one of none, cover what was asked for and nothing else.
#[test]
fn an_empty_answer_and_one_of_one_event_hide_nothing() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(true, 3);
    let (request, from, to) = ranges(&outputs)[0];
    assert_eq!((from, to), (1, 3));
    let only = Push::Retransmitted {
        header: header(Action::RetransmitEvents),
        from: None,
        to: None,
        count: Some(1),
        event: message(ROOM, 2, stranger(), None),
    };
    let outputs = shell.push(Some(request), only);
    assert_eq!(covered(&outputs), [(2, 2), (1, 3)]);
    assert_eq!(holes(&outputs), [(1, 1), (3, 3)]);

    // Far beyond the head: what lies between is asked for, and there is nothing.
    let outputs = shell.push(None, Push::Event(message(ROOM, 6, stranger(), None)));
    assert_eq!(covered(&outputs), [(6, 6)]);
    let (request, from, to) = ranges(&outputs)[0];
    assert_eq!((from, to), (4, 5));
    let nothing = MessagingError::from(ErrorCode::WrongSequenceArgument);
    let header = header(Action::RetransmitEvents);
    let outputs = shell.push(Some(request), Push::Error { header, error: nothing });
    assert_eq!((covered(&outputs), holes(&outputs)), (vec![(4, 5)], vec![(4, 5)]));
    assert_eq!(shell.state, LinkState::Live);
}

fn stored<T>(outputs: &[Output], pick: impl Fn(&Write) -> Option<T>) -> Vec<T> {
    let writes = outputs.iter().filter_map(|output| match output {
        Output::Write(writes) => Some(writes),
        _ => None,
    });
    writes.flatten().filter_map(pick).collect()
}

fn covered(outputs: &[Output]) -> Vec<(u32, u32)> {
    stored(outputs, |write| match write {
        Write::Cover(_, range) => Some((range.first().get(), range.last().get())),
        _ => None,
    })
}

fn holes(outputs: &[Output]) -> Vec<(u32, u32)> {
    stored(outputs, |write| match write {
        Write::Hole(_, range, _) => Some((range.first().get(), range.last().get())),
        _ => None,
    })
}

/// The answer to an attempt at a direct conversation that exists describes it under its newest number.
#[test]
fn an_existing_direct_conversation_is_a_description_and_no_event() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let intent = Intent::CreateConversation(ConversationConfig { direct: true, ..ConversationConfig::default() });
    let outputs = shell.command(Command::Submit { token: token(1), intent, queued_at: Timestamp(1) });
    let (request, _) = requests(&outputs).remove(0);
    let event = Event {
        conversation: conversation(20),
        sequence: Sequence(7),
        action: Action::CreateConversation,
        initiator: me(),
        timestamp: Timestamp(1),
        body: EventBody::ConversationCreated(Box::new(described(20, 7))),
        unknown: None,
    };
    let outputs = shell.push(Some(request), Push::Event(event));
    let stored_event = |output: &Output| matches!(output, Output::Write(writes) if writes.iter().any(|write| matches!(write, Write::Events(..))));
    assert!(!outputs.iter().any(stored_event), "position 7 holds something else");
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Settled)));
    assert_eq!(ranges(&outputs).iter().map(|(_, from, to)| (*from, *to)).collect::<Vec<_>>(), [(1, 7)]);
}

fn saved() -> SavedState {
    SavedState { session: Some(session()), ..SavedState::default() }
}

fn fetch(first: u32, last: u32) -> Command {
    let range = SequenceRange::new(Sequence(first), Sequence(last)).expect("a range");
    Command::Fetch { conversation: conversation(ROOM), range }
}

/// what a policy does not want is neither fetched nor missed, until somebody reads into it.
#[test]
fn a_policy_fetches_its_window_and_reading_back_fetches_the_rest() {
    let mut shell = Shell::restore_with(saved(), HistoryPolicy::Newest(150));
    let outputs = shell.come_up(true, 1_000);
    assert_eq!(asked(&outputs), [(901, 1_000), (851, 900)]);
    assert_eq!(shell.state, LinkState::CatchingUp { unchecked: 0, missing: 150 });
    for (request, first, last) in ranges(&outputs) {
        let (first, last) = (u32::try_from(first).expect("small"), u32::try_from(last).expect("small"));
        assert_eq!(asked(&shell.answer_range(request, first, last, &[])), []);
    }
    assert_eq!(shell.state, LinkState::Live);

    let outputs = shell.command(fetch(700, 850));
    assert_eq!(asked(&outputs), [(751, 850), (700, 750)]);
    assert_eq!(answers(&outputs), []);
    let [(upper, ..), (lower, ..)] = ranges(&outputs)[..] else { panic!("two ranges") };
    assert_eq!(answers(&shell.answer_range(upper, 751, 850, &[])), []);
    assert_eq!(answers(&shell.answer_range(lower, 700, 750, &[])), [Ok(Reply::Done)]);
    assert_eq!(shell.state, LinkState::Live, "what is fetched on demand does not count as catching up");
    assert_eq!(answers(&shell.command(fetch(700, 2_000))), [Ok(Reply::Done)], "nothing of it is missing");
}

/// what happens while the policy's window is whole is told and held, and moves the window.
#[test]
fn on_demand_fetches_nothing_by_itself_and_holds_what_is_told() {
    let mut shell = Shell::restore_with(saved(), HistoryPolicy::OnDemand);
    assert_eq!(asked(&shell.come_up(true, 1_000)), []);
    assert_eq!(shell.state, LinkState::Live);
    let outputs = shell.push(None, Push::Event(message(ROOM, 1_001, stranger(), None)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Signal(Signal::Event { live: true, .. }))));
    assert_eq!(asked(&outputs), []);
    let outputs = shell.command(Command::SetHistory(conversation(ROOM), Some(HistoryPolicy::Newest(50))));
    assert_eq!(asked(&outputs), [(952, 1_000)]);
    assert!(matches!(&outputs[0], Output::Write(writes) if matches!(writes[..], [Write::History(..)])));
}

#[test]
fn whoever_waits_for_history_is_told_when_it_will_not_come() {
    let mut shell = Shell::restore_with(saved(), HistoryPolicy::OnDemand);
    assert_eq!(answers(&shell.command(fetch(1, 10))), [Err(Refusal::Offline)]);
    shell.come_up(true, 1_000);
    shell.command(fetch(1, 10));
    assert_eq!(answers(&shell.lose_link()), [Err(Refusal::Offline)]);
    shell.come_up(true, 1_000);
    let outputs = shell.command(fetch(1, 10));
    let error = MessagingError::from(ErrorCode::Acl);
    let push = Push::Error { header: header(Action::RetransmitEvents), error: error.clone() };
    let outputs = shell.push(Some(ranges(&outputs)[0].0), push);
    assert_eq!(answers(&outputs), [Err(Refusal::Messaging(error.clone()))]);
    assert_eq!(answers(&shell.command(fetch(1, 10))), [Err(Refusal::Messaging(error))], "L-10: not asked again");
}

/// R-21, O-1: a policy hides nothing from the search for what is uncertain.
#[test]
fn what_is_uncertain_is_searched_for_below_the_policy() {
    let mut shell = Shell::restore_with(saved(), HistoryPolicy::OnDemand);
    shell.come_up(false, 10);
    let first = sends(&shell.send_text(1))[0];
    shell.lose_link();
    shell.come_up(false, 10);
    let outputs = shell.live_until(Duration::from_secs(90), asks_heads);
    let (look, _) = requests(&outputs).remove(0);
    let push = Push::Conversation { header: header(Action::GetConversations), conversation: described(ROOM, 12) };
    let outputs = shell.push(Some(look), push);
    assert_eq!(asked(&outputs), [(1, 12)]);
    let outputs = shell.answer_range(ranges(&outputs)[0].0, 1, 12, &[]);
    assert_eq!(sends(&outputs), [first], "absent: sent again");
}

/// L-10: whoever has left is shown less than there is. That is no hole, for they may come back and see it.
#[test]
fn what_somebody_outside_is_not_shown_is_fetched_when_they_come_back() {
    let left = SavedConversation {
        id: conversation(ROOM),
        head: Sequence(10),
        described_at: Sequence(10),
        membership: Membership::Left,
        uber: false,
        coverage: Ranges::from_iter(SequenceRange::new(Sequence(1), Sequence(5))),
        holes: Ranges::new(),
        last_activity: Timestamp(1),
        own_read: Sequence::ZERO,
        history: None,
    };
    let mut shell = Shell::restore(SavedState { conversations: vec![left], ..saved() });
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let own_user = requests(&outputs).remove(0).0;
    let outputs = shell.tell_own_user_of(own_user, &[], &[ROOM]);
    let (request, ..) = ranges(&outputs)[0];
    assert_eq!(asked(&outputs), [(6, 10)]);
    let outputs = shell.answer_range(request, 6, 7, &[]);
    assert_eq!((covered(&outputs), holes(&outputs)), (vec![(6, 7)], vec![]));
    assert_eq!(asked(&outputs), [], "not asked for again as long as nothing changes");

    let back = Push::Conversation { header: header(Action::GetConversations), conversation: described(ROOM, 11) };
    assert_eq!(asked(&shell.push(None, back)), [(8, 11)]);
}

/// L-2, L-5: an application may ask for more than there is; what lies beyond the head is no part of the answer.
#[test]
fn an_answer_covers_nothing_that_is_not_there_yet() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(true, 3);
    let (request, ..) = ranges(&outputs)[0];
    shell.answer_range(request, 1, 3, &[]);
    let (from, to) = (Some(Sequence(20)), Some(Sequence(40)));
    let query = Query::Retransmit { conversation: conversation(ROOM), from, to, count: None };
    let outputs = shell.command(Command::Query(query));
    let (request, ..) = ranges(&outputs)[0];
    let outputs = shell.answer_range(request, 20, 25, &[]);
    assert!(answers(&outputs).iter().any(|answer| matches!(answer, Ok(Reply::Events(events)) if events.len() == 6)));
    let outputs = shell.push(None, Push::Event(message(ROOM, 26, stranger(), None)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Signal(Signal::Event { live: true, .. }))), "lost");
}

/// Asks what the server shows in a range, of which these parts are held.
fn shown(range: SequenceRange, held: &[SequenceRange]) -> Query {
    Query::Shown { conversation: conversation(ROOM), range, held: held.iter().copied().collect(), patience: 1 }
}

fn until_answered(shell: &mut Shell) -> Vec<Result<Reply, Refusal>> {
    answers(&shell.live_until(2 * REQUEST_TIMEOUT, |outputs| !answers(outputs).is_empty()))
}

/// what is asked for to be compared is answered, and stored by nobody.
#[test]
fn what_is_only_compared_is_not_stored() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(false, 3);
    let (request, ..) = ranges(&outputs)[0];
    shell.answer_range(request, 1, 3, &[]);
    let is_write = |output: &Output| matches!(output, Output::Write(_));

    let range = SequenceRange::new(Sequence(1), Sequence(3)).expect("a range");
    let outputs = shell.command(Command::Query(shown(range, &[range])));
    let (request, ..) = ranges(&outputs)[0];
    let outputs = shell.answer_range(request, 1, 3, &[]);
    assert!(matches!(&answers(&outputs)[..], [Ok(Reply::Events(events))] if events.len() == 3));
    assert!(!outputs.iter().any(is_write), "{outputs:?}");

    let outputs =
        shell.command(Command::Query(Query::Descriptions { conversations: vec![conversation(ROOM)], patience: 1 }));
    let (request, _) = requests(&outputs).remove(0);
    let push = Push::Conversation { header: header(Action::GetConversations), conversation: described(ROOM, 9) };
    let outputs = shell.push(Some(request), push);
    assert!(matches!(&answers(&outputs)[..], [Ok(Reply::Conversations(told))] if told.len() == 1));
    assert!(!outputs.iter().any(is_write) && ranges(&outputs).is_empty(), "not even its head: {outputs:?}");
}

/// of a server that does not say how much comes, what came until the time is over is what it shows.
#[test]
fn an_answer_to_be_compared_may_stay_incomplete() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(false, 3);
    let (request, ..) = ranges(&outputs)[0];
    shell.answer_range(request, 1, 3, &[]);
    let range = SequenceRange::new(Sequence(1), Sequence(3)).expect("a range");
    let outputs = shell.command(Command::Query(shown(range, &[range])));
    let (request, ..) = ranges(&outputs)[0];
    assert!(answers(&shell.answer_range(request, 2, 2, &[])).is_empty());
    let asked = shell.now;
    assert!(matches!(&until_answered(&mut shell)[..], [Ok(Reply::Events(events))] if events.len() == 1));
    assert_eq!(shell.now.since(asked), REQUEST_TIMEOUT, "two of them are held and might still come");
}

/// once all that is held has come, only a moment is waited for what would contradict it.
#[test]
fn an_answer_to_be_compared_ends_soon_after_all_that_is_held() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(false, 3);
    let (request, ..) = ranges(&outputs)[0];
    shell.answer_range(request, 1, 3, &[]);
    let range = SequenceRange::new(Sequence(1), Sequence(3)).expect("a range");
    let held = SequenceRange::new(Sequence(1), Sequence(2)).expect("a range");
    let outputs = shell.command(Command::Query(shown(range, &[held])));
    let (request, ..) = ranges(&outputs)[0];
    assert!(answers(&shell.answer_range(request, 1, 2, &[])).is_empty());
    let asked = shell.now;
    assert!(matches!(&until_answered(&mut shell)[..], [Ok(Reply::Events(events))] if events.len() == 2));
    assert!(shell.now.since(asked) < REQUEST_TIMEOUT / 2);
}

/// silence is no answer, and a part of what our own server said would come is none either.
#[test]
fn an_answer_to_be_compared_that_does_not_come_is_a_time_out() {
    for (idempotent, told) in [(false, 0), (true, 2)] {
        let mut shell = Shell::resume();
        let outputs = shell.come_up(idempotent, 3);
        let (request, ..) = ranges(&outputs)[0];
        shell.answer_range(request, 1, 3, &[]);
        let range = SequenceRange::new(Sequence(1), Sequence(3)).expect("a range");
        let outputs = shell.command(Command::Query(shown(range, &[range])));
        let (request, ..) = ranges(&outputs)[0];
        for at in 1..=told {
            let (header, event) = (header(Action::RetransmitEvents), message(ROOM, at, stranger(), None));
            let frame = Push::Retransmitted { header, from: None, to: None, count: Some(3), event };
            assert!(answers(&shell.push(Some(request), frame)).is_empty());
        }
        let timed_out =
            |refusal: &Refusal| matches!(refusal, Refusal::Messaging(told) if told.code == ErrorCode::Timeout);
        assert!(matches!(&until_answered(&mut shell)[..], [Err(refusal)] if timed_out(refusal)));
    }
}
