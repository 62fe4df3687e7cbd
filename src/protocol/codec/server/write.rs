use super::super::objects::{write_conversation, write_message, write_user};
use crate::model::{Action, Event, EventBody, RawJson, RequestId, UserId};
use crate::protocol::wire::{Object, document};
use crate::protocol::{Header, Push, ServerChat};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The parts of what was kept unread, to be put back where they were.
#[derive(Default, Deserialize)]
struct Places<'a> {
    #[serde(borrow)]
    envelope: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

impl<'a> Places<'a> {
    /// Takes the parts; what is no object by place has none.
    fn of(unknown: Option<&'a RawJson>) -> Self {
        unknown.and_then(|unknown| unknown.parse().ok()).unwrap_or_default()
    }
}

mod types {
    pub(super) const CONVERSATION: &str = "type/vox.store.OutgoingNamespace.Conversation";
    pub(super) const PUBLIC: &str = "type/vox.store.OutgoingNamespace.PublicConversations";
    pub(super) const MESSAGE: &str = "type/vox.store.OutgoingNamespace.Message";
    pub(super) const RETRANSMIT: &str = "type/vox.store.OutgoingNamespace.RetransmitMessage";
    pub(super) const USER: &str = "type/vox.store.OutgoingNamespace.UserData";
    pub(super) const SUBSCRIBES: &str = "type/vox.store.OutgoingNamespace.ManageSubscribes";
    pub(super) const SUBSCRIPTIONS: &str = "type/vox.store.OutgoingNamespace.UserSubscriptions";
    pub(super) const HEADS: &str = "type/vox.store.OutgoingNamespace.HeadsSince";
    pub(super) const ERROR: &str = "type/vox.store.OutgoingNamespace.Error";
    pub(super) const STATUS: &str = "type/vox.store.CommonNamespace.StatusMessage";
    pub(super) const PRESENCE: &str = "type/vox.store.CommonNamespace.PresenceMessage";
    pub(super) const TYPING: &str = "type/vox.store.CommonNamespace.TypingMessage";
}

pub(in crate::protocol::codec) fn encode(chat: &ServerChat) -> String {
    let request = chat.request.as_ref();
    match &chat.push {
        Push::Event(event) => document(|frame| write_event(frame, request, event)),
        Push::Conversation { header, conversation } => {
            told(request, "onGetConversation", types::CONVERSATION, header, |payload, rest| {
                payload.object("object", |object| {
                    write_conversation(object, conversation);
                    object.splice(rest);
                });
                payload.member("seq", &conversation.last_sequence);
            })
        }
        Push::PublicConversations { header, conversations } => {
            about(request, "onGetPublicConversations", types::PUBLIC, header, |object| {
                object.member("uuid", conversations);
            })
        }
        Push::User { header, user } => {
            about(request, "onGetUser", types::USER, header, |object| write_user(object, user))
        }
        Push::UserEdited { header, user } => {
            about(request, "onEditUser", types::USER, header, |object| write_user(object, user))
        }
        Push::Status { header, online } => {
            about(request, "onSetStatus", types::PRESENCE, header, |object| object.member("online", online))
        }
        Push::Subscribed { header, users } => {
            about(request, "onSubscribe", types::SUBSCRIBES, header, |object| object.member("user_id", users))
        }
        Push::Unsubscribed { header, users } => {
            about(request, "onUnsubscribe", types::SUBSCRIBES, header, |object| object.member("user_id", users))
        }
        Push::Subscriptions { header, users } => {
            about(request, "onGetSubscriptionList", types::SUBSCRIPTIONS, header, |object| {
                object.member("subscriptions", users);
            })
        }
        Push::Typing { header, conversation } => {
            about(request, "onTyping", types::TYPING, header, |object| object.member("conversation", conversation))
        }
        Push::Read { header, conversation, sequence } => about(request, "isRead", types::STATUS, header, |object| {
            object.member("conversation", conversation);
            object.member("seq", sequence);
        }),
        Push::Retransmitted { header, from, to, count, event } => {
            told(request, "onRetransmitEvents", types::RETRANSMIT, header, |payload, _| {
                payload.object("object", |frame| write_event(frame, None, event));
                payload.optional("from_seq", from);
                payload.optional("to_seq", to);
                payload.optional("count", count);
            })
        }
        Push::HeadsSince { header, heads, cursor } => about(request, "onHeadsSince", types::HEADS, header, |object| {
            object.array("heads", |list| {
                for head in heads {
                    list.object(|object| {
                        object.member("uuid", &head.conversation);
                        object.member("seq", &head.sequence);
                    });
                }
            });
            object.optional("cursor", cursor);
        }),
        Push::Error { header, error } => told(request, "onError", types::ERROR, header, |payload, _| {
            payload.member("code", &error.code.number());
            payload.member("description", &error.description);
        }),
        Push::Unknown { frame, .. } => frame.as_str().to_owned(),
    }
}

