//! Several processes on one store: one syncs, all read and write.

use crate::process::Process;
use crate::world::{PATIENCE, World, settings, until_live};
use crate::{runtime, seed};
use backscroll::engine::Role;
use backscroll::{Config, Messenger, MessengerEvent};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a story is.
fn length() -> Duration {
    Duration::from_secs(if std::env::var_os("BACKSCROLL_LONG").is_some() { 60 } else { 6 })
}

/// Every accepted text arrived once, each writer's in the order of acceptance, and both sides read the same.
fn assert_once_and_in_order(ours: &[String], theirs: &[String], accepted: &[Vec<String>]) {
    assert_eq!(ours, theirs, "both read the same");
    let mut places = BTreeMap::new();
    for (place, text) in theirs.iter().enumerate() {
        assert_eq!(places.insert(text, place), None, "{text} arrived twice");
    }
    for texts in accepted {
        let found: Vec<usize> = texts.iter().map(|text| *places.get(text).expect("accepted and never lost")).collect();
        assert!(found.is_sorted(), "out of order");
    }
}

fn print_lags(what: &str, mut lags: Vec<u64>) {
    lags.sort_unstable();
    let at = |share: f64| Duration::from_micros(lags[((lags.len() - 1) as f64 * share) as usize]);
    println!(
        "{what}: {} seen in another process after p50 {:?}, p90 {:?}, p99 {:?}, at most {:?}",
        lags.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// Processes of these names write and read at once. Any error of any call ends a child, and so the test.
fn write_and_read(names: &[&str]) {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let mut processes: Vec<Process> = names.iter().map(|name| world.spawn("work", name)).collect();
    let end = Instant::now() + length();
    for process in &mut processes {
        process.listen(end, |_| false);
    }
    let syncing = processes.iter().filter(|process| process.syncing).count();
    assert_eq!(syncing, 1, "one process syncs");
    // The one that syncs ends first: another one takes its place.
    processes.sort_by_key(|process| !process.syncing);
    processes.iter_mut().for_each(Process::finish);
    let missed: u64 = processes.iter().map(|process| process.missed).sum();
    let accepted: Vec<Vec<String>> = processes.iter().map(|process| process.accepted.clone()).collect();
    let what = format!("{} processes", names.len());
    print_lags(&what, processes.iter().flat_map(|process| process.lags.clone()).collect());
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &accepted);
    assert_eq!(missed, 0, "nobody fell behind");
    println!("{what}: {} messages accepted, each arrived once", accepted.iter().map(Vec::len).sum::<usize>());
}

/// an app and its extension. How soon one sees what the other wrote is printed.
#[test]
fn two_processes_write_and_read_one_store() {
    write_and_read(&["app", "extension"]);
}

/// D-8: four processes write and eight readers read, which is more than two processors take.
#[test]
fn four_processes_write_and_read_one_store() {
    write_and_read(&["a", "b", "c", "d"]);
}

/// whoever syncs is killed again and again.
#[test]
fn the_process_that_syncs_is_killed_and_another_goes_on() {
    let seed = seed();
    let mut dice = fastrand::Rng::with_seed(seed);
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let mut alive: Vec<Process> = vec![world.spawn("work", "0"), world.spawn("work", "1")];
    let mut accepted = Vec::new();
    let mut handovers = Vec::new();
    let (end, mut spawned) = (Instant::now() + length(), 2);
    while Instant::now() < end {
        let until = Instant::now() + PATIENCE;
        // Both roles are taken, by one each.
        while alive.iter().filter(|process| process.syncing).count() != 1 {
            assert!(Instant::now() < until, "nobody syncs");
            alive.iter_mut().for_each(|process| {
                process.listen(Instant::now() + Duration::from_millis(5), |_| false);
            });
        }
        // Not a wait for a state: the instant of the kill is what varies.
        let life = Instant::now() + Duration::from_micros(dice.u64(0..800_000));
        for process in &mut alive {
            process.listen(life, |_| false);
        }
        let place = alive.iter().position(|process| process.syncing).expect("one syncs");
        let mut killed = alive.remove(place);
        killed.child.kill().expect("a kill");
        killed.child.wait().expect("an end");
        let died = Instant::now();
        killed.listen(Instant::now() + PATIENCE, |_| false);
        accepted.push(killed.accepted);
        let next = alive[0].listen(Instant::now() + PATIENCE, |process| process.syncing);
        assert!(next, "the other process takes over");
        handovers.push(u64::try_from(died.elapsed().as_micros()).expect("small"));
        alive.push(world.spawn("work", &spawned.to_string()));
        spawned += 1;
    }
    alive.sort_by_key(|process| !process.syncing);
    alive.iter_mut().for_each(Process::finish);
    accepted.extend(alive.iter().map(|process| process.accepted.clone()));
    print_lags("a dead holder's place", handovers.clone());
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &accepted);
    println!(
        "{} holders killed, seed {seed}: {} accepted, each arrived once",
        handovers.len(),
        accepted.concat().len()
    );
}

/// an extension of an app accepts a message and is gone; the app sends it.
#[test]
fn a_process_that_lives_for_one_message_leaves_it_to_the_one_that_syncs() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    runtime.block_on(async {
        let app = Messenger::open(Config::new(world.store()).settings(settings())).await.expect("a store");
        until_live(&app).await;
        let mut events = app.events();
        let mut extension = world.spawn("drop off", "back soon");
        extension.listen(Instant::now() + PATIENCE, |process| !process.accepted.is_empty());
        assert!(extension.child.wait().expect("an end").success());
        let sent = async {
            loop {
                if let Some(MessengerEvent::Message(event)) = events.next().await {
                    break event.message.text.clone();
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, sent).await.expect("sent in time"), "back soon");
        app.close().await;
    });
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &[vec!["back soon".to_owned()]]);
}

/// whoever asks for the store gets it; the loser follows, and what it wrote arrives all the same.
#[test]
fn a_process_that_takes_over_makes_the_other_one_follow() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let mut loser = world.spawn("work", "loser");
    assert!(loser.listen(Instant::now() + PATIENCE, |process| process.syncing && process.accepted.len() > 10));
    let winner = runtime.block_on(async {
        let config = Config::new(world.store()).settings(settings()).take_over();
        let winner = Messenger::open(config).await.expect("a store");
        assert_eq!(*winner.role().borrow(), Role::Syncing);
        assert_eq!(winner.holder().await.expect("reads").map(|holder| holder.process), Some(std::process::id()));
        until_live(&winner).await;
        winner
    });
    assert!(loser.listen(Instant::now() + PATIENCE, |process| !process.syncing), "the loser notices");
    let before = loser.accepted.len();
    assert!(
        loser.listen(Instant::now() + PATIENCE, |process| process.accepted.len() > before + 10),
        "it goes on writing"
    );
    loser.finish();
    assert_eq!(*winner.role().borrow(), Role::Syncing);
    runtime.block_on(winner.close());
    let accepted = [loser.accepted];
    let (ours, theirs) = runtime.block_on(world.read_all());
    assert_once_and_in_order(&ours, &theirs, &accepted);
}
