//! Connecting, logging in, and noticing that nobody is there.

use super::*;

#[test]
fn a_frame_of_an_old_link_is_ignored() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let old = shell.link();
    shell.lose_link();
    let chat = ServerChat { request: None, push: Push::Event(message(ROOM, 1, stranger(), None)) };
    assert!(shell.give(Input::Frame(old, ServerFrame::Chat(chat))).is_empty());
}

/// C-1, C-2: an expired token is refreshed once; the new pair is stored before it is used.
#[test]
fn an_expired_token_is_refreshed_and_a_refused_one_ends_the_session() {
    let mut shell = Shell::resume();
    let outputs = shell.connect(true);
    assert!(matches!(&outputs[..], [Output::Send(_, ClientFrame::Rpc(ClientRpc::Login { options, .. })), ..]
        if options.access_token.is_some()));
    let outputs = shell.rpc(ServerRpc::LoginFailed { code: 701, extra: None });
    assert!(matches!(&outputs[..], [Output::Send(_, ClientFrame::Rpc(ClientRpc::RefreshToken { .. }))]));
    let fresh = Tokens { access: Secret::new("new"), ..session().tokens.expect("a pair") };
    let outputs = shell.rpc(ServerRpc::Refreshed(fresh));
    let stored = position(&outputs, |output| matches!(output, Output::Write(_)));
    let used = position(&outputs, |output| matches!(output, Output::Send(..)));
    assert!(stored < used);
    let outputs = shell.rpc(ServerRpc::LoginFailed { code: 701, extra: None });
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::Refused { code: 701 }));
    assert!(outputs.iter().any(|output| matches!(output, Output::HangUp(_))));
    assert_eq!(shell.core.deadline(), None, "nothing is tried again by itself");
    // What is written meanwhile is kept for the same user.
    assert!(shell.send_text(1).iter().any(|output| matches!(output, Output::Answer(_, Ok(Reply::Accepted(_))))));
}

#[test]
fn a_login_as_somebody_else_is_refused() {
    let mut shell = Shell::resume();
    let credentials = Credentials::Password { user: UserName::new("bob@chat.acme"), password: Secret::new("x") };
    let outputs = shell.command(Command::LogIn { credentials, server: session().server });
    let refused = |output: &Output| matches!(output, Output::Answer(_, Err(Refusal::OtherUser { .. })));
    assert!(outputs.iter().any(refused), "{outputs:?}");
}

/// R-87, C-4: a peer that says nothing any more is found within 20 s, and replaced.
#[test]
fn a_silent_peer_is_given_up_within_twenty_seconds() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    shell.wait_for(Duration::from_secs(20), |output| matches!(output, Output::HangUp(_)));
    if shell.link.is_none() {
        shell.wait_for(Duration::from_secs(5), |output| matches!(output, Output::Dial(..)));
    }
}

/// word of a network is acted upon at once.
#[test]
fn word_of_a_network_ends_the_wait() {
    let mut shell = Shell::resume();
    for _ in 0..6 {
        shell.wait_for(Duration::from_secs(90), |output| matches!(output, Output::Dial(..)));
        shell.lose_link();
    }
    assert!(shell.core.deadline().expect("a next attempt") > shell.now);
    let outputs = shell.command(Command::NetworkChanged);
    assert!(outputs.iter().any(|output| matches!(output, Output::Dial(..))));
}
