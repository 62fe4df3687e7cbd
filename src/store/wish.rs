//! What processes that only follow want, as rows.

use super::change::Change;
use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::intent::StoredIntent;
use super::sifted::Sifted;
use super::value::{Checksum, Columns};
use crate::model::{ClientToken, ConversationId, Intent, OutboxEntry, Wish, WishAnswer, WishKind};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use std::collections::BTreeSet;

/// How many wishes are kept after they were taken over, the newest, for those who wished.
const ANSWERED_KEPT: i64 = 256;

/// Adds wishes in this order, and returns what that touches. A new entry is wished for once; taking back and trying
/// again may be wished for again.
pub(super) fn add(connection: &Connection, wishes: &[Wish]) -> Result<BTreeSet<Change>, StoreError> {
    const DOING: &str = "store a wish";
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO wish (kind, token, wished_at, intent, conversation, answer, entry, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, NULL, NULL, ?6)
             ON CONFLICT (token, kind) DO UPDATE SET answer = NULL, entry = NULL WHERE kind <> 0",
        )
        .doing(DOING)?;
    let mut touched = BTreeSet::new();
    for wish in wishes {
        let intent = intent_column(&wish.kind);
        insert
            .execute(params![
                kind_column(&wish.kind),
                wish.token,
                wish.wished_at,
                intent,
                about(wish),
                checksum(wish, intent.as_deref())
            ])
            .doing(DOING)?;
        touched.insert(Change::Outbox(wish.token));
    }
    Ok(touched)
}

/// Notes what became of a wish, and forgets those answered long ago. Returns whose it was.
pub(super) fn answer(
    connection: &Connection,
    number: u64,
    answer: WishAnswer,
) -> Result<Option<ClientToken>, StoreError> {
    const DOING: &str = "answer a wish";
    let entry = match answer {
        WishAnswer::Accepted(entry) => Some(entry),
        WishAnswer::Done | WishAnswer::Refused => None,
    };
    let token = connection
        .prepare_cached("UPDATE wish SET answer = ?2, entry = ?3 WHERE number = ?1 RETURNING token")
        .and_then(|mut update| {
            let values = params![number.cast_signed(), answer_column(answer), entry];
            update.query_row(values, |row| row.get(0)).optional()
        })
        .doing(DOING)?;
    connection
        .prepare_cached("DELETE FROM wish WHERE number <= ?1 AND answer IS NOT NULL")
        .and_then(|mut delete| delete.execute([number.cast_signed() - ANSWERED_KEPT]))
        .doing(DOING)?;
    Ok(token)
}

/// How a wish of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wished {
    /// Nobody has taken it over yet.
    Waits,
    /// It was taken over, and this came of it.
    Answered(WishAnswer),
    /// It was never made, or was answered so long ago that it is forgotten.
    Forgotten,
}

const SUBMIT: i64 = 0;
const CANCEL: i64 = 1;
const RETRY: i64 = 2;

const fn kind_column(kind: &WishKind) -> i64 {
    match kind {
        WishKind::Submit(_) => SUBMIT,
        WishKind::Cancel => CANCEL,
        WishKind::Retry => RETRY,
    }
}

const fn answer_column(answer: WishAnswer) -> i64 {
    match answer {
        WishAnswer::Accepted(_) => 0,
        WishAnswer::Done => 1,
        WishAnswer::Refused => 2,
    }
}

fn intent_column(kind: &WishKind) -> Option<String> {
    match kind {
        WishKind::Submit(intent) => {
            Some(serde_json::to_string(&StoredIntent::from(intent)).expect("strings, numbers and valid JSON make JSON"))
        }
        WishKind::Cancel | WishKind::Retry => None,
    }
}

/// Returns the conversation that the entry will be about.
fn about(wish: &Wish) -> Option<ConversationId> {
    match &wish.kind {
        WishKind::Submit(intent) => intent.about(wish.token),
        WishKind::Cancel | WishKind::Retry => None,
    }
}

fn checksum(wish: &Wish, intent: Option<&str>) -> i64 {
    Checksum::new()
        .number(kind_column(&wish.kind))
        .bytes(wish.token.as_uuid().as_bytes())
        .number(wish.wished_at.0)
        .maybe(intent)
        .finish()
}

fn wish_of(row: &Row<'_>) -> Result<(u64, Wish), StoreError> {
    let columns = Columns::new(row, "wish")?;
    let intent: Option<String> = columns.get(4, "intent")?;
    let kind = match (columns.get::<i64>(1, "kind of a wish")?, &intent) {
        (SUBMIT, Some(json)) => {
            let stored: StoredIntent = serde_json::from_str(json).map_err(|_| columns.damaged("intent"))?;
            WishKind::Submit(Intent::from(stored))
        }
        (CANCEL, None) => WishKind::Cancel,
        (RETRY, None) => WishKind::Retry,
        _ => return Err(columns.damaged("kind of a wish")),
    };
    let wish = Wish { token: columns.get(2, "token")?, kind, wished_at: columns.get(3, "time")? };
    if checksum(&wish, intent.as_deref()) != columns.get::<i64>(5, "checksum")? {
        return Err(columns.damaged("wish that fits its checksum"));
    }
    let number = u64::try_from(columns.get::<i64>(0, "number")?).map_err(|_| columns.damaged("number"))?;
    Ok((number, wish))
}