fn write_cause(payload: &mut Object<'_>, kind: &str, action: &Action, initiator: Option<UserId>) {
    payload.member("@type", kind);
    if !action.name().is_empty() {
        payload.member("on_incoming_event", action.name());
    }
    payload.optional("initiator", &initiator);
}

/// Writes a frame that has a header; `content` gets the payload, and what belongs into its object besides.
fn told(
    request: Option<&RequestId>,
    event: &str,
    kind: &str,
    header: &Header,
    content: impl FnOnce(&mut Object<'_>, Option<&RawValue>),
) -> String {
    let rest = Places::of(header.unknown.as_ref());
    document(|frame| {
        frame.member("service", "chat");
        frame.member("event", event);
        frame.object("payload", |payload| {
            write_cause(payload, kind, &header.action, header.initiator);
            content(payload, rest.object);
            payload.optional("timestamp", &header.timestamp);
            payload.splice(rest.payload);
        });
        frame.optional("request_uuid", &request);
        frame.splice(rest.envelope);
    })
}

/// Writes a frame that has a header and an object.
fn about(
    request: Option<&RequestId>,
    event: &str,
    kind: &str,
    header: &Header,
    content: impl FnOnce(&mut Object<'_>),
) -> String {
    told(request, event, kind, header, |payload, rest| {
        payload.object("object", |object| {
            content(object);
            object.splice(rest);
        });
    })
}

fn write_event(frame: &mut Object<'_>, request: Option<&RequestId>, event: &Event) {
    let rest = Places::of(event.unknown.as_ref());
    frame.member("service", "chat");
    frame.member("event", event.body.name());
    match &event.body {
        EventBody::Unknown { payload, .. } => frame.raw("payload", payload),
        EventBody::ConversationCreated(conversation) | EventBody::ConversationEdited(conversation) => {
            write_numbered(frame, types::CONVERSATION, event, &rest, |object| write_conversation(object, conversation));
        }
        EventBody::ConversationRemoved => {
            write_numbered(frame, types::CONVERSATION, event, &rest, |object| {
                object.member("uuid", &event.conversation);
            });
        }
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
            write_numbered(frame, types::MESSAGE, event, &rest, |object| {
                write_message(object, event.conversation, content);
            });
        }
        EventBody::MessageRemoved(message) => {
            write_numbered(frame, types::MESSAGE, event, &rest, |object| {
                object.member("uuid", message);
                object.member("conversation", &event.conversation);
            });
        }
    }
    frame.optional("request_uuid", &request);
    frame.splice(rest.envelope);
}

fn write_numbered(
    frame: &mut Object<'_>,
    kind: &str,
    event: &Event,
    rest: &Places<'_>,
    content: impl FnOnce(&mut Object<'_>),
) {
    frame.object("payload", |payload| {
        write_cause(payload, kind, &event.action, Some(event.initiator));
        payload.object("object", |object| {
            content(object);
            object.splice(rest.object);
        });
        payload.member("seq", &event.sequence);
        payload.member("timestamp", &event.timestamp);
        payload.splice(rest.payload);
    });
}
