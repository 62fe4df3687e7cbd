//! How the file is made and opened: its mode, its pragmas, its schema.

use super::error::{Doing, StoreError};
use super::value::Columns;
use super::{Durability, OpenOptions};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;
use std::{io, thread};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The newest schema this version knows; `PRAGMA user_version` of a file that has it.
pub(super) const SCHEMA_VERSION: i64 = 2;

/// "BkSL": tells our files from other databases.
const APPLICATION_ID: i64 = 0x426B_534C;

/// How long a reading statement waits for another process. Only checkpoints and recovery ever hold readers up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a writable connection rests between two attempts to begin a transaction while another process has one
/// open. SQLite's own pauses grow to 100 ms, in which a busy process begins again and again.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// How often it tries: a minute, in which a process that lives ends its transaction.
const BUSY_ATTEMPTS_MAX: i32 = 30_000;

/// Opens the file for writing. The one who holds the lease brings its schema up to date; others find it so, or are
/// refused with [`StoreError::Older`].
pub(super) fn open_writable(options: &OpenOptions, holds_lease: bool) -> Result<Connection, StoreError> {
    let path = &options.path;
    let mut connection = connect(path, options.vfs.as_deref(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = schema_version(&connection, path)?;
    if version < SCHEMA_VERSION && !holds_lease {
        return Err(StoreError::Older { path: path.clone(), found: version });
    }
    let wait = |attempts: i32| {
        thread::sleep(BUSY_PAUSE);
        attempts < BUSY_ATTEMPTS_MAX
    };
    connection
        .busy_handler(Some(wait))
        .and_then(|()| set_pragmas(&connection, WRITER))
        .and_then(|()| match options.commits {
            Durability::Full => Ok(()),
            Durability::Normal => connection.pragma_update(None, "synchronous", "NORMAL"),
        })
        .map_err(|source| StoreError::Open { path: path.clone(), source })?;
    // refinery's own check would make a start 2.7 times as long, so it runs only when there is work.
    if version < SCHEMA_VERSION {
        make_history_readable(&connection)?;
        embedded::migrations::runner()
            .set_grouped(true)
            .run(&mut connection)
            .map_err(|source| StoreError::Migration { path: path.clone(), source })?;
    }
    Ok(connection)
}

/// Makes sure that refinery, which panics over a row of its own that it cannot read, finds none: a damaged time of a
/// migration is of no use to anybody, and with a damaged checksum the file is refused as it is.
fn make_history_readable(connection: &Connection) -> Result<(), StoreError> {
    const TABLE: &str = "refinery_schema_history";
    const DOING: &str = "read which migrations were applied";
    const NO_TIME: &str = "1970-01-01T00:00:00Z";
    if !connection.table_exists(None, TABLE).doing(DOING)? {
        return Ok(());
    }
    let mut select =
        connection.prepare("SELECT rowid, applied_on, checksum FROM refinery_schema_history").doing(DOING)?;
    let mut rows = select.query([]).doing(DOING)?;
    let mut without_time = Vec::new();
    while let Some(row) = rows.next().doing(DOING)? {
        let columns = Columns::new(row, TABLE)?;
        if columns.text(2, "checksum of a migration")?.parse::<u64>().is_err() {
            return Err(columns.damaged("checksum of a migration"));
        }
        let time = columns.text(1, "time").ok().and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        without_time.extend(time.is_none().then_some(columns.rowid()));
    }
    for rowid in without_time {
        let update = "UPDATE refinery_schema_history SET applied_on = ?2 WHERE rowid = ?1";
        connection.execute(update, params![rowid, NO_TIME]).doing("mend the history of migrations")?;
    }
    Ok(())
}

/// Opens a file that has our schema, for reading only.
pub(super) fn open_read_only(path: &Path, vfs: Option<&str>) -> Result<Connection, StoreError> {
    let connection = connect(path, vfs, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found = schema_version(&connection, path)?;
    if found < SCHEMA_VERSION {
        return Err(StoreError::Older { path: path.to_owned(), found });
    }
    set_pragmas(&connection, READER).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    Ok(connection)
}

/// Makes the file and its folder for the user alone, whatever the umask.
///
/// SQLite would make the file readable for everybody; its side files follow the mode of the main one.
/// An existing file is never opened here: closing it would drop the locks that SQLite holds on it.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path, source| StoreError::File { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| failed(folder, source))?;
    match private_file().create_new(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(source) => return Err(failed(path, source)),
    }
    // A power cut must not take the name away from what will be promised inside.
    #[cfg(unix)]
    for named_in in new.into_iter().filter_map(Path::parent).chain([folder]) {
        let named_in = if named_in.as_os_str().is_empty() { Path::new(".") } else { named_in };
        File::open(named_in).and_then(|folder| folder.sync_all()).map_err(|source| failed(named_in, source))?;
    }
    Ok(())
}

pub(super) fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn connect(path: &Path, vfs: Option<&str>, access: OpenFlags) -> Result<Connection, StoreError> {
    // One thread at a time uses a connection, so SQLite's own mutexes would only cost.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    };
    opened.map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

/// Returns the schema of the file, 0 for an empty one, after making sure that it is ours and not newer.
fn schema_version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = || -> rusqlite::Result<(i64, i64)> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        Ok((version, application))
    };
    match read() {
        Ok((found, APPLICATION_ID)) if found > SCHEMA_VERSION => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION })
        }
        Ok((found, APPLICATION_ID)) if found > 0 => Ok(found),
        Ok((0, 0)) if is_empty(connection, path)? => Ok(0),
        Ok(_) => Err(StoreError::NotAStore { path: path.to_owned() }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(StoreError::NotAStore { path: path.to_owned() })
        }
        Err(source) => Err(StoreError::Open { path: path.to_owned(), source }),
    }
}

