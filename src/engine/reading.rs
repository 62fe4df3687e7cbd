//! Local reads: what the file holds, with what one's own work on its way will make of it.

use super::{Conversation, Message, Messenger, echo};
use crate::error::Error;
use crate::model::{
    ConversationId, Event, Intent, Membership, MessageId, MessageKey, OutboxEntry, Sequence, SequenceRange, Timestamp,
    User, UserId, UserName,
};
use crate::store::{ConversationRow, Finding, HoleRow, Item, Overview, Preview, Reader, StoreError, Window};
use crate::sync::LinkState;

/// How far the local copy of a conversation can be trusted to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// Everything the server has told of is held, and more will be told as it happens.
    Live,
    /// Something is missing, or not yet known to be whole, and being fetched.
    CatchingUp,
    /// There is no link: what happened since is not known.
    Stale,
}

/// A conversation with everything the file knows of it.
#[derive(Clone, Debug)]
pub struct ConversationSummary {
    /// As last described by the server; bare when it never was.
    pub conversation: Conversation,
    /// Where the user stands to it.
    pub membership: Membership,
    /// The newest sequence the server told of; zero when it never did.
    pub head: Sequence,
    /// How many positions were asked for and completely answered.
    pub covered: u64,
    /// How many positions up to the head are still to be fetched.
    pub missing: u64,
    /// Messages of others, not removed, above the own read mark.
    pub unread: u64,
    /// `false` when a gap may hide more: then it is at least that many.
    pub unread_exact: bool,
    /// Up to and including which event the user has read; zero when never said.
    pub own_read_mark: Sequence,
    /// When something last happened.
    pub last_activity: Timestamp,
    /// The newest message that was not removed, if one is held.
    pub preview: Option<Preview>,
    /// Whether what is shown is whole.
    pub freshness: Freshness,
}

impl ConversationSummary {
    fn new(messenger: &Messenger, row: ConversationRow) -> Self {
        let freshness = match &*messenger.shared.link.borrow() {
            LinkState::Live if row.missing == 0 => Freshness::Live,
            LinkState::Live | LinkState::CatchingUp { .. } => Freshness::CatchingUp,
            LinkState::SignedOut(_) | LinkState::Offline { .. } | LinkState::Connecting | LinkState::Paused => {
                Freshness::Stale
            }
        };
        Self {
            conversation: Conversation::new(messenger, row.conversation),
            membership: row.membership,
            head: row.head,
            covered: row.covered,
            missing: row.missing,
            unread: row.unread,
            unread_exact: row.unread_exact,
            own_read_mark: row.own_read_mark,
            last_activity: row.last_activity,
            preview: row.preview,
            freshness,
        }
    }
}

/// A line of a conversation as people read it.
#[derive(Clone, Debug)]
pub enum TimelineItem {
    /// A message, as it is now.
    Message(Message),
    /// Positions still to be fetched: what was said there is not known yet.
    Gap(SequenceRange),
}

/// Local reads: they wait for neither the network nor a write, and each sees one moment of the file.
///
/// All fail with [`Error::Store`] when the file cannot be read, and once the engine is closed.
impl Messenger {
    /// Returns a conversation; `None` for an unknown one.
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationSummary>, Error> {
        let row = self.read(move |reader| reader.conversation(id)).await?;
        Ok(row.map(|row| ConversationSummary::new(self, row)))
    }

    /// Returns the conversations the user is or was in, latest activity first: at most `limit` after the first
    /// `offset`.
    pub async fn conversations(&self, offset: u32, limit: u32) -> Result<Vec<ConversationSummary>, Error> {
        let rows = self.read(move |reader| reader.conversations(limit, offset)).await?;
        Ok(rows.into_iter().map(|row| ConversationSummary::new(self, row)).collect())
    }

    /// Returns the conversations whose uuid begins with `name`, or whose title is exactly `name`: at most 10.
    pub async fn find_conversations(&self, name: impl Into<String>) -> Result<Vec<ConversationSummary>, Error> {
        let name = name.into();
        let rows = self.read(move |reader| reader.find_conversations(&name)).await?;
        Ok(rows.into_iter().map(|row| ConversationSummary::new(self, row)).collect())
    }

    /// Returns messages of a conversation, oldest first, with one gap item wherever something is missing.
    ///
    /// `limit` counts messages that the server has, at most 1,000. A window that shows the newest of them ends with
    /// the user's own that wait in the outbox; edits and removals on their way are shown as if done.
    pub async fn messages(
        &self,
        conversation: ConversationId,
        window: Window,
        limit: u32,
    ) -> Result<Vec<TimelineItem>, Error> {
        let me = self.my_id();
        let items = self.read(move |reader| timeline(reader, conversation, window, limit, me)).await?;
        let items = items.into_iter().map(|item| match item {
            Item::Message(data) => TimelineItem::Message(Message::new(self, data)),
            Item::Gap(range) => TimelineItem::Gap(range),
        });
        Ok(items.collect())
    }

    /// Returns a message of a conversation, with edits and removals on their way applied; `None` when it is not held.
    pub async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>, Error> {
        let data = self.read(move |reader| with_pending(reader, reader.message(conversation, id)?)).await?;
        Ok(data.map(|data| Message::new(self, data)))
    }

