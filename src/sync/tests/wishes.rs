//! What other processes want of the one that syncs.

use super::*;
use crate::model::{Wish, WishAnswer, WishKind};

fn wish(n: u128, kind: WishKind) -> Wish {
    Wish { token: token(n), kind, wished_at: Timestamp(7) }
}

fn text(n: u128) -> WishKind {
    WishKind::Submit(Intent::SendMessage { conversation: conversation(ROOM), text: format!("{n}"), payload: None })
}

/// Returns what became of wishes, and what is stored beside it.
fn answers(outputs: &[Output]) -> Vec<(u64, WishAnswer)> {
    let writes = outputs.iter().filter_map(|output| match output {
        Output::Write(writes) => Some(writes),
        _ => None,
    });
    writes
        .flatten()
        .filter_map(|write| match write {
            Write::WishAnswered(number, answer) => Some((*number, *answer)),
            _ => None,
        })
        .collect()
}

fn stored(outputs: &[Output]) -> Vec<(ClientToken, OutboxState)> {
    let mut stored = Vec::new();
    for output in outputs {
        if let Output::Write(writes) = output {
            stored.extend(writes.iter().filter_map(|write| match write {
                Write::Outbox(entry) => Some((entry.token, entry.state)),
                _ => None,
            }));
        }
    }
    stored
}

/// the entry and the answer are stored together, before anything leaves.
#[test]
fn a_wish_becomes_an_entry_and_is_answered_once() {
    let mut shell = Shell::resume();
    let outputs = shell.give(Input::Wish(1, wish(1, text(1))));
    assert_eq!(stored(&outputs), [(token(1), OutboxState::Queued)]);
    assert_eq!(answers(&outputs), [(1, WishAnswer::Accepted(token(1)))]);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Answer(..))), "no command asked");
    // Told again, as after a commit whose end nobody heard of.
    let outputs = shell.give(Input::Wish(1, wish(1, text(1))));
    assert_eq!(stored(&outputs), []);
    assert_eq!(answers(&outputs), [(1, WishAnswer::Accepted(token(1)))]);
}

/// another process has accepted it, so it cannot be refused any more: it fails where people see it.
#[test]
fn a_wish_that_cannot_be_carried_out_is_an_entry_that_failed() {
    let mut shell = Shell::resume();
    let long = Intent::SendMessage { conversation: conversation(ROOM), text: "x".repeat(5_001), payload: None };
    let outputs = shell.give(Input::Wish(1, wish(1, WishKind::Submit(long))));
    assert_eq!(stored(&outputs), [(token(1), OutboxState::Failed)]);
    assert_eq!(answers(&outputs), [(1, WishAnswer::Accepted(token(1)))]);
}

#[test]
fn a_wish_takes_back_what_has_not_left_and_is_refused_for_what_is_gone() {
    let mut shell = Shell::resume();
    shell.give(Input::Wish(1, wish(1, text(1))));
    let outputs = shell.give(Input::Wish(2, wish(1, WishKind::Cancel)));
    assert_eq!(answers(&outputs), [(2, WishAnswer::Done)]);
    let outputs = shell.give(Input::Wish(3, wish(1, WishKind::Cancel)));
    assert_eq!(answers(&outputs), [(3, WishAnswer::Refused)]);
    let outputs = shell.give(Input::Wish(4, wish(1, WishKind::Retry)));
    assert_eq!(answers(&outputs), [(4, WishAnswer::Refused)]);
}

/// Whoever waits for an answer gets one, also before anybody has logged in.
#[test]
fn a_wish_about_an_entry_is_answered_without_a_session() {
    let mut shell = Shell::restore(SavedState::default());
    assert!(shell.give(Input::Wish(1, wish(1, text(1)))).is_empty(), "it comes again");
    let outputs = shell.give(Input::Wish(2, wish(1, WishKind::Cancel)));
    assert_eq!(answers(&outputs), [(2, WishAnswer::Refused)]);
}
