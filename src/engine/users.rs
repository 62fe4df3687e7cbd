//! Users: looked up, followed, and what one says of oneself. What is learned is kept, and readable offline.

use super::events::{MessengerEventType, SubscriptionEvent};
use super::{Messenger, Sending, UserEvent};
use crate::error::Error;
use crate::model::{ErrorCode, Intent, MessagingError, Notification, RawJson, UserId, UserName};
use crate::protocol::UserKey;
use crate::sync::{Command, Query, Reply};

/// Look-ups of users, readable offline by [`Messenger::user`] from then on. Each fails with [`Error::Refused`] (code
/// 25 when the only one asked for is unknown, code 21 for none or more than 50), [`Error::Offline`] or
/// [`Error::Closed`].
impl Messenger {
    /// Asks the server for the user with this name.
    pub async fn get_user_by_name(&self, name: UserName) -> Result<UserEvent, Error> {
        one(self.users(vec![UserKey::Name(name)]).await?)
    }

    /// Asks the server for the user with this number.
    pub async fn get_user_by_im_id(&self, id: UserId) -> Result<UserEvent, Error> {
        one(self.users(vec![UserKey::Id(id)]).await?)
    }

    /// Asks the server for up to 50 users by name; those it does not know are absent.
    pub async fn get_users_by_name(&self, names: Vec<UserName>) -> Result<Vec<UserEvent>, Error> {
        self.users(names.into_iter().map(UserKey::Name).collect()).await
    }

    /// Asks the server for up to 50 users by number; those it does not know are absent.
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

/// What one says of oneself, and whom one follows. Writes return when the wish is durable and work with no network;
/// each fails with [`Error::Refused`] when a limit is broken, [`Error::Store`] or [`Error::Closed`].
impl Messenger {
    /// Changes what is known of the user: `None` leaves a part as it is, an empty object erases it.
    pub async fn edit_user(
        &self,
        custom_data: Option<RawJson>,
        private_custom_data: Option<RawJson>,
    ) -> Result<Sending<UserEvent>, Error> {
        self.submit(Intent::EditUser { custom_data, private_custom_data }).await
    }

    /// Chooses the kinds of event that cause a push notification while the user is absent; none turns them off.
    pub async fn manage_push_notifications(
        &self,
        notifications: Vec<Notification>,
    ) -> Result<Sending<UserEvent>, Error> {
        self.submit(Intent::ManageNotifications(notifications)).await
    }

    /// Follows users: their presence and what they say of themselves.
    pub async fn subscribe(&self, users: Vec<UserId>) -> Result<Sending<SubscriptionEvent>, Error> {
        self.submit(Intent::Subscribe(users)).await
    }

    /// Stops following users.
    pub async fn unsubscribe(&self, users: Vec<UserId>) -> Result<Sending<SubscriptionEvent>, Error> {
        self.submit(Intent::Unsubscribe(users)).await
    }

    /// Stops following anybody. The event names nobody; [`Messenger::on_unsubscribe`] tells who it was.
    pub async fn unsubscribe_from_all(&self) -> Result<Sending<SubscriptionEvent>, Error> {
        self.submit(Intent::UnsubscribeAll).await
    }

    /// Asks the server whom the user follows. The answer is kept, and readable offline by
    /// [`subscriptions`](Self::subscriptions).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Offline`], [`Error::Closed`].
    pub async fn get_subscriptions(&self) -> Result<SubscriptionEvent, Error> {
        let Reply::Subscriptions(users) = self.call(Command::Query(Query::Subscriptions)).await? else {
            unreachable!("a question about subscriptions is answered with their list");
        };
        Ok(SubscriptionEvent { kind: MessengerEventType::GetSubscriptions, users })
    }

    /// Tells followers whether the user is there. While there is no link it is dropped without an error.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's code, [`Error::Closed`].
    pub async fn set_status(&self, online: bool) -> Result<(), Error> {
        self.call(Command::SetStatus(online)).await.map(drop)
    }
}

fn one(users: Vec<UserEvent>) -> Result<UserEvent, Error> {
    users.into_iter().next().ok_or_else(|| MessagingError::from(ErrorCode::UserNotFound).into())
}
