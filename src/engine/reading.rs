//! Local reads: what the file holds, with what one's own work on its way will make of it.

use super::{ConversationSummary, Message, Messenger, echo};
use crate::error::Error;
use crate::model::{
    self, ConversationId, Delivery, Event, Intent, MessageId, MessageKey, OutboxEntry, Sequence, SequenceRange, User,
    UserId, UserName,
};
use crate::store::{ConversationRow, HoleRow, Item, Overview, Preview, Reader, StoreError, Window};

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
    /// Returns a conversation, with the user's own changes on their way shown as if done; `None` for an unknown one.
    ///
    /// One that is still to be made is known by its provisional id, which goes on to name it afterwards.
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationSummary>, Error> {
        let me = self.my_id();
        let known = self.summaries(move |reader| Ok(Vec::from_iter(conversation(reader, id, me)?))).await?;
        Ok(known.into_iter().next())
    }

    /// Returns the conversations the user is or was in: those still to be made first, then latest activity first, at
    /// most `limit` after the first `offset`.
    pub async fn conversations(&self, offset: u32, limit: u32) -> Result<Vec<ConversationSummary>, Error> {
        let me = self.my_id();
        self.summaries(move |reader| conversations(reader, offset, limit, me)).await
    }

    /// Returns the conversations whose uuid begins with `name`, or whose title is exactly `name`: at most 10.
    pub async fn find_conversations(&self, name: impl Into<String>) -> Result<Vec<ConversationSummary>, Error> {
        let (name, me) = (name.into(), self.my_id());
        self.summaries(move |reader| find_conversations(reader, &name, me)).await
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
        let found = move |reader: &Reader<'_>| reader.message(reader.resolve(conversation)?, id);
        let data = self.read(move |reader| with_pending(reader, found(reader)?)).await?;
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

    /// Returns how many conversations and outbox entries cannot be read for damage, and are therefore in no list of them;
    /// [`verify`](Self::verify) names them.
    pub async fn unreadable(&self) -> Result<u64, Error> {
        self.read(|reader| reader.unreadable()).await
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

    /// Returns a user as last described, oneself with changes on their way shown as if done; `None` for an unknown one.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        let own = self.my_id() == Some(id);
        self.read(move |reader| {
            let mut user = reader.user(id)?;
            if let Some(user) = user.as_mut().filter(|_| own) {
                echo::apply_to_user(user, &reader.unsettled(None)?);
            }
            Ok(user)
        })
        .await
    }

    /// Returns the user with this name as last described; `None` for an unknown one.
    pub async fn user_named(&self, name: UserName) -> Result<Option<User>, Error> {
        self.read(move |reader| reader.user_named(&name)).await
    }

    /// Returns whom the user follows, as the server last told and with wishes on their way shown as if done, by rising
    /// number.
    pub async fn subscriptions(&self) -> Result<Vec<UserId>, Error> {
        self.read(|reader| Ok(echo::apply_to_subscriptions(reader.subscriptions()?, &reader.unsettled(None)?))).await
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
        question: impl FnOnce(&Reader<'_>) -> Result<Vec<Shown>, StoreError> + Send + 'static,
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

type Shown = (ConversationRow, Delivery);

/// How many of the newest messages are looked at for one that is not about to be removed.
const PREVIEW_LOOKS_AT: u32 = 20;

fn conversation(reader: &Reader<'_>, id: ConversationId, me: Option<UserId>) -> Result<Option<Shown>, StoreError> {
    let id = reader.resolve(id)?;
    let outbox = reader.unsettled(Some(id))?;
    let shown = match reader.conversation(id)? {
        Some(row) => Some((row, Delivery::Settled)),
        None => outbox.iter().find_map(|entry| echo::conversation_of(entry, me)),
    };
    shown.map(|shown| with_changes(reader, shown, &outbox, me)).transpose()
}

fn conversations(reader: &Reader<'_>, offset: u32, limit: u32, me: Option<UserId>) -> Result<Vec<Shown>, StoreError> {
    let makings = reader.unsettled_makings()?;
    let to_be_made: Vec<Shown> = makings.iter().rev().filter_map(|entry| echo::conversation_of(entry, me)).collect();
    let before = u32::try_from(to_be_made.len()).unwrap_or(u32::MAX);
    let mut shown: Vec<Shown> = to_be_made.into_iter().skip(offset as usize).take(limit as usize).collect();
    let left = limit - u32::try_from(shown.len()).unwrap_or(limit);
    if left > 0 {
        let held = reader.conversations(left, offset.saturating_sub(before))?;
        shown.extend(held.into_iter().map(|row| (row, Delivery::Settled)));
    }
    shown.into_iter().map(|shown| with_own_changes(reader, shown, me)).collect()
}

fn find_conversations(reader: &Reader<'_>, name: &str, me: Option<UserId>) -> Result<Vec<Shown>, StoreError> {
    let makings = reader.unsettled_makings()?;
    let is_named = |(row, _): &Shown| {
        let crate::model::Conversation { title, id, .. } = &row.conversation;
        !name.is_empty() && (title == name || id.to_string().starts_with(&name.to_lowercase()))
    };
    let to_be_made = makings.iter().filter_map(|entry| echo::conversation_of(entry, me)).filter(is_named);
    let held = reader.find_conversations(name)?.into_iter().map(|row| (row, Delivery::Settled));
    to_be_made.chain(held).map(|shown| with_own_changes(reader, shown, me)).collect()
}

/// Shows a conversation with what is on its way in it.
fn with_own_changes(reader: &Reader<'_>, shown: Shown, me: Option<UserId>) -> Result<Shown, StoreError> {
    let outbox = reader.unsettled(Some(shown.0.conversation.id))?;
    with_changes(reader, shown, &outbox, me)
}

fn with_changes(
    reader: &Reader<'_>,
    (mut row, delivery): Shown,
    outbox: &[OutboxEntry],
    me: Option<UserId>,
) -> Result<Shown, StoreError> {
    let id = row.conversation.id;
    if outbox.iter().any(echo::shows_in_messages) {
        let end = shown_messages(reader, id, Window::Newest, PREVIEW_LOOKS_AT, outbox, me)?;
        let seen: Vec<model::Message> = end
            .into_iter()
            .filter_map(|item| match item {
                Item::Message(message) => Some(message),
                Item::Gap(_) => None,
            })
            .collect();
        // What the file shows stands, unless that is what was looked at and is about to be removed.
        row.preview.take_if(|held| seen.iter().any(|message| message.sequence == held.sequence));
        let newest = seen.into_iter().rev().find(|message| !message.removed);
        row.preview = newest.and_then(Preview::of).or(row.preview);
    }
    let changed = echo::apply_to_conversation(&mut row, outbox, me);
    // What is still to be made has come less far than any change of it.
    let delivery = if delivery == Delivery::Settled { changed.unwrap_or(delivery) } else { delivery };
    Ok((row, delivery))
}

fn timeline(
    reader: &Reader<'_>,
    conversation: ConversationId,
    window: Window,
    limit: u32,
    me: Option<UserId>,
) -> Result<Vec<Item>, StoreError> {
    let conversation = reader.resolve(conversation)?;
    shown_messages(reader, conversation, window, limit, &reader.unsettled(Some(conversation))?, me)
}

/// Reads messages, and shows them as they will be once what is on its way in this conversation has arrived.
fn shown_messages(
    reader: &Reader<'_>,
    conversation: ConversationId,
    window: Window,
    limit: u32,
    outbox: &[OutboxEntry],
    me: Option<UserId>,
) -> Result<Vec<Item>, StoreError> {
    let mut items = reader.messages(conversation, window, limit)?;
    items.retain(|item| !matches!(item, Item::Message(message) if echo::is_second_copy(message, outbox)));
    for item in &mut items {
        if let Item::Message(message) = item {
            echo::apply_pending(message, outbox);
        }
    }
    if shows_the_end(reader, conversation, window, &items)? {
        let unsent = outbox.iter().filter_map(|entry| echo::message_of(entry, me)).map(|mut message| {
            echo::apply_pending(&mut message, outbox);
            Item::Message(message)
        });
        items.extend(unsent);
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
    let outbox = reader.unsettled(Some(message.conversation))?;
    echo::apply_pending(&mut message, &outbox);
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
