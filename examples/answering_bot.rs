//! A bot that answers everybody, also what was said while it was away.
//!
//! ```sh
//! PASSWORD=… cargo run --example answering_bot -- \
//!     bot.db wss://127.0.0.1:8443/platform /tmp/chat/certificate.pem bot@chat.acme
//! ```

use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationId, Credentials, Secret, UserName};
use backscroll::{Config, Messenger, MessengerEvent};
use futures_util::StreamExt;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>(), std::env::var("PASSWORD").unwrap_or_default()).await
}

/// The program: the arguments are those of the command line. Ends with the engine.
pub(crate) async fn run(arguments: &[String], password: String) -> Result<(), Box<dyn Error>> {
    let [store, server, certificate, user] = arguments else {
        return Err("usage: answering_bot STORE SERVER CERTIFICATE USER, and the password in PASSWORD".into());
    };
    let messenger = Messenger::open(Config::new(store).server(server).extra_root(certificate)).await?;
    let mut events = messenger.events();
    if messenger.me().is_none() {
        let credentials = Credentials::Password { user: UserName::new(user), password: Secret::new(password) };
        messenger.log_in(credentials).await?;
    }

    // What came while the bot was away; then whatever happens, live or fetched from history.
    answer_all(&messenger).await?;
    while let Some(event) = events.next().await {
        if let MessengerEvent::Message(event) = event {
            answer(&messenger, event.message.conversation).await?;
        } else if let MessengerEvent::Lagged { .. } = event {
            answer_all(&messenger).await?;
        }
    }
    Ok(())
}

async fn answer_all(messenger: &Messenger) -> Result<(), Box<dyn Error>> {
    for summary in messenger.conversations(0, u32::MAX).await? {
        answer(messenger, summary.conversation.id).await?;
    }
    Ok(())
}

/// Answers the messages above the bot's own read mark, which is all the memory it needs: the server keeps it.
async fn answer(messenger: &Messenger, conversation: ConversationId) -> Result<(), Box<dyn Error>> {
    let Some(summary) = messenger.conversation(conversation).await? else { return Ok(()) };
    let unread = messenger.messages(conversation, Window::After(summary.own_read_mark), 100).await?;
    for item in unread {
        // What lies behind a gap is answered once it is fetched, and not out of turn.
        let TimelineItem::Message(message) = item else { break };
        if message.id.is_none() {
            break;
        }
        if message.sender != messenger.my_id() && !message.removed {
            println!("{}", message.text);
            // Accepted is enough: the outbox delivers both, in this order, whatever happens to this process.
            drop(summary.conversation.send_message(format!("You said: {}", message.text), None).await?);
        }
        drop(summary.conversation.mark_as_read(message.sequence).await?);
    }
    Ok(())
}
