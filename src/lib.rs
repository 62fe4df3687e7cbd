//! Backscroll: an offline-first messaging engine that applications embed.
//!
//! One [`Messenger`] is one user on one device. It keeps every conversation, message and unsent wish in one
//! SQLite file, answers local reads from it with no network, and catches up by itself whenever a
//! server can be reached, from the last position it can vouch for.
//!
//! * **Stored before shown.** An event is told, and a wish is accepted, after it is on disk.
//! * **Once.** A message that was accepted arrives exactly once, or fails and says so, across broken links, killed
//!   processes and power cuts.
//! * **No silent hole.** What is not held is known to be missing, is shown as a gap, and is fetched.
//!
//! # A first program
//!
//! ```no_run
//! use backscroll::model::{ConversationConfig, Credentials, Participant, Secret, UserId, UserName};
//! use backscroll::{Config, Messenger, MessengerEvent};
//! use futures_util::StreamExt;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Works with no network; a session stored earlier resumes by itself.
//!     let config = Config::new("alice.db").server("wss://chat.example.org/platform");
//!     let messenger = Messenger::open(config).await?;
//!     let mut events = messenger.events();
//!
//!     if messenger.me().is_none() {
//!         let (user, password) = (UserName::new("alice@chat.acme"), Secret::new(std::env::var("PASSWORD")?));
//!         messenger.log_in(Credentials::Password { user, password }).await?;
//!     }
//!
//!     // The first await accepts the wish for good, the second waits for what the server makes of it.
//!     let bob = Participant::new(UserId::new(102).ok_or("an id")?);
//!     let wish = ConversationConfig { title: "Lunch".into(), participants: vec![bob], ..Default::default() };
//!     let lunch = messenger.create_conversation(wish).await?.await?.conversation;
//!     let sending = lunch.send_message("Soup or salad?", None).await?;
//!     println!("accepted as {}", sending.token());
//!
//!     while let Some(event) = events.next().await {
//!         if let MessengerEvent::Message(event) = event {
//!             println!("{:>5}  {}", event.sequence, event.message.text);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Where to read on
//!
//! [`engine`] is what applications use. Below it lie, each knowing only what stands after it: [`store`], the
//! file; [`sync`], the pure core that decides everything; [`protocol`], the wire; [`model`], the words of the
//! field as plain data.

pub mod engine;
mod error;
pub mod store;
pub mod sync;
// What both sides of the wire share: a server uses these two and nothing else.
pub mod model;
pub mod protocol;

pub use engine::{Config, Conversation, Message, Messenger, MessengerEvent, Sending};
pub use error::Error;
