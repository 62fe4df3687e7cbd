//! What lies under a device's maps.

use super::disk::Disk;
use backscroll::model::Wish;
use backscroll::sync::Write;
use fastrand::Rng;

/// Where a device's writes go besides its maps. The maps say what it must hold.
pub(crate) trait Medium {
    /// Makes one that holds nothing.
    fn new(seed: u64) -> Self;

    /// Keeps one transaction, on top of what the maps hold.
    fn commit(&mut self, writes: &[Write], disk: &Disk) -> Result<(), String>;

    /// Keeps what another process wants.
    fn wish(&mut self, wish: &Wish) -> Result<(), String>;

    /// Something goes wrong under a transaction, and whoever waits is told that it failed. Returns whether it did not.
    fn refuse(&mut self, writes: &[Write]) -> Result<bool, String>;

    /// The process ended between two transactions, and another begins: it must find what the maps hold.
    fn reopen(&mut self, disk: &Disk) -> Result<(), String>;

    /// The process ended in a transaction, by a kill or by a power cut: whoever comes next finds what was before, or
    /// what came after it. Returns whether the transaction is there.
    fn die_in(&mut self, writes: &[Write], disk: &Disk, rng: &mut Rng) -> Result<bool, String>;
}

/// Nothing: the maps are all there is.
#[derive(Debug)]
pub(crate) struct Imagined;

impl Medium for Imagined {
    fn new(_: u64) -> Self {
        Self
    }

    fn commit(&mut self, _: &[Write], _: &Disk) -> Result<(), String> {
        Ok(())
    }

    fn wish(&mut self, _: &Wish) -> Result<(), String> {
        Ok(())
    }

    fn refuse(&mut self, _: &[Write]) -> Result<bool, String> {
        Ok(false)
    }

    fn reopen(&mut self, _: &Disk) -> Result<(), String> {
        Ok(())
    }

    fn die_in(&mut self, _: &[Write], _: &Disk, rng: &mut Rng) -> Result<bool, String> {
        Ok(rng.bool())
    }
}
