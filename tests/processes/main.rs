//! Real processes on a real store, against a real server: killed at any instant, and several at once.
//!
//! `KILLS=1000 cargo test --test processes kills` kills more often than usual, `BACKSCROLL_LONG=1 cargo test --test
//! processes sharing` runs each story of several processes for a minute; `SEED=…` repeats the instants, as far as a
//! machine can.
#![expect(clippy::disallowed_methods, reason = "processes and their clocks are what is tested here")]

mod child;
mod kills;
mod process;
mod sharing;
mod told;
mod world;

use backscroll::model::ConversationId;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Tells a child what to do; absent in the parent.
const ROLE: &str = "BACKSCROLL_PROCESSES_CHILD";

/// Does nothing by itself: the parent runs this test in processes of their own.
#[test]
fn entry_of_the_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.split('|');
    let mut word = || words.next().expect("four words");
    let (kind, store, conversation, name) = (word(), PathBuf::from(word()), word(), word());
    let conversation: ConversationId = conversation.parse().expect("an id");
    let told_to_stop = child::listen_to_the_parent();
    runtime().block_on(async {
        match kind {
            "work" => child::work(told_to_stop, &store, conversation, name).await,
            "drop off" => child::drop_off(&store, conversation, name).await,
            "wish" => kills::wish_until_killed(&store, conversation, name).await,
            other => panic!("no such work: {other}"),
        }
    });
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().expect("threads")
}

fn seed() -> u64 {
    number("SEED").unwrap_or(1)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
