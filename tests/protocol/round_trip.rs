//! What is written is read again as what it was.

use crate::strategies::{client_frame, server_frame};
use backscroll::model::Action;
use backscroll::protocol::{
    ClientFrame, ServerChat, ServerFrame, decode_client, decode_server, encode_client, encode_server,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeSet, HashSet};
use std::mem::discriminant;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_client_frame_is_read_as_it_was_written(frame in client_frame()) {
        let text = encode_client(&frame);
        prop_assert_eq!(decode_client(&text), Ok(frame), "{}", text);
    }

    #[test]
    fn any_server_frame_is_read_as_it_was_written(frame in server_frame()) {
        let text = encode_server(&frame);
        match decode_server(&text) {
            Ok(read) => prop_assert_eq!(read, frame, "{}", text),
            Err(error) => prop_assert!(false, "{error:?}: {text}"),
        }
    }
}

/// The two properties say little of a kind of frame that nobody makes.
#[test]
fn every_kind_of_frame_is_made() {
    let mut runner = TestRunner::deterministic();
    let (mut actions, mut pushes, mut client_calls, mut server_calls) =
        (BTreeSet::new(), HashSet::new(), HashSet::new(), HashSet::new());
    for _ in 0..5_000 {
        match client_frame().new_tree(&mut runner).unwrap().current() {
            ClientFrame::Chat(chat) => _ = actions.insert(chat.body.action()),
            ClientFrame::Rpc(rpc) => _ = client_calls.insert(discriminant(&rpc)),
        }
        match server_frame().new_tree(&mut runner).unwrap().current() {
            ServerFrame::Chat(ServerChat { push, .. }) => _ = pushes.insert(discriminant(&push)),
            ServerFrame::Rpc(rpc) => _ = server_calls.insert(discriminant(&rpc)),
        }
    }
    // The one action no client asks for.
    let asked = Action::KNOWN.iter().filter(|action| **action != Action::RemoveEmptyConversation).cloned();
    assert_eq!(actions, asked.collect());
    assert_eq!((pushes.len(), client_calls.len(), server_calls.len()), (15, 10, 8));
}
