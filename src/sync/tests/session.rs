//! Who logs in with what, how long a session lasts, and what the server is told of push services.

use super::*;
use crate::model::PushToken;
use crate::protocol::{LoginOptions, one_time_key_answer, password_hash};

fn alice() -> UserName {
    UserName::new("alice@chat.acme")
}

fn password() -> Secret {
    Secret::new("alice-pass")
}

fn by_password() -> Credentials {
    Credentials::Password { user: alice(), password: password() }
}

fn pair(name: &str, lives_s: i64) -> Tokens {
    Tokens {
        access: Secret::new(format!("access {name}")),
        access_expires_s: lives_s,
        refresh: Secret::new(format!("refresh {name}")),
        refresh_expires_s: lives_s,
    }
}

fn refused(code: i64) -> ServerRpc {
    ServerRpc::LoginFailed { code, extra: None }
}

fn rpcs(outputs: &[Output]) -> Vec<ClientRpc> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send(_, ClientFrame::Rpc(rpc)) => Some(rpc.clone()),
        _ => None,
    });
    sent.collect()
}

fn answers(outputs: &[Output]) -> Vec<Result<Reply, Refusal>> {
    let answers = outputs.iter().filter_map(|output| match output {
        Output::Answer(_, answer) => Some(answer.clone()),
        _ => None,
    });
    answers.collect()
}

fn sessions(outputs: &[Output]) -> Vec<Session> {
    let writes = outputs.iter().filter_map(|output| match output {
        Output::Write(writes) => Some(writes.clone()),
        _ => None,
    });
    let sessions = writes.flatten().filter_map(|write| match write {
        Write::Session(session) => Some(session),
        _ => None,
    });
    sessions.collect()
}

fn states(outputs: &[Output]) -> Vec<LinkState> {
    let states = outputs.iter().filter_map(|output| match output {
        Output::Signal(Signal::Link(state)) => Some(state.clone()),
        _ => None,
    });
    states.collect()
}

impl Shell {
    fn blank() -> Self {
        Self::restore(SavedState::default())
    }

    fn log_in(&mut self, credentials: Credentials) -> Vec<ClientRpc> {
        self.command(Command::LogIn { credentials, server: session().server });
        rpcs(&self.connect(true))
    }

    fn logged_in(&mut self, tokens: Option<Tokens>) -> Vec<Output> {
        self.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens })
    }

    /// Tells who the user is, in answer to what `outputs` ask.
    fn known(&mut self, outputs: &[Output]) -> Vec<Output> {
        let (request, _) = requests(outputs).remove(0);
        self.tell_own_user(request, &[])
    }

    /// Lets time pass, the peer sending a sign of life whenever it is asked for one.
    fn live_for(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now.after(time);
        let mut all = Vec::new();
        while self.core.deadline().is_some_and(|due| due <= end) {
            let outputs = self.wait();
            if self.link.is_some() && rpcs(&outputs).contains(&ClientRpc::Ping) {
                self.rpc(ServerRpc::Pong);
            }
            all.extend(outputs);
        }
        self.now = end;
        all
    }
}

#[test]
fn a_password_is_shown_once_and_only_the_tokens_are_kept() {
    let mut shell = Shell::blank();
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::NeverLoggedIn));
    let sent = shell.log_in(by_password());
    assert!(matches!(&sent[..], [ClientRpc::Login { user, password: shown, options }]
        if *user == alice() && *shown == password() && options.access_token.is_none()));
    assert_eq!(shell.state, LinkState::Connecting);
    let outputs = shell.logged_in(Some(pair("one", 10)));
    let kept = sessions(&outputs).pop().expect("a session");
    assert_eq!((&kept.user, &kept.tokens, kept.refused), (&alice(), &Some(pair("one", 10)), None));
    assert!(kept.device.is_some(), "the device keeps the id it has shown");
    assert!(answers(&outputs).is_empty(), "not before the server has told who the user is");
    let outputs = shell.known(&outputs);
    assert_eq!(answers(&outputs), [Ok(Reply::LoggedIn(me(), alice()))]);
    assert_eq!(shell.state, LinkState::Live);
}

