//! A process under real load, killed with SIGKILL at random instants: nothing accepted is lost, nothing is delivered
//! twice, and the file holds what it claims after each kill.
//!
//! The child sends, edits and removes messages, marks as read, changes the title, and makes conversations and writes
//! into them before the server has named them.

use crate::child::{pace, say};
use crate::told::{Told, Wish};
use crate::world::{World, settings, texts};
use crate::{number, runtime, seed};
use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, ConversationId, OutboxState, Participant};
use backscroll::store::Store;
use backscroll::{Config, Conversation, Message, Messenger};
use std::path::Path;
use std::time::Duration;

/// Kills in the normal run.
const KILLS: u64 = 200;

/// How long a child lives at most after its first word.
const LIFE: Duration = Duration::from_millis(80);

/// Between two messages of Bob, so that the log does not outgrow the test; nothing depends on it.
const PACE: Duration = Duration::from_millis(20);

/// What the child works with.
struct Writer {
    alice: Messenger,
    conversation: Conversation,
    bob: Participant,
    run: String,
}

impl Writer {
    /// Makes a wish, between two lines that say what it is: nobody knows of one that was cut between them.
    async fn wish(&self, count: u32) {
        let text = format!("{}-{count}", self.run);
        let (alice, conversation) = (&self.alice, &self.conversation);
        match count % 8 {
            3 => {
                let Some(message) = self.own_message().await else { return };
                let wish = Wish::Edit { key: key_of(&message), text: format!("{} as of {text}", key_of(&message)) };
                say(&format!("will {wish}"));
                let Wish::Edit { text, .. } = &wish else { unreachable!("made above") };
                drop(message.update(Some(text.clone()), None).await.expect("a store that writes"));
                say(&format!("did {wish}"));
            }
            4 => {
                let head = alice.conversation(conversation.id).await.expect("a store that reads").expect("held").head;
                let wish = Wish::Mark(head);
                say(&format!("will {wish}"));
                drop(conversation.mark_as_read(head).await.expect("a store that writes"));
                say(&format!("did {wish}"));
            }
            6 => {
                let Some(message) = self.own_message().await else { return };
                let wish = Wish::Remove(key_of(&message));
                say(&format!("will {wish}"));
                drop(message.remove().await.expect("a store that writes"));
                say(&format!("did {wish}"));
            }
            7 => {
                let wish = Wish::Title(text.clone());
                say(&format!("will {wish}"));
                drop(conversation.update(Some(text), None, None).await.expect("a store that writes"));
                say(&format!("did {wish}"));
            }
            _ => {
                let wish = Wish::Send(text.clone());
                say(&format!("will {wish}"));
                drop(conversation.send_message(text, None).await.expect("a store that writes"));
                say(&format!("did {wish}"));
            }
        }
    }

    /// Makes a conversation, and writes into it at once.
    async fn make(&self) {
        let wish = Wish::Make(self.run.clone());
        let participants = vec![self.bob];
        let config = ConversationConfig { title: self.run.clone(), participants, ..ConversationConfig::default() };
        say(&format!("will {wish}"));
        let making = self.alice.create_conversation(config).await.expect("a store that writes");
        say(&format!("did {wish}"));
        let here = ConversationId::provisional(making.token());
        let made = self.alice.conversation(here).await.expect("a store that reads").expect("shown at once");
        let wish = Wish::SendThere(self.run.clone());
        say(&format!("will {wish}"));
        drop(made.conversation.send_message(self.run.as_str(), None).await.expect("a store that writes"));
        say(&format!("did {wish}"));
    }

    /// The oldest message of this run that is on the last page, if it still is one.
    async fn own_message(&self) -> Option<Message> {
        let page = self.alice.messages(self.conversation.id, Window::Newest, 20).await.expect("a store that reads");
        let prefix = format!("{}-", self.run);
        page.into_iter().find_map(|item| match item {
            TimelineItem::Message(message) if message.text.starts_with(&prefix) => Some(message),
            TimelineItem::Message(_) | TimelineItem::Gap(_) => None,
        })
    }
}

/// A message goes on to begin with what it said at first.
fn key_of(message: &Message) -> String {
    message.text.split(' ').next().unwrap_or_default().to_owned()
}

/// What the child runs: resumes the stored session and wishes for as long as it lives.
pub(crate) async fn wish_until_killed(store: &Path, conversation: ConversationId, run: &str) {
    let alice = Messenger::open(Config::new(store).settings(settings())).await.expect("a store that opens");
    let held = alice.conversation(conversation).await.expect("a store that reads").expect("a conversation held");
    let conversation = held.conversation;
    let bob = *conversation.participants.iter().find(|one| Some(one.user) != alice.my_id()).expect("both");
    let bob = Participant::new(bob.user);
    let writer = Writer { alice, conversation, bob, run: run.to_owned() };
    say("ready");
    if run.ends_with('0') || run.ends_with('5') {
        writer.make().await;
    }
    for count in 0.. {
        writer.wish(count).await;
    }
}

/// Bob writes, so that the child has something to catch up with.
async fn chat(bob: Messenger, conversation: ConversationId) {
    let held = bob.get_conversation(conversation).await.expect("a conversation");
    let mut pace = pace(PACE);
    for count in 0.. {
        let sending = held.send_message(format!("bob-{count}"), None).await.expect("accepted");
        sending.await.expect("sent");
        pace.tick().await;
    }
}

/// D-1, D-2, D-3, O-1, O-4, R-20, R-21, R-29, R-32.
#[test]
fn killed_at_any_instant_nothing_is_lost_and_nothing_doubled() {
    let (kills, seed) = (number("KILLS").unwrap_or(KILLS), seed());
    let mut dice = fastrand::Rng::with_seed(seed);
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let chatter = runtime.spawn(chat(world.bob.clone(), world.conversation));
    let mut told = Told::new(World::TITLE);
    for run in 0..kills {
        let mut child = world.spawn("wish", &run.to_string());
        child.until_ready();
        // Not a wait for a state: the instant of the kill is what varies.
        std::thread::sleep(LIFE.mul_f64(dice.f64()));
        child.kill().for_each(|line| told.hear(&line));
        let opened = Store::open(world.store()).expect("the store opens after a kill");
        let findings = opened.read(|reader| reader.verify()).expect("the store reads");
        assert_eq!(findings, [], "after kill {run} of seed {seed}");
    }
    chatter.abort();
    runtime.block_on(async {
        let alice = world.settle().await;
        let outbox = alice.outbox().await.expect("reads");
        let failed: Vec<_> = outbox.into_iter().filter(|entry| entry.state == OutboxState::Failed).collect();
        assert!(failed.is_empty(), "refused: {failed:?}");
        let theirs = world.bob.get_conversation(world.conversation).await.expect("a conversation");
        let seen = texts(&world.bob, world.conversation).await;
        assert_eq!(texts(&alice, world.conversation).await, seen, "both read the same");
        let own = alice.conversation(world.conversation).await.expect("reads").expect("held");
        told.assert_kept(&seen, &theirs.title, own.own_read_mark);
        let listed = world.bob.conversations(0, 1_000).await.expect("reads");
        let mut made = Vec::new();
        for summary in listed.iter().filter(|summary| summary.conversation.id != world.conversation) {
            made.push((summary.conversation.title.clone(), texts(&world.bob, summary.conversation.id).await));
        }
        told.assert_made(made);
        world.end(alice).await;
    });
    assert!(told.len() > kills, "the children hardly wrote: {}", told.len());
    println!("{kills} kills, seed {seed}: {} wishes accepted, each done once", told.len());
}
