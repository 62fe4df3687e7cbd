//! What a child process does: it opens the store, writes, reads and listens, and says a line about each.

use crate::world::settings;
use backscroll::engine::{Role, Window};
use backscroll::model::{ConversationId, Intent};
use backscroll::{Config, Messenger, MessengerEvent};
use futures_util::StreamExt;
use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Interval, MissedTickBehavior};

/// Between two messages of a child: four of them stay below what one lane takes, a round trip and two commits a
/// message, so that what is measured is not a queue.
const PACE: Duration = Duration::from_millis(50);

/// Messages of a child under way at once, for a disk that takes less than that: the queue stays as short as it was.
const UNDER_WAY: usize = 20;

/// A screen has a frame rate; without one eight readers would only measure the processor.
const FRAME: Duration = Duration::from_millis(10);

/// Readers in each child.
const READERS: u64 = 2;

/// One line at a time, whichever task says it.
pub(crate) fn say(line: &str) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = std::io::stdout();
    // A parent that is gone has no use for it.
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_micros()
}

/// Ticks that come late make the next ones late, so that a busy machine is not kept busy by catching up.
pub(crate) fn pace(period: Duration) -> Interval {
    let mut pace = tokio::time::interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Says who syncs, at each change.
async fn tell_role(messenger: Messenger) {
    let mut role = messenger.role();
    loop {
        let syncing = *role.borrow_and_update() == Role::Syncing;
        say(if syncing { "role syncing" } else { "role following" });
        if role.changed().await.is_err() {
            return;
        }
    }
}

/// Says how long each message of another process took from there to here, before any server had it.
async fn tell_lags(messenger: Messenger, own: String) {
    let mut events = messenger.events();
    let mut seen = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            MessengerEvent::Outbox(event) => {
                let Intent::SendMessage { text, .. } = &event.entry.intent else { continue };
                let Some((name, at)) = text.split_once(' ') else { continue };
                if !name.starts_with(&own) && seen.insert(name.to_owned()) {
                    let since = micros().saturating_sub(at.parse().expect("a time"));
                    say(&format!("lag {since}"));
                }
            }
            MessengerEvent::Lagged { missed } => say(&format!("missed {missed}")),
            MessengerEvent::Conversation(_)
            | MessengerEvent::Message(_)
            | MessengerEvent::ConversationService(_)
            | MessengerEvent::User(_)
            | MessengerEvent::Status(_)
            | MessengerEvent::Subscription(_)
            | MessengerEvent::Changed(_)
            | MessengerEvent::Contradicted(_)
            | MessengerEvent::Unknown(_) => {}
            other => panic!("an event this test does not know: {other:?}"),
        }
    }
}

/// Reads as a screen does, again and again.
async fn read(messenger: Messenger, conversation: ConversationId, over: Arc<AtomicBool>) {
    let mut screens = 0_u64;
    let mut frames = pace(FRAME);
    while !over.load(Ordering::Relaxed) {
        messenger.conversations(0, 50).await.expect("a list");
        messenger.messages(conversation, Window::Newest, 50).await.expect("a page");
        screens += 1;
        frames.tick().await;
    }
    say(&format!("screens {screens}"));
}

/// Returns what a line of the parent sets. A parent that is gone, or whose test failed, ends this process: the server
/// went with it, so that nothing would ever arrive.
pub(crate) fn listen_to_the_parent() -> Arc<AtomicBool> {
    let told_to_stop = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&told_to_stop);
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).for_each(|_| stop.store(true, Ordering::Relaxed));
        std::process::exit(1);
    });
    told_to_stop
}

/// Writes until told to stop, then waits until everything has arrived.
pub(crate) async fn work(over: Arc<AtomicBool>, store: &Path, conversation: ConversationId, name: &str) {
    let messenger = Messenger::open(Config::new(store).settings(settings())).await.expect("a store that opens");
    let held = messenger.conversation(conversation).await.expect("reads").expect("held").conversation;
    tokio::spawn(tell_role(messenger.clone()));
    tokio::spawn(tell_lags(messenger.clone(), format!("{name}-")));
    let readers: Vec<_> =
        (0..READERS).map(|_| tokio::spawn(read(messenger.clone(), conversation, Arc::clone(&over)))).collect();
    say("ready");
    let mut under_way = VecDeque::new();
    let mut count = 0_u32;
    let mut pace = pace(PACE);
    while !over.load(Ordering::Relaxed) {
        let text = format!("{name}-{count} {}", micros());
        under_way.push_back(held.send_message(text.as_str(), None).await.expect("a wish is accepted"));
        // Only what was told counts as accepted.
        say(&format!("accepted {text}"));
        count += 1;
        if under_way.len() == UNDER_WAY {
            under_way.pop_front().expect("just counted").await.expect("a message arrives");
        }
        pace.tick().await;
    }
    for sending in under_way {
        sending.await.expect("a message arrives");
    }
    for reader in readers {
        reader.await.expect("a reader that never failed");
    }
    say("done");
    messenger.close().await;
}

/// Accepts one message and ends at once, whoever sends it.
pub(crate) async fn drop_off(store: &Path, conversation: ConversationId, text: &str) {
    let messenger = Messenger::open(Config::new(store).settings(settings())).await.expect("a store that opens");
    let held = messenger.conversation(conversation).await.expect("reads").expect("held").conversation;
    drop(held.send_message(text, None).await.expect("a wish is accepted"));
    say(&format!("accepted {text}"));
}
