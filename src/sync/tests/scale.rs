//! A long conversation, and many: what is under way at once stays small, and nothing is asked for twice.

use super::*;
use crate::model::{Membership, Ranges};
use crate::protocol::RETRANSMIT_MAX;
use crate::sync::SavedConversation;
use std::collections::{BTreeSet, VecDeque};

/// Requests about heads that may be under way at once, and about history where it comes as quickly as here.
const WINDOWS: (usize, usize) = (8, 16);

/// a hundred thousand events come in a thousand pages, none asked for twice; no more than sixteen
/// are under way, and no more than a page is handed to the store by one frame.
#[test]
fn of_a_hundred_thousand_events_no_more_than_sixteen_pages_are_in_memory() {
    const EVENTS: u32 = 100_000;
    let mut shell = Shell::resume();
    let mut under_way = VecDeque::from(ranges(&shell.come_up(true, EVENTS)));
    let (mut pages, mut stored) = (BTreeSet::new(), Ranges::new());
    while stored.count() < u64::from(EVENTS) {
        let Some((request, first, last)) = under_way.pop_front() else {
            under_way.extend(ranges(&shell.wait()));
            continue;
        };
        assert!(last - first < i64::from(RETRANSMIT_MAX) && under_way.len() < WINDOWS.1, "{first} to {last}");
        assert!(pages.insert((first, last)), "{first} to {last} was asked for before");
        for sequence in u32::try_from(first).unwrap()..=u32::try_from(last).unwrap() {
            let push = Push::Retransmitted {
                header: header(Action::RetransmitEvents),
                from: None,
                to: None,
                count: Some(u32::try_from(last - first + 1).unwrap()),
                event: message(ROOM, sequence, stranger(), None),
            };
            let outputs = shell.push(Some(request), push);
            let events: usize = outputs.iter().map(Output::event_count).sum();
            assert!(events <= RETRANSMIT_MAX as usize, "{events} at once");
            for range in covered(&outputs) {
                stored.insert(range);
            }
            under_way.extend(ranges(&outputs));
        }
    }
    assert_eq!((pages.len(), stored.contiguous_end()), (1_000, Sequence(EVENTS)));
    assert_eq!(shell.state, LinkState::Live);
}

fn covered(outputs: &[Output]) -> impl Iterator<Item = SequenceRange> {
    let writes = outputs.iter().filter_map(|output| match output {
        Output::Write(writes) => Some(writes),
        _ => None,
    });
    writes.flatten().filter_map(|write| match write {
        Write::Cover(_, range) => Some(*range),
        _ => None,
    })
}

fn head_requests(outputs: &[Output]) -> impl Iterator<Item = (RequestId, Vec<ConversationId>)> {
    requests(outputs).into_iter().filter_map(|(request, body)| match body {
        Request::GetConversations(ids) => Some((request, ids)),
        _ => None,
    })
}

/// ten thousand conversations are compared thirty at a time, eight requests under way, and those on screen
/// in the first of them.
#[test]
fn of_ten_thousand_conversations_those_on_screen_are_compared_first() {
    const CONVERSATIONS: u128 = 10_000;
    let screen: Vec<u128> = (1..=20).map(|n| n * 400).collect();
    let whole = |n| SavedConversation {
        id: conversation(n),
        head: Sequence(3),
        described_at: Sequence(3),
        membership: Membership::Member,
        uber: false,
        coverage: Ranges::from_iter(SequenceRange::new(Sequence(1), Sequence(3))),
        holes: Ranges::new(),
        last_activity: Timestamp(i64::try_from(n % 777).expect("small")),
        own_read: Sequence::ZERO,
        history: None,
    };
    let conversations = (1..=CONVERSATIONS).map(whole).collect();
    let users = [me()].into();
    let mut shell =
        Shell::restore(SavedState { session: Some(session()), conversations, users, ..SavedState::default() });
    shell.command(Command::Focus(screen.iter().map(|n| conversation(*n)).collect()));
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let (own_user, _) = requests(&outputs).remove(0);
    let outputs = shell.tell_own_user(own_user, &(1..=CONVERSATIONS).collect::<Vec<_>>());
    let mut under_way: VecDeque<_> = head_requests(&outputs).collect();
    let mut compared: Vec<Vec<ConversationId>> = Vec::new();
    while shell.state != LinkState::Live {
        let Some((request, ids)) = under_way.pop_front() else {
            under_way.extend(head_requests(&shell.wait()));
            continue;
        };
        assert!(ids.len() <= 30 && under_way.len() < WINDOWS.0, "{} of {}", ids.len(), under_way.len());
        for id in &ids {
            let conversation = described(id.as_uuid().as_u128(), 3);
            let header = header(Action::GetConversations);
            under_way.extend(head_requests(&shell.push(Some(request), Push::Conversation { header, conversation })));
        }
        compared.push(ids);
    }
    assert!(screen.iter().all(|n| compared[0].contains(&conversation(*n))), "{:?}", compared[0]);
    assert_eq!(compared.len(), 334);
    assert_eq!(compared.into_iter().flatten().collect::<BTreeSet<_>>().len(), 10_000);
}
