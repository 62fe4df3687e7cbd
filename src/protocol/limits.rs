//! The numbers of the protocol, each with its unit and its source.

use std::time::Duration;

/// Events a single `retransmitEvents` may ask for. Source: protocol notes, section 10; more is error 22.
pub const RETRANSMIT_MAX: u32 = 100;
/// Conversations a single `getConversations` may ask for. Source: protocol notes, section 10.
pub const CONVERSATIONS_MAX: usize = 30;
/// Users a single `getUsers` may ask for. Source: protocol notes, section 10.
pub const USERS_MAX: usize = 50;
/// Unicode scalar values in the text of a message. Source: protocol notes, section 10; the unit is our choice.
pub const TEXT_CHARS_MAX: usize = 5_000;
/// Unicode scalar values in the title of a conversation. Source: our choice; the protocol states none, and every frame
/// that describes a conversation carries it.
pub const TITLE_CHARS_MAX: usize = TEXT_CHARS_MAX;
/// Bytes of a message's payload: what leaves room in a frame for the longest text and the envelope. Source: our choice.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX / 4;
/// Bytes of a conversation's custom data. Source: protocol notes, section 10.
pub const CUSTOM_DATA_BYTES_MAX: usize = 5_000;
/// Participants of one conversation. Source: protocol notes, section 10.
pub const PARTICIPANTS_MAX: usize = 1_000;
/// Least time between two announcements of typing in one conversation. Source: protocol notes, section 10.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of one frame, either way. The largest legal frames (a thousand participants, a long text with its
/// payload) stay far below; what is longer is refused before it is parsed.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Heads in one frame of `onHeadsSince`: less than half of [`FRAME_BYTES_MAX`].
pub const HEADS_MAX: usize = 20_000;
/// Bytes of the cursor of `headsSince`; a longer one is none that a server gave.
pub const CURSOR_BYTES_MAX: usize = 256;
/// How long a request may wait for its answer. Source: protocol notes, section 4.1.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the server may take to greet. Source: protocol notes, section 1.4; the number is our choice.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Least time between two messaging requests to a server that states no limit. Source: protocol notes, section 4.1.
pub const REQUEST_INTERVAL: Duration = Duration::from_millis(220);
