//! How people log in, how long that lasts, and what a pause leaves behind.

use crate::raw::Raw;
use crate::world::{
    World, conversation_of, credentials, password, texts, until_link, until_live, until_texts, user_name,
    within_patience,
};
use backscroll::engine::{Freshness, Role, SignedOut, TokenKeeper};
use backscroll::model::{Credentials, RawJson, Secret, Session, Tokens};
use backscroll::protocol::{one_time_key_answer, password_hash};
use backscroll::store::{Store, StoreError};
use backscroll::sync::{LinkState, Refusal, Write};
use backscroll::{Error, Messenger};
use std::error::Error as StdError;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

async fn tokens_of(messenger: &Messenger) -> Tokens {
    messenger.session().expect("a session").tokens.expect("a pair")
}

/// every way to log in of the published interface, each on a device of its own.
#[tokio::test]
async fn everyone_logs_in_by_whatever_way_they_have() {
    let world = World::with_users(&["alice"]).await;
    let (user, right) = (user_name("alice"), password("alice"));

    let first = world.open("by password").await;
    first.log_in(credentials("alice")).await.unwrap();
    until_live(&first).await;

    let by_key = world.open("by key").await;
    by_key.log_in(Credentials::PasswordByKey { user: user.clone(), password: right.clone() }).await.unwrap();
    until_live(&by_key).await;

    let by_hash = world.open("by hash").await;
    let key = by_hash.request_one_time_key(user.clone()).await.unwrap();
    let hash = one_time_key_answer(&key, &password_hash(&user, &right));
    by_hash.log_in(Credentials::OneTimeKeyHash { user: user.clone(), hash }).await.unwrap();
    until_live(&by_hash).await;

    let by_access = world.open("by access token").await;
    let token = tokens_of(&first).await.access;
    by_access.log_in(Credentials::AccessToken { user: user.clone(), token }).await.unwrap();
    until_live(&by_access).await;

    let by_refresh = world.open("by refresh token").await;
    let token = tokens_of(&by_key).await.refresh;
    by_refresh.log_in(Credentials::RefreshToken { user: user.clone(), token: token.clone() }).await.unwrap();
    until_live(&by_refresh).await;
    assert_ne!(tokens_of(&by_refresh).await.refresh, token, "it is spent");
    assert_eq!(by_refresh.my_id(), first.my_id());
}

#[tokio::test]
async fn what_does_not_prove_the_user_is_refused_with_its_code() {
    let world = World::with_users(&["alice"]).await;
    let device = world.open("device").await;
    let (user, wrong) = (user_name("alice"), Secret::new("a guess"));
    let ways = [
        Credentials::Password { user: user.clone(), password: wrong.clone() },
        Credentials::PasswordByKey { user: user.clone(), password: wrong.clone() },
        Credentials::OneTimeKeyHash { user: user.clone(), hash: wrong.clone() },
        Credentials::AccessToken { user: user.clone(), token: wrong.clone() },
        Credentials::RefreshToken { user: user.clone(), token: wrong },
    ];
    for way in ways {
        let refused = device.log_in(way.clone()).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::Login { code: 401 })), "{way:?}: {refused}");
        assert_eq!(*device.connection().borrow(), LinkState::SignedOut(SignedOut::NeverLoggedIn));
    }
    let nobody = device.request_one_time_key(user_name("nobody")).await.unwrap_err();
    assert!(matches!(nobody, Error::Refused(Refusal::Login { code: 404 })));
    world.server().accounts().set_frozen(&user, true).unwrap();
    let frozen = device.log_in(credentials("alice")).await.unwrap_err();
    assert!(matches!(frozen, Error::Refused(Refusal::Login { code: 403 })));
}

