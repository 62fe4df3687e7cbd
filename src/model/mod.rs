//! The words of the field as plain data.
//!
//! Nothing here knows of the wire, of tables or of time passing: values in, values out.
//! `protocol` translates these types to JSON, `store` to rows.

mod action;
mod contradiction;
mod conversation;
mod error_code;
mod event;
mod fold;
mod history;
mod id;
mod intent;
mod json;
mod message;
mod outbox;
mod sequence;
mod session;
mod time;
mod token;
mod user;
mod wish;

pub use action::Action;
pub use contradiction::{Contradiction, EventPart};
pub use conversation::{Conversation, ConversationConfig, ConversationKind, Membership, Participant, Permissions};
pub use error_code::{ErrorClass, ErrorCode, MessagingError};
pub use event::{Event, EventBody, MessageContent, Notice};
pub use fold::{MessageFold, fold_messages};
pub use history::HistoryPolicy;
pub use id::{ClientToken, ConversationId, MessageId, RequestId, UserId, UserName};
pub use intent::{Intent, MessageKey};
pub use json::{NotJson, RawJson};
pub use message::{Delivery, Message};
pub use outbox::{OutboxEntry, OutboxState, Settlement};
pub use sequence::{Ranges, Sequence, SequenceRange};
pub use session::{Credentials, PushToken, Secret, ServerAddress, Session, Tokens};
pub use time::{Timestamp, Uptime};
pub use token::{
    token_of_custom_data, token_of_payload, with_token, with_token_in_custom_data, without_token,
    without_token_in_custom_data,
};
pub use user::{Notification, PrivateUser, User};
pub use wish::{Wish, WishAnswer, WishKind};
