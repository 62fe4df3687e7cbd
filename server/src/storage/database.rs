//! The file itself: its mode, its pragmas, its schema.

use super::StorageError;
use rusqlite::Connection;
use rusqlite::types::Type;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The file inside the data folder that holds everything but the certificate.
const FILE: &str = "server.sqlite";

/// How long to wait for another process or thread that writes: accounts can be changed while the server runs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the database of a data folder, and makes or upgrades it when needed.
pub(crate) fn open(data: &Path) -> Result<Connection, StorageError> {
    private_folder(data).map_err(|source| StorageError::Open { path: data.to_owned(), source })?;
    let path = data.join(FILE);
    // SQLite gives its side files the mode of the main file, so that one has to be right from the start.
    private_file(&path).map_err(|source| StorageError::Open { path: path.clone(), source })?;
    let mut connection = Connection::open(&path).map_err(failed("open the database"))?;
    configure(&connection).map_err(failed("configure the database"))?;
    migrate(&mut connection, &path)?;
    Ok(connection)
}

/// Makes a folder that only its owner can enter; one that exists is left as it is.
fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes an empty file that only its owner can read; one that exists is left as it is.
pub(crate) fn private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What was answered must survive a power cut: in WAL mode only FULL flushes at each commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A file from elsewhere must not run anything, and damage must be met early.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Texts of removed messages are overwritten where that costs no more writing.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
    if applied_version(connection).map_err(failed("read the schema version"))? > known {
        return Err(StorageError::Newer { path: path.to_owned() });
    }
    match runner.run(connection) {
        Ok(_) => Ok(()),
        Err(source) => Err(StorageError::Migrate { path: path.to_owned(), source: Box::new(source) }),
    }
}

/// Returns the newest migration the file has seen; `None` for a new file. Rows that refinery would panic over are an error.
fn applied_version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !connection.table_exists(None, "refinery_schema_history")? {
        return Ok(None);
    }
    let mut select = connection.prepare("SELECT version, applied_on, checksum FROM refinery_schema_history")?;
    let versions = select.query_map([], |row| {
        OffsetDateTime::parse(&row.get::<_, String>(1)?, &Rfc3339).map_err(damaged(1))?;
        row.get::<_, String>(2)?.parse::<u64>().map_err(damaged(2))?;
        row.get(0)
    })?;
    Ok(versions.collect::<rusqlite::Result<Vec<i64>>>()?.into_iter().max())
}

fn damaged<E: Error + Send + Sync + 'static>(column: usize) -> impl FnOnce(E) -> rusqlite::Error {
    move |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

/// Names what was being done when the database refused.
pub(crate) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StorageError {
    move |source| StorageError::Sqlite { doing, source }
}