/// C-3: started with tokens that ended, everything local works; the end is said; a login goes on from there.
#[tokio::test]
async fn a_device_that_comes_back_too_late_keeps_everything_and_goes_on_after_a_login() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    alice.close().await;
    // The password is changed elsewhere: every token of the account is void.
    world.server().accounts().set_password(&user_name("alice"), &password("alice")).unwrap();
    world.stop_server().await;

    let alice = world.open("alice").await;
    let ours = alice.conversation(ours.id).await.unwrap().expect("held").conversation;
    let sending = ours.send_message("Soup?", None).await.unwrap();
    world.start_server().await;
    let ended = LinkState::SignedOut(SignedOut::Refused { code: 401 });
    until_link(&alice, &ended).await;
    assert_eq!(texts(&alice, ours.id).await, ["Soup?"]);
    let held = alice.conversation(ours.id).await.unwrap().expect("held");
    assert!(matches!(held.freshness, Freshness::Stale { since: Some(_) }));
    assert!(matches!(alice.log_in(credentials("bob")).await, Err(Error::Refused(Refusal::OtherUser { .. }))));
    assert!(texts(&bob, theirs.id).await.is_empty());

    // A restart knows why, without asking again.
    drop((sending, ours));
    alice.close().await;
    let alice = world.open("alice").await;
    assert_eq!(*alice.connection().borrow(), ended);
    alice.log_in(credentials("alice")).await.unwrap();
    until_live(&alice).await;
    until_texts(&bob, theirs.id, &["Soup?"]).await;
}

/// an access token that has ended is traded for a new pair, and nobody notices.
#[tokio::test]
async fn an_access_token_that_ended_is_refreshed() {
    let mut world = World::with_users(&["alice"]).await;
    world.logins.access_token_life = Duration::ZERO;
    world.stop_server().await;
    world.start_server().await;
    let alice = world.log_in("alice").await;
    let first = tokens_of(&alice).await;
    alice.close().await;
    world.logins.access_token_life = Duration::from_secs(60 * 60);
    world.stop_server().await;
    world.start_server().await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    let second = tokens_of(&alice).await;
    assert!(second.refresh != first.refresh && second.access != first.access);
}

/// C-1: killed between the server's new pair and the disk, a device comes back with the old one and gets in.
#[tokio::test]
async fn a_refresh_that_never_reached_the_disk_is_made_again() {
    let mut world = World::with_users(&["alice"]).await;
    world.logins.access_token_life = Duration::ZERO;
    world.stop_server().await;
    world.start_server().await;
    let alice = world.log_in("alice").await;
    let stored = tokens_of(&alice).await;
    alice.close().await;
    world.logins.access_token_life = Duration::from_secs(60 * 60);
    world.stop_server().await;
    world.start_server().await;
    let lost = Raw::refresh(&world, user_name("alice"), stored.refresh).await;
    let alice = world.open("alice").await;
    until_live(&alice).await;
    assert_ne!(tokens_of(&alice).await, lost);
}

/// a process that a notification woke opens, catches up and ends; whoever opens the file later, with no network,
/// reads the message, once.
#[tokio::test]
async fn what_a_notification_was_about_is_there_when_the_application_opens() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    alice.close().await;
    within_patience("the answer", theirs.send_message("Soup?", None).await.unwrap()).await.unwrap();

    let woken = world.open("alice").await;
    woken.push_feedback(RawJson::empty_object()).await.unwrap();
    until_live(&woken).await;
    woken.close().await;
    world.stop_server().await;
    let alice = world.open("alice").await;
    assert_eq!(texts(&alice, ours.id).await, ["Soup?"]);
}

/// tokens are renewed while the link is up, before they end.
#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    let mut world = World::with_users(&["alice"]).await;
    world.logins.access_token_life = Duration::from_secs(1);
    world.stop_server().await;
    world.start_server().await;
    let alice = world.log_in("alice").await;
    let first = tokens_of(&alice).await;
    // A new pair is a write of the store; nothing else of these devices writes.
    let mut link = alice.connection();
    link.mark_unchanged();
    let renewed = async {
        while tokens_of(&alice).await == first {
            tokio::task::yield_now().await;
        }
    };
    within_patience("a new pair", renewed).await;
    assert!(!link.has_changed().unwrap(), "the link did not notice");
}

/// Keeps a pair, and can be told to fail.
#[derive(Default)]
struct Vault {
    kept: Mutex<Option<Tokens>>,
    broken: Mutex<bool>,
}

