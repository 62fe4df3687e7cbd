//! Goes on from an application's own database: rebuilds its objects with no network, and uses them.
//!
//! The rows stand in a file, one JSON object a line:
//!
//! ```json
//! {"conversation":"b5c6…","title":"Lunch","last_sequence":7,"last_update":1795419868,"created":1795419860}
//! {"message":"7d1e…","conversation":"b5c6…","text":"Soup?","sequence":3}
//! ```
//!
//! ```sh
//! PASSWORD=… cargo run --example recreate -- \
//!     alice.db wss://127.0.0.1:8443/platform /tmp/chat/certificate.pem alice@chat.acme rows.jsonl
//! ```

use backscroll::model::{ConversationConfig, Credentials, Secret, Sequence, Timestamp, UserName};
use backscroll::{Config, Conversation, Message, Messenger};
use std::error::Error;

/// A row of the application's own database.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Row {
    Message { message: String, conversation: String, text: String, sequence: u32 },
    Conversation { conversation: String, title: String, last_sequence: u32, last_update: i64, created: i64 },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>(), std::env::var("PASSWORD").unwrap_or_default()).await
}

/// The program: the arguments are those of the command line.
pub(crate) async fn run(arguments: &[String], password: String) -> Result<(), Box<dyn Error>> {
    let [store, server, certificate, user, rows] = arguments else {
        return Err("usage: recreate STORE SERVER CERTIFICATE USER ROWS, and the password in PASSWORD".into());
    };
    let messenger = Messenger::open(Config::new(store).server(server).extra_root(certificate)).await?;
    let (mut conversations, mut messages) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(rows)?.lines() {
        match serde_json::from_str(line)? {
            Row::Conversation { conversation, title, last_sequence, last_update, created } => {
                conversations.push(messenger.recreate_conversation(
                    conversation.parse()?,
                    ConversationConfig { title, ..ConversationConfig::default() },
                    Sequence(last_sequence),
                    Timestamp(last_update),
                    Timestamp(created),
                ));
            }
            Row::Message { message, conversation, text, sequence } => {
                let (message, conversation) = (message.parse()?, conversation.parse()?);
                messages.push(messenger.recreate_message(message, conversation, text, None, Sequence(sequence)));
            }
        }
    }
    // Shown before anybody has logged in.
    for conversation in &conversations {
        println!("{} (up to {})", conversation.title, conversation.last_sequence.get());
    }
    if messenger.me().is_none() {
        let credentials = Credentials::Password { user: UserName::new(user), password: Secret::new(password) };
        messenger.log_in(credentials).await?;
    }
    use_them(&conversations, &messages).await?;
    messenger.close().await;
    Ok(())
}

/// Rebuilt objects do everything that others do, and erase nothing that their row did not hold.
async fn use_them(conversations: &[Conversation], messages: &[Message]) -> Result<(), Box<dyn Error>> {
    for conversation in conversations {
        conversation.mark_as_read(conversation.last_sequence).await?.await?;
        let sent = conversation.send_message("Back again", None).await?.await?;
        println!("said as number {} of {}", sent.sequence.get(), conversation.title);
    }
    for message in messages {
        // The payload is not in the row: `None` leaves it as it is.
        let edited = message.update(Some(format!("{} (edited)", message.text)), None).await?.await?;
        println!("{}", edited.message.text);
    }
    Ok(())
}
