//! Does the file hold what it claims?

use super::connections::Reader;
use super::conversations::ConversationRow;
use super::error::{Doing, StoreError};
use super::sifted::Sifted;
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
    /// What is said of a conversation cannot be read: its row, a participant, its history policy.
    Conversation,
    /// What is said of a user cannot be read.
    User,
    /// The session or another row cannot be read.
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
            Self::Conversation => "conversation",
            Self::User => "user",
            Self::Other => "other",
        }
    }

    /// Returns whether it is put right from other rows, or by the server, which tells of it again.
    pub const fn is_rebuilt(self) -> bool {
        match self {
            Self::Row | Self::Message | Self::Index | Self::Coverage | Self::List | Self::Conversation | Self::User => {
                true
            }
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
    /// Empty when all is well. Damage is a finding, not an error, and hides nothing beside it.
    pub fn verify(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Findings::default();
        self.verify_file(&mut findings)?;
        let Some(known) = findings.read(self.numbered())? else { return Ok(findings.found) };
        for (conversation, local) in findings.sound(known)? {
            findings.conversation = Some(conversation);
            self.verify_conversation(conversation, local, &mut findings)?;
        }
        findings.conversation = None;
        self.verify_outbox(&mut findings)?;
        findings.read(self.whole_session())?;
        let (tokens, users) = (findings.read(self.sift_push_tokens())?, findings.read(self.sift_users())?);
        tokens.map(|tokens| findings.sound(tokens)).transpose()?;
        users.map(|users| findings.sound(users)).transpose()?;
        findings.read(self.subscriptions())?;
        findings.read(self.public_conversations())?;
        findings.read(self.heads_cursor())?;
        findings.read(self.whole_at())?;
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
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let row = findings.read(self.conversation(conversation))?.flatten();
        let log = self.verify_log(conversation, local, findings);
        if let Some(log) = findings.read(log)?.flatten() {
            let waiting = self.verify_waiting(local, &log, findings);
            findings.read(waiting)?;
            let coverage = self.verify_coverage(local, &log, findings);
            findings.read(coverage)?;
            if let Some(row) = row {
                let row = self.verify_row(local, &row, &log, findings);
                findings.read(row)?;
            }
        }
        for contradiction in
            findings.read(contradictions::noted(self.connection, conversation, local))?.unwrap_or_default()
        {
            let what = format!("the server told it otherwise later: {}", contradiction.part);
            findings.add(Fault::Server, SequenceRange::single(contradiction.sequence), what);
        }
        Ok(())
    }

    /// Checks the rows of the log and the messages that follow from it. Returns the events, unless some cannot be read.
    fn verify_log(
        &self,
        conversation: ConversationId,
        local: LocalId,
        findings: &mut Findings,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        let connection = self.connection;
        let messages = log::sift_messages(connection, local.all())?;
        let events = log::sift_events(connection, local.all())?;
        let readable = messages.damaged.is_empty() && events.damaged.is_empty();
        let (messages, events) = (findings.sound(messages)?, findings.sound(events)?);
        for row in &messages {
            let at = SequenceRange::single(row.sequence());
            if row.checksum != row.expected_checksum() {
                findings.add(Fault::Row, at, "the message does not fit its checksum");
            }
            if findings.read(lookup::holds(connection, row.id, row.uuid))? == Some(false) {
                findings.add(Fault::Index, at, "the message cannot be found by its uuid");
            }
        }
        for row in &events {
            if row.checksum != row.expected_checksum() {
                findings.add(Fault::Row, SequenceRange::single(row.sequence()), "the event does not fit its checksum");
            }
        }
        if !readable {
            // Nothing can be told then of what follows from them.
            return Ok(None);
        }
        let log = log::events_between(connection, conversation, local.all())?;

        // Folding the log again must give the very messages people read.
        let mut refolded =
            fold_messages(&log).into_iter().map(|message| (message.sequence, message)).collect::<BTreeMap<_, _>>();
        for row in messages {
            let sequence = row.sequence();
            let shown = row.into_message(conversation, None);
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
        Ok(Some(log))
    }

    /// Compares what is said to be held, or to be nothing, with what is held.
    fn verify_coverage(&self, local: LocalId, log: &[Event], findings: &mut Findings) -> Result<(), StoreError> {
        let held: Ranges = log.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
        let covered = coverage::covered(self.connection, local)?;
        let holes: Ranges = coverage::holes(self.connection, local)?.into_iter().map(|(range, _)| range).collect();
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
        Ok(())
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

    /// Compares what the row of a conversation says with what is held and counted afresh.
    fn verify_row(
        &self,
        local: LocalId,
        row: &ConversationRow,
        log: &[Event],
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        if let Some(beyond) = log.last().map(|event| event.sequence).filter(|newest| *newest > row.head) {
            let what = format!("an event is held beyond the head, {}", row.head);
            findings.add(Fault::Coverage, SequenceRange::single(beyond), what);
        }
        let counted = events::count_unread(self.connection, local, self.own_user()?, row.own_read_mark)?;
        if i64::try_from(row.unread) != Ok(counted) {
            findings.add(Fault::List, None, format!("{} messages are said to be unread, {counted} are", row.unread));
        }
        let newest = events::newest_message(self.connection, local)?;
        let shown = row.preview.as_ref().map(|shown| (shown.sequence, shown.sender, shown.timestamp, &*shown.text));
        let newest = newest.as_ref().map(|(id, sender, sent_at, text)| (sequence_of(*id), *sender, *sent_at, &**text));
        if newest != shown {
            findings.add(Fault::List, None, "the list does not show the newest message");
        }
        Ok(())
    }

    fn verify_outbox(&self, findings: &mut Findings) -> Result<(), StoreError> {
        let Some(entries) = findings.read(self.sift_outbox())? else { return Ok(()) };
        let mut requests = BTreeSet::new();
        for entry in findings.sound(entries)? {
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
        let Some(wishes) = findings.read(self.sift_wishes())? else { return Ok(()) };
        findings.sound(wishes)?;
        let misplaced = [findings.read(self.misplaced())?, findings.read(self.misplaced_wishes())?];
        for entry in misplaced.into_iter().flatten().flatten() {
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

    /// Takes damage for a finding: `None` is returned in place of what could not be read. Another error ends the search.
    fn read<T>(&mut self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => self.damage(error).map(|()| None),
        }
    }

    /// Takes the damage among rows for findings, and returns the sound ones.
    fn sound<T>(&mut self, rows: Sifted<T>) -> Result<Vec<T>, StoreError> {
        rows.damaged.into_iter().try_for_each(|damage| self.damage(damage))?;
        Ok(rows.sound)
    }

    fn damage(&mut self, error: StoreError) -> Result<(), StoreError> {
        if let StoreError::Damaged { table, rowid, .. } = error {
            let (fault, range) = match table {
                "message" | "event" => (Fault::Row, SequenceRange::single(sequence_of(rowid))),
                "message_hash" => (Fault::Index, None),
                "coverage" | "hole" => (Fault::Coverage, None),
                "conversation" | "participant" => (Fault::Conversation, None),
                "outbox" | "wish" => (Fault::Outbox, None),
                "user" => (Fault::User, None),
                _ => (Fault::Other, None),
            };
            self.add(fault, range, error.to_string());
        } else if let StoreError::Sqlite { doing, source } = &error
            && source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
        {
            self.add(Fault::File, None, format!("damage made it impossible to {doing}"));
        } else if error.is_damage() {
            // What is read without its row id stands alone: of a conversation, or of the file.
            let fault = if self.conversation.is_some() { Fault::Conversation } else { Fault::Other };
            self.add(fault, None, error.to_string());
        } else {
            return Err(error);
        }
        Ok(())
    }
}