impl TokenKeeper for Vault {
    fn kept(&self) -> Result<Option<Tokens>, Box<dyn StdError + Send + Sync>> {
        Ok(self.kept.lock().unwrap().clone())
    }

    fn keep(&self, tokens: Option<&Tokens>) -> Result<(), Box<dyn StdError + Send + Sync>> {
        if *self.broken.lock().unwrap() {
            return Err("the vault is locked".into());
        }
        *self.kept.lock().unwrap() = tokens.cloned();
        Ok(())
    }
}

/// S-3: tokens that the application keeps are never in the file, and serve as well.
#[tokio::test]
async fn an_application_keeps_the_tokens_itself() {
    let world = World::with_users(&["alice"]).await;
    let vault = Arc::new(Vault::default());
    let open = || Messenger::open(world.config("alice").token_keeper(vault.clone()));

    *vault.broken.lock().unwrap() = true;
    let alice = open().await.unwrap();
    let failed = alice.log_in(credentials("alice")).await.unwrap_err();
    assert!(matches!(&failed, Error::Store(error) if matches!(**error, StoreError::TokenKeeper { .. })), "{failed}");
    *vault.broken.lock().unwrap() = false;
    // For a moment everything is answered with why the store failed.
    while let Err(error) = alice.log_in(credentials("alice")).await {
        assert!(error.is_transient(), "{error}");
    }
    until_live(&alice).await;
    alice.close().await;

    let pair = vault.kept.lock().unwrap().clone().expect("kept");
    let file = fs::read(world.store("alice")).unwrap();
    for token in [&pair.access, &pair.refresh] {
        let token = token.reveal().as_bytes();
        assert!(!file.windows(token.len()).any(|window| window == token));
    }
    let alice = open().await.unwrap();
    until_live(&alice).await;
    alice.log_out().await.unwrap();
    assert_eq!(*vault.kept.lock().unwrap(), None);
}

#[tokio::test]
async fn tokens_in_the_file_move_to_their_keeper() {
    let world = World::with_users(&["alice"]).await;
    world.log_in("alice").await.close().await;
    let vault = Arc::new(Vault::default());
    let alice = Messenger::open(world.config("alice").token_keeper(vault.clone())).await.unwrap();
    until_live(&alice).await;
    alice.close().await;
    assert!(vault.kept.lock().unwrap().is_some());
    let stored = Store::inspect(world.store("alice")).unwrap().saved_state().unwrap().session;
    assert!(matches!(stored, Some(Session { tokens: None, .. })));
}

#[tokio::test]
async fn push_tokens_are_kept_until_the_server_was_told() {
    let mut world = World::with_users(&["alice"]).await;
    let alice = world.log_in("alice").await;
    let (kept, dropped) = (Secret::new("kept"), Secret::new("dropped"));
    world.stop_server().await;
    alice.register_push_token(kept.clone()).await.unwrap();
    alice.register_push_token(dropped.clone()).await.unwrap();
    alice.unregister_push_token(dropped).await.unwrap();
    alice.push_feedback(RawJson::empty_object()).await.unwrap();
    world.start_server().await;
    until_live(&alice).await;
    alice.close().await;
    let stored = Store::inspect(world.store("alice")).unwrap().saved_state().unwrap().push_tokens;
    assert_eq!(stored.iter().map(|known| (&known.token, known.wanted)).collect::<Vec<_>>(), [(&kept, true)]);
}

/// Returns the files of this process that lie beside `store`.
fn handles_on(store: &Path) -> Vec<String> {
    let name = store.to_str().unwrap();
    let handles = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    handles.filter_map(|file| file.to_str().filter(|file| file.starts_with(name)).map(str::to_owned)).collect()
}

