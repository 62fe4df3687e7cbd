//! In what a file and its server may differ, and what a comparison found.

use crate::model::{ConversationId, EventPart, Sequence, SequenceRange};
use std::fmt;

/// Differences that are told one by one; further ones are counted.
pub(super) const TOLD_MAX: usize = 1_000;

/// How much of a file is compared with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The list of conversations, their heads and descriptions.
    Heads,
    /// And in each conversation some events, and some positions at which there is said to be none.
    Sample {
        /// How many positions of each kind, in a conversation.
        positions: u32,
        /// The same seed chooses the same positions.
        seed: u64,
    },
    /// And everything that is held.
    Full,
}

/// A part of a conversation's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DescriptionPart {
    /// The title.
    Title,
    /// The custom data.
    CustomData,
    /// Direct, public or uber.
    Kind,
    /// Who takes part, and with what rights.
    Participants,
    /// How far others have read.
    ReadMarks,
    /// How far the user has read.
    OwnReadMark,
}

impl DescriptionPart {
    /// Returns the name by which the tool tells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::CustomData => "custom data",
            Self::Kind => "kind",
            Self::Participants => "participants",
            Self::ReadMarks => "read marks",
            Self::OwnReadMark => "own read mark",
        }
    }
}

/// In what the file and the server differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Difference {
    /// The server lists a conversation that the file does not know.
    NotHeld,
    /// The file has a conversation of the user's that the server does not know, or not as one.
    UnknownToServer,
    /// The server stands further than the file knows.
    HeadBehind {
        /// The head in the file.
        held: Sequence,
        /// The head at the server.
        shown: Sequence,
    },
    /// The conversation is described otherwise.
    Description(DescriptionPart),
    /// The server shows events where the file says that there are none.
    Hole,
    /// The server shows events that the file says it holds, and has lost.
    Lost,
    /// The file holds events that the server does not show, with why it need not.
    NotShown(Option<Allowed>),
    /// Events are told otherwise.
    Event(EventPart),
}

/// Why a server need not show what the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allowed {
    /// The message was removed.
    Removed,
    /// The user is not in the conversation any more, or was not all the time in one that shows only that time.
    Outside,
}

/// A difference, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Discrepancy {
    /// In which conversation.
    pub conversation: ConversationId,
    /// At which positions, when it is about events.
    pub range: Option<SequenceRange>,
    /// In what.
    pub difference: Difference,
}

impl Discrepancy {
    /// Returns whether the protocol lets the server differ so: then nothing is wrong with the file.
    pub const fn is_allowed(&self) -> bool {
        matches!(self.difference, Difference::NotShown(Some(_)))
    }

    /// Returns whether the server's copy can take the place of what the file holds.
    pub(super) const fn is_fetched(&self) -> bool {
        match self.difference {
            Difference::NotHeld
            | Difference::HeadBehind { .. }
            | Difference::Description(_)
            | Difference::Hole
            | Difference::Lost
            | Difference::Event(_) => true,
            Difference::UnknownToServer | Difference::NotShown(_) => false,
        }
    }
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conversation {}, ", self.conversation)?;
        match self.range {
            Some(range) if range.len() == 1 => write!(f, "sequence {}, ", range.first())?,
            Some(range) => write!(f, "sequences {range}, ")?,
            None => {}
        }
        match self.difference {
            Difference::NotHeld => f.write_str("the server lists it, the file does not know it"),
            Difference::UnknownToServer => f.write_str("the server does not know it"),
            Difference::HeadBehind { held, shown } => write!(f, "the server is at {shown}, the file at {held}"),
            Difference::Description(part) => write!(f, "the server describes it otherwise: {}", part.name()),
            Difference::Hole => f.write_str("said to hold nothing, and the server shows something"),
            Difference::Lost => f.write_str("said to be held and lost, the server shows it"),
            Difference::NotShown(None) => f.write_str("held, and not shown by the server"),
            Difference::NotShown(Some(Allowed::Removed)) => {
                f.write_str("held, and not shown by the server: the message was removed")
            }
            Difference::NotShown(Some(Allowed::Outside)) => {
                f.write_str("held, and not shown by the server: the user is or was outside")
            }
            Difference::Event(part) => write!(f, "the server tells it otherwise: {part}"),
        }
    }
}

/// What could not be compared: asked again and again, the server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unanswered {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Which part of its history; `None` when the server did not even describe it, so that nothing of it is compared.
    pub range: Option<SequenceRange>,
}

impl Unanswered {
    /// Returns whether nobody knows for want of an answer if this difference is still there.
    pub(super) fn hides(&self, found: &Discrepancy) -> bool {
        let hidden = match (self.range, found.range) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(unanswered), Some(found)) => unanswered.intersection(found).is_some(),
        };
        hidden && self.conversation == found.conversation
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conversation {}, ", self.conversation)?;
        if let Some(range) = self.range {
            write!(f, "sequences {range}, ")?;
        }
        f.write_str("not compared: the server did not answer")
    }
}

/// What a comparison with the server found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many conversations were looked at.
    pub conversations: u64,
    /// How many positions of history were compared.
    pub positions: u64,
    /// The first thousand differences, in the order of their discovery; those that are allowed among them.
    pub found: Vec<Discrepancy>,
    /// How many there are in all, without those that are allowed.
    pub wrong: u64,
    /// The first thousand parts that could not be compared, because the server did not answer.
    pub unanswered: Vec<Unanswered>,
    /// How many there are in all.
    pub silent: u64,
}

impl Comparison {
    /// Returns whether the file holds what the server shows. What the server does not answer is not known to be so.
    pub const fn is_same(&self) -> bool {
        self.wrong == 0 && self.silent == 0
    }

    /// Adds what came of one conversation.
    pub(super) fn add(&mut self, positions: u64, found: &[Discrepancy], unanswered: &[Unanswered]) {
        self.conversations += 1;
        self.positions += positions;
        self.wrong += found.iter().filter(|found| !found.is_allowed()).count() as u64;
        self.found.extend(found.iter().take(TOLD_MAX - self.found.len()));
        self.silent += unanswered.len() as u64;
        self.unanswered.extend(unanswered.iter().take(TOLD_MAX - self.unanswered.len()));
    }
}

/// What a repair from the server found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnlineRepair {
    /// What differed.
    pub found: Comparison,
    /// The first thousand differences that are gone: the file has the server's copy now.
    pub fixed: Vec<Discrepancy>,
    /// What differs still: nothing that the server cannot replace was taken away.
    pub left: Comparison,
}