impl Reader<'_> {
    /// Returns the wishes that nobody has taken over yet, with the numbers of their rows, in order. One whose row is
    /// damaged is passed over, and [`verify`](Self::verify) finds it.
    pub fn wishes(&self) -> Result<Vec<(u64, Wish)>, StoreError> {
        Ok(self.sift_wishes()?.go_on())
    }

    pub(super) fn sift_wishes(&self) -> Result<Sifted<(u64, Wish)>, StoreError> {
        self.wishes_by(
            "SELECT number, kind, token, wished_at, intent, checksum FROM wish INDEXED BY wish_waiting
             WHERE answer IS NULL ORDER BY number",
            [],
        )
    }

    fn wishes_by(&self, sql: &str, parameters: impl Params) -> Result<Sifted<(u64, Wish)>, StoreError> {
        Sifted::select(self.connection, sql, parameters, "read wishes", wish_of)
    }

    /// Returns what became of the wish for this entry.
    pub fn submission(&self, token: ClientToken) -> Result<Wished, StoreError> {
        self.wished(token, SUBMIT)
    }

    /// Returns what became of the wish to take this entry back.
    pub fn cancellation(&self, token: ClientToken) -> Result<Wished, StoreError> {
        self.wished(token, CANCEL)
    }

    /// Returns what became of the wish to try this entry again.
    pub fn retrial(&self, token: ClientToken) -> Result<Wished, StoreError> {
        self.wished(token, RETRY)
    }

    fn wished(&self, token: ClientToken, kind: i64) -> Result<Wished, StoreError> {
        const DOING: &str = "read the answer to a wish";
        let mut select = self
            .connection
            .prepare_cached("SELECT number, answer, entry FROM wish WHERE token = ?1 AND kind = ?2")
            .doing(DOING)?;
        let mut rows = select.query(params![token, kind]).doing(DOING)?;
        let Some(row) = rows.next().doing(DOING)? else { return Ok(Wished::Forgotten) };
        let columns = Columns::new(row, "wish")?;
        let entry: Option<ClientToken> = columns.get(2, "token")?;
        match (columns.get::<Option<i64>>(1, "answer")?, entry) {
            (None, None) => Ok(Wished::Waits),
            (Some(0), Some(entry)) => Ok(Wished::Answered(WishAnswer::Accepted(entry))),
            (Some(1), None) => Ok(Wished::Answered(WishAnswer::Done)),
            (Some(2), None) => Ok(Wished::Answered(WishAnswer::Refused)),
            _ => Err(columns.damaged("answer to a wish")),
        }
    }

    /// Returns the entries that waiting wishes will become, behind all that the outbox holds.
    pub fn wished_entries(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        self.as_entries(self.wishes()?)
    }

    /// Returns those of them that are about a conversation, or about the user.
    pub(super) fn wished_about(&self, about: Option<ConversationId>) -> Result<Vec<OutboxEntry>, StoreError> {
        let wishes = self.wishes_by(
            "SELECT number, kind, token, wished_at, intent, checksum FROM wish INDEXED BY wish_about
             WHERE conversation IS ?1 AND answer IS NULL AND kind = 0 ORDER BY number",
            [about],
        )?;
        self.as_entries(wishes.go_on())
    }

    /// Returns those of them that make a conversation.
    pub(super) fn wished_makings(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        let wishes = self.wishes_by(
            "SELECT number, kind, token, wished_at, intent, checksum FROM wish INDEXED BY wish_making
             WHERE answer IS NULL AND kind = 0 AND conversation = token ORDER BY number",
            [],
        )?;
        self.as_entries(wishes.go_on())
    }

    /// Returns those of them that are not found by the conversation they are about.
    pub(super) fn misplaced_wishes(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        const DOING: &str = "compare wishes with what they are found by";
        let mut misplaced = Vec::new();
        for entry in self.as_entries(self.sift_wishes()?.sound)? {
            let found_by = self
                .connection
                .prepare_cached("SELECT conversation FROM wish WHERE token = ?1 AND kind = 0")
                .and_then(|mut select| {
                    select.query_row([entry.token], |row| Ok(row.get::<_, Option<ConversationId>>(0).ok()))
                })
                .doing(DOING)?;
            misplaced.extend((found_by != Some(entry.conversation())).then_some(entry));
        }
        Ok(misplaced)
    }

    fn as_entries(&self, wishes: Vec<(u64, Wish)>) -> Result<Vec<OutboxEntry>, StoreError> {
        if wishes.is_empty() {
            return Ok(Vec::new());
        }
        let last = self.last_position()?;
        Ok(wishes.into_iter().filter_map(|(number, wish)| wish.entry(last + number)).collect())
    }

    /// Returns the entry that a waiting wish will become.
    pub(super) fn wished_entry(&self, token: ClientToken) -> Result<Option<OutboxEntry>, StoreError> {
        const DOING: &str = "read a wish";
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT number, kind, token, wished_at, intent, checksum FROM wish
                 WHERE token = ?1 AND kind = 0 AND answer IS NULL",
            )
            .doing(DOING)?;
        let mut rows = select.query([token]).doing(DOING)?;
        let Some(row) = rows.next().doing(DOING)? else { return Ok(None) };
        let (number, wish) = wish_of(row)?;
        Ok(wish.entry(self.last_position()? + number))
    }

    /// Returns the highest position an entry of the outbox has, readable or not; zero for none.
    pub(super) fn last_position(&self) -> Result<u64, StoreError> {
        self.connection
            .prepare_cached("SELECT coalesce(max(position), 0) FROM outbox")
            .and_then(|mut select| select.query_row([], |row| row.get::<_, i64>(0)))
            .map(i64::unsigned_abs)
            .doing("read the last position of the outbox")
    }
}