/// paused in the middle of writing, nothing of the file is open; resumed, all goes on over a new link.
#[expect(clippy::disallowed_methods, reason = "how long pauses take is printed, and decides nothing")]
#[tokio::test]
async fn a_pause_under_load_leaves_no_handle_open_and_resuming_goes_on() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    let store = world.store("alice");
    assert!(!handles_on(&store).is_empty());

    let mut took = Vec::new();
    let mut accepted = 0;
    for _ in 0..20 {
        let writer = tokio::spawn({
            let ours = ours.clone();
            async move {
                let mut accepted = 0;
                loop {
                    match ours.send_message(format!("message {accepted}"), None).await {
                        Ok(_sending) => accepted += 1,
                        Err(Error::Paused) => return accepted,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        let mut events = alice.events();
        // Paused while it writes, not before.
        within_patience("a write", futures_util::StreamExt::next(&mut events)).await.unwrap();
        let began = Instant::now();
        alice.pause().await.unwrap();
        took.push(began.elapsed());
        assert_eq!(handles_on(&store), Vec::<String>::new());
        accepted += writer.await.unwrap();
        assert_eq!(*alice.connection().borrow(), LinkState::Paused);
        assert!(matches!(alice.conversations(0, 10).await, Err(Error::Paused)));
        assert!(matches!(alice.network_changed().await, Err(Error::Paused)));
        alice.pause().await.unwrap();
        alice.resume().await.unwrap();
    }
    took.sort();
    println!("pausing under load: median {:?}, longest of {} {:?}", took[10], took.len(), took[19]);

    until_live(&alice).await;
    let all = || async { texts(&bob, theirs.id).await.len() == accepted };
    crate::world::until(&bob, "every message, once", all).await;
    crate::world::assert_sound(&alice).await;
}

#[tokio::test]
async fn what_was_under_way_at_a_pause_is_told_after_it() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.stop_server().await;
    let sending = ours.send_message("Soup?", None).await.unwrap();
    alice.pause().await.unwrap();
    // Another process may have the file meanwhile.
    drop(Store::open(world.store("alice")).unwrap());
    world.start_server().await;
    alice.resume().await.unwrap();
    assert_eq!(within_patience("the answer", sending).await.unwrap().message.text, "Soup?");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_again_leaves_the_engine_paused() {
    let world = World::with_users(&["alice"]).await;
    let alice = world.log_in("alice").await;
    alice.pause().await.unwrap();
    let (store, aside) = (world.store("alice"), world.store("aside"));
    fs::rename(&store, &aside).unwrap();
    fs::create_dir(&store).unwrap();
    alice.resume().await.unwrap_err();
    assert_eq!(*alice.connection().borrow(), LinkState::Paused);
    fs::remove_dir(&store).unwrap();
    fs::rename(&aside, &store).unwrap();
    alice.resume().await.unwrap();
    until_live(&alice).await;
    alice.pause().await.unwrap();
    within_patience("the end", alice.close()).await;
    assert!(matches!(alice.resume().await, Err(Error::Closed)));
}

/// whoever has the file meanwhile is followed, and its end is noticed.
#[tokio::test]
async fn a_file_that_another_one_took_during_a_pause_is_followed() {
    let world = World::with_users(&["alice"]).await;
    let alice = world.log_in("alice").await;
    alice.pause().await.unwrap();
    let other = Store::open(world.store("alice")).unwrap();
    alice.resume().await.unwrap();
    let mut role = alice.role();
    within_patience("following", role.wait_for(|role| *role != Role::Syncing)).await.unwrap();
    drop(other);
    within_patience("syncing", role.wait_for(|role| *role == Role::Syncing)).await.unwrap();
    until_live(&alice).await;
}

/// S-2: a name that must not be shown is in no message of an error.
#[tokio::test]
async fn no_error_tells_a_secret() {
    let world = World::with_users(&["alice"]).await;
    let device = world.open("device").await;
    let canary = Secret::new("canary");
    let user = user_name("alice");
    for way in [
        Credentials::Password { user: user.clone(), password: canary.clone() },
        Credentials::PasswordByKey { user: user.clone(), password: canary.clone() },
        Credentials::AccessToken { user: user.clone(), token: canary.clone() },
        Credentials::RefreshToken { user, token: canary },
    ] {
        let error = device.log_in(way.clone()).await.unwrap_err();
        assert!(!format!("{way:?}{error}{error:?}{device:?}").contains("canary"));
    }
    let write = Write::PushTokenForget(Secret::new("canary"));
    assert!(!format!("{write:?}").contains("canary"));
}
