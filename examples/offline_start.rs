//! Starts with whatever network there is: shows what is held, and accepts a message.
//!
//! ```sh
//! cargo run --example offline_start -- alice.db "Written on the train"
//! ```

use backscroll::engine::{TimelineItem, Window};
use backscroll::{Config, Messenger};
use std::error::Error;
use std::time::Duration;

/// How long this program waits for a delivery. The engine itself needs nobody to wait.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>()).await
}

/// The program: the arguments are those of the command line.
pub(crate) async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [store, text] = arguments else { return Err("usage: offline_start STORE TEXT".into()) };
    // The file knows the server and the session, which resumes in the background when there is a network.
    let messenger = Messenger::open(Config::new(store)).await?;
    let me = messenger.me().ok_or("nobody has logged in yet: run first_chat")?;
    println!("this is {me}");

    let summaries = messenger.conversations(0, 20).await?;
    for summary in &summaries {
        let at_least = if summary.unread_exact { "" } else { "at least " };
        println!("{:?}: {at_least}{} unread", summary.conversation.title, summary.unread);
        for item in messenger.messages(summary.conversation.id, Window::Newest, 5).await? {
            match item {
                TimelineItem::Message(message) => println!("{:>6}  {}", message.sequence.get(), message.text),
                TimelineItem::Gap(range) => println!("     …  {} events are still to be fetched", range.len()),
            }
        }
    }

    let newest = &summaries.first().ok_or("there is no conversation yet: run first_chat")?.conversation;
    // From here on the message is safe, network or not.
    let sending = newest.send_message(text, None).await?;
    match tokio::time::timeout(PATIENCE, sending).await {
        Ok(sent) => println!("delivered as number {}", sent?.sequence.get()),
        Err(_elapsed) => println!("accepted: it leaves as soon as the file is open and there is a network"),
    }
    for entry in messenger.outbox().await? {
        println!("{}  {:?}", entry.token, entry.state);
    }
    messenger.close().await;
    Ok(())
}
