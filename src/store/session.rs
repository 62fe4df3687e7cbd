//! The session, and the push tokens of the device.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::sifted::{Sifted, unless_damaged};
use super::value::Columns;
use crate::model::{PushToken, Secret, ServerAddress, Session, Tokens, UserId};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn own_user(connection: &Connection) -> Result<Option<UserId>, StoreError> {
    connection
        .prepare_cached("SELECT user_id FROM session WHERE id = 1")
        .and_then(|mut select| select.query_row([], |row| row.get(0)).optional())
        .map(Option::flatten)
        .doing("read the session")
}

pub(super) fn set_session(connection: &Connection, session: &Session) -> Result<(), StoreError> {
    let tokens = session.tokens.as_ref();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO session (id, user_name, user_id, access, access_expires_s, refresh, refresh_expires_s,
                 server_url, extra_root, refused, device)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                session.user,
                session.user_id,
                tokens.map(|tokens| &tokens.access),
                tokens.map(|tokens| tokens.access_expires_s),
                tokens.map(|tokens| &tokens.refresh),
                tokens.map(|tokens| tokens.refresh_expires_s),
                session.server.url,
                session.server.extra_root,
                session.refused,
                session.device
            ])
        })
        .doing("store the session")?;
    Ok(())
}

/// Keeps a push token as the newest of all.
pub(super) fn set_push_token(connection: &Connection, token: &PushToken) -> Result<(), StoreError> {
    const DOING: &str = "store a push token";
    forget_push_token(connection, &token.token)?;
    connection
        .prepare_cached("INSERT INTO push_token (token, wanted) VALUES (?1, ?2)")
        .and_then(|mut insert| insert.execute(params![token.token, token.wanted]))
        .doing(DOING)?;
    Ok(())
}

pub(super) fn forget_push_token(connection: &Connection, token: &Secret) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM push_token WHERE token = ?1")
        .and_then(|mut delete| delete.execute([token]))
        .doing("forget a push token")?;
    Ok(())
}

fn tokens_of(columns: &Columns<'_>) -> Result<Option<Tokens>, StoreError> {
    let Some(access) = columns.get(3, "token")? else { return Ok(None) };
    Ok(Some(Tokens {
        access,
        access_expires_s: columns.get(4, "number of seconds")?,
        refresh: columns.get(5, "token")?,
        refresh_expires_s: columns.get(6, "number of seconds")?,
    }))
}

impl Reader<'_> {
    /// Returns the session, or `None` when nobody ever logged in. Where its tokens are damaged it is one without: only a
    /// new login helps.
    pub fn session(&self) -> Result<Option<Session>, StoreError> {
        match unless_damaged(self.whole_session())? {
            Some(session) => Ok(session),
            None => self.session_with(|_| Ok((None, None, None))),
        }
    }

    /// Returns the session; damage to any of it is an error.
    pub(super) fn whole_session(&self) -> Result<Option<Session>, StoreError> {
        self.session_with(|columns| Ok((tokens_of(columns)?, columns.get(9, "code")?, columns.get(10, "token")?)))
    }

    fn session_with(
        &self,
        login: impl FnOnce(&Columns<'_>) -> Result<(Option<Tokens>, Option<i64>, Option<Secret>), StoreError>,
    ) -> Result<Option<Session>, StoreError> {
        const DOING: &str = "read the session";
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT id, user_name, user_id, access, access_expires_s, refresh, refresh_expires_s, server_url, extra_root,
                     refused, device
                 FROM session",
            )
            .doing(DOING)?;
        let mut rows = select.query([]).doing(DOING)?;
        let Some(row) = rows.next().doing(DOING)? else { return Ok(None) };
        let columns = Columns::new(row, "session")?;
        let (tokens, refused, device) = login(&columns)?;
        Ok(Some(Session {
            user: columns.get(1, "user name")?,
            user_id: columns.get(2, "user id")?,
            server: ServerAddress {
                url: columns.get(7, "server address")?,
                extra_root: columns.get(8, "path of a certificate")?,
            },
            tokens,
            refused,
            device,
        }))
    }

    /// Returns the push tokens of the device, the oldest first.
    pub fn push_tokens(&self) -> Result<Vec<PushToken>, StoreError> {
        Ok(self.sift_push_tokens()?.go_on())
    }

    pub(super) fn sift_push_tokens(&self) -> Result<Sifted<PushToken>, StoreError> {
        let sql = "SELECT id, token, wanted FROM push_token ORDER BY id";
        Sifted::select(self.connection, sql, [], "read push tokens", |row| {
            let columns = Columns::new(row, "push_token")?;
            Ok(PushToken { token: columns.get(1, "token")?, wanted: columns.get(2, "yes or no")? })
        })
    }

    /// Returns whose store it is; `None` before the server has told.
    pub(super) fn own_user(&self) -> Result<Option<UserId>, StoreError> {
        match self.own_user.get() {
            Some(known) => Ok(*known),
            None => {
                let known = own_user(self.connection)?;
                Ok(*self.own_user.get_or_init(|| known))
            }
        }
    }
}