#[test]
fn a_password_by_key_does_not_leave_the_machine() {
    let mut shell = Shell::blank();
    let sent = shell.log_in(Credentials::PasswordByKey { user: alice(), password: password() });
    assert_eq!(sent, [ClientRpc::GenerateOneTimeKey { user: alice() }]);
    let key = Secret::new("key");
    let sent = rpcs(&shell.rpc(ServerRpc::LoginFailed { code: 302, extra: Some(key.clone()) }));
    let answer = one_time_key_answer(&key, &password_hash(&alice(), &password()));
    assert!(
        matches!(&sent[..], [ClientRpc::LoginOneTimeKey { user, hash, .. }] if *user == alice() && *hash == answer)
    );
    let outputs = shell.logged_in(None);
    shell.known(&outputs);
    // No tokens came; the password of this process is left, by the same way.
    shell.lose_link();
    assert_eq!(
        rpcs(&shell.connect(true)),
        sent.iter().map(|_| ClientRpc::GenerateOneTimeKey { user: alice() }).collect::<Vec<_>>()
    );
}

#[test]
fn a_one_time_key_goes_to_the_application_and_its_answer_comes_on_the_same_link() {
    let mut shell = Shell::blank();
    shell.command(Command::OneTimeKey { user: alice(), server: session().server });
    assert_eq!(rpcs(&shell.connect(true)), [ClientRpc::GenerateOneTimeKey { user: alice() }]);
    let outputs = shell.rpc(ServerRpc::LoginFailed { code: 302, extra: Some(Secret::new("key")) });
    assert_eq!(answers(&outputs), [Ok(Reply::OneTimeKey(Secret::new("key")))]);
    let link = shell.link();
    shell.live_for(Duration::from_secs(60));
    let credentials = Credentials::OneTimeKeyHash { user: alice(), hash: Secret::new("hash") };
    let outputs = shell.command(Command::LogIn { credentials, server: session().server });
    assert!(matches!(&rpcs(&outputs)[..], [ClientRpc::LoginOneTimeKey { hash, .. }] if *hash == Secret::new("hash")));
    assert_eq!(shell.link(), link);
    let outputs = shell.logged_in(Some(pair("one", 10)));
    assert!(answers(&shell.known(&outputs)).contains(&Ok(Reply::LoggedIn(me(), alice()))));
}

#[test]
fn a_key_that_nobody_answers_gives_the_link_back_to_the_session() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    shell.command(Command::OneTimeKey { user: alice(), server: session().server });
    shell.connect(true);
    shell.rpc(ServerRpc::LoginFailed { code: 302, extra: Some(Secret::new("key")) });
    let outputs = shell.live_for(Duration::from_secs(6 * 60));
    assert!(outputs.iter().any(|output| matches!(output, Output::HangUp(_))));
    assert!(
        matches!(&rpcs(&shell.connect(true))[..], [ClientRpc::Login { options, .. }] if options.access_token.is_some())
    );
}

#[test]
fn an_access_token_from_elsewhere_logs_in() {
    let mut shell = Shell::blank();
    let sent = shell.log_in(Credentials::AccessToken { user: alice(), token: Secret::new("given") });
    assert!(matches!(&sent[..], [ClientRpc::Login { password, options: LoginOptions { access_token, .. }, .. }]
        if *password == Secret::new("") && *access_token == Some(Secret::new("given"))));
    // A refused one is no reason to spend a refresh token: there is none.
    let outputs = shell.rpc(refused(701));
    assert_eq!(answers(&outputs), [Err(Refusal::Login { code: 701 })]);
    assert_eq!(shell.core.deadline(), None);
}

/// C-1: the pair that a refresh token gave is on disk before it is used, and survives the loss of the link.
#[test]
fn a_refresh_token_from_elsewhere_is_spent_and_what_it_gave_is_kept_first() {
    let mut shell = Shell::blank();
    let sent = shell.log_in(Credentials::RefreshToken { user: alice(), token: Secret::new("given") });
    let refresh = Secret::new("given");
    assert_eq!(sent, [ClientRpc::RefreshToken { user: alice(), refresh, device: None }]);
    let outputs = shell.rpc(ServerRpc::Refreshed(pair("one", 10)));
    let stored = position(&outputs, |output| matches!(output, Output::Write(_)));
    assert!(stored < position(&outputs, |output| matches!(output, Output::Send(..))));
    assert_eq!(sessions(&outputs)[0].tokens, Some(pair("one", 10)));
    let outputs = shell.lose_link();
    assert_eq!(answers(&outputs), [Err(Refusal::Offline)]);
    let sent = rpcs(&shell.connect(true));
    assert!(
        matches!(&sent[..], [ClientRpc::Login { options, .. }]
        if options.access_token == Some(Secret::new("access one"))),
        "{sent:?}"
    );
}

