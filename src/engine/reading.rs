//! Local reads: what the file holds, with what one's own work on its way will make of it.

use super::{ConversationSummary, Message, Messenger, echo};
use crate::error::Error;
use crate::model::{
    ConversationId, Event, Intent, MessageId, MessageKey, OutboxEntry, Sequence, SequenceRange, User, UserId, UserName,
};
use crate::store::{ConversationRow, HoleRow, Item, Overview, Reader, StoreError, Window};

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
        let known = self.summaries(move |reader| Ok(Vec::from_iter(reader.conversation(id)?))).await?;
        Ok(known.into_iter().next())
    }

    /// Returns the conversations the user is or was in, latest activity first: at most `limit` after the first
    /// `offset`.
    pub async fn conversations(&self, offset: u32, limit: u32) -> Result<Vec<ConversationSummary>, Error> {
        self.summaries(move |reader| reader.conversations(limit, offset)).await
    }

    /// Returns the conversations whose uuid begins with `name`, or whose title is exactly `name`: at most 10.
    pub async fn find_conversations(&self, name: impl Into<String>) -> Result<Vec<ConversationSummary>, Error> {
        let name = name.into();
        self.summaries(move |reader| reader.find_conversations(&name)).await
    }

    /// Returns messages of a conversation, oldest first, with one gap item wherever something is missing.
    ///
    /// What a window meets of a gap is fetched, while there is a link, whatever the history policy: not before this
    /// returns, and told as events of history when it comes.
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
        self.fetch_gaps(conversation, window, &items);
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
        self.read(|reader| reader.outbox()).await
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

    /// Returns the event that settled an entry, if the file holds it.
    pub(crate) async fn settling_event(&self, entry: OutboxEntry) -> Result<Option<Event>, Error> {
        self.read(move |reader| settling_event(reader, &entry)).await
    }

    async fn summaries(
        &self,
        question: impl FnOnce(&Reader<'_>) -> Result<Vec<ConversationRow>, StoreError> + Send + 'static,
    ) -> Result<Vec<ConversationSummary>, Error> {
        let (rows, whole_at) = self.read(move |reader| Ok((question(reader)?, reader.whole_at()?))).await?;
        Ok(rows.into_iter().map(|row| ConversationSummary::new(self, row, whole_at)).collect())
    }

    pub(super) async fn read<T: Send + 'static>(
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
