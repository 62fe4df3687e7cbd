//! The shell: threads, sockets, the clock, and the handles that applications hold.
//!
//! [`Messenger`] sends commands to one task, the driver, which owns the pure core of [`crate::sync`] and
//! performs what it decides. Local reads go past the driver, straight to read-only connections of the
//! store: they wait neither for the network nor for a write.

mod clock;
mod comparison;
mod config;
mod conversation;
mod conversations;
mod driver;
mod echo;

mod events;
mod follower;
mod history;
mod leaving;
mod listeners;
mod message;
mod messenger;
mod online;
mod open_store;
mod reading;
mod registry;
mod repair;
mod reports;
mod sending;
mod shift;
mod summary;
mod token_keeper;
mod transport;
mod users;

pub use comparison::{Allowed, Comparison, Depth, DescriptionPart, Difference, Discrepancy, OnlineRepair, Unanswered};
pub use config::Config;
pub use conversation::Conversation;
pub use events::{
    ConversationEvent, ConversationListEvent, ConversationServiceEvent, MessageEvent, MessengerEvent,
    MessengerEventType, OutboxEvent, RetransmitEvent, StatusEvent, Subscription, SubscriptionEvent, UserEvent,
};
pub use message::Message;
pub use messenger::Messenger;
pub use reading::TimelineItem;
pub use repair::Repair;
pub use sending::Sending;
pub use summary::{ConversationSummary, Freshness};
pub use token_keeper::TokenKeeper;
pub use transport::TransportError;

// What the signatures above speak of.
pub use crate::store::{Change, Fault, Finding, Holder, HoleRow, Overview, Preview, Role, Window};
pub use crate::sync::{HoleReason, LinkState, Refusal, Settings, SignedOut};
