//! Where the notifications of an account are to be pushed. Pushing itself is done elsewhere.

use super::{AccountError, Accounts, user_id};
use crate::storage::failed;
use backscroll::model::{Secret, UserId, UserName};
use rusqlite::{OptionalExtension, Transaction};

/// Tokens of one account: more devices than anybody has; one more forgets the oldest.
const TOKENS_MAX: u32 = 32;

/// The longest token. Those of the big services have a few hundred bytes.
const TOKEN_BYTES_MAX: usize = 4_096;

impl Accounts {
    /// Returns the push tokens of an account, oldest first.
    ///
    /// # Errors
    ///
    /// [`AccountError`] by variant.
    pub fn push_tokens(&self, name: &UserName) -> Result<Vec<Secret>, AccountError> {
        let connection = self.connection();
        let listed: rusqlite::Result<Option<Vec<Secret>>> = (|| {
            let sql = "SELECT id FROM account WHERE name = ?1 AND deleted = 0";
            let id = connection.prepare_cached(sql)?.query_row([name.as_str()], user_id).optional()?;
            let Some(id) = id else { return Ok(None) };
            let sql = "SELECT token FROM push_token WHERE account = ?1 ORDER BY number";
            let mut tokens = connection.prepare_cached(sql)?;
            let tokens =
                tokens.query_map([id.get().cast_signed()], |row| row.get::<_, String>("token").map(Secret::new))?;
            tokens.collect::<Result<_, _>>().map(Some)
        })();
        listed.map_err(failed("list push tokens"))?.ok_or_else(|| AccountError::Unknown(name.clone()))
    }

    /// Keeps a push token as the account's newest; one that is too long is not kept.
    pub(crate) fn register_push_token(&self, account: UserId, token: &Secret) -> Result<(), AccountError> {
        if token.reveal().is_empty() || token.reveal().len() > TOKEN_BYTES_MAX {
            return Ok(());
        }
        self.change("register a push token", |transaction| {
            let id = account.get().cast_signed();
            transaction.execute("DELETE FROM push_token WHERE account = ?1 AND token = ?2", (id, token.reveal()))?;
            transaction.execute("INSERT INTO push_token (account, token) VALUES (?1, ?2)", (id, token.reveal()))?;
            let sql = "DELETE FROM push_token WHERE account = ?1 AND number NOT IN
                (SELECT number FROM push_token WHERE account = ?1 ORDER BY number DESC LIMIT ?2)";
            transaction.execute(sql, (id, TOKENS_MAX)).map(drop)
        })
    }

    /// Forgets a push token of the account.
    pub(crate) fn unregister_push_token(&self, account: UserId, token: &Secret) -> Result<(), AccountError> {
        self.change("forget a push token", |transaction| {
            let sql = "DELETE FROM push_token WHERE account = ?1 AND token = ?2";
            transaction.execute(sql, (account.get().cast_signed(), token.reveal())).map(drop)
        })
    }
}

/// Forgets every push token of an account.
pub(super) fn forget_all(transaction: &Transaction<'_>, account: Option<UserId>) -> rusqlite::Result<()> {
    let Some(account) = account else { return Ok(()) };
    transaction.execute("DELETE FROM push_token WHERE account = ?1", [account.get().cast_signed()]).map(drop)
}
