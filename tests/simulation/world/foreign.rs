//! A server that is not ours: it must not know our tokens, so on its side they go under a name it does not look for.

use backscroll::model::{Event, EventBody, RawJson};
use backscroll::protocol::{Push, Request};

fn renamed(json: &RawJson, from: &str, to: &str) -> RawJson {
    RawJson::new(&json.as_str().replace(from, to)).expect("a name for a name")
}

pub(super) fn veil_request(request: Request) -> Request {
    match request {
        Request::SendMessage { conversation, text, payload } => {
            let payload = payload.map(|payload| renamed(&payload, "client_id", "klient_id"));
            Request::SendMessage { conversation, text, payload }
        }
        Request::CreateConversation(mut config) => {
            config.custom_data = renamed(&config.custom_data, "client_id", "klient_id");
            Request::CreateConversation(config)
        }
        other => other,
    }
}

pub(super) fn unveil_event(mut event: Event) -> Event {
    match &mut event.body {
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
            content.payload = content.payload.take().map(|payload| renamed(&payload, "klient_id", "client_id"));
        }
        EventBody::ConversationCreated(conversation) | EventBody::ConversationEdited(conversation) => {
            conversation.custom_data = renamed(&conversation.custom_data, "klient_id", "client_id");
        }
        _ => {}
    }
    event
}

pub(super) fn unveil(push: Push) -> Push {
    match push {
        Push::Event(event) => Push::Event(unveil_event(event)),
        Push::Retransmitted { header, from, to, count, event } => {
            Push::Retransmitted { header, from, to, count, event: unveil_event(event) }
        }
        Push::Conversation { header, mut conversation } => {
            conversation.custom_data = renamed(&conversation.custom_data, "klient_id", "client_id");
            Push::Conversation { header, conversation }
        }
        other => other,
    }
}