#[test]
fn a_refused_login_is_answered_with_the_code_and_tried_no_more() {
    for code in [401, 402, 403, 404, 491, 500] {
        let mut shell = Shell::blank();
        shell.log_in(by_password());
        assert_eq!(answers(&shell.rpc(refused(code))), [Err(Refusal::Login { code })]);
        assert_eq!((shell.core.deadline(), shell.link), (None, None));
    }
    let mut shell = Shell::blank();
    shell.log_in(by_password());
    assert_eq!(answers(&shell.rpc(refused(301))), [Err(Refusal::SecondStage)]);
}

#[test]
fn a_wrong_password_does_not_end_the_session_there_is() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    shell.log_in(by_password());
    shell.rpc(refused(401));
    let sent = rpcs(&shell.connect(true));
    assert!(matches!(&sent[..], [ClientRpc::Login { options, .. }] if options.access_token.is_some()), "{sent:?}");
}

/// R-86, C-3: the end of a session is said once, loses nothing, and another login of the same user goes on.
#[test]
fn a_session_that_ends_keeps_what_is_unsent_for_the_same_user() {
    let mut shell = Shell::resume();
    shell.send_text(1);
    shell.connect(true);
    let mut outputs = shell.rpc(refused(701));
    outputs.extend(shell.rpc(ServerRpc::RefreshFailed { code: 701 }));
    let ended = LinkState::SignedOut(SignedOut::Refused { code: 701 });
    assert_eq!(states(&outputs), std::slice::from_ref(&ended));
    assert_eq!(states(&shell.send_text(2)), [], "said once");

    // The same after a restart.
    let kept = sessions(&outputs).pop().expect("a session");
    assert_eq!(LinkState::before_dialling(Some(&kept)), ended);

    let bob = Credentials::Password { user: UserName::new("bob@chat.acme"), password: password() };
    let outputs = shell.command(Command::LogIn { credentials: bob, server: session().server });
    assert_eq!(answers(&outputs), [Err(Refusal::OtherUser { owner: alice() })]);
    assert_eq!(shell.link, None, "nobody sends another's outbox");

    shell.log_in(by_password());
    let outputs = shell.logged_in(Some(pair("new", 10)));
    assert_eq!(sends(&outputs).len(), 1, "one at a time, the first first: {outputs:?}");
}

/// with an expired token and no network there is one socket at a time, ever more seldom, and no refresh.
#[test]
fn an_expired_token_offline_makes_no_storm() {
    let mut shell = Shell::resume();
    shell.connect(true);
    shell.rpc(refused(701));
    shell.lose_link();
    let end = shell.now.after(Duration::from_secs(24 * 60 * 60));
    let (mut dials, mut frames) = (0, 0);
    while shell.now < end {
        let outputs = shell.wait();
        dials += outputs.iter().filter(|output| matches!(output, Output::Dial(..))).count();
        frames += rpcs(&outputs).len();
        if shell.link.is_some() {
            shell.lose_link();
        }
    }
    println!("24 h offline: {dials} dials");
    assert_eq!(frames, 0);
    assert!(dials < 24 * 60 * 4, "{dials} dials in a day");
}

/// C-2: a server whose tokens never work is not asked in circles.
#[test]
fn new_tokens_that_do_not_work_end_the_session() {
    let mut shell = Shell::resume();
    shell.connect(true);
    shell.rpc(refused(401));
    shell.rpc(ServerRpc::Refreshed(pair("new", 10)));
    shell.rpc(refused(401));
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::Refused { code: 401 }));
    assert_eq!(shell.core.deadline(), None);
}

