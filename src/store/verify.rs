//! Does the file hold what it claims?

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::value::{LocalId, sequence_of};
use super::{contradictions, coverage, events, log, lookup};
use crate::model::{
    ConversationId, Event, EventBody, MessageId, OutboxState, Ranges, Sequence, SequenceRange, fold_messages,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What kind of thing is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Pages, constraints or references, in SQLite's own words.
    File,
    /// A row of the log is not what was stored: its checksum or its shape says so.
    Row,
    /// A message people read is not what its events make of it.
    Message,
    /// A message cannot be found by its uuid, or an entry of the outbox by its conversation.
    Index,
    /// What is said to be held, to be missing, or to be nothing, is not so.
    Coverage,
    /// Unread count or preview of a conversation are not what its messages make of them.
    List,
    /// An entry of the outbox contradicts itself. Reported, and never touched.
    Outbox,
    /// The server told of an event held something else than before. What it told first is held.
    Server,
    /// The session, a user or another row cannot be read.
    Other,
}

impl Fault {
    /// Returns the name by which the tool tells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Row => "row",
            Self::Message => "message",
            Self::Index => "index",
            Self::Coverage => "coverage",
            Self::List => "list",
            Self::Outbox => "outbox",
            Self::Server => "server",
            Self::Other => "other",
        }
    }

    /// Returns whether it is put right by making anew what follows from other rows.
    pub const fn is_rebuilt(self) -> bool {
        match self {
            Self::Row | Self::Message | Self::Index | Self::Coverage | Self::List => true,
            Self::File | Self::Outbox | Self::Server | Self::Other => false,
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub fault: Fault,
    /// In which conversation, if in one.
    pub conversation: Option<ConversationId>,
    /// At which positions, if at some.
    pub range: Option<SequenceRange>,
    /// What is wrong, as a sentence without its full stop; never content.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(conversation) = self.conversation {
            write!(f, "conversation {conversation}, ")?;
        }
        match self.range {
            Some(range) if range.len() == 1 => write!(f, "sequence {}, ", range.first())?,
            Some(range) => write!(f, "sequences {range}, ")?,
            None => {}
        }
        f.write_str(&self.what)
    }
}

