//! What a client asked for, as the wire names it.

use std::fmt;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What caused an event or a refusal: the action some client asked the server for.
        ///
        /// Source: protocol notes, sections 6 and 7 (`on_incoming_event`).
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Action {
            $($(#[$doc])* $variant,)*
            /// An action this version does not know, by its name on the wire.
            Other(Box<str>),
        }

        impl Action {
            /// Every action that has a name of its own here, in the order of the protocol notes.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name on the wire.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for Action {
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }
        }
    };
}

actions! {
    /// A conversation is made.
    CreateConversation = "createConversation",
    /// Title, public join and custom data are replaced.
    EditConversation = "editConversation",
    /// A conversation is removed for everybody.
    RemoveConversation = "removeConversation",
    /// The server removes a conversation whose last participant left.
    RemoveEmptyConversation = "removeEmptyConversation",
    /// The user joins a public conversation.
    JoinConversation = "joinConversation",
    /// The user leaves a conversation.
    LeaveConversation = "leaveConversation",
    /// One conversation is read.
    GetConversation = "getConversation",
    /// Up to 30 conversations are read.
    GetConversations = "getConversations",
    /// The public conversations are listed.
    GetPublicConversations = "getPublicConversations",
    /// Participants are added.
    AddParticipants = "addParticipants",
    /// The rights of participants are changed.
    EditParticipants = "editParticipants",
    /// Participants are removed.
    RemoveParticipants = "removeParticipants",
    /// One user is read.
    GetUser = "getUser",
    /// Up to 50 users are read.
    GetUsers = "getUsers",
    /// The user's own data is changed.
    EditUser = "editUser",
    /// The user's presence is broadcast.
    SetStatus = "setStatus",
    /// The user follows other users.
    Subscribe = "subscribe",
    /// The user stops following other users.
    Unsubscribe = "unsubscribe",
    /// The users followed are listed.
    GetSubscriptionList = "getSubscriptionList",
    /// The kinds of event worth a push notification are chosen.
    ManageNotification = "manageNotification",
    /// A message is sent.
    SendMessage = "sendMessage",
    /// A message is changed.
    EditMessage = "editMessage",
    /// A message is removed.
    RemoveMessage = "removeMessage",
    /// Typing is announced.
    TypingMessage = "typingMessage",
    /// A read mark is set.
    IsRead = "isRead",
    /// History is asked for.
    RetransmitEvents = "retransmitEvents",
    /// The conversations that moved since a cursor are asked for: an extension of our own server.
    HeadsSince = "headsSince",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