#[test]
fn a_session_refused_for_now_stands_and_says_why_it_waits() {
    for code in [402, 403, 500] {
        let mut shell = Shell::resume();
        shell.connect(true);
        let outputs = shell.rpc(refused(code));
        assert!(sessions(&outputs).is_empty(), "the tokens stay");
        assert!(matches!(shell.state, LinkState::Offline { refused: Some(said), .. } if said == code));
        shell.connect(true);
        let outputs = shell.logged_in(None);
        shell.known(&outputs);
        assert_eq!(shell.state, LinkState::Live);
    }
    let mut shell = Shell::resume();
    shell.connect(true);
    shell.rpc(refused(404));
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::Refused { code: 404 }));
}

/// R-85, C-2: tokens are renewed before they end, by the core's own clock, once at a time.
#[test]
fn tokens_are_renewed_on_the_live_link_before_they_end() {
    let mut shell = Shell::resume();
    shell.connect(true);
    let outputs = shell.logged_in(Some(pair("one", 1_000)));
    shell.known(&outputs);
    let is_refresh = |rpc: &ClientRpc| matches!(rpc, ClientRpc::RefreshToken { .. });
    assert!(!rpcs(&shell.live_for(Duration::from_secs(899))).iter().any(is_refresh));
    let sent = rpcs(&shell.live_for(Duration::from_secs(10)));
    let refreshes: Vec<_> = sent.iter().filter(|rpc| is_refresh(rpc)).collect();
    assert!(
        matches!(&refreshes[..], [ClientRpc::RefreshToken { refresh, .. }] if *refresh == Secret::new("refresh one"))
    );
    let outputs = shell.rpc(ServerRpc::Refreshed(pair("two", 1_000)));
    assert_eq!(sessions(&outputs)[0].tokens, Some(pair("two", 1_000)));
    assert_eq!(shell.state, LinkState::Live, "nobody noticed");
    // A refresh that the server fails at is tried again in a while, one that it refuses is not.
    shell.live_for(Duration::from_secs(901));
    shell.rpc(ServerRpc::RefreshFailed { code: 500 });
    assert_eq!(rpcs(&shell.live_for(Duration::from_secs(61))).iter().filter(|rpc| is_refresh(rpc)).count(), 1);
    shell.rpc(ServerRpc::RefreshFailed { code: 401 });
    assert!(!rpcs(&shell.live_for(Duration::from_secs(10_000))).iter().any(is_refresh));
    assert_eq!(shell.state, LinkState::Live);
}

#[test]
fn a_life_that_can_only_be_a_date_or_milliseconds_plans_nothing() {
    for said in [0, -1, 172_800_000, 1_790_000_000, i64::MAX] {
        let mut shell = Shell::resume();
        shell.connect(true);
        let outputs = shell.logged_in(Some(pair("one", said)));
        shell.known(&outputs);
        let sent = rpcs(&shell.live_for(Duration::from_secs(3 * 24 * 60 * 60)));
        assert!(sent.iter().all(|rpc| *rpc == ClientRpc::Ping), "{said}");
    }
}

/// C-1: killed or cut off while the pair is being exchanged, whichever of the two still works is found.
#[test]
fn a_renewal_cut_off_is_sorted_out_at_the_next_link() {
    let mut shell = Shell::resume();
    shell.connect(true);
    let outputs = shell.logged_in(Some(pair("one", 100)));
    shell.known(&outputs);
    shell.live_for(Duration::from_secs(91));
    shell.lose_link();
    let sent = rpcs(&shell.connect(true));
    assert!(matches!(&sent[..], [ClientRpc::Login { options, .. }]
        if options.access_token == Some(Secret::new("access one"))));
    let sent = rpcs(&shell.rpc(refused(401)));
    assert!(matches!(&sent[..], [ClientRpc::RefreshToken { .. }]));
    shell.rpc(ServerRpc::RefreshFailed { code: 701 });
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::Refused { code: 701 }), "a clear word, not a guess");
}

/// C-4: a server that does not answer a renewal is taken for dead.
#[test]
fn a_renewal_without_an_answer_gives_the_link_up() {
    let mut shell = Shell::resume();
    shell.connect(true);
    let outputs = shell.logged_in(Some(pair("one", 100)));
    shell.known(&outputs);
    let outputs = shell.live_for(Duration::from_secs(90 + 20));
    assert!(outputs.iter().any(|output| matches!(output, Output::HangUp(_))));
}

