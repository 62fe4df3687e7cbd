//! Heads since a cursor: asked of a server that announces it, believed no further than what is stored.

use super::*;
use crate::model::{Membership, Ranges};
use crate::protocol::Head;
use crate::sync::{HeadsCursor, SavedConversation};

const CONVERSATIONS: u128 = 1_000;

fn cursor(text: &str) -> HeadsCursor {
    HeadsCursor { server_url: session().server.url, cursor: text.to_owned() }
}

/// A store that holds a thousand conversations of ten events, whole.
fn saved(held: Option<HeadsCursor>) -> SavedState {
    let whole = |n| SavedConversation {
        id: conversation(n),
        head: Sequence(10),
        described_at: Sequence(10),
        membership: Membership::Member,
        uber: false,
        coverage: Ranges::from_iter(SequenceRange::new(Sequence(1), Sequence(10))),
        holes: Ranges::new(),
        last_activity: Timestamp(i64::try_from(n).expect("small")),
        own_read: Sequence::ZERO,
        history: None,
    };
    SavedState {
        session: Some(session()),
        conversations: (1..=CONVERSATIONS).map(whole).collect(),
        users: [me()].into(),
        heads_cursor: held,
        ..SavedState::default()
    }
}

/// What the server holds: which conversations moved to eleven events since the cursor `a:1`.
struct Server {
    moved: Vec<u128>,
    told: &'static str,
    requests: usize,
}

impl Server {
    /// Answers everything until there is nothing more to answer; returns all outputs on the way.
    fn serve(&mut self, shell: &mut Shell, outputs: Vec<Output>) -> Vec<Output> {
        let mut all = Vec::new();
        let mut fresh = outputs;
        while !fresh.is_empty() {
            let asked = requests(&fresh);
            all.append(&mut fresh);
            self.requests += asked.len();
            for (id, body) in asked {
                fresh.extend(self.answer(shell, id, body));
            }
        }
        all
    }

    fn answer(&self, shell: &mut Shell, request: RequestId, body: Request) -> Vec<Output> {
        let head = |n: u128| if self.moved.contains(&n) { 11 } else { 10 };
        match body {
            Request::GetUser(_) => shell.tell_own_user(request, &(1..=CONVERSATIONS).collect::<Vec<_>>()),
            Request::HeadsSince { cursor } => {
                let all = (1..=CONVERSATIONS).collect();
                let told = if cursor.as_deref() == Some("a:1") { self.moved.clone() } else { all };
                let heads = told
                    .iter()
                    .map(|n| Head { conversation: conversation(*n), sequence: Sequence(head(*n)) })
                    .collect();
                let header = header(Action::HeadsSince);
                shell.push(Some(request), Push::HeadsSince { header, heads, cursor: Some(self.told.to_owned()) })
            }
            Request::GetConversations(ids) => {
                let described = ids.into_iter().flat_map(|id| {
                    let n = id.as_uuid().as_u128();
                    let header = header(Action::GetConversations);
                    shell.push(Some(request), Push::Conversation { header, conversation: described(n, head(n)) })
                });
                described.collect()
            }
            Request::RetransmitEvents { conversation, from: Some(11), to: Some(11), .. } => {
                let event = message(conversation.as_uuid().as_u128(), 11, stranger(), None);
                let header = header(Action::RetransmitEvents);
                shell.push(Some(request), Push::Retransmitted { header, from: None, to: None, count: Some(1), event })
            }
            // The stranger's name, and whom the user follows, are of no interest here.
            Request::GetUsers(_) | Request::GetSubscriptions => Vec::new(),
            other => panic!("not asked for: {other:?}"),
        }
    }
}

fn come_up(shell: &mut Shell, server: &mut Server, heads: bool) -> Vec<Output> {
    let rate = Some(RateLimit { burst: 64, interval: Duration::from_millis(1) });
    shell.greet(Announcement { idempotent: true, heads, rate });
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let mut all = server.serve(shell, outputs);
    while shell.state != LinkState::Live {
        shell.give(Input::Noise(shell.link()));
        let outputs = shell.wait();
        all.extend(server.serve(shell, outputs));
    }
    all
}

fn stored_cursor(outputs: &[Output]) -> Option<HeadsCursor> {
    let writes = outputs.iter().filter_map(|output| match output {
        Output::Write(writes) => Some(writes),
        _ => None,
    });
    writes.flatten().find_map(|write| match write {
        Write::HeadsCursor(cursor) => Some(cursor.clone()),
        _ => None,
    })
}

