//! Looking users up at the server. What is learned is kept, and readable offline by [`Messenger::user`].

use super::{Messenger, UserEvent};
use crate::error::Error;
use crate::model::{ErrorCode, MessagingError, UserId, UserName};
use crate::protocol::UserKey;
use crate::sync::{Command, Query, Reply};

/// Look-ups of users. Each fails with [`Error::Refused`] (code 25 for an unknown user, code 21 for none or more
/// than 50), [`Error::Offline`] or [`Error::Closed`].
impl Messenger {
    /// Asks the server for the user with this name.
    pub async fn get_user_by_name(&self, name: UserName) -> Result<UserEvent, Error> {
        one(self.users(vec![UserKey::Name(name)]).await?)
    }

    /// Asks the server for the user with this number.
    pub async fn get_user_by_im_id(&self, id: UserId) -> Result<UserEvent, Error> {
        one(self.users(vec![UserKey::Id(id)]).await?)
    }

    /// Asks the server for up to 50 users by name, in the server's order.
    pub async fn get_users_by_name(&self, names: Vec<UserName>) -> Result<Vec<UserEvent>, Error> {
        self.users(names.into_iter().map(UserKey::Name).collect()).await
    }

    /// Asks the server for up to 50 users by number, in the server's order.
    pub async fn get_users_by_im_id(&self, ids: Vec<UserId>) -> Result<Vec<UserEvent>, Error> {
        self.users(ids.into_iter().map(UserKey::Id).collect()).await
    }

    async fn users(&self, keys: Vec<UserKey>) -> Result<Vec<UserEvent>, Error> {
        let Reply::Users(users) = self.call(Command::Query(Query::Users(keys))).await? else {
            unreachable!("a question about users is answered with users");
        };
        Ok(users.into_iter().map(|user| UserEvent { user }).collect())
    }
}

fn one(users: Vec<UserEvent>) -> Result<UserEvent, Error> {
    users.into_iter().next().ok_or_else(|| MessagingError::from(ErrorCode::UserNotFound).into())
}
