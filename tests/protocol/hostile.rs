//! Frames that are broken, by accident or on purpose: an error at worst, and never a long one.

use crate::fixtures::{Side, captured};
use backscroll::model::{Action, ErrorCode};
use backscroll::protocol::{
    ClientFault, ClientFrame, DecodeError, FRAME_BYTES_MAX, ServerFrame, decode_client, decode_server, encode_client,
    encode_server,
};
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::LazyLock;
use std::thread;

static FRAMES: LazyLock<Vec<(Side, String)>> =
    LazyLock::new(|| captured().into_iter().map(|captured| (captured.side, captured.frame.to_string())).collect());

/// Reads the text as both ends would. What one of them understands, it must understand again
/// after having written it.
fn swallow(text: &str) {
    if let Ok(frame) = decode_server(text) {
        let written = encode_server(&frame);
        let again = decode_server(&written);
        assert_eq!(again.as_ref().ok(), Some(&frame), "{text}\n{written}\n{again:?}");
    }
    if let Ok(frame) = decode_client(text) {
        let written = encode_client(&frame);
        assert_eq!(decode_client(&written), Ok(frame), "{text}\n{written}");
    }
}

/// One way to break a text.
#[derive(Clone, Debug)]
enum Harm {
    FlipBit(Index, u8),
    Truncate(Index),
    Remove(Index, usize),
    /// Puts a copy of one piece of the text somewhere else.
    Copy(Index, usize, Index),
    /// Replaces the number, string or word that stands at or after a place.
    Value(Index, &'static str),
    /// Puts a copy of a member right after it.
    Double(Index),
    /// Puts a member in front, behind the opening brace at or after a place.
    Member(Index, &'static str),
}

const VALUES: &[&str] = &[
    "1e400",
    "-1",
    "18446744073709551616",
    "9223372036854775808",
    "4294967296",
    "0",
    "1.5",
    "1e3",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"7\"",
    "\"-7\"",
    "\"18446744073709551616\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[[[]]]",
    "[{}]",
    "{\"a\":1,\"a\":2}",
    "onSendMessage",
    "\"onRetransmitEvents\"",
    "\"__pong\"",
    "\"chat\"",
];

const MEMBERS: &[&str] = &[
    "\"seq\":1,",
    "\"seq\":\"1\",",
    "\"event\":\"onSendMessage\",",
    "\"service\":\"chat\",",
    "\"service\":null,",
    "\"payload\":{},",
    "\"payload\":[],",
    "\"object\":{},",
    "\"request_uuid\":\"no uuid\",",
    "\"name\":\"login\",",
    "\"params\":[],",
    "\"@type\":{},",
    "\"\\u0073eq\":1,",
    "\"x\":{\"y\":[1, 2]},",
    "\"to\":\"a@b.c\",",
    "\"initiator\":-1,",
    "\"uuid\":\"x\",",
    "\"all\":true,",
];

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<Index>;
    prop_oneof![
        1 => (at(), 0..8_u8).prop_map(|(at, bit)| Harm::FlipBit(at, bit)),
        1 => at().prop_map(Harm::Truncate),
        1 => (at(), 1..40_usize).prop_map(|(at, bytes)| Harm::Remove(at, bytes)),
        1 => (at(), 1..40_usize, at()).prop_map(|(from, bytes, to)| Harm::Copy(from, bytes, to)),
        4 => (at(), prop::sample::select(VALUES)).prop_map(|(at, value)| Harm::Value(at, value)),
        2 => at().prop_map(Harm::Double),
        3 => (at(), prop::sample::select(MEMBERS)).prop_map(|(at, member)| Harm::Member(at, member)),
    ]
}

/// Returns where the value ends that begins at `start`; texts that are broken already end it anywhere.
fn value_end(text: &[u8], start: usize) -> usize {
    let (mut depth, mut quoted, mut at) = (0_usize, false, start);
    while at < text.len() {
        match text[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted && depth > 1 => depth -= 1,
            b'}' | b']' if !quoted => return at + depth,
            b',' if !quoted && depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn find(text: &[u8], from: usize, wanted: u8) -> Option<usize> {
    text.iter().skip(from).position(|byte| *byte == wanted).map(|ahead| from + ahead)
}

fn apply(text: &str, harm: &Harm) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut bytes = text.as_bytes().to_vec();
    let length = bytes.len();
    match harm {
        Harm::FlipBit(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Harm::Truncate(at) => bytes.truncate(at.index(length)),
        Harm::Remove(at, count) => {
            let at = at.index(length);
            bytes.drain(at..length.min(at + count));
        }
        Harm::Copy(from, count, to) => {
            let from = from.index(length);
            let piece = bytes[from..length.min(from + count)].to_vec();
            let to = to.index(length);
            bytes.splice(to..to, piece);
        }
        Harm::Value(at, value) => {
            if let Some(colon) = find(&bytes, at.index(length), b':') {
                let end = value_end(&bytes, colon + 1);
                bytes.splice(colon + 1..end, value.bytes());
            }
        }
        Harm::Double(at) => {
            if let Some(colon) = find(&bytes, at.index(length), b':') {
                let name = bytes[..colon].iter().rposition(|byte| matches!(byte, b'{' | b',')).map_or(0, |at| at + 1);
                let end = value_end(&bytes, colon + 1);
                let copy = [b",", &bytes[name..end]].concat();
                bytes.splice(end..end, copy);
            }
        }
        Harm::Member(at, member) => {
            if let Some(brace) = find(&bytes, at.index(length), b'{') {
                bytes.splice(brace + 1..brace + 1, member.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_text_is_understood_or_refused(text in any::<String>()) {
        swallow(&text);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        swallow(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_of_json_characters_is_understood_or_refused(text in r#"[\[\]{}:,"\\0-9a-eu. -]{0,60}"#) {
        swallow(&text);
    }

    #[test]
    fn a_broken_frame_is_understood_or_refused(at in any::<Index>(), harms in proptest::collection::vec(harm(), 1..4)) {
        let (_, frame) = &FRAMES[at.index(FRAMES.len())];
        swallow(&harms.iter().fold(frame.clone(), |text, harm| apply(&text, harm)));
    }
}

/// Frames with `@` where an array or an object may stand, in each place that is read another way.
const PLACES: &[&str] = &[
    "@",
    r#"{"x":@}"#,
    r#"{"name":@}"#,
    r#"{"name":"login","params":@}"#,
    r#"{"name":"login","params":["a@b.c","",@]}"#,
    r#"{"name":"login","params":["u","",{"x":@}]}"#,
    r#"{"name":"loginSuccessful","params":["",{"iceConfig":@}]}"#,
    r#"{"name":"loginSuccessful","params":["",{"OAuth":@}]}"#,
    r#"{"name":"__connectionSuccessful","params":[null,{"backscroll":@}]}"#,
    r#"{"name":"whatever","params":@}"#,
    r#"{"service":@}"#,
    r#"{"service":"chat","event":@}"#,
    r#"{"service":"chat","event":"onSendMessage","payload":@}"#,
    r#"{"payload":@,"service":"chat","event":"onSendMessage"}"#,
    r#"{"service":"chat","event":"onWhatever","payload":@}"#,
    r#"{"service":"chat","event":"onWhatever","payload":{"object":@}}"#,
    r#"{"service":"chat","event":"onSendMessage","payload":{"object":@}}"#,
    r#"{"service":"chat","event":"onSendMessage","payload":{"@type":@,"seq":1,"object":{"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","conversation":"fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e","payload":@}}}"#,
    r#"{"service":"chat","event":"onSendMessage","payload":{"seq":1,"object":{"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","conversation":"fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e","payload":[{"a":@}]}}}"#,
    r#"{"service":"chat","event":"onSendMessage","payload":{"timestamp":@,"x":@,"seq":1,"object":{"x":@,"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","conversation":"fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e"}},"x":@}"#,
    r#"{"service":"chat","event":"onEditConversation","payload":{"seq":1,"object":{"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","custom_data":@,"participants":@}}}"#,
    r#"{"service":"chat","event":"onEditConversation","payload":{"seq":1,"object":{"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","participants":[{"user_id":1,"x":@}]}}}"#,
    r#"{"service":"chat","event":"onEditConversation","payload":{"seq":1,"object":{"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","participants":{"x":@}}}}"#,
    r#"{"service":"chat","event":"onGetUser","payload":{"object":{"user_id":1,"user_name":"a","private_custom_data":@,"custom_data":{"x":@}}}}"#,
    r#"{"service":"chat","event":"onRetransmitEvents","payload":{"object":@}}"#,
    r#"{"service":"chat","event":"onRetransmitEvents","payload":{"object":{"payload":@,"event":"onSendMessage"}}}"#,
    r#"{"service":"chat","event":"onRetransmitEvents","payload":{"object":{"event":"onWhatever","payload":{"seq":1,"x":@,"object":{"uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","x":@}}}}}"#,
    r#"{"service":"chat","event":"createConversation","request_uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","payload":@}"#,
    r#"{"service":"chat","event":"createConversation","request_uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","payload":{"custom_data":{"x":@}}}"#,
    r#"{"service":"chat","event":"createConversation","request_uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","payload":{"participants":@}}"#,
    r#"{"service":"chat","event":"sendMessage","request_uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","payload":{"conversation":"fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e","payload":[{"x":@}]}}"#,
    r#"{"service":"chat","event":"manageNotification","request_uuid":"e2c492b3-6027-4a8d-8aca-ebd59fb93965","payload":{"notifications":[@]}}"#,
];

/// Runs with as little stack as a thread of a server may have: nesting must cost none.
fn with_a_small_stack(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nesting_a_hundred_thousand_deep_costs_no_stack_wherever_it_stands() {
    with_a_small_stack(|| {
        const DEPTH: usize = 100_000;
        let arrays = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let objects = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
        let unclosed = "[".repeat(DEPTH);
        for place in PLACES {
            for deep in [&arrays, &objects, &unclosed] {
                swallow(&place.replace("\"@type\"", "\"#\"").replace('@', deep).replace("\"#\"", "\"@type\""));
            }
        }
    });
}

#[test]
fn a_million_brackets_cost_no_stack() {
    with_a_small_stack(|| {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        for place in [PLACES[0], PLACES[9], PLACES[13], PLACES[14]] {
            swallow(&place.replace('@', &deep));
        }
    });
}

/// A frame in a frame in a frame, each with its payload before its event, could ask for one more pass each.
#[test]
fn retransmissions_inside_retransmissions_are_not_followed() {
    with_a_small_stack(|| {
        const OPEN: &str = r#"{"payload":{"object":"#;
        const CLOSE: &str = r#"},"event":"onRetransmitEvents","service":"chat"}"#;
        let depth = FRAME_BYTES_MAX / (OPEN.len() + CLOSE.len()) - 1;
        let text = format!("{}{{}}{}", OPEN.repeat(depth), CLOSE.repeat(depth));
        assert!(text.len() <= FRAME_BYTES_MAX);
        swallow(&text);
    });
}

#[test]
fn a_frame_longer_than_allowed_is_refused_unread() {
    // Valid up to its end, so that only the length can be what is wrong.
    let text = format!(r#"{{"name":"__pong","params":["{}"]}}"#, "x".repeat(64 << 20));
    match decode_server(&text) {
        Err(DecodeError::TooLong { bytes }) => assert_eq!(bytes, text.len()),
        other => panic!("{other:?}"),
    }
    let fault = decode_client(&text).unwrap_err();
    assert_eq!((fault.request, fault.action, fault.code), (None, Action::from(""), ErrorCode::MessageStructureIsWrong));
}

#[test]
fn the_longest_frame_allowed_is_read() {
    let frame = |bytes: usize| format!(r#"{{"name":"__pong","params":["{}"]}}"#, "x".repeat(bytes));
    let text = frame(FRAME_BYTES_MAX - frame(0).len());
    assert_eq!(text.len(), FRAME_BYTES_MAX);
    assert!(matches!(decode_server(&text), Ok(ServerFrame::Rpc(_))));
    assert!(matches!(decode_client(&text), Ok(ClientFrame::Rpc(_))));
    assert!(matches!(decode_server(&format!("{text} ")), Err(DecodeError::TooLong { .. })));
}

#[test]
fn no_error_repeats_what_a_frame_said() {
    const WORDS: &str = "attack at dawn";
    let mut refused = 0;
    for (side, frame) in FRAMES.iter() {
        for place in 0..frame.matches(':').count() {
            let colon = frame.match_indices(':').nth(place).unwrap().0;
            let end = value_end(frame.as_bytes(), colon + 1);
            let text = format!("{}\"{WORDS}\"{}", &frame[..=colon], &frame[end..]);
            let said = match side {
                // The action is a name, which an answer has to repeat.
                Side::Client => decode_client(&text).map_err(|ClientFault { what, .. }| what.into_string()).err(),
                Side::Server => decode_server(&text)
                    .map_err(|error| {
                        use std::error::Error;
                        let source = error.source().map(ToString::to_string);
                        format!("{error} {error:?} {source:?}")
                    })
                    .err(),
            };
            if let Some(said) = said {
                refused += 1;
                assert!(!said.contains(WORDS), "{text}: {said}");
            }
        }
    }
    assert!(refused > 500, "only {refused} frames were refused");
}
