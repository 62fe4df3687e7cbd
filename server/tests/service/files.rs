//! The data folder: who may read it, and what is refused.

use crate::client::{config, start};
use backscroll_server::{ServeError, StorageError, Tls, serve};
use rusqlite::Connection;
use std::fs;

/// S-1, independent of the umask of whoever starts the server.
#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("new/data");
    let server = start(&data).await;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4, "database, log, certificate and key: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.stop().await;
    let connection = Connection::open(data.path().join("server.sqlite")).unwrap();
    let sql = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        VALUES (9999, 'later', '2030-01-01T00:00:00Z', '1')";
    connection.execute(sql, []).unwrap();
    drop(connection);
    let before = fs::read(data.path().join("server.sqlite")).unwrap();
    let refused = serve(config(data.path())).await.unwrap_err();
    assert!(matches!(refused, ServeError::Storage(StorageError::Newer { .. })), "{refused:?}");
    assert!(before == fs::read(data.path().join("server.sqlite")).unwrap());
}

/// S-6: a history of migrations that cannot be read is an error that says so, and no panic.
#[tokio::test]
async fn a_damaged_history_of_migrations_is_refused() {
    for damage in ["applied_on = 'when?'", "checksum = 'what?'"] {
        let data = tempfile::tempdir().unwrap();
        start(data.path()).await.stop().await;
        let connection = Connection::open(data.path().join("server.sqlite")).unwrap();
        connection.execute(&format!("UPDATE refinery_schema_history SET {damage}"), []).unwrap();
        drop(connection);
        let refused = serve(config(data.path())).await.unwrap_err();
        assert!(matches!(refused, ServeError::Storage(StorageError::Sqlite { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("file"), "").unwrap();
    let refused = serve(config(&data.path().join("file/data"))).await.unwrap_err();
    assert!(matches!(refused, ServeError::Storage(StorageError::Open { .. })), "{refused:?}");

    let mut given = config(data.path());
    given.tls = Tls::Files { certificate: data.path().join("none.pem"), key: data.path().join("none.pem") };
    assert!(matches!(serve(given).await.unwrap_err(), ServeError::Certificate(_)));

    fs::write(data.path().join("server.sqlite"), "this is no database, whatever its name says").unwrap();
    assert!(matches!(serve(config(data.path())).await.unwrap_err(), ServeError::Storage(_)));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut twice = config(&data.path().join("other"));
    twice.listen = taken.local_addr().unwrap();
    assert!(matches!(serve(twice).await.unwrap_err(), ServeError::Listen { .. }));
}

#[tokio::test]
async fn a_given_certificate_is_used() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    start(first.path()).await.stop().await;
    let mut given = config(second.path());
    let certificate = first.path().join("certificate.pem");
    given.tls = Tls::Files { certificate: certificate.clone(), key: first.path().join("key.pem") };
    let server = crate::client::start_with(given).await;
    assert_eq!(server.certificate(), Some(&*certificate));
    crate::client::Client::log_in(&server, crate::client::NAMES[0]).await;
    assert!(!second.path().join("key.pem").exists());
}
