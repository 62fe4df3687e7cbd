//! What is left of a store whose process is killed, or loses power, right now.

use crate::look::{self, Content};
use powerloss::{Disk, Image, Operation, Recorder, Survival};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// What a folder would hold for somebody who finds it now.
pub(crate) struct Leftovers {
    disk: Disk,
    /// How many of the recorder's operations the disk has been told.
    told: usize,
    found: TempDir,
    /// What was found after the last power cuts, by fingerprint: a refused write often changes nothing.
    known: BTreeMap<u64, Result<Content, String>>,
}

impl Leftovers {
    pub(crate) fn of(start: &Image) -> Self {
        Self { disk: Disk::holding(start), told: 0, found: look::scratch(), known: BTreeMap::new() }
    }

    /// Returns what a store shows whose process was killed now.
    pub(crate) fn of_a_kill(&self, folder: &Path) -> Result<Content, String> {
        self.open(&Image::read(folder).unwrap())
    }

    /// Returns what a store may show after the power went out now: on the worst disk, and on one by dice.
    pub(crate) fn of_a_power_cut(&mut self, recorder: &Recorder) -> Vec<Result<Content, String>> {
        let operations = recorder.operations_from(self.told);
        self.told += operations.len();
        operations.iter().for_each(|operation| self.disk.apply(operation));
        // Dice only where something was flushed: writes alone leave the worst disk as it was, and it is known.
        let survivals = if operations.iter().any(Operation::is_flush) {
            &[Survival::Flushed, Survival::Dice(1)][..]
        } else {
            &[Survival::Flushed]
        };
        let cuts = survivals.iter().map(|survival| self.disk.cut(*survival));
        let found: Vec<_> = cuts
            .map(|cut| {
                let known = self.known.get(&cut.fingerprint).cloned();
                (cut.fingerprint, known.unwrap_or_else(|| self.open(&cut.image)))
            })
            .collect();
        self.known = found.iter().cloned().collect();
        found.into_iter().map(|(_, found)| found).collect()
    }

    fn open(&self, image: &Image) -> Result<Content, String> {
        image.lay_out(self.found.path()).unwrap();
        look::recovered_by_sqlite(&look::file(self.found.path()))
    }
}