/// Returns whether there is no table, or only the one a first migration that was cut short may have left.
fn is_empty(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    connection
        .query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE tbl_name <> 'refinery_schema_history')",
            [],
            |row| row.get(0),
        )
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

const WRITER: &[(&str, &str)] = &[
    // Readers never wait for the writer, and a commit is one sequential write.
    ("journal_mode", "WAL"),
    // Every commit waits for the disk, also one that the server could tell again: a flush that fails drops from
    // the log what was not flushed before it, and with that hole every later commit, promised or not.
    ("synchronous", "FULL"),
    // Otherwise now and then somebody's commit pays for all that came before it: the writer thread does it between jobs.
    ("wal_autocheckpoint", "0"),
    // After a burst the log shrinks again.
    ("journal_size_limit", "33554432"),
    ("cache_size", "-16384"),
    // Freed pages lose what they held, as long as that costs no extra write.
    ("secure_delete", "FAST"),
    ("foreign_keys", "ON"),
];

const READER: &[(&str, &str)] = &[
    // A reader that tries to write is a programming error, and fails.
    ("query_only", "ON"),
    ("cache_size", "-4096"),
];

const ALL: &[(&str, &str)] = &[
    // Sorting leaves nothing of a message in a folder for temporary files.
    ("temp_store", "MEMORY"),
    // Mapping gains nothing warm, and a cold start reads ahead around every fault: 29 times slower.
    ("mmap_size", "0"),
    // A file that somebody prepared runs no function and no virtual table of ours.
    ("trusted_schema", "OFF"),
    // A damaged page is an error before it is read, not after.
    ("cell_size_check", "ON"),
];

fn set_pragmas(connection: &Connection, of_this_kind: &[(&str, &str)]) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Otherwise each new bound of a range is planned afresh: a seventh of all time while catching up.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    for (name, value) in ALL.iter().chain(of_this_kind) {
        connection.pragma_update(None, name, value)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn new_file(options: &OpenOptions) -> Result<Connection, StoreError> {
        create_private(&options.path)?;
        open_writable(options, true)
    }

    /// D-6: a shipped migration never changes. A new one gets a line of its own here, and the constant its number.
    #[test]
    fn migrations_are_as_they_were_shipped() {
        let pinned: Vec<(i64, String, u64)> = embedded::migrations::runner()
            .get_migrations()
            .iter()
            .map(|migration| (migration.version().into(), migration.name().to_owned(), migration.checksum()))
            .collect();
        let (first, sync) = (15_182_970_704_350_991_029, 3_953_273_369_889_220_651);
        assert_eq!(pinned, [(1, "first".to_owned(), first), (2, "sync".to_owned(), sync)]);
        assert_eq!(pinned.last().map(|(version, _, _)| *version), Some(SCHEMA_VERSION));
    }

    #[test]
    fn the_file_says_the_newest_version() {
        let folder = tempfile::tempdir().unwrap();
        let connection = new_file(&OpenOptions::new(folder.path().join("store.db"))).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, SCHEMA_VERSION);
    }

    #[test]
    fn a_history_of_other_migrations_is_refused_by_its_own_error() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(folder.path().join("store.db"));
        let other = Connection::open(&options.path).unwrap();
        other
            .execute_batch(
                "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name TEXT, applied_on TEXT, checksum TEXT);
                 INSERT INTO refinery_schema_history VALUES (1, 'first', '2026-01-01T00:00:00Z', '1');",
            )
            .unwrap();
        drop(other);
        assert!(matches!(new_file(&options).map(drop), Err(StoreError::Migration { .. })));
    }

    /// R-54, S-6: what cannot be read of the history of migrations is no panic: a time is of no use, and without a
    /// checksum the file is refused as it is.
    #[test]
    fn a_damaged_history_of_migrations_is_no_panic() {
        for (time, sum, opens) in [
            ("when?", "15182970704350991029", true),
            ("2026-13-01T00:00:00Z", "15182970704350991029", true),
            ("", "15182970704350991029", true),
            ("2026-01-01T00:00:00Z", "-1", false),
            ("when?", "what?", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let options = OpenOptions::new(folder.path().join("store.db"));
            // A file of the first version.
            let older = Connection::open(&options.path).unwrap();
            older.execute_batch(include_str!("../../migrations/V1__first.sql")).unwrap();
            older
                .execute_batch(
                    "CREATE TABLE refinery_schema_history
                         (version INT4 PRIMARY KEY, name TEXT, applied_on TEXT, checksum TEXT)",
                )
                .unwrap();
            let row = "INSERT INTO refinery_schema_history VALUES (1, 'first', ?1, ?2)";
            older.execute(row, [time, sum]).unwrap();
            drop(older);
            let opened = new_file(&options).map(drop);
            let refused = matches!(opened, Err(StoreError::Damaged { table: "refinery_schema_history", .. }));
            assert_eq!((opened.is_ok(), refused), (opens, !opens), "{time} {sum}: {opened:?}");
            if refused {
                let kept = "SELECT applied_on || checksum FROM refinery_schema_history";
                let file = Connection::open(&options.path).unwrap();
                let kept: String = file.query_row(kept, [], |row| row.get(0)).unwrap();
                assert_eq!(kept, format!("{time}{sum}"));
            }
        }
    }
}