/// after every login each conversation is compared with the server, and those that lag are fetched.
///
/// The saving: at a login with 1,000 conversations of which 20 moved, 24 requests instead of 56.
#[test]
fn a_login_asks_for_what_moved_and_nothing_else() {
    let moved: Vec<u128> = (1..=20).map(|n| n * 50).collect();
    let server = || Server { moved: moved.clone(), told: "a:2", requests: 0 };

    let (mut shell, mut since) = (Shell::restore(saved(Some(cursor("a:1")))), server());
    let outputs = come_up(&mut shell, &mut since, true);
    assert_eq!(stored_cursor(&outputs), Some(cursor("a:2")));

    let (mut shell, mut all) = (Shell::restore(saved(Some(cursor("a:1")))), server());
    let outputs = come_up(&mut shell, &mut all, false);
    assert_eq!(stored_cursor(&outputs), None);

    // Own user, heads since, one page of descriptions, twenty ranges; against own user, 34 pages, twenty ranges. And
    // whom the user follows.
    assert_eq!((since.requests, all.requests), (1 + 1 + 1 + 20 + 1, 1 + 34 + 20 + 1));
}

/// L-2, L-6: the cursor is stored in the transaction of the last description it stands for, and never before.
#[test]
fn the_cursor_waits_for_everything_it_stands_for() {
    let mut shell = Shell::restore(saved(Some(cursor("a:1"))));
    let server = Server { moved: vec![7, 8], told: "a:2", requests: 0 };
    shell.greet(Announcement { idempotent: true, heads: true, rate: None });
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let (own_user, body) = requests(&outputs).remove(0);
    let outputs = server.answer(&mut shell, own_user, body);
    let (since, body) = requests(&outputs).remove(0);
    let outputs = server.answer(&mut shell, since, body);
    let (heads, _) = requests(&outputs).remove(0);
    let told = |n| Push::Conversation { header: header(Action::GetConversations), conversation: described(n, 11) };
    let outputs = shell.push(Some(heads), told(7));
    assert_eq!(stored_cursor(&outputs), None);
    let outputs = shell.push(Some(heads), told(8));
    let with_cursor = |output: &Output| {
        matches!(output, Output::Write(writes)
            if writes.iter().any(|write| matches!(write, Write::Conversation(told) if told.id == conversation(8)))
            && writes.iter().any(|write| matches!(write, Write::HeadsCursor(_))))
    };
    assert!(outputs.iter().any(with_cursor), "{outputs:?}");
    // A link that is lost in between takes what was told with it.
    shell.lose_link();
    shell.greet(Announcement { idempotent: true, heads: true, rate: None });
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let (own_user, body) = requests(&outputs).remove(0);
    let outputs = server.answer(&mut shell, own_user, body);
    let asked = requests(&outputs).into_iter().find_map(|(_, body)| match body {
        Request::HeadsSince { cursor } => cursor,
        _ => None,
    });
    assert_eq!(asked.as_deref(), Some("a:2"));
}

/// A cursor is for the server that gave it: another is asked without one, and answers with everything.
#[test]
fn another_server_is_asked_without_the_cursor() {
    let elsewhere = HeadsCursor { server_url: "wss://elsewhere.example.org/platform".to_owned(), ..cursor("a:1") };
    let mut shell = Shell::restore(saved(Some(elsewhere)));
    let mut server = Server { moved: vec![5], told: "b:9", requests: 0 };
    let outputs = come_up(&mut shell, &mut server, true);
    let asked = requests(&outputs).into_iter().find(|(_, body)| matches!(body, Request::HeadsSince { .. }));
    assert!(matches!(asked, Some((_, Request::HeadsSince { cursor: None }))));
    assert_eq!(server.requests, 1 + 1 + 34 + 1 + 1);
    assert_eq!(stored_cursor(&outputs), Some(cursor("b:9")));
}

