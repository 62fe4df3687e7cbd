//! What is wanted, on its way.

use super::*;

#[test]
fn what_is_wanted_is_stored_before_it_is_accepted_and_again_before_it_leaves() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.send_text(1);
    let queued = position(&outputs, |output| stores_entry(output, OutboxState::Queued));
    let accepted = position(&outputs, |output| matches!(output, Output::Answer(_, Ok(Reply::Accepted(_)))));
    let sending = position(&outputs, |output| stores_entry(output, OutboxState::Sending));
    let sent = position(&outputs, |output| matches!(output, Output::Send(..)));
    assert!(queued < accepted && sending < sent, "{outputs:?}");
}

/// O-4: one conversation's messages leave in order; a refusal for good is set aside and holds nothing up.
#[test]
fn a_refused_message_is_set_aside_and_the_next_one_leaves() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    assert_eq!(sends(&shell.send_text(2)), [], "in order: one at a time");
    let error = MessagingError::from(ErrorCode::Acl);
    let outputs = shell.push(Some(first), Push::Error { header: header(Action::SendMessage), error });
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Failed)));
    assert_eq!(sends(&outputs).len(), 1);
}

/// R-28, O-8: a refusal for now is tried again on schedule, with no further input, and never in a tight loop.
#[test]
fn a_refusal_for_now_is_tried_again_with_the_same_request_id() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    for code in [ErrorCode::LimitPerSecond, ErrorCode::Internal, ErrorCode::ServiceUnavailable] {
        let error = MessagingError::from(code);
        let outputs = shell.push(Some(first), Push::Error { header: header(Action::SendMessage), error });
        assert_eq!(sends(&outputs), [], "not at once");
        let before = shell.now;
        let again = shell.wait_for(Duration::from_secs(10), |output| {
            matches!(output, Output::Send(_, ClientFrame::Chat(chat)) if matches!(chat.body, Request::SendMessage { .. }))
        });
        assert_eq!(sends(&again), [first]);
        assert!(shell.now.since(before) >= Duration::from_millis(400));
    }
}

/// R-22, O-1: on a server that does nothing twice, what is uncertain is sent again at once, with the same id.
#[test]
fn what_is_uncertain_is_sent_again_at_once_to_a_server_that_does_nothing_twice() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    let outputs = shell.lose_link();
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Uncertain)));
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    assert_eq!(sends(&outputs), [first]);
}

/// elsewhere it waits out the quarantine, reads the head anew, holds history up to it, and only then goes again.
#[test]
fn what_is_uncertain_is_looked_for_before_it_is_sent_again_to_a_foreign_server() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    let first = sends(&shell.send_text(1))[0];
    let lost_at = shell.now;
    shell.lose_link();
    shell.come_up(false, 0);
    let outputs = shell.live_until(Duration::from_secs(90), |outputs| {
        assert_eq!(sends(outputs), [], "nothing is sent before the look");
        asks_heads(outputs)
    });
    assert!(shell.now.since(lost_at) >= Settings::default().quarantine);
    let (look, _) = requests(&outputs).remove(0);
    let push = Push::Conversation { header: header(Action::GetConversations), conversation: described(ROOM, 2) };
    let outputs = shell.push(Some(look), push);
    assert_eq!(sends(&outputs), [], "history up to the head is not held yet");
    let (request, ..) = ranges(&outputs)[0];
    let outputs = shell.answer_range(request, 1, 2, &[]);
    assert_eq!(sends(&outputs), [first], "absent: sent again with the same id");
}

/// R-21, O-1: what was learnt of the head on a link that is gone decides nothing: the message may have arrived above it.
#[test]
fn a_head_that_was_asked_for_on_an_earlier_link_does_not_decide() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    shell.send_text(1);
    shell.lose_link();
    shell.come_up(false, 0);
    // The quarantine passes, the head is asked for, and the link is lost before the answer.
    shell.live_until(Duration::from_secs(90), asks_heads);
    shell.lose_link();

    shell.connect(false);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let own_user = requests(&outputs).remove(0).0;
    let outputs = shell.tell_own_user(own_user, &[ROOM]);
    assert_eq!(sends(&outputs), [], "no head was read on this link");
    let heads: Vec<(RequestId, Request)> =
        requests(&outputs).into_iter().filter(|(_, body)| matches!(body, Request::GetConversations(_))).collect();
    let told = |shell: &mut Shell, request| {
        let (header, conversation) = (header(Action::GetConversations), described(ROOM, 2));
        shell.push(Some(request), Push::Conversation { header, conversation })
    };
    let outputs: Vec<Output> = heads.iter().flat_map(|(request, _)| told(&mut shell, *request)).collect();
    assert_eq!(sends(&outputs), [], "what lies below the head is not held yet");
    assert_eq!(asked(&outputs), [(1, 2)]);
    let outputs = shell.answer_range(ranges(&outputs)[0].0, 1, 2, &[(2, token(1))]);
    assert_eq!(sends(&outputs), []);
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Settled)));
}

