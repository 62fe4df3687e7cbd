//! A town of bots: twenty users with three connections each do twenty thousand things, many of them not allowed.
//! Afterwards the file of each user is what the server shows that user.
//!
//! `BACKSCROLL_SOAK_ACTIONS` takes another number of actions, `BACKSCROLL_SOAK_SEED` another seed.

mod actor;
mod known;
mod views;

use crate::raw::Raw;
use crate::world::{World, until, until_live, within_patience};
use actor::{Tally, through_a_socket, through_the_engine};
use backscroll::Messenger;
use backscroll::model::OutboxState;
use fastrand::Rng;
use known::Known;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

const USERS: usize = 20;
const CONVERSATIONS: usize = 50;
const ACTIONS: u32 = 20_000;
/// Sockets of each user besides the engine.
const SOCKETS: usize = 2;
/// One action in so many goes through an engine, whose every action is a durable transaction.
const THROUGH_ENGINES: u32 = 10;
/// Frames after which a link of an engine breaks, again and again.
const LINK_LASTS: u64 = 400;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "figures are printed, never asserted")]
async fn after_twenty_thousand_actions_each_file_is_what_the_server_shows() {
    let actions = u32::try_from(number("BACKSCROLL_SOAK_ACTIONS", ACTIONS.into())).unwrap();
    let seed = number("BACKSCROLL_SOAK_SEED", 1);
    let mut rng = Rng::with_seed(seed);
    let names: Vec<String> = (1..=USERS).map(|number| format!("bot{number}")).collect();
    let world = World::with_users(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let began = Instant::now();

    let mut sockets = Vec::new();
    for name in &names {
        for _ in 0..SOCKETS {
            sockets.push(Raw::log_in(&world, name).await);
        }
    }
    let mut engines = Vec::new();
    for name in &names {
        engines.push(world.log_in(name).await);
    }
    let users: Vec<_> = engines.iter().map(|engine| engine.my_id().unwrap()).collect();
    let known = Arc::new(Known::new(users.clone()));
    for place in 0..CONVERSATIONS {
        let config = known.founding(&mut rng, place);
        let count = sockets.len();
        known.made(&sockets[place % count].ask(backscroll::protocol::Request::CreateConversation(config)).await);
    }

    // Engines meet broken links all the time; sockets, being no more than sockets, do not.
    let first_engine_link = u64::try_from(USERS * SOCKETS + 1).unwrap();
    world.server().faults().drop_link_after(LINK_LASTS, first_engine_link);
    let (sockets_count, engines_count) = (u32::try_from(sockets.len()).unwrap(), u32::try_from(engines.len()).unwrap());
    let through_engines = actions / THROUGH_ENGINES;
    let mut actors = JoinSet::new();
    for (place, socket) in sockets.into_iter().enumerate() {
        let (known, me, rng) = (Arc::clone(&known), users[place / SOCKETS], rng.fork());
        actors.spawn(through_a_socket(socket, known, me, rng, (actions - through_engines) / sockets_count));
    }
    for (engine, me) in engines.iter().zip(users) {
        let (known, rng) = (Arc::clone(&known), rng.fork());
        actors.spawn(through_the_engine(engine.clone(), known, me, rng, through_engines / engines_count));
    }
    let mut tally = Tally::default();
    while let Some(done) = actors.join_next().await {
        tally.add(&done.unwrap());
    }
    let acted = began.elapsed();
    world.server().faults().clear();

    for engine in &engines {
        until(engine, "an outbox at rest", || is_at_rest(engine)).await;
        until_live(engine).await;
    }
    let mut compared = views::Compared::default();
    for (name, engine) in names.iter().zip(&engines) {
        let mut socket = Raw::log_in(&world, name).await;
        let view = views::of_server(&mut socket, name).await;
        within_patience("the file to be what the server shows", view.until_held_by(engine, &mut compared)).await;
        assert_eq!(engine.verify().await.unwrap(), [], "{name}");
    }
    let rate = f64::from(tally.actions()) / acted.as_secs_f64();
    println!("soak, seed {seed}: {} actions in {acted:.1?} ({rate:.0}/s), {tally}", tally.actions());
    println!("soak: {compared}");
    assert!(tally.refused() > 0 && tally.carried_out() > tally.refused(), "{tally}");
}

async fn is_at_rest(engine: &Messenger) -> bool {
    let outbox = engine.outbox().await.unwrap();
    outbox.iter().all(|entry| matches!(entry.state, OutboxState::Settled | OutboxState::Failed))
}