impl Reader<'_> {
    /// Checks the file, its rows and everything derived from others; reads all of it.
    ///
    /// Empty when all is well. Damage is a finding, not an error.
    pub fn verify(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Findings::default();
        self.verify_file(&mut findings)?;
        let known = match self.heads(None) {
            Ok(known) => known,
            Err(error) => {
                findings.damage(error)?;
                return Ok(findings.found);
            }
        };
        for (conversation, local, head) in known {
            findings.conversation = Some(conversation);
            if let Err(error) = self.verify_conversation(conversation, local, head, &mut findings) {
                findings.damage(error)?;
            }
        }
        findings.conversation = None;
        if let Err(error) = self.verify_outbox(&mut findings) {
            findings.damage(error)?;
        }
        if let Err(error) = self.session() {
            findings.damage(error)?;
        }
        Ok(findings.found)
    }

    /// Lets SQLite check pages, constraints and references.
    fn verify_file(&self, findings: &mut Findings) -> Result<(), StoreError> {
        const DOING: &str = "check the file";
        let mut check = self.connection.prepare("PRAGMA integrity_check").doing(DOING)?;
        let lines: Vec<String> = check.query_map([], |row| row.get(0)).and_then(Iterator::collect).doing(DOING)?;
        for line in lines.iter().filter(|line| *line != "ok") {
            findings.add(Fault::File, None, format!("the file is damaged: {line}"));
        }
        let mut check = self.connection.prepare("PRAGMA foreign_key_check").doing(DOING)?;
        let tables: Vec<String> = check.query_map([], |row| row.get(0)).and_then(Iterator::collect).doing(DOING)?;
        for table in tables {
            findings.add(Fault::File, None, format!("a row of {table} refers to nothing"));
        }
        Ok(())
    }

    fn verify_conversation(
        &self,
        conversation: ConversationId,
        local: LocalId,
        head: Sequence,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let connection = self.connection;
        let messages = log::message_rows(connection, local.all())?;
        for row in &messages {
            if row.checksum != row.expected_checksum() {
                findings.add(
                    Fault::Row,
                    SequenceRange::single(row.sequence()),
                    "the message does not fit its checksum",
                );
            }
            if !lookup::holds(connection, row.id, row.uuid)? {
                findings.add(
                    Fault::Index,
                    SequenceRange::single(row.sequence()),
                    "the message cannot be found by its uuid",
                );
            }
        }
        for row in log::event_rows(connection, local.all())? {
            if row.checksum != row.expected_checksum() {
                findings.add(Fault::Row, SequenceRange::single(row.sequence()), "the event does not fit its checksum");
            }
        }
        let log = log::events_between(connection, conversation, local.all())?;
        let own = self.own_user()?;

        // Folding the log again must give the very messages people read.
        let mut refolded =
            fold_messages(&log).into_iter().map(|message| (message.sequence, message)).collect::<BTreeMap<_, _>>();
        for row in messages {
            let sequence = row.sequence();
            let shown = row.clone().into_message(conversation, None);
            let folded = refolded.remove(&sequence).map(|mut message| {
                message.payload = crate::model::without_token(message.payload);
                message
            });
            if folded.as_ref() != Some(&shown) {
                findings.add(
                    Fault::Message,
                    SequenceRange::single(sequence),
                    "the message is not what its events make of it",
                );
            }
        }
        for sequence in refolded.into_keys() {
            findings.add(Fault::Message, SequenceRange::single(sequence), "a message is missing that its events make");
        }
        self.verify_waiting(local, &log, findings)?;

        let held: Ranges = log.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
        let covered = coverage::covered(connection, local)?;
        let holes: Ranges = coverage::holes(connection, local)?.into_iter().map(|(range, _)| range).collect();
        for range in covered.iter() {
            for unheld in held.missing(range) {
                for lost in holes.missing(unheld) {
                    findings.add(Fault::Coverage, Some(lost), "said to be held, and is not");
                }
            }
        }
        for range in held.iter() {
            for uncovered in covered.missing(range) {
                findings.add(Fault::Coverage, Some(uncovered), "held, and not said to be");
            }
        }
        for hole in holes.iter() {
            for uncovered in covered.missing(hole) {
                findings.add(Fault::Coverage, Some(uncovered), "the hole lies outside of what was asked for");
            }
            // By ranges, not by positions: a damaged hole may span all there are.
            if held.iter().any(|range| range.intersection(hole).is_some()) {
                findings.add(Fault::Coverage, Some(hole), "said to hold nothing, and holds something");
            }
        }
        if held.end() > head {
            findings.add(
                Fault::Coverage,
                SequenceRange::single(held.end()),
                format!("an event is held beyond the head, {head}"),
            );
        }
        for contradiction in contradictions::noted(connection, conversation, local)? {
            let what = format!("the server told it otherwise later: {}", contradiction.part);
            findings.add(Fault::Server, SequenceRange::single(contradiction.sequence), what);
        }
        self.verify_row(conversation, local, own, findings)
    }

    /// Compares what is waiting with the changes in the log whose message is not held.
    fn verify_waiting(&self, local: LocalId, log: &[Event], findings: &mut Findings) -> Result<(), StoreError> {
        const DOING: &str = "read changes of messages not held";
        let mut select = self
            .connection
            .prepare_cached("SELECT message, sequence FROM waiting WHERE conversation = ?1")
            .doing(DOING)?;
        let waiting: BTreeSet<(Sequence, MessageId)> = select
            .query_map([local.get()], |row| Ok((row.get(1)?, row.get(0)?)))
            .and_then(Iterator::collect)
            .doing(DOING)?;
        let born: BTreeSet<MessageId> = log
            .iter()
            .filter(|event| matches!(event.body, EventBody::MessageSent(_)))
            .filter_map(|event| event.body.message())
            .collect();
        let expected: BTreeSet<(Sequence, MessageId)> = log
            .iter()
            .filter_map(|event| Some((event.sequence, event.body.message()?)))
            .filter(|(_, message)| !born.contains(message))
            .collect();
        for (sequence, _) in waiting.symmetric_difference(&expected) {
            findings.add(
                Fault::Message,
                SequenceRange::single(*sequence),
                "the change does not wait for its message as it should",
            );
        }
        Ok(())
    }

    /// Compares what the row of a conversation says with what is counted afresh.
    fn verify_row(
        &self,
        conversation: ConversationId,
        local: LocalId,
        own: Option<crate::model::UserId>,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let Some(row) = self.conversation(conversation)? else { return Ok(()) };
        let counted = events::count_unread(self.connection, local, own, row.own_read_mark)?;
        if i64::try_from(row.unread) != Ok(counted) {
            findings.add(Fault::List, None, format!("{} messages are said to be unread, {counted} are", row.unread));
        }
        let newest = events::newest_message(self.connection, local)?;
        let shown = row.preview.map(|preview| (preview.sequence, preview.sender, preview.timestamp, preview.text));
        if newest.map(|(id, sender, sent_at, text)| (sequence_of(id), sender, sent_at, text)) != shown {
            findings.add(Fault::List, None, "the list does not show the newest message");
        }
        Ok(())
    }

    fn verify_outbox(&self, findings: &mut Findings) -> Result<(), StoreError> {
        let mut requests = BTreeSet::new();
        for entry in self.outbox()? {
            if (entry.state == OutboxState::Settled) != entry.settlement.is_some() {
                findings.add(Fault::Outbox, None, format!("outbox entry {} is settled in part", entry.token));
            }
            if entry.state == OutboxState::Failed && entry.error.is_none() {
                findings.add(Fault::Outbox, None, format!("outbox entry {} failed without a reason", entry.token));
            }
            if !requests.insert(entry.request) {
                findings.add(
                    Fault::Outbox,
                    None,
                    format!("outbox entry {} shares its request id with another", entry.token),
                );
            }
        }
        for entry in self.misplaced()?.into_iter().chain(self.misplaced_wishes()?) {
            let what = format!("outbox entry {} cannot be found by its conversation", entry.token);
            findings.add(Fault::Index, None, what);
        }
        Ok(())
    }
}

/// What was found so far, and where the search is.
#[derive(Default)]
struct Findings {
    conversation: Option<ConversationId>,
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, fault: Fault, range: Option<SequenceRange>, what: impl Into<String>) {
        self.found.push(Finding { fault, conversation: self.conversation, range, what: what.into() });
    }

    /// Takes damage for a finding; another error ends the search.
    fn damage(&mut self, error: StoreError) -> Result<(), StoreError> {
        if let StoreError::Damaged { table, rowid, .. } = error {
            let (fault, range) = match table {
                "message" | "event" => (Fault::Row, SequenceRange::single(sequence_of(rowid))),
                "message_hash" => (Fault::Index, None),
                "coverage" | "hole" => (Fault::Coverage, None),
                "outbox" => (Fault::Outbox, None),
                _ => (Fault::Other, None),
            };
            self.add(fault, range, error.to_string());
        } else if let StoreError::Sqlite { doing, source } = &error
            && source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
        {
            self.add(Fault::File, None, format!("damage made it impossible to {doing}"));
        } else {
            return Err(error);
        }
        Ok(())
    }
}
