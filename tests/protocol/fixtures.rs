//! Frames captured from the vendor's Web SDK and the server it talked to: read, written again, compared.

use backscroll::model::{Action, ErrorCode};
use backscroll::protocol::{Push, ServerChat, ServerFrame, decode_client, decode_server, encode_client, encode_server};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Frames on one side of the captured exchanges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One captured frame.
pub(crate) struct Captured {
    pub(crate) file: String,
    pub(crate) side: Side,
    pub(crate) frame: Value,
}

/// Returns every captured frame.
pub(crate) fn captured() -> Vec<Captured> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frames");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let exchange: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut take = |side, list: &Value| {
            for frame in list.as_array().into_iter().flatten() {
                all.push(Captured { file: file.clone(), side, frame: frame.clone() });
            }
        };
        take(Side::Client, &exchange["client_to_server"]);
        take(Side::Server, &exchange["server_to_client"]);
        for list in exchange["server_to_other_connections"].as_object().into_iter().flat_map(|others| others.values()) {
            take(Side::Server, list);
        }
    }
    all
}

/// The capture shortened one list, which left a string where an object has to be; and it has one request
/// that no server knows. Both must be refused, and with these codes.
fn refusal(captured: &Captured) -> Option<ErrorCode> {
    match (captured.file.as_str(), captured.side) {
        ("error-21.json", Side::Client) => Some(ErrorCode::SomethingWentWrong),
        ("error-2.json", Side::Client) => Some(ErrorCode::EventNameIsUnknown),
        _ => None,
    }
}

#[test]
fn every_captured_frame_is_written_as_it_was_read() {
    let all = captured();
    let mut failures = Vec::new();
    let (mut from_clients, mut from_servers, mut refused) = (0, 0, 0);
    for captured in &all {
        let text = captured.frame.to_string();
        let written = match captured.side {
            Side::Client => {
                from_clients += 1;
                match (decode_client(&text), refusal(captured)) {
                    (Ok(frame), None) => encode_client(&frame),
                    (Err(fault), Some(code)) => {
                        refused += 1;
                        assert_eq!(fault.code, code, "{}", captured.file);
                        assert_eq!(fault.action, Action::from(captured.frame["event"].as_str().unwrap()));
                        assert_eq!(
                            fault.request.unwrap().to_string(),
                            captured.frame["request_uuid"].as_str().unwrap()
                        );
                        continue;
                    }
                    (result, expected) => {
                        failures.push(format!("{}: {result:?} where {expected:?} was due", captured.file));
                        continue;
                    }
                }
            }
            Side::Server => {
                from_servers += 1;
                match decode_server(&text) {
                    Ok(ServerFrame::Chat(ServerChat { push: Push::Unknown { name, .. }, .. })) => {
                        failures.push(format!("{}: {name} is not understood", captured.file));
                        continue;
                    }
                    Ok(frame) => encode_server(&frame),
                    Err(error) => {
                        failures.push(format!("{}: {error:?}", captured.file));
                        continue;
                    }
                }
            }
        };
        if serde_json::from_str::<Value>(&written).unwrap() != captured.frame {
            failures.push(format!("{}: read  {text}\n  wrote {written}", captured.file));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((from_clients, from_servers, refused), (81, 152, 2), "captured frames have come or gone");
}