    /// Returns a message wherever it is, as [`message`](Self::message) does. Looks through all conversations.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<Message>, Error> {
        let data = self.read(move |reader| with_pending(reader, reader.find_message(id)?)).await?;
        Ok(data.map(|data| Message::new(self, data)))
    }

    /// Returns what the user asked for, in the order of acceptance: what is on its way, and how the rest ended.
    pub async fn outbox(&self) -> Result<Vec<OutboxEntry>, Error> {
        self.read(|reader| {
            let mut entries = reader.outbox()?;
            entries.extend(reader.wished_entries()?);
            Ok(entries)
        })
        .await
    }

    /// Returns what is still to be fetched, of one conversation or of all, rising in each.
    pub async fn gaps(
        &self,
        conversation: Option<ConversationId>,
    ) -> Result<Vec<(ConversationId, SequenceRange)>, Error> {
        self.read(move |reader| reader.gaps(conversation)).await
    }

    /// Returns the positions that hold nothing and are not asked for again, of one conversation or of all.
    pub async fn holes(&self, conversation: Option<ConversationId>) -> Result<Vec<HoleRow>, Error> {
        self.read(move |reader| reader.holes(conversation)).await
    }

    /// Returns a user as last described; `None` for an unknown one.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        self.read(move |reader| reader.user(id)).await
    }

    /// Returns the user with this name as last described; `None` for an unknown one.
    pub async fn user_named(&self, name: UserName) -> Result<Option<User>, Error> {
        self.read(move |reader| reader.user_named(&name)).await
    }

    /// Returns whom the user follows, as the server last told, by rising number.
    pub async fn subscriptions(&self) -> Result<Vec<UserId>, Error> {
        self.read(|reader| reader.subscriptions()).await
    }

    /// Returns the conversations that anybody may join, as the server last listed them.
    pub async fn public_conversations(&self) -> Result<Vec<ConversationId>, Error> {
        self.read(|reader| reader.public_conversations()).await
    }

    /// Returns the file in numbers. Counts rows: not for every frame of a screen.
    pub async fn overview(&self) -> Result<Overview, Error> {
        self.read(|reader| reader.overview()).await
    }

    /// Checks whether the file holds what it claims; empty when all is well. Reads all of it.
    pub async fn verify(&self) -> Result<Vec<Finding>, Error> {
        self.read(|reader| reader.verify()).await
    }

    /// Returns the event that settled an entry, if the file holds it.
    pub(crate) async fn settling_event(&self, entry: OutboxEntry) -> Result<Option<Event>, Error> {
        self.read(move |reader| settling_event(reader, &entry)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        Ok(self.shared.store.read(question).await?)
    }
}

fn timeline(
    reader: &Reader<'_>,
    conversation: ConversationId,
    window: Window,
    limit: u32,
    me: Option<UserId>,
) -> Result<Vec<Item>, StoreError> {
    let mut items = reader.messages(conversation, window, limit)?;
    let mut outbox = reader.unsettled()?;
    outbox.retain(|entry| entry.intent.conversation() == Some(conversation));
    for item in &mut items {
        if let Item::Message(message) = item {
            echo::apply_pending(message, &outbox);
        }
    }
    if shows_the_end(reader, conversation, window, &items)? {
        items.extend(outbox.iter().filter_map(|entry| echo::message_of(entry, me)).map(Item::Message));
    }
    Ok(items)
}

/// Returns whether nothing newer than the window is held or known to be missing.
fn shows_the_end(
    reader: &Reader<'_>,
    conversation: ConversationId,
    window: Window,
    items: &[Item],
) -> Result<bool, StoreError> {
    let last = items.last().map(|item| match item {
        Item::Message(message) => message.sequence,
        Item::Gap(range) => range.last(),
    });
    match (window, last) {
        (Window::Newest, _) => Ok(true),
        (Window::Before(_), None) => Ok(false),
        (Window::Before(_), Some(last))
        | (Window::After(last) | Window::Around(last), None)
        | (Window::After(_) | Window::Around(_), Some(last)) => {
            Ok(reader.messages(conversation, Window::After(last), 1)?.is_empty())
        }
    }
}

fn with_pending(
    reader: &Reader<'_>,
    message: Option<crate::model::Message>,
) -> Result<Option<crate::model::Message>, StoreError> {
    let Some(mut message) = message else { return Ok(None) };
    echo::apply_pending(&mut message, &reader.unsettled()?);
    Ok(Some(message))
}

fn settling_event(reader: &Reader<'_>, entry: &OutboxEntry) -> Result<Option<Event>, StoreError> {
    let Some(settlement) = entry.settlement else { return Ok(None) };
    let Some(conversation) = settlement.conversation else { return Ok(None) };
    let sequence = match (settlement.sequence, &entry.intent) {
        (Some(sequence), _) => Some(sequence),
        (None, Intent::CreateConversation(_)) => Some(Sequence::FIRST),
        // Refused because it was removed before: the event is that of the first removal.
        (None, Intent::RemoveMessage { message: MessageKey::Id(message), .. }) => {
            reader.message(conversation, *message)?.filter(|message| message.removed).map(|message| message.revision)
        }
        // Likewise: nothing comes after the removal of a conversation.
        (None, Intent::RemoveConversation(_)) => reader.conversation(conversation)?.map(|row| row.head),
        (None, _) => None,
    };
    let Some(range) = sequence.and_then(SequenceRange::single) else { return Ok(None) };
    Ok(reader.events(conversation, range)?.pop())
}
