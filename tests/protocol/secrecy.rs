//! What must not reach a log: passwords, tokens, and what people write.

use backscroll::model::{Intent, Message, MessageKey, RawJson, Sequence};
use backscroll::protocol::{decode_client, decode_server};
use std::fmt::Debug;

const CANARY: &str = "canary7f3a";

fn assert_silent(what: &impl Debug) {
    for shown in [format!("{what:?}"), format!("{what:#?}")] {
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn debug_of_a_login_shows_neither_password_nor_token() {
    let frames = [
        r#"{"name":"login","params":["a@b.c","@",{}]}"#,
        r#"{"name":"login","params":["a@b.c","",{"accessToken":"@","deviceToken":"@","other":"@"}]}"#,
        r#"{"name":"loginUsingOneTimeKey","params":["a@b.c","@",{}]}"#,
        r#"{"name":"loginStage2","params":["a@b.c","@",{}]}"#,
        r#"{"name":"refreshOauthToken","params":["a@b.c","@"]}"#,
        r#"{"name":"refreshOauthToken","params":["a@b.c",{"refreshToken":"@","deviceToken":"@"}]}"#,
        r#"{"name":"registerPushToken","params":["@"]}"#,
        r#"{"name":"unregisterPushToken","params":["@"]}"#,
        r#"{"name":"pushFeedback","params":[{"a":"@"}]}"#,
        r#"{"name":"loginSomeNewWay","params":["@"]}"#,
    ];
    for frame in frames {
        assert_silent(&decode_client(&frame.replace("\"@\"", &format!("\"{CANARY}\""))).unwrap());
    }
    let grant = r#"{"OAuth":{"accessToken":"@","accessExpire":1,"refreshToken":"@","refreshExpire":2}}"#;
    for frame in [
        format!(r#"{{"name":"loginSuccessful","params":["Alice",{grant}]}}"#),
        format!(r#"{{"name":"refreshOauthTokenSuccessful","params":[{grant}]}}"#),
    ] {
        assert_silent(&decode_server(&frame.replace('@', CANARY)).unwrap());
    }
}

#[test]
fn debug_of_a_message_shows_its_size_only() {
    const MESSAGE: &str = "e2c492b3-6027-4a8d-8aca-ebd59fb93965";
    const CONVERSATION: &str = "fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e";
    let object = format!(
        r#"{{"uuid":"{MESSAGE}","conversation":"{CONVERSATION}","text":"{CANARY}","payload":[{{"a":"{CANARY}"}}],"x":"{CANARY}"}}"#
    );
    for event in ["onSendMessage", "onEditMessage", "onSomethingNew"] {
        let frame = format!(r#"{{"service":"chat","event":"{event}","payload":{{"seq":1,"object":{object}}}}}"#);
        assert_silent(&decode_server(&frame).unwrap());
    }
    for event in ["sendMessage", "editMessage"] {
        let frame = format!(r#"{{"service":"chat","event":"{event}","request_uuid":"{MESSAGE}","payload":{object}}}"#);
        assert_silent(&decode_client(&frame).unwrap());
    }
    let (conversation, text) = (CONVERSATION.parse().unwrap(), CANARY.to_owned());
    let payload = Some(RawJson::new(&format!("[{{\"a\":\"{CANARY}\"}}]")).unwrap());
    assert_silent(&Message::recreate(None, conversation, text.clone(), payload.clone(), Sequence(1)));
    assert_silent(&Intent::SendMessage { conversation, text: text.clone(), payload: payload.clone() });
    let message = MessageKey::Id(MESSAGE.parse().unwrap());
    assert_silent(&Intent::EditMessage { conversation, message, text: Some(text), payload });
}
