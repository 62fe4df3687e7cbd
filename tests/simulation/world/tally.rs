//! What happened, by name: faults that struck, invariants that were checked, arrows that were taken.

use std::collections::BTreeMap;

/// How often each of some things happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

/// A step from one state to the next, in the drawing of this name.
pub(crate) type Arrow = (&'static str, &'static str, &'static str);

/// What happened in a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) faults: Counts,
    pub(crate) checks: Counts,
    pub(crate) arrows: BTreeMap<Arrow, u64>,
    /// Invariants that cannot hold in this world, and are not checked.
    pub(crate) waived: &'static [&'static str],
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.faults.add(&other.faults);
        self.checks.add(&other.checks);
        for (arrow, taken) in &other.arrows {
            *self.arrows.entry(*arrow).or_default() += taken;
        }
    }

    /// A fault strikes.
    pub(crate) fn strike(&mut self, fault: &'static str) {
        self.faults.count(fault);
    }

    /// Checks that an invariant holds, unless it is waived; a failure begins with its name.
    pub(crate) fn holds(
        &mut self,
        invariant: &'static str,
        holds: bool,
        otherwise: impl FnOnce() -> String,
    ) -> Result<(), String> {
        if self.waived.contains(&invariant) {
            return Ok(());
        }
        self.checks.count(invariant);
        if holds { Ok(()) } else { Err(format!("{invariant}: {}", otherwise())) }
    }

    /// A drawn state machine takes an arrow.
    pub(crate) fn arrow(&mut self, drawing: &'static str, from: &'static str, to: &'static str) {
        if from != to {
            *self.arrows.entry((drawing, from, to)).or_default() += 1;
        }
    }
}
