//! Does the file hold what it claims?

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::value::{LocalId, sequence_of};
use super::{coverage, events, log, lookup};
use crate::model::{
    ConversationId, Event, EventBody, MessageId, OutboxState, Ranges, Sequence, SequenceRange, fold_messages,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which conversation, if in one.
    pub conversation: Option<ConversationId>,
    /// At which position, if at one.
    pub sequence: Option<Sequence>,
    /// What is wrong, as a sentence without its full stop; never content.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(conversation) = self.conversation {
            write!(f, "conversation {conversation}, ")?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, "sequence {sequence}, ")?;
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
            findings.add(None, format!("the file is damaged: {line}"));
        }
        let mut check = self.connection.prepare("PRAGMA foreign_key_check").doing(DOING)?;
        let tables: Vec<String> = check.query_map([], |row| row.get(0)).and_then(Iterator::collect).doing(DOING)?;
        for table in tables {
            findings.add(None, format!("a row of {table} refers to nothing"));
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
                findings.add(Some(row.sequence()), "the message does not fit its checksum");
            }
            if !lookup::holds(connection, row.id, row.uuid)? {
                findings.add(Some(row.sequence()), "the message cannot be found by its uuid");
            }
        }
        for row in log::event_rows(connection, local.all())? {
            if row.checksum != row.expected_checksum() {
                findings.add(Some(row.sequence()), "the event does not fit its checksum");
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
                findings.add(Some(sequence), "the message is not what its events make of it");
            }
        }
        for sequence in refolded.into_keys() {
            findings.add(Some(sequence), "a message is missing that its events make");
        }
        self.verify_waiting(local, &log, findings)?;

        let held: Ranges = log.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
        let covered = coverage::covered(connection, local)?;
        let holes: Ranges = coverage::holes(connection, local)?.into_iter().map(|(range, _)| range).collect();
        for range in covered.iter() {
            for unheld in held.missing(range) {
                for lost in holes.missing(unheld) {
                    findings.add(Some(lost.first()), format!("{lost} is said to be held and is not"));
                }
            }
        }
        for range in held.iter() {
            for uncovered in covered.missing(range) {
                findings.add(Some(uncovered.first()), format!("{uncovered} is held and not said to be"));
            }
        }
        for hole in holes.iter() {
            for uncovered in covered.missing(hole) {
                findings
                    .add(Some(uncovered.first()), format!("the hole {uncovered} lies outside of what was asked for"));
            }
            if hole.iter().any(|at| held.contains(at)) {
                findings.add(Some(hole.first()), format!("{hole} is said to hold nothing and holds something"));
            }
        }
        if held.end() > head {
            findings.add(Some(held.end()), format!("an event is held beyond the head, {head}"));
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
            findings.add(Some(*sequence), "the change does not wait for its message as it should");
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
            findings.add(None, format!("{} messages are said to be unread, {counted} are", row.unread));
        }
        let newest = events::newest_message(self.connection, local)?;
        let shown = row.preview.map(|preview| (preview.sequence, preview.sender, preview.timestamp, preview.text));
        if newest.map(|(id, sender, sent_at, text)| (sequence_of(id), sender, sent_at, text)) != shown {
            findings.add(None, "the list does not show the newest message");
        }
        Ok(())
    }

    fn verify_outbox(&self, findings: &mut Findings) -> Result<(), StoreError> {
        let mut requests = BTreeSet::new();
        for entry in self.outbox()? {
            if (entry.state == OutboxState::Settled) != entry.settlement.is_some() {
                findings.add(None, format!("outbox entry {} is settled in part", entry.token));
            }
            if entry.state == OutboxState::Failed && entry.error.is_none() {
                findings.add(None, format!("outbox entry {} failed without a reason", entry.token));
            }
            if !requests.insert(entry.request) {
                findings.add(None, format!("outbox entry {} shares its request id with another", entry.token));
            }
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
    fn add(&mut self, sequence: Option<Sequence>, what: impl Into<String>) {
        self.found.push(Finding { conversation: self.conversation, sequence, what: what.into() });
    }

    /// Takes damage for a finding; another error ends the search.
    fn damage(&mut self, error: StoreError) -> Result<(), StoreError> {
        if let StoreError::Damaged { table, rowid, .. } = error {
            let packed = matches!(table, "message" | "event");
            self.add(packed.then(|| sequence_of(rowid)), error.to_string());
        } else if let StoreError::Sqlite { doing, source } = &error
            && source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
        {
            self.add(None, format!("damage made it impossible to {doing}"));
        } else {
            return Err(error);
        }
        Ok(())
    }
}