#[test]
fn the_device_shows_the_same_id_at_each_login() {
    let device = |sent: &[ClientRpc]| match sent {
        [ClientRpc::Login { options, .. }] => options.device_token.clone().expect("an id"),
        [ClientRpc::RefreshToken { device, .. }] => device.clone().expect("an id"),
        other => panic!("no login: {other:?}"),
    };
    let mut shell = Shell::blank();
    let first = device(&shell.log_in(by_password()));
    assert_eq!(first.reveal().len(), 32);
    // A login that never was leaves no trace; the id is shown again.
    shell.lose_link();
    assert_eq!(device(&shell.log_in(by_password())), first);
    let outputs = shell.logged_in(Some(pair("one", 10)));
    let kept = sessions(&outputs).pop().expect("a session");
    let mut shell = Shell::restore(SavedState { session: Some(kept), ..SavedState::default() });
    assert_eq!(device(&rpcs(&shell.connect(true))), first);
    assert_eq!(device(&rpcs(&shell.rpc(refused(701)))), first);
}

#[test]
fn a_logout_forgets_the_tokens_and_answers_a_login_that_waits() {
    let mut shell = Shell::resume();
    let outputs = shell.command(Command::LogOut);
    assert_eq!(sessions(&outputs)[0].tokens, None);
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::LoggedOut));
    shell.log_in(by_password());
    let outputs = shell.command(Command::LogOut);
    assert_eq!(answers(&outputs), [Err(Refusal::Offline), Ok(Reply::Done)]);
    assert_eq!((shell.link, shell.core.deadline()), (None, None));
}

/// Greeting to Down: a server that opens the socket and says nothing is given up.
#[test]
fn a_server_that_does_not_greet_or_does_not_answer_a_login_is_given_up() {
    let mut shell = Shell::resume();
    shell.wait();
    shell.give(Input::Connected(shell.link()));
    shell.wait_for(Duration::from_secs(10), |output| matches!(output, Output::HangUp(_)));
    shell.connect(true);
    shell.wait_for(Duration::from_secs(20), |output| matches!(output, Output::HangUp(_)));
    assert!(matches!(shell.state, LinkState::Offline { refused: None, .. }));
}

#[test]
fn a_push_token_is_told_at_once_and_after_each_login() {
    let token = Secret::new("apns");
    let registered = ClientRpc::RegisterPushToken(token.clone());
    let mut shell = Shell::resume();
    let outputs = shell.command(Command::PushToken(PushToken { token: token.clone(), wanted: true }));
    assert_eq!(answers(&outputs), [Ok(Reply::Done)], "offline as well");
    assert!(rpcs(&outputs).is_empty());
    for _ in 0..2 {
        shell.connect(true);
        let outputs = shell.logged_in(None);
        assert!(rpcs(&outputs).contains(&registered));
        shell.known(&outputs);
        shell.lose_link();
    }
    let wanted = PushToken { token, wanted: true };
    let mut shell =
        Shell::restore(SavedState { session: Some(session()), push_tokens: vec![wanted], ..SavedState::default() });
    shell.connect(true);
    assert!(rpcs(&shell.logged_in(None)).contains(&registered));
}

#[test]
fn a_push_token_that_is_not_wanted_is_told_until_the_server_heard_it() {
    let unwanted = PushToken { token: Secret::new("apns"), wanted: false };
    let mut shell = Shell::resume();
    shell.connect(true);
    let outputs = shell.logged_in(None);
    shell.known(&outputs);
    let told = ClientRpc::UnregisterPushToken(Secret::new("apns"));
    let outputs = shell.command(Command::PushToken(unwanted.clone()));
    assert_eq!(rpcs(&outputs), std::slice::from_ref(&told));
    // Nobody knows whether it arrived.
    shell.lose_link();
    shell.connect(true);
    let outputs = shell.logged_in(None);
    assert!(rpcs(&outputs).contains(&told));
    let forgets = |output: &Output| matches!(output, Output::Write(writes) if writes.contains(&Write::PushTokenForget(unwanted.token.clone())));
    assert!(shell.known(&outputs).iter().any(forgets));
    shell.lose_link();
    shell.connect(true);
    assert!(!rpcs(&shell.logged_in(None)).contains(&told));
}

