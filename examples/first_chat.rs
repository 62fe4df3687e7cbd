//! Says hello to somebody and waits for the answer.
//!
//! ```sh
//! PASSWORD=… cargo run --example first_chat -- \
//!     alice.db wss://127.0.0.1:8443/platform /tmp/chat/certificate.pem alice@chat.acme bob@chat.acme
//! ```

use backscroll::model::{ConversationConfig, Credentials, Participant, Secret, UserName};
use backscroll::{Config, Messenger, MessengerEvent};
use futures_util::StreamExt;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>(), std::env::var("PASSWORD").unwrap_or_default()).await
}

/// The program: the arguments are those of the command line.
pub(crate) async fn run(arguments: &[String], password: String) -> Result<(), Box<dyn Error>> {
    let [store, server, certificate, user, other] = arguments else {
        return Err("usage: first_chat STORE SERVER CERTIFICATE USER OTHER, and the password in PASSWORD".into());
    };
    // A server with a certificate of a public authority needs no `extra_root`.
    let messenger = Messenger::open(Config::new(store).server(server).extra_root(certificate)).await?;
    // Listened to before anything is asked for, so that the quickest answer is heard.
    let mut events = messenger.events();
    // The file remembers the session: only the first start needs the password.
    if messenger.me().is_none() {
        let credentials = Credentials::Password { user: UserName::new(user), password: Secret::new(password) };
        messenger.log_in(credentials).await?;
    }

    let other = messenger.get_user_by_name(UserName::new(other)).await?.user;
    // Two people have one direct conversation: whoever asks for it again gets the one there is.
    let wish = ConversationConfig {
        direct: true,
        participants: vec![Participant::new(other.id)],
        ..ConversationConfig::default()
    };
    let conversation = messenger.create_conversation(wish).await?.await?.conversation;

    // The first await accepts the message for good, the second waits for the server.
    let sending = conversation.send_message("Hello!", None).await?;
    println!("accepted as {}", sending.token());
    println!("delivered as number {}", sending.await?.sequence.get());

    while let Some(event) = events.next().await {
        let MessengerEvent::Message(event) = event else { continue };
        if event.message.conversation == conversation.id && event.initiator == other.id {
            println!("{}: {}", other.display_name, event.message.text);
            conversation.mark_as_read(event.sequence).await?.await?;
            break;
        }
    }
    messenger.close().await;
    Ok(())
}