/// found in history, it is settled and never sent again.
#[test]
fn what_is_found_in_history_is_settled_and_not_sent_again() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    assert_eq!(sends(&shell.send_text(1)).len(), 1);
    shell.lose_link();
    let outputs = shell.come_up(false, 2);
    let (request, ..) = ranges(&outputs)[0];
    let outputs = shell.answer_range(request, 1, 2, &[(2, token(1))]);
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Settled)));
    for _ in 0..30 {
        shell.give(Input::Noise(shell.link()));
        assert_eq!(sends(&shell.wait()), []);
    }
}

/// its event came without naming the request; the refusal behind it, of whatever kind, comes too late.
#[test]
fn a_refusal_behind_the_event_that_settled_it_changes_nothing() {
    for code in [ErrorCode::Internal, ErrorCode::LimitPerSecond, ErrorCode::Acl] {
        let mut shell = Shell::resume();
        shell.come_up(true, 0);
        let sent = sends(&shell.send_text(1))[0];
        let outputs = shell.push(None, Push::Event(message(ROOM, 1, me(), Some(token(1)))));
        assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Settled)));
        let error = MessagingError::from(code);
        let outputs = shell.push(Some(sent), Push::Error { header: header(Action::SendMessage), error });
        assert!(!outputs.iter().any(|output| matches!(output, Output::Write(_))), "{code:?}");
        for _ in 0..30 {
            shell.give(Input::Noise(shell.link()));
            assert_eq!(sends(&shell.wait()), [], "{code:?}");
        }
    }
}

/// killed between sending and answer, the entry is uncertain at the next start, not stuck.
#[test]
fn what_was_being_sent_when_the_process_ended_is_uncertain_at_the_next_start() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.send_text(1);
    let kept = outputs.iter().rev().find_map(|output| match output {
        Output::Write(writes) => writes.iter().rev().find_map(|write| match write {
            Write::Outbox(entry) => Some(entry.clone()),
            _ => None,
        }),
        _ => None,
    });
    let kept = kept.expect("stored");
    assert_eq!(kept.state, OutboxState::Sending);
    let saved = SavedState { session: Some(session()), outbox: vec![kept.clone()], ..SavedState::default() };
    let mut shell = Shell::restore(saved);
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    assert_eq!(sends(&outputs), [kept.request]);
}

/// D-9: an entry that cannot be read keeps its position, which no other entry is given.
#[test]
fn a_position_that_is_taken_is_given_to_nobody() {
    let saved = SavedState { session: Some(session()), last_position: 7, ..SavedState::default() };
    let outputs = Shell::restore(saved).send_text(1);
    let positions: Vec<u64> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Write(writes) => Some(writes),
            _ => None,
        })
        .flatten()
        .filter_map(|write| match write {
            Write::Outbox(entry) => Some(entry.position),
            _ => None,
        })
        .collect();
    assert_eq!(positions, [8]);
}

/// O-10: what has left and was not refused cannot be taken back; what has not can.
#[test]
fn an_entry_is_taken_back_only_while_it_cannot_have_arrived() {
    let mut shell = Shell::resume();
    shell.send_text(1);
    let outputs = shell.command(Command::Cancel(token(1)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Answer(_, Ok(Reply::Done)))));
    shell.send_text(2);
    shell.come_up(true, 0);
    for _ in 0..2 {
        let outputs = shell.command(Command::Cancel(token(2)));
        assert!(outputs.iter().any(|output| matches!(output, Output::Answer(_, Err(Refusal::TooLate)))));
        // Uncertain, and then queued to be sent again: it may have arrived all the same.
        shell.lose_link();
        shell.come_up(true, 0);
    }
}
