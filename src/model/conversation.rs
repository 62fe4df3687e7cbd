//! Conversations, who takes part, and with what rights.

use super::{ConversationId, RawJson, Sequence, Timestamp, UserId};

/// What a participant may do, as named booleans.
///
/// Source: protocol notes, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permissions(u32);

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident, $with:ident, $constant:ident = $bits:literal;)*) => {
        $(const $constant: u32 = $bits;)*

        impl Permissions {
            $(
                $(#[$doc])*
                pub const fn $name(self) -> bool {
                    self.0 & $constant != 0
                }

                /// Returns the same permissions with this right given or taken.
                #[must_use]
                pub const fn $with(self, given: bool) -> Self {
                    Self(if given { self.0 | $constant } else { self.0 & !$constant })
                }
            )*
        }
    };
}

rights! {
    /// Returns whether the participant may send messages.
    can_write, with_write, WRITE = 1;
    /// Returns whether the participant may edit their own messages.
    can_edit, with_edit, EDIT = 2;
    /// Returns whether the participant may remove their own messages.
    can_remove, with_remove, REMOVE = 4;
    /// Returns whether the participant may add, remove and change participants.
    can_manage_participants, with_manage_participants, MANAGE = 8;
    /// Returns whether the participant may edit anyone's messages.
    can_edit_all, with_edit_all, EDIT_ALL = 16;
    /// Returns whether the participant may remove anyone's messages.
    can_remove_all, with_remove_all, REMOVE_ALL = 32;
    /// Returns whether the participant owns the conversation and may change its title and data.
    is_owner, with_owner, OWNER = 32768;
}

impl Permissions {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// Write, and edit and remove one's own messages: what a new participant gets.
    pub const WRITER: Self = Self(WRITE | EDIT | REMOVE);
    /// Owner with every right, in the form that every client of the protocol shows as owner.
    pub const OWNER: Self = Self(65535);

    /// Takes the bits of the wire; unknown ones are kept.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the bits of the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Permissions {
    fn default() -> Self {
        Self::WRITER
    }
}

/// One user in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub user: UserId,
    /// With what rights.
    pub permissions: Permissions,
    /// The highest event the user said to have read; zero when never said.
    pub last_read: Sequence,
}

impl Participant {
    /// Returns a participant with the rights of a writer who has read nothing.
    pub const fn new(user: UserId) -> Self {
        Self { user, permissions: Permissions::WRITER, last_read: Sequence::ZERO }
    }

    /// Returns the same participant with other rights.
    #[must_use]
    pub const fn with_permissions(self, permissions: Permissions) -> Self {
        Self { permissions, ..self }
    }
}

/// How a conversation behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationKind {
    /// Participants come and go by invitation.
    #[default]
    Regular,
    /// Exactly two participants, one such conversation for each pair.
    Direct,
    /// Anyone of the account may join.
    Public,
    /// A participant sees only messages of the time they were in.
    Uber,
}

/// What a new conversation should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationConfig {
    /// May be empty.
    pub title: String,
    /// The others; the server adds the creator as owner.
    pub participants: Vec<Participant>,
    /// Exactly two participants, at most one conversation for each pair.
    pub direct: bool,
    /// Anyone of the account may join.
    pub public_join: bool,
    /// A participant sees only messages of the time they were in.
    pub uber: bool,
    /// A JSON object, at most 5 kB.
    pub custom_data: RawJson,
}

impl Default for ConversationConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            participants: Vec::new(),
            direct: false,
            public_join: false,
            uber: false,
            custom_data: RawJson::empty_object(),
        }
    }
}

/// Where the user stands to a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// Takes part.
    #[default]
    Member,
    /// Was in and is no longer; history stays readable.
    Left,
    /// The conversation is gone for everybody.
    Removed,
    /// Never was in; known because it was asked for by its id.
    Stranger,
}

/// A conversation as the server described it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Assigned by the server.
    pub id: ConversationId,
    /// May be empty.
    pub title: String,
    /// In the order the server listed them.
    pub participants: Vec<Participant>,
    /// Exactly two participants.
    pub direct: bool,
    /// Anyone of the account may join.
    pub public_join: bool,
    /// A participant sees only messages of the time they were in.
    pub uber: bool,
    /// A JSON object.
    pub custom_data: RawJson,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the last conversation or message event happened.
    pub last_update: Timestamp,
    /// The newest sequence when this description was made; zero when the description did not say.
    pub last_sequence: Sequence,
}

impl Conversation {
    /// Rebuilds a conversation from what somebody kept of it: no network, no disk.
    ///
    /// This is the one way a conversation comes back, be it from the store's own rows or from an
    /// application's table. What the caller does not know may be left at its default.
    pub fn recreate(
        id: ConversationId,
        config: ConversationConfig,
        last_sequence: Sequence,
        last_update: Timestamp,
        created_at: Timestamp,
    ) -> Self {
        let ConversationConfig { title, participants, direct, public_join, uber, custom_data } = config;
        Self { id, title, participants, direct, public_join, uber, custom_data, created_at, last_update, last_sequence }
    }

    /// Returns how the conversation behaves.
    pub const fn kind(&self) -> ConversationKind {
        if self.direct {
            ConversationKind::Direct
        } else if self.uber {
            ConversationKind::Uber
        } else if self.public_join {
            ConversationKind::Public
        } else {
            ConversationKind::Regular
        }
    }

    /// Returns the participant who is `user`.
    pub fn participant(&self, user: UserId) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.user == user)
    }
}