/// A server that announces what it then refuses is treated like any other.
#[test]
fn a_refused_question_falls_back_to_every_head() {
    let mut shell = Shell::restore(saved(Some(cursor("a:1"))));
    let mut server = Server { moved: vec![5], told: "a:2", requests: 0 };
    shell.greet(Announcement { idempotent: true, heads: true, rate: None });
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let (own_user, body) = requests(&outputs).remove(0);
    let outputs = server.answer(&mut shell, own_user, body);
    let (since, _) = requests(&outputs).remove(0);
    let error = MessagingError::from(ErrorCode::EventNameIsUnknown);
    let outputs = shell.push(Some(since), Push::Error { header: header(Action::HeadsSince), error });
    let mut all = server.serve(&mut shell, outputs);
    while shell.state != LinkState::Live {
        shell.give(Input::Noise(shell.link()));
        let outputs = shell.wait();
        all.extend(server.serve(&mut shell, outputs));
    }
    assert_eq!(requests(&all).iter().filter(|(_, body)| matches!(body, Request::GetConversations(_))).count(), 34);
    assert_eq!(stored_cursor(&all), None);
}

/// Lost on the way, a description is asked for again by itself, and if that is lost, too, with the next check of tails:
/// not only after another login.
#[test]
fn a_head_that_was_not_told_in_time_is_asked_for_again() {
    let mut shell = Shell::restore(saved(None));
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let own_user = requests(&outputs).remove(0);
    let mut outputs = shell.tell_own_user(own_user.0, &(1..=CONVERSATIONS).collect::<Vec<_>>());
    let mut asked_for_7 = Vec::new();
    // The server never describes the seventh.
    while asked_for_7.len() < 3 {
        let asked: Vec<(RequestId, Request)> = requests(&outputs);
        outputs.clear();
        for (request, body) in asked {
            let Request::GetConversations(ids) = body else { continue };
            if ids.contains(&conversation(7)) {
                asked_for_7.push((shell.now, ids.len()));
            }
            for n in ids.iter().map(|id| id.as_uuid().as_u128()).filter(|n| *n != 7) {
                let header = header(Action::GetConversations);
                let push = Push::Conversation { header, conversation: described(n, 10) };
                outputs.extend(shell.push(Some(request), push));
            }
        }
        if outputs.is_empty() {
            shell.give(Input::Noise(shell.link()));
            outputs = shell.wait();
        }
    }
    assert_eq!(shell.state, LinkState::Live);
    let at = |n: usize| asked_for_7[n].0;
    assert_eq!(at(1).since(at(0)), Duration::from_secs(20), "when its time was over");
    assert_eq!(asked_for_7[1].1, 1, "by itself");
    assert!(at(2).since(at(0)) <= Settings::default().tail_check_interval, "with the next check of tails");
}

/// A server may say whatever it likes: an answer without an end is not collected.
#[test]
fn heads_without_end_are_not_collected() {
    let mut shell = Shell::restore(saved(Some(cursor("a:1"))));
    let server = Server { moved: Vec::new(), told: "a:2", requests: 0 };
    shell.greet(Announcement { idempotent: true, heads: true, rate: None });
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let (own_user, body) = requests(&outputs).remove(0);
    let outputs = server.answer(&mut shell, own_user, body);
    let (since, _) = requests(&outputs).remove(0);
    let heads = vec![Head { conversation: conversation(7), sequence: Sequence(11) }; 20_000];
    let fallen_back = (1..=10).find(|_| {
        let header = header(Action::HeadsSince);
        let push = Push::HeadsSince { header, heads: heads.clone(), cursor: None };
        let outputs = shell.push(Some(since), push);
        requests(&outputs).iter().any(|(_, body)| matches!(body, Request::GetConversations(_)))
    });
    assert_eq!(fallen_back, Some(6), "beyond what a list has room for, heads are compared one by one");
}

/// Whom the user follows is read after each login: another device may have changed it.
#[test]
fn the_list_of_those_the_user_follows_is_read_after_each_login() {
    let mut shell = Shell::resume();
    for _ in 0..2 {
        shell.connect(true);
        let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
        let (own_user, _) = requests(&outputs).remove(0);
        let (request, body) = requests(&shell.tell_own_user(own_user, &[])).remove(0);
        assert_eq!(body, Request::GetSubscriptions);
        let push = Push::Subscriptions { header: header(Action::GetSubscriptionList), users: vec![stranger()] };
        let outputs = shell.push(Some(request), push);
        let kept = |write: &Write| matches!(write, Write::Subscriptions(users) if *users == [stranger()]);
        assert!(outputs.iter().any(|output| matches!(output, Output::Write(writes) if writes.iter().any(kept))));
        shell.lose_link();
    }
}
