//! Much at once.

use crate::world::faults::Faults;
use crate::world::medium::Imagined;
use crate::world::{Flavour, World};

/// A world in which three requests in ten are refused, and nothing else goes wrong.
fn world(flavour: Flavour) -> World<Imagined> {
    let mut world = World::new(1, flavour, false);
    world.faults = Faults { refuse_request: 300, latency_ms: 50, late_ms: 50, ..Faults::default() };
    world
}

/// R-23, O-1, O-4: 200 messages written offline in five conversations arrive once each and in order.
#[test]
fn two_hundred_messages_written_offline_arrive_once_and_in_order() {
    for flavour in [Flavour::Ours, Flavour::Foreign] {
        world(flavour).write_offline(5, 40).unwrap_or_else(|what| panic!("{flavour:?}: {what}"));
    }
}

/// R-36, O-1, O-4: a thousand messages written within one second arrive once each and in order, at whatever pace the
/// server allows.
#[test]
fn a_thousand_messages_within_a_second_all_arrive() {
    let mut world = world(Flavour::Foreign);
    world.faults.refuse_request = 0;
    world.write_offline(1, 1_000).unwrap_or_else(|what| panic!("{what}"));
}