#[test]
fn word_of_a_notification_waits_for_the_login_and_goes_once() {
    let notification = RawJson::empty_object();
    let mut shell = Shell::resume();
    shell.command(Command::PushFeedback(notification.clone()));
    shell.connect(true);
    let outputs = shell.logged_in(None);
    let told = ClientRpc::PushFeedback(notification);
    assert_eq!(rpcs(&outputs).iter().filter(|rpc| **rpc == told).count(), 1);
    shell.known(&outputs);
    shell.lose_link();
    shell.connect(true);
    assert!(!rpcs(&shell.logged_in(None)).contains(&told));
}

/// C-6: a thousand clients cut off at once come back spread, to a server that stays away for ten minutes.
#[test]
fn a_storm_of_reconnects_is_bounded() {
    const CLIENTS: u64 = 1_000;
    let mut attempts = [0_u32; 600];
    for seed in 0..CLIENTS {
        let saved = SavedState { session: Some(session()), ..SavedState::default() };
        let mut shell = Shell::resume();
        shell.core = Core::restore(saved, Settings::default(), seed, Uptime::default());
        shell.come_up(true, 0);
        let cut = shell.now;
        shell.lose_link();
        loop {
            let outputs = shell.wait();
            let second = shell.now.since(cut).as_secs() as usize;
            let Some(count) = attempts.get_mut(second) else { break };
            if outputs.iter().any(|output| matches!(output, Output::Dial(..))) {
                *count += 1;
                shell.lose_link();
            }
        }
    }
    let (first, later) = (attempts[0], attempts[60..].iter().max().expect("many"));
    println!("attempts a second of 1,000 clients: {first} in the first, at most {later} after a minute");
    assert!(first <= 4 * 1_000, "{first}");
    assert!(*later <= 100, "{later}");
}

/// C-7: the core knows one clock, which counts from the start. Turned back it stands still; a year on, what is
/// overdue is overdue once.
#[test]
fn a_clock_that_jumps_loses_and_freezes_nothing() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let live_at = shell.now;
    shell.now = Uptime::default();
    assert_eq!(sends(&shell.send_text(1)).len(), 1, "turned back");
    assert!(shell.core.deadline().expect("a ping") >= live_at);
    shell.now = live_at.after(Duration::from_secs(366 * 24 * 60 * 60));
    let outputs = shell.give(Input::DeadlinePassed);
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::HangUp(_))).count(), 1);
    shell.come_up(true, 0);
    assert!(shell.core.deadline().expect("a ping") > shell.now);
}

/// S-2: nothing secret shows in what is printed of commands, frames, writes and states.
#[test]
fn no_secret_is_shown() {
    const CANARY: &str = "canary";
    let secret = || Secret::new(CANARY);
    let tokens = Tokens { access: secret(), access_expires_s: 1, refresh: secret(), refresh_expires_s: 1 };
    let ways = [
        Credentials::Password { user: alice(), password: secret() },
        Credentials::PasswordByKey { user: alice(), password: secret() },
        Credentials::OneTimeKeyHash { user: alice(), hash: secret() },
        Credentials::AccessToken { user: alice(), token: secret() },
        Credentials::RefreshToken { user: alice(), token: secret() },
    ];
    let mut seen = String::new();
    for credentials in ways {
        let mut shell = Shell::blank();
        let command = Command::LogIn { credentials, server: session().server };
        seen += &format!("{command:?}");
        let mut outputs = shell.command(command);
        outputs.extend(shell.command(Command::PushToken(PushToken { token: secret(), wanted: true })));
        outputs.extend(shell.connect(true));
        let key = ServerRpc::LoginFailed { code: 302, extra: Some(secret()) };
        seen += &format!("{key:?}{:?}{:?}", ServerRpc::Refreshed(tokens.clone()), Reply::OneTimeKey(secret()));
        if rpcs(&outputs).iter().any(|rpc| matches!(rpc, ClientRpc::GenerateOneTimeKey { .. })) {
            outputs.extend(shell.rpc(key));
        }
        if rpcs(&outputs).iter().any(|rpc| matches!(rpc, ClientRpc::RefreshToken { .. })) {
            outputs.extend(shell.rpc(ServerRpc::Refreshed(tokens.clone())));
        }
        outputs.extend(shell.logged_in(Some(tokens.clone())));
        seen += &format!("{outputs:?}{:?}", shell.core);
    }
    assert!(!seen.contains(CANARY) && seen.contains("Secret(…)"));
}
