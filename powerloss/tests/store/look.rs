//! What a store holds, as one comparable value, and whether it is sound.

use backscroll::store::Store;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(powerloss::scratch_root()).expect("a scratch folder")
}

/// Returns where the store of a folder is.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("store.db")
}

/// Everything in the tables of a store, as a number: equal for equal content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Content(u64);

/// Reads every row of every table. Without an order of its own a table is read in the order of its key.
///
/// When a migration was carried out is left out, and who syncs since when: both differ from run to run.
pub(crate) fn content(path: &Path) -> rusqlite::Result<Content> {
    content_of(&Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

fn content_of(db: &Connection) -> rusqlite::Result<Content> {
    let mut hasher = DefaultHasher::new();
    let mut tables = db.prepare(
        "SELECT name FROM sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN ('refinery_schema_history', 'lease')
         ORDER BY name",
    )?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for table in tables {
        table.hash(&mut hasher);
        let mut rows = db.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = rows.column_count();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => 0.hash(&mut hasher),
                    ValueRef::Integer(number) => number.hash(&mut hasher),
                    ValueRef::Real(number) => number.to_bits().hash(&mut hasher),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.hash(&mut hasher),
                }
            }
        }
    }
    Ok(Content(hasher.finish()))
}

/// Opens what is left of a store as an application would, checks it, and returns its content.
///
/// D-1: whatever happened, the store opens and finds nothing wrong with itself.
pub(crate) fn recovered(path: &Path) -> Result<Content, String> {
    let store = Store::open(path).map_err(|error| format!("does not open: {error:?}"))?;
    let findings = store.read(|reader| reader.verify()).map_err(|error| format!("cannot be checked: {error:?}"))?;
    if let Some(finding) = findings.first() {
        return Err(format!("holds what it should not: {finding}"));
    }
    content(path).map_err(|error| format!("cannot be read: {error:?}"))
}

/// Opens what is left of a store with SQLite alone, lets it check every page, and returns the content.
///
/// A third of the price of [`recovered`], and enough where the content turns out to be one that was checked
/// before: a store opens no differently for how its bytes lie in the file and the log. A file that was not made
/// yet is left to the store.
pub(crate) fn recovered_by_sqlite(path: &Path) -> Result<Content, String> {
    let look = || {
        // Read-only, it leaves the log where it is when it closes.
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let is_made = db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? > 0;
        Ok((verdict, if is_made { Some(content_of(&db)?) } else { None }))
    };
    match look() {
        Ok((verdict, Some(content))) if verdict == "ok" => Ok(content),
        Ok((verdict, None)) if verdict == "ok" => recovered(path),
        Ok((verdict, _)) => Err(verdict),
        Err(error) => Err(rusqlite::Error::to_string(&error)),
    }
}
