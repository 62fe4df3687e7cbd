//! Who may log in, and the tokens that logins give.
//!
//! Works on the data folder alone, with or without a server running on it. Every call may wait for the disk
//! or work on a password: call it where blocking is allowed.

mod push_tokens;

use crate::clock;
use crate::config::{LoginRules, PasswordCost};
use crate::storage::{self, StorageError, failed};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use backscroll::model::{Secret, Timestamp, Tokens, UserId, UserName};
use backscroll::protocol::{one_time_key_answer, password_hash};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a one-time key can be answered, in seconds. Source: protocol notes, section 3.3.
const KEY_LIVES_S: i64 = 5 * 60;

/// How long a spent or expired pair is remembered, so that it is answered as expired rather than unknown.
const EXPIRED_KEPT_S: i64 = 30 * 24 * 60 * 60;

/// The longest password: more would only keep the hash busy.
const PASSWORD_BYTES_MAX: usize = 1_024;

/// The longest name, display name included.
const NAME_BYTES_MAX: usize = 256;

/// Why something could not be done with accounts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The name does not look like `user@app.account`.
    #[error("a user name looks like user@app.account, in letters, digits, '-' and '_', and '.' before the '@'")]
    NameInvalid,
    /// The display name is too long or holds control characters.
    #[error("the display name is too long or holds control characters")]
    DisplayNameInvalid,
    /// The password is empty or too long.
    #[error("the password is empty or longer than 1,024 bytes")]
    PasswordInvalid,
    /// The name is in use.
    #[error("{0} exists")]
    Exists(UserName),
    /// There is no such account.
    #[error("there is no account {0}")]
    Unknown(UserName),
    /// The password could not be hashed.
    #[error("cannot hash the password")]
    Hash(#[source] argon2::password_hash::Error),
    /// The file cannot be used.
    #[error("cannot use the accounts")]
    Storage(#[from] StorageError),
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denial {
    /// There is no such user: code 404.
    #[error("there is no such user")]
    UnknownUser,
    /// The password or token is wrong: code 401.
    #[error("the password or token is wrong")]
    Wrong,
    /// The account is frozen: code 403.
    #[error("the account is frozen")]
    Frozen,
    /// One-time keys are not to be had for this account: code 500.
    #[error("the server cannot check one-time keys of this account")]
    NoKeys,
    /// The token was right once: code 701.
    #[error("the token has expired")]
    Expired,
    /// The server failed: code 500.
    #[error("the server failed")]
    Failed(#[from] AccountError),
    /// The server is going away: code 500.
    #[error("the question was not answered")]
    Interrupted,
}

impl Denial {
    /// Returns the code of the wire.
    pub(crate) const fn code(&self) -> i64 {
        match self {
            Self::Wrong => 401,
            Self::Frozen => 403,
            Self::UnknownUser => 404,
            Self::NoKeys | Self::Failed(_) | Self::Interrupted => 500,
            Self::Expired => 701,
        }
    }
}

impl From<StorageError> for Denial {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The number inside messaging, from 101.
    pub id: UserId,
    /// The name in its short form.
    pub name: UserName,
    /// The name people see; may be empty.
    pub display_name: String,
    /// Whether it may not log in.
    pub frozen: bool,
}

/// What a successful login gives.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) account: Account,
    pub(crate) tokens: Tokens,
}

/// The accounts in a data folder.
pub struct Accounts {
    connection: Mutex<Connection>,
    hashing: Argon2<'static>,
    rules: LoginRules,
    /// The key that each account may answer, and until when: one an account, gone with its first answer.
    keys: Mutex<BTreeMap<UserId, (Secret, Timestamp)>>,
    /// Checked for users who do not exist, so that they take as long as those who do.
    decoy: String,
}

impl fmt::Debug for Accounts {
    /// Shows nothing of what is inside: hashes are for nobody's eyes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Opens the accounts in a data folder; folder and file are made when missing.
    ///
    /// # Errors
    ///
    /// [`AccountError::Storage`] when they cannot be used.
    pub fn open(data: &Path) -> Result<Self, AccountError> {
        Self::open_with(data, LoginRules::default())
    }

    /// Opens the accounts in a data folder under these rules.
    ///
    /// # Errors
    ///
    /// [`AccountError::Storage`] when they cannot be used.
    pub fn open_with(data: &Path, rules: LoginRules) -> Result<Self, AccountError> {
        let params = match rules.password_cost {
            PasswordCost::Standard => Params::new(19_456, 2, 1, None),
            PasswordCost::Testing => Params::new(Params::MIN_M_COST, 1, 1, None),
        };
        let params = params.expect("both sets of parameters lie within the bounds of Argon2");
        // No password has this hash, but finding that out is as much work as for any other.
        let decoy = format!(
            "$argon2id$v=19$m={},t={},p={}$c2FsdHNhbHRzYWx0c2FsdA${}",
            params.m_cost(),
            params.t_cost(),
            params.p_cost(),
            "A".repeat(43)
        );
        let hashing = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self { connection: Mutex::new(storage::open(data)?), hashing, rules, keys: Mutex::default(), decoy })
    }

    /// Makes this server's choice about one-time keys hold for whoever else opens the folder. One that gives none
    /// deletes what was kept for them.
    pub(crate) fn settle_one_time_keys(&self) -> Result<(), AccountError> {
        self.change("settle whether there are one-time keys", |transaction| {
            transaction.execute("UPDATE setting SET one_time_keys = ?1", [self.rules.one_time_keys])?;
            let sql = "UPDATE account SET one_time_hash = NULL
                WHERE one_time_hash NOT NULL AND (SELECT one_time_keys FROM setting) = 0";
            transaction.execute(sql, []).map(drop)
        })
    }

    /// Makes an account and returns its number.
    ///
    /// # Errors
    ///
    /// [`AccountError`] by variant.
    pub fn add(&self, name: &UserName, display_name: &str, password: &Secret) -> Result<UserId, AccountError> {
        check_name(name)?;
        if display_name.len() > NAME_BYTES_MAX || display_name.chars().any(char::is_control) {
            return Err(AccountError::DisplayNameInvalid);
        }
        let hash = self.hash(password)?;
        let one_time_hash = self.one_time_hash(name, password);
        let added = self.change("add an account", |transaction| {
            // Numbers are never used again, because removed accounts keep their rows.
            let sql = "INSERT INTO account (id, name, display_name, password_hash, one_time_hash)
                SELECT max(100, coalesce(max(id), 0)) + 1, ?1, ?2, ?3,
                    (SELECT ?4 FROM setting WHERE one_time_keys = 1) FROM account WHERE true
                ON CONFLICT (name) WHERE deleted = 0 DO NOTHING RETURNING id";
            transaction.query_row(sql, (name.as_str(), display_name, &hash, &one_time_hash), user_id).optional()
        })?;
        added.ok_or_else(|| AccountError::Exists(name.clone()))
    }

    /// Replaces the password; every token of the account is void from then on.
    ///
    /// # Errors
    ///
    /// [`AccountError`] by variant.
    pub fn set_password(&self, name: &UserName, password: &Secret) -> Result<(), AccountError> {
        let hash = self.hash(password)?;
        let one_time_hash = self.one_time_hash(name, password);
        let changed = self.change("change a password", |transaction| {
            let sql = "UPDATE account SET password_hash = ?2,
                    one_time_hash = (SELECT ?3 FROM setting WHERE one_time_keys = 1)
                WHERE name = ?1 AND deleted = 0 RETURNING id";
            let id = transaction.query_row(sql, (name.as_str(), &hash, &one_time_hash), user_id).optional()?;
            void_tokens(transaction, id)?;
            Ok(id)
        })?;
        changed.map(drop).ok_or_else(|| AccountError::Unknown(name.clone()))
    }

    /// Keeps an account from logging in, or lets it again. Its links are closed when the server next has
    /// something to do; its tokens stay valid for when it may log in again.
    ///
    /// # Errors
    ///
    /// [`AccountError`] by variant.
    pub fn set_frozen(&self, name: &UserName, frozen: bool) -> Result<(), AccountError> {
        let changed = self.change("freeze an account", |transaction| {
            let sql = "UPDATE account SET frozen = ?2 WHERE name = ?1 AND deleted = 0";
            transaction.execute(sql, (name.as_str(), frozen))
        })?;
        if changed == 0 { Err(AccountError::Unknown(name.clone())) } else { Ok(()) }
    }

    /// Returns every account, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// [`AccountError::Storage`] when they cannot be read.
    pub fn list(&self) -> Result<Vec<Account>, AccountError> {
        let connection = self.connection();
        let listed: rusqlite::Result<Vec<Account>> = (|| {
            let sql = "SELECT id, name, display_name, frozen FROM account WHERE deleted = 0 ORDER BY id";
            connection.prepare_cached(sql)?.query_map([], account)?.collect()
        })();
        Ok(listed.map_err(failed("list the accounts"))?)
    }

    /// Removes an account: its name is free again, its tokens are void, its links are closed when the server next has
    /// something to do, and what it wrote stays.
    ///
    /// # Errors
    ///
    /// [`AccountError`] by variant.
    pub fn remove(&self, name: &UserName) -> Result<(), AccountError> {
        let removed = self.change("remove an account", |transaction| {
            let sql =
                "UPDATE account SET deleted = 1, password_hash = '', one_time_hash = NULL, private_custom_data = '{}'
                WHERE name = ?1 AND deleted = 0 RETURNING id";
            let id = transaction.query_row(sql, [name.as_str()], user_id).optional()?;
            void_tokens(transaction, id)?;
            push_tokens::forget_all(transaction, id)?;
            Ok(id)
        })?;
        removed.map(drop).ok_or_else(|| AccountError::Unknown(name.clone()))
    }

    /// Lets somebody in by password.
    pub(crate) fn admit_by_password(
        &self,
        name: &UserName,
        password: &Secret,
        now: Timestamp,
    ) -> Result<Admission, Denial> {
        let found = self.find(name)?;
        let expected = found.as_ref().map_or(self.decoy.as_str(), |found| &found.password_hash);
        let matches = password.reveal().len() <= PASSWORD_BYTES_MAX
            && PasswordHash::new(expected)
                .is_ok_and(|expected| self.hashing.verify_password(password.reveal().as_bytes(), &expected).is_ok());
        let Some(Found { account, one_time_hash, .. }) = found else { return Err(Denial::UnknownUser) };
        if !matches {
            return Err(Denial::Wrong);
        }
        let account = unfrozen(account)?;
        // An account that is older than this server's one-time keys gets them now that its password is at hand.
        let missing = if one_time_hash.is_none() { self.one_time_hash(name, password) } else { None };
        self.admit(account, now, |transaction, id| {
            let Some(hash) = &missing else { return Ok(()) };
            transaction
                .execute(
                    "UPDATE account SET one_time_hash = (SELECT ?2 FROM setting WHERE one_time_keys = 1) WHERE id = ?1",
                    (id.get().cast_signed(), hash),
                )
                .map(drop)
        })
    }

    /// Gives out a key that the account may answer once within five minutes; an earlier one is void.
    pub(crate) fn one_time_key(&self, name: &UserName, now: Timestamp) -> Result<Secret, Denial> {
        let found = self.find(name)?.ok_or(Denial::UnknownUser)?;
        if found.one_time_hash.is_none() {
            return Err(Denial::NoKeys);
        }
        let key = clock::fresh_secret();
        let mut keys = self.keys();
        keys.retain(|_, (_, until)| *until > now);
        keys.insert(found.account.id, (key.clone(), Timestamp(now.0 + KEY_LIVES_S)));
        Ok(key)
    }

    /// Lets somebody in who answers the key given out before. Right or wrong, the key is spent.
    pub(crate) fn admit_by_key(&self, name: &UserName, answer: &Secret, now: Timestamp) -> Result<Admission, Denial> {
        let Found { account, one_time_hash, .. } = self.find(name)?.ok_or(Denial::UnknownUser)?;
        let key = self.keys().remove(&account.id).filter(|(_, until)| *until > now);
        let expected = key.zip(one_time_hash).map(|((key, _), hash)| one_time_key_answer(&key, &Secret::new(hash)));
        // The key is used once and the answer is a hash of it: how long the comparison takes tells nothing.
        if expected.is_none_or(|expected| expected != *answer) {
            return Err(Denial::Wrong);
        }
        self.admit(unfrozen(account)?, now, |_, _| Ok(()))
    }

    /// Gives the first pair of a new family.
    fn admit(
        &self,
        account: Account,
        now: Timestamp,
        also: impl FnOnce(&Transaction<'_>, UserId) -> rusqlite::Result<()>,
    ) -> Result<Admission, Denial> {
        let tokens = self.change("keep new tokens", |transaction| {
            also(transaction, account.id)?;
            let family = *clock::fresh_id().as_bytes();
            issue(transaction, &self.rules, account.id, family, now).map(|(_, tokens)| tokens)
        })?;
        Ok(Admission { account, tokens })
    }

    /// Lets somebody in by access token. The new pair begins a family of its own.
    pub(crate) fn admit_by_token(&self, name: &UserName, access: &Secret, now: Timestamp) -> Result<Admission, Denial> {
        let account = unfrozen(self.find(name)?.ok_or(Denial::UnknownUser)?.account)?;
        let tokens = self.change("check an access token", |transaction| {
            let sql = "UPDATE token_pair SET used = 1 WHERE access_hash = ?1 AND account = ?2
                RETURNING access_expires";
            let params = (digest(access), account.id.get().cast_signed());
            let expires: Option<i64> = transaction.query_row(sql, params, |row| row.get(0)).optional()?;
            match expires {
                None => Ok(Err(Denial::Wrong)),
                Some(expires) if expires <= now.0 => Ok(Err(Denial::Expired)),
                Some(_) => {
                    let family = *clock::fresh_id().as_bytes();
                    issue(transaction, &self.rules, account.id, family, now).map(|(_, tokens)| Ok(tokens))
                }
            }
        })??;
        Ok(Admission { account, tokens })
    }

    /// Trades a refresh token for a new pair.
    ///
    /// A refresh token works once. It works again only as long as nobody has shown a token of the pair it gave,
    /// because then that pair may have been lost on its way. Shown later it is taken for stolen, and every
    /// token that came from the same login is void.
    pub(crate) fn refresh(&self, name: &UserName, refresh: &Secret, now: Timestamp) -> Result<Tokens, Denial> {
        let account = unfrozen(self.find(name)?.ok_or(Denial::UnknownUser)?.account)?;
        self.change("refresh tokens", |transaction| {
            let Some(pair) = pair_of(transaction, account.id, refresh)? else { return Ok(Err(Denial::Wrong)) };
            if pair.successor_used {
                transaction.execute("DELETE FROM token_pair WHERE family = ?1", [pair.family])?;
                return Ok(Err(Denial::Wrong));
            }
            if pair.expires <= now.0 {
                return Ok(Err(Denial::Expired));
            }
            if let Some(unused) = pair.successor {
                transaction.execute("DELETE FROM token_pair WHERE number = ?1", [unused])?;
            }
            let (number, tokens) = issue(transaction, &self.rules, account.id, pair.family, now)?;
            transaction.execute(
                "UPDATE token_pair SET used = 1, spent = 1, successor = ?2 WHERE number = ?1",
                [pair.number, number],
            )?;
            Ok(Ok(tokens))
        })?
    }

    fn find(&self, name: &UserName) -> Result<Option<Found>, StorageError> {
        let sql = "SELECT id, name, display_name, frozen, password_hash, one_time_hash FROM account
            WHERE name = ?1 AND deleted = 0";
        let read = |row: &rusqlite::Row<'_>| {
            let (password_hash, one_time_hash) = (row.get("password_hash")?, row.get("one_time_hash")?);
            Ok(Found { account: account(row)?, password_hash, one_time_hash })
        };
        let connection = self.connection();
        let found = connection.prepare_cached(sql).and_then(|mut sql| sql.query_row([name.as_str()], read).optional());
        found.map_err(failed("read an account"))
    }

    fn hash(&self, password: &Secret) -> Result<String, AccountError> {
        if password.reveal().is_empty() || password.reveal().len() > PASSWORD_BYTES_MAX {
            return Err(AccountError::PasswordInvalid);
        }
        let hash: PasswordHash =
            self.hashing.hash_password(password.reveal().as_bytes()).map_err(AccountError::Hash)?;
        Ok(hash.to_string())
    }

    /// Returns what a one-time key is answered with, if this server is to keep it.
    fn one_time_hash(&self, name: &UserName, password: &Secret) -> Option<String> {
        self.rules.one_time_keys.then(|| password_hash(name, password).reveal().to_owned())
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<UserId, (Secret, Timestamp)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` in a transaction of its own.
    fn change<T>(
        &self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, AccountError> {
        let mut connection = self.connection();
        let result = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })();
        Ok(result.map_err(failed(doing))?)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic cut off was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account, and what proves its password.
struct Found {
    account: Account,
    password_hash: String,
    one_time_hash: Option<String>,
}

fn unfrozen(account: Account) -> Result<Account, Denial> {
    if account.frozen { Err(Denial::Frozen) } else { Ok(account) }
}

/// A pair of tokens, and what became of the one it was traded for.
struct Pair {
    number: i64,
    family: [u8; 16],
    expires: i64,
    successor: Option<i64>,
    successor_used: bool,
}

fn pair_of(transaction: &Transaction<'_>, account: UserId, refresh: &Secret) -> rusqlite::Result<Option<Pair>> {
    let sql = "SELECT pair.number, pair.family, pair.refresh_expires, pair.successor,
            pair.spent = 1 AND coalesce(next.used, 1) = 1 AS successor_used
        FROM token_pair AS pair LEFT JOIN token_pair AS next ON next.number = pair.successor
        WHERE pair.refresh_hash = ?1 AND pair.account = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Pair {
            number: row.get("number")?,
            family: row.get("family")?,
            expires: row.get("refresh_expires")?,
            successor: row.get("successor")?,
            successor_used: row.get("successor_used")?,
        })
    };
    transaction.query_row(sql, (digest(refresh), account.get().cast_signed()), read).optional()
}

/// Keeps the hashes of a new pair, forgets long expired ones, and returns its number and the tokens themselves.
fn issue(
    transaction: &Transaction<'_>,
    rules: &LoginRules,
    account: UserId,
    family: [u8; 16],
    now: Timestamp,
) -> rusqlite::Result<(i64, Tokens)> {
    let seconds = |life: Duration| i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    let tokens = Tokens {
        access: clock::fresh_secret(),
        access_expires_s: seconds(rules.access_token_life),
        refresh: clock::fresh_secret(),
        refresh_expires_s: seconds(rules.refresh_token_life),
    };
    transaction.execute("DELETE FROM token_pair WHERE refresh_expires < ?1", [now.0 - EXPIRED_KEPT_S])?;
    transaction.execute(
        "INSERT INTO token_pair (account, family, access_hash, access_expires, refresh_hash, refresh_expires)
         VALUES (:account, :family, :access_hash, :access_expires, :refresh_hash, :refresh_expires)",
        named_params! {
            ":account": account.get().cast_signed(),
            ":family": family,
            ":access_hash": digest(&tokens.access),
            ":access_expires": now.0.saturating_add(tokens.access_expires_s),
            ":refresh_hash": digest(&tokens.refresh),
            ":refresh_expires": now.0.saturating_add(tokens.refresh_expires_s),
        },
    )?;
    Ok((transaction.last_insert_rowid(), tokens))
}

fn void_tokens(transaction: &Transaction<'_>, account: Option<UserId>) -> rusqlite::Result<()> {
    let Some(account) = account else { return Ok(()) };
    transaction.execute("DELETE FROM token_pair WHERE account = ?1", [account.get().cast_signed()]).map(drop)
}

/// Hashes a token. Tokens are long and random, so that no salt and no slow hash are needed.
fn digest(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.reveal().as_bytes()).into()
}

fn account(row: &rusqlite::Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: user_id(row)?,
        name: UserName::new(row.get_ref("name")?.as_str()?),
        display_name: row.get("display_name")?,
        frozen: row.get("frozen")?,
    })
}

fn user_id(row: &rusqlite::Row<'_>) -> rusqlite::Result<UserId> {
    let number: i64 = row.get("id")?;
    u64::try_from(number).ok().and_then(UserId::new).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// Accepts `user@app.account`; every part has letters, digits, '-' and '_', the first one '.' as well.
fn check_name(name: &UserName) -> Result<(), AccountError> {
    let is_part = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c) || more.contains(c))
    };
    let valid = name.as_str().len() <= NAME_BYTES_MAX
        && name.as_str().split_once('@').is_some_and(|(user, domain)| {
            is_part(user, ".")
                && domain.split_once('.').is_some_and(|(app, account)| is_part(app, "") && is_part(account, ""))
        });
    if valid { Ok(()) } else { Err(AccountError::NameInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_is_a_hash_that_is_worked_on_and_never_matched() {
        let data = tempfile::tempdir().unwrap();
        for password_cost in [PasswordCost::Standard, PasswordCost::Testing] {
            let rules = LoginRules { password_cost, ..LoginRules::default() };
            let accounts = Accounts::open_with(data.path(), rules).unwrap();
            let decoy = PasswordHash::new(&accounts.decoy).unwrap();
            let refused = accounts.hashing.verify_password(b"", &decoy).unwrap_err();
            assert_eq!(refused, argon2::password_hash::Error::PasswordInvalid);
        }
    }
}
