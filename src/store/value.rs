//! How values of the model stand in columns, and how they are read back.
//!
//! A column is read by its place in the `SELECT` beside it, never by searching its name: that would
//! cost as much as the row. What is not of the stated kind is an error that names the row.

use super::error::StoreError;
use crate::model::{
    Action, ClientToken, ConversationId, MessageId, RawJson, RequestId, Secret, Sequence, Timestamp, UserId, UserName,
};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use uuid::Uuid;

/// The number of a conversation in this file: fits into the upper half of a row id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LocalId(u32);

impl LocalId {
    pub(super) const MAX: i64 = i32::MAX as i64;

    pub(super) fn new(id: i64) -> Option<Self> {
        u32::try_from(id).ok().filter(|id| (1..=Self::MAX).contains(&i64::from(*id))).map(Self)
    }

    pub(super) const fn get(self) -> i64 {
        self.0 as i64
    }

    /// Returns the row id of a position.
    pub(super) const fn at(self, sequence: Sequence) -> i64 {
        (self.0 as i64) << 32 | sequence.0 as i64
    }

    /// Returns the row ids of all positions there can be: lowest and highest.
    pub(super) const fn all(self) -> (i64, i64) {
        (self.at(Sequence(0)), self.at(Sequence(u32::MAX)))
    }
}

/// Returns the position in a packed row id.
pub(super) const fn sequence_of(id: i64) -> Sequence {
    Sequence(id as u32)
}

/// Returns the conversation in a packed row id.
pub(super) fn local_of(id: i64) -> Option<LocalId> {
    LocalId::new(id >> 32)
}

macro_rules! uuids {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_uuid().as_bytes())))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Self::from_uuid(Uuid::from_bytes(bytes)))
            }
        }
    )*};
}

uuids!(ClientToken, ConversationId, MessageId, RequestId);

macro_rules! texts {
    ($($name:ident: $text:ident => $from:expr;)*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.$text().as_bytes())))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let from: fn(&str) -> FromSqlResult<Self> = $from;
                from(value.as_str()?)
            }
        }
    )*};
}

texts! {
    RawJson: as_str => |text| RawJson::new(text).map_err(|_| FromSqlError::InvalidType);
    UserName: as_str => |text| Ok(UserName::new(text));
    Secret: reveal => |text| Ok(Secret::new(text));
    Action: name => |text| Ok(Action::from(text));
}

impl ToSql for UserId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(self.as_i64().into()))
    }
}

impl UserId {
    /// Returns the number as SQLite has it.
    pub(super) const fn as_i64(self) -> i64 {
        // Never above `UserId::MAX`, which is the largest such number.
        self.get() as i64
    }
}

impl FromSql for UserId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).ok().and_then(Self::new).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for Sequence {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(self.0.into()))
    }
}

impl FromSql for Sequence {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(Self)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(self.0.into()))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

/// One row being read: knows what to say of a column that is not what it should be.
pub(super) struct Columns<'a> {
    row: &'a Row<'a>,
    table: &'static str,
    rowid: i64,
}

impl<'a> Columns<'a> {
    /// Takes a row whose first column is its row id.
    pub(super) fn new(row: &'a Row<'a>, table: &'static str) -> Result<Self, StoreError> {
        let rowid = row.get(0).map_err(|_| StoreError::Damaged { table, rowid: 0, expected: "row id" })?;
        Ok(Self { row, table, rowid })
    }

    /// Returns the row id.
    pub(super) const fn rowid(&self) -> i64 {
        self.rowid
    }

    /// Returns the column at `place`, counted from 0.
    pub(super) fn get<T: FromSql>(&self, place: usize, expected: &'static str) -> Result<T, StoreError> {
        self.row.get(place).map_err(|_| self.damaged(expected))
    }

    /// Returns the text at `place` without copying it.
    pub(super) fn text(&self, place: usize, expected: &'static str) -> Result<&str, StoreError> {
        let value = self.row.get_ref(place).map_err(|_| self.damaged(expected))?;
        value.as_str().map_err(|_| self.damaged(expected))
    }

    /// Returns the error for a column that is not what it should be.
    pub(super) const fn damaged(&self, expected: &'static str) -> StoreError {
        StoreError::Damaged { table: self.table, rowid: self.rowid, expected }
    }
}

/// The checksum of a row: CRC-32 over each column in turn, with what tells neighbours apart.
pub(super) struct Checksum {
    crc: crc32fast::Hasher,
    // Columns are short: gathered, they are summed in one go, which is most of the price.
    gathered: [u8; GATHERED_MAX],
    length: usize,
}

const GATHERED_MAX: usize = 192;

impl Checksum {
    pub(super) fn new() -> Self {
        Self { crc: crc32fast::Hasher::new(), gathered: [0; GATHERED_MAX], length: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.length + bytes.len() > GATHERED_MAX {
            self.crc.update(&self.gathered[..self.length]);
            self.length = 0;
        }
        match self.gathered.get_mut(self.length..self.length + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.crc.update(bytes),
        }
    }

    pub(super) fn number(mut self, number: i64) -> Self {
        self.add(&number.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.add(bytes);
        self.number(bytes.len() as i64)
    }

    /// Nothing differs from empty.
    pub(super) fn maybe(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.bytes(text.as_bytes()),
            None => self.number(-1),
        }
    }

    pub(super) fn finish(mut self) -> i64 {
        self.crc.update(&self.gathered[..self.length]);
        i64::from(self.crc.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_crc_of_all_columns_however_long() {
        for length in [0, 1, 150, 184, 185, 192, 193, 500] {
            let text = "x".repeat(length);
            let mut plain = crc32fast::Hasher::new();
            for part in [&7_i64.to_le_bytes()[..], text.as_bytes(), &(length as i64).to_le_bytes(), &[0xff; 8]] {
                plain.update(part);
            }
            let ours = Checksum::new().number(7).bytes(text.as_bytes()).maybe(None).finish();
            assert_eq!(ours, i64::from(plain.finalize()), "length {length}");
        }
    }

    #[test]
    fn a_position_packs_and_unpacks_at_its_limits() {
        for local in [1, LocalId::MAX] {
            let local = LocalId::new(local).unwrap();
            for sequence in [0, 1, u32::MAX] {
                let id = local.at(Sequence(sequence));
                assert_eq!((local_of(id), sequence_of(id)), (Some(local), Sequence(sequence)));
            }
        }
        assert_eq!(LocalId::new(0), None);
        assert_eq!(LocalId::new(LocalId::MAX + 1), None);
        assert_eq!(local_of(-1), None);
    }
}
