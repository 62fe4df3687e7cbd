//! How things are named on the command line.

use crate::failure::Failure;
use backscroll::engine::ConversationSummary;
use backscroll::model::{MessageId, Participant, Permissions, UserId, UserName};
use backscroll::{Message, Messenger};

/// Finds a conversation by its uuid, an unambiguous beginning of it, or its exact title.
pub(crate) async fn conversation(messenger: &Messenger, name: &str) -> Result<ConversationSummary, Failure> {
    let mut found = messenger.find_conversations(name).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::no(format!("this store knows no conversation named {name:?}"))
            .hint("backscroll conversations lists them; sync fetches new ones")),
        count => Err(Failure::usage(format!("{count} conversations are named {name:?}"))
            .hint("use the uuid, or more of its beginning")),
    }
}

/// Finds a message by its uuid.
pub(crate) async fn message(messenger: &Messenger, name: &str) -> Result<Message, Failure> {
    let id: MessageId = name
        .parse()
        .map_err(|_| Failure::usage(format!("{name:?} is no uuid of a message")).hint("messages --json prints them"))?;
    let found = messenger.find_message(id).await?;
    found.ok_or_else(|| {
        Failure::no(format!("this store does not hold message {id}")).hint("sync fetches what is missing")
    })
}

/// Finds users by `name@app.account` or IM user id; asks the server about names that are not held.
pub(crate) async fn participants(
    messenger: &Messenger,
    names: &[String],
    rights: Permissions,
) -> Result<Vec<Participant>, Failure> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(Participant::new(user(messenger, name).await?).with_permissions(rights));
    }
    Ok(found)
}

async fn user(messenger: &Messenger, name: &str) -> Result<UserId, Failure> {
    if let Ok(number) = name.parse() {
        return UserId::new(number).ok_or_else(|| Failure::usage(format!("{name} is too large for a user id")));
    }
    if !name.contains('@') {
        return Err(Failure::usage(format!("{name:?} names no user"))
            .hint("a user is named like alice@chat.acme, or by the IM user id"));
    }
    let name = UserName::new(name);
    if let Some(held) = messenger.user_named(name.clone()).await? {
        return Ok(held.id);
    }
    match messenger.get_user_by_name(name.clone()).await {
        Ok(event) => Ok(event.user.id),
        Err(error) if error.messaging().is_some() => Err(Failure::no(format!("there is no user {name}"))),
        Err(error) => {
            let failure = Failure::from(error);
            Err(Failure { message: format!("cannot look {name} up: {}", failure.message), ..failure }
                .hint("without a connection, use the IM user id"))
        }
    }
}
