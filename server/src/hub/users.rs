//! Users, presence and subscriptions.

use super::conversations::check_custom_data;
use super::{Context, Done, FanOut, Fault, Hub, header};
use crate::storage::{Storage, StorageError};
use backscroll::model::{Action, ErrorCode, Notification, RawJson, User, UserId};
use backscroll::protocol::{Push, USERS_MAX, UserKey};
use std::collections::BTreeSet;

impl<S: Storage> Hub<S> {
    pub(super) fn get_user(&self, context: &Context, key: &UserKey) -> Result<Done, Fault> {
        let user = self.described(context, key)?;
        Ok(Done::answer(Push::User { header: header(context, Action::GetUser), user }))
    }

    /// All or nothing: one unknown user refuses the whole request.
    pub(super) fn get_users(&self, context: &Context, keys: &[UserKey]) -> Result<Done, Fault> {
        if keys.is_empty() || keys.len() > USERS_MAX {
            return Err(ErrorCode::RequestedNumberTooBigOr0.into());
        }
        let frames = keys.iter().map(|key| {
            let user = self.described(context, key)?;
            Ok(Push::User { header: header(context, Action::GetUsers), user })
        });
        Ok(Done::frames(frames.collect::<Result<_, Fault>>()?))
    }

    /// Returns a user as the caller may see one: with the private members only of the caller.
    fn described(&self, context: &Context, key: &UserKey) -> Result<User, Fault> {
        let user = self.storage.user(key)?.ok_or(ErrorCode::UserNotFound)?;
        if user.id == context.caller { Ok(self.own(context)?) } else { Ok(user) }
    }

    /// Returns the caller with the private members.
    fn own(&self, context: &Context) -> Result<User, StorageError> {
        let lost = StorageError::Damaged { table: "account", expected: "user who is logged in" };
        let user = self.storage.user(&UserKey::Id(context.caller))?.ok_or(lost)?;
        Ok(User { private: Some(self.storage.private_user(context.caller)?), ..user })
    }

    pub(super) fn edit_user(
        &mut self,
        context: &Context,
        custom_data: Option<RawJson>,
        private_custom_data: Option<RawJson>,
    ) -> Result<Done, Fault> {
        custom_data.iter().chain(&private_custom_data).try_for_each(check_custom_data)?;
        if let Some(data) = custom_data {
            self.storage.set_custom_data(context.caller, &data)?;
        }
        if let Some(data) = private_custom_data {
            self.storage.set_private_custom_data(context.caller, &data)?;
        }
        let user = self.own(context)?;
        let header = header(context, Action::EditUser);
        let public = Push::UserEdited { header: header.clone(), user: User { private: None, ..user.clone() } };
        let mut done = Done::notice(Push::UserEdited { header, user }, vec![context.caller]);
        done.fan_out.push(FanOut { users: self.followers(context)?, push: public });
        Ok(done)
    }

    pub(super) fn manage_notifications(
        &mut self,
        context: &Context,
        kinds: Vec<Option<Notification>>,
    ) -> Result<Done, Fault> {
        let kinds: BTreeSet<Notification> =
            kinds.into_iter().collect::<Option<_>>().ok_or(ErrorCode::NotificationEventIncorrect)?;
        self.storage.set_notifications(context.caller, &Vec::from_iter(kinds))?;
        let user = self.own(context)?;
        let push = Push::UserEdited { header: header(context, Action::ManageNotification), user };
        Ok(Done::notice(push, vec![context.caller]))
    }

    pub(super) fn set_status(&self, context: &Context, online: bool) -> Result<Done, Fault> {
        let mut users = self.followers(context)?;
        users.push(context.caller);
        let push = Push::Status { header: header(context, Action::SetStatus), online };
        Ok(Done::notice(push, users))
    }

    /// Returns who follows the caller; the caller hears of everything anyway.
    fn followers(&self, context: &Context) -> Result<Vec<UserId>, StorageError> {
        let mut followers = self.storage.subscribers(context.caller)?;
        followers.retain(|user| *user != context.caller);
        Ok(followers)
    }

    pub(super) fn subscribe(&mut self, context: &Context, users: Vec<UserId>) -> Result<Done, Fault> {
        if users.is_empty() {
            return Err(ErrorCode::RequestedNumberTooBigOr0.into());
        }
        let users = Vec::from_iter(BTreeSet::from_iter(users));
        for user in &users {
            let found = self.storage.user(&UserKey::Id(*user))?;
            found.filter(|found| !found.deleted).ok_or(ErrorCode::UserNotFound)?;
        }
        self.storage.subscribe(context.caller, &users)?;
        let push = Push::Subscribed { header: header(context, Action::Subscribe), users };
        Ok(Done::notice(push, vec![context.caller]))
    }

    pub(super) fn unsubscribe(&mut self, context: &Context, users: Vec<UserId>) -> Result<Done, Fault> {
        if users.is_empty() {
            return Err(ErrorCode::RequestedNumberTooBigOr0.into());
        }
        self.storage.unsubscribe(context.caller, &users)?;
        let push = Push::Unsubscribed { header: header(context, Action::Unsubscribe), users };
        Ok(Done::notice(push, vec![context.caller]))
    }

    /// Answers with everybody who was followed.
    pub(super) fn unsubscribe_all(&mut self, context: &Context) -> Result<Done, Fault> {
        let users = self.storage.subscriptions(context.caller)?;
        self.storage.unsubscribe(context.caller, &users)?;
        let push = Push::Unsubscribed { header: header(context, Action::Unsubscribe), users };
        Ok(Done::notice(push, vec![context.caller]))
    }

    pub(super) fn get_subscriptions(&self, context: &Context) -> Result<Done, Fault> {
        let users = self.storage.subscriptions(context.caller)?;
        Ok(Done::answer(Push::Subscriptions { header: header(context, Action::GetSubscriptionList), users }))
    }
}
