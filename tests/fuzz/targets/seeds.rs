//! Inputs to begin with: such that reach far in.

use serde_json::Value;
use std::fs;
use std::path::Path;

/// Returns the captured frames: what clients sent, and what the server said in each exchange.
fn captured(root: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let folder = root.join("tests/fixtures/frames");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("frames").map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let texts = |list: &Value| list.as_array().into_iter().flatten().map(Value::to_string).collect::<Vec<_>>();
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for path in paths {
        let text = fs::read_to_string(path).expect("a readable file");
        let exchange: Value = serde_json::from_str(&text).expect("JSON");
        clients.extend(texts(&exchange["client_to_server"]));
        servers.push(texts(&exchange["server_to_client"]));
        let others = exchange["server_to_other_connections"].as_object();
        servers.extend(others.into_iter().flat_map(|others| others.values()).map(texts));
    }
    servers.retain(|frames| !frames.is_empty());
    (clients, servers)
}

pub(super) fn client_frames(root: &Path) -> Vec<Vec<u8>> {
    captured(root).0.into_iter().map(String::into_bytes).collect()
}

/// Each exchange in one go, between the things a shell does.
pub(super) fn server_frames(root: &Path) -> Vec<Vec<u8>> {
    let exchanges = captured(root).1;
    let mut seeds: Vec<String> = exchanges.iter().map(|frames| frames.join("\n")).collect();
    seeds.push("send\nwait\nlose\nwait\nsend\nwait".to_owned());
    seeds.extend(exchanges.iter().map(|frames| format!("send\nwait\n{}\nwait\nlose", frames.join("\nwait\n"))));
    seeds.into_iter().map(String::into_bytes).collect()
}

/// One of each kind, as the first versions wrote them.
pub(super) fn intents() -> Vec<Vec<u8>> {
    const ROOM: &str = "fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e";
    const MESSAGE: &str = "e2c492b3-6027-4a8d-8aca-ebd59fb93965";
    [
        r#"{"create_conversation":{"title":"T","participants":[[101,7,0]],"direct":false,"public_join":true,"uber":false,"custom_data":{"a":1}}}"#,
        r#"{"edit_conversation":{"conversation":"ROOM","title":"T","public_join":null,"custom_data":{}}}"#,
        r#"{"remove_conversation":"ROOM"}"#,
        r#"{"join_conversation":"ROOM"}"#,
        r#"{"leave_conversation":"ROOM"}"#,
        r#"{"add_participants":{"conversation":"ROOM","participants":[[103,65535,0]]}}"#,
        r#"{"edit_participants":{"conversation":"ROOM","participants":[[101,1,0]]}}"#,
        r#"{"remove_participants":{"conversation":"ROOM","users":[101]}}"#,
        r#"{"send_message":{"conversation":"ROOM","text":"T","payload":[{"n":1}]}}"#,
        r#"{"edit_message":{"conversation":"ROOM","message":"MESSAGE","text":"T","payload":null}}"#,
        r#"{"edit_message":{"conversation":"ROOM","message":{"unsent":"MESSAGE"},"text":null,"payload":[]}}"#,
        r#"{"remove_message":{"conversation":"ROOM","message":"MESSAGE"}}"#,
        r#"{"remove_duplicate":{"conversation":"ROOM","message":"MESSAGE"}}"#,
        r#"{"mark_as_read":{"conversation":"ROOM","sequence":20}}"#,
        r#"{"edit_user":{"custom_data":{"a":1},"private_custom_data":null}}"#,
        r#"{"manage_notifications":["onSendMessage","nothing"]}"#,
        r#"{"subscribe":[101]}"#,
        r#"{"unsubscribe":[101,102]}"#,
        r#""unsubscribe_all""#,
    ]
    .into_iter()
    .map(|intent| intent.replace("ROOM", ROOM).replace("MESSAGE", MESSAGE).into_bytes())
    .collect()
}

/// An edit of each column: a number at one of its edges, a text, or a blob.
pub(super) fn rows() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for table in 0..20 {
        for column in 0..14 {
            seeds.push(match (table + column) % 5 {
                0 => vec![table, 1, column, 4, 2, b'{', b'}'],
                1 => vec![table, 1, column, 5, 3, 1, 2, 3],
                _ => vec![table, 0, column, 1, table * 3 + column],
            });
        }
        seeds.push(vec![table, 0, 250]);
    }
    seeds
}

/// Files as they are, and each with a few edits all over it.
pub(super) fn files() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..3).map(|which| vec![which]).collect();
    for which in 0..3 {
        for page in (0..40_u8).step_by(4) {
            // The head of a page, a place inside of it, and a cut.
            let at = page.wrapping_mul(16);
            seeds.push(vec![which, 0, 0, at, page >> 4, 1, 0x80, 5, at, page >> 4, 0xff]);
            seeds.push(vec![which, 3, 0, at, page >> 4, 255, 0, 16, 0]);
            seeds.push(vec![which, 2, 100, at, page >> 4, 0]);
        }
    }
    seeds
}
