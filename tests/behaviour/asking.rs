//! What a request of the wire asks for, asked through the engine: with objects that know nothing but an id.

use backscroll::engine::Sending;
use backscroll::model::{ConversationConfig, ConversationId, MessageId, Notification, Sequence, Timestamp};
use backscroll::protocol::{Request, UserKey};
use backscroll::{Conversation, Error, Message, Messenger};
use std::pin::Pin;

/// What becomes of something that was accepted.
pub(crate) type Ending = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

fn conversation(engine: &Messenger, id: ConversationId) -> Conversation {
    let config = ConversationConfig::default();
    engine.recreate_conversation(id, config, Sequence::ZERO, Timestamp(0), Timestamp(0))
}

fn message(engine: &Messenger, conversation: ConversationId, id: MessageId) -> Message {
    engine.recreate_message(id, conversation, "", None, Sequence::ZERO)
}

fn ending<T: Send + 'static>(sending: Sending<T>) -> Ending {
    Box::pin(async { sending.await.map(drop) })
}

/// Returns a number as the engine's interface takes it: what is below zero cannot be said, and is zero.
fn number(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Asks for what `request` says; returns when a wish is durable, with the future of its end, or when a question is
/// answered.
pub(crate) async fn ask(engine: &Messenger, request: Request) -> Result<Ending, Error> {
    let here = |id| conversation(engine, id);
    let answered: Ending = Box::pin(std::future::ready(Ok(())));
    Ok(match request {
        Request::CreateConversation(config) => ending(engine.create_conversation(config).await?),
        Request::EditConversation { conversation, title, public_join, custom_data } => {
            ending(here(conversation).update(title, public_join, custom_data).await?)
        }
        Request::RemoveConversation(conversation) => ending(here(conversation).remove().await?),
        Request::JoinConversation(conversation) => ending(engine.join_conversation(conversation).await?),
        Request::LeaveConversation(conversation) => ending(engine.leave_conversation(conversation).await?),
        Request::GetConversation(conversation) => {
            engine.get_conversation(conversation).await?;
            answered
        }
        Request::GetConversations(conversations) => {
            engine.get_conversations(conversations).await?;
            answered
        }
        Request::GetPublicConversations => {
            engine.get_public_conversations().await?;
            answered
        }
        Request::AddParticipants { conversation, participants } => {
            ending(here(conversation).add_participants(participants).await?)
        }
        Request::EditParticipants { conversation, participants } => {
            ending(here(conversation).edit_participants(participants).await?)
        }
        Request::RemoveParticipants { conversation, users } => {
            ending(here(conversation).remove_participants(users).await?)
        }
        Request::GetUser(UserKey::Id(id)) => {
            engine.get_user_by_im_id(id).await?;
            answered
        }
        Request::GetUser(UserKey::Name(name)) => {
            engine.get_user_by_name(name).await?;
            answered
        }
        Request::GetUsers(keys) => {
            let ids = keys.into_iter().map(|key| match key {
                UserKey::Id(id) => id,
                UserKey::Name(name) => panic!("{name} is to be looked up by number"),
            });
            engine.get_users_by_im_id(ids.collect()).await?;
            answered
        }
        Request::EditUser { custom_data, private_custom_data } => {
            ending(engine.edit_user(custom_data, private_custom_data).await?)
        }
        Request::SetStatus { online } => {
            engine.set_status(online).await?;
            answered
        }
        Request::Subscribe(users) => ending(engine.subscribe(users).await?),
        Request::Unsubscribe(users) => ending(engine.unsubscribe(users).await?),
        Request::UnsubscribeAll => ending(engine.unsubscribe_from_all().await?),
        Request::GetSubscriptions => {
            engine.get_subscriptions().await?;
            answered
        }
        Request::ManageNotifications(kinds) => {
            let kinds: Vec<Notification> = kinds.into_iter().flatten().collect();
            ending(engine.manage_push_notifications(kinds).await?)
        }
        Request::SendMessage { conversation, text, payload } => {
            ending(here(conversation).send_message(text, payload).await?)
        }
        Request::EditMessage { conversation, message: id, text, payload } => {
            ending(message(engine, conversation, id).update(text, payload).await?)
        }
        Request::RemoveMessage { conversation, message: id } => {
            ending(message(engine, conversation, id).remove().await?)
        }
        Request::Typing(conversation) => {
            here(conversation).typing().await?;
            answered
        }
        Request::MarkAsRead { conversation, sequence } => {
            ending(here(conversation).mark_as_read(Sequence(number(sequence))).await?)
        }
        Request::RetransmitEvents { conversation, from, to, count } => {
            let (from, to) = (from.map(|at| Sequence(number(at))), to.map(|at| Sequence(number(at))));
            match (from, to, count) {
                (Some(from), Some(to), None) => here(conversation).retransmit_events(from, to).await?,
                (Some(from), None, Some(count)) => {
                    here(conversation).retransmit_events_from(from, number(count)).await?
                }
                (None, Some(to), Some(count)) => here(conversation).retransmit_events_to(to, number(count)).await?,
                other => panic!("the interface has no form for {other:?}"),
            };
            answered
        }
        Request::HeadsSince { .. } => panic!("nothing that applications ask for"),
    })
}
