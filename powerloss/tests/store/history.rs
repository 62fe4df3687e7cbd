//! What a store has held, transaction by transaction, and how a recovered one compares.

use crate::look::{self, Content};
use crate::story::{self, Step};
use backscroll::model::SequenceRange;
use backscroll::store::{Durability, OpenOptions, Store, StoreError};
use std::collections::BTreeSet;
use std::path::Path;

/// The transactions of a store and its content behind each.
#[derive(Debug)]
pub(crate) struct History {
    steps: Vec<Step>,
    /// The content before the first step, and behind each that was stored.
    contents: Vec<Content>,
}

/// How a recovered store compares with its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exactly what the history held behind so many steps.
    Behind(usize),
    /// Something it never held: a part of a transaction.
    Torn,
}

/// Opens the store of a folder on the recording VFS.
pub(crate) fn open(folder: &Path, commits: Durability) -> Result<Store, StoreError> {
    let vfs = Some(powerloss::VFS.to_owned());
    Store::open_with(OpenOptions { vfs, commits, ..OpenOptions::new(look::file(folder)) })
}

impl History {
    /// Begins with an open store that holds nothing.
    pub(crate) fn of(steps: Vec<Step>, store: &Store) -> Self {
        let empty = look::content(store.path()).expect("an open store can be read");
        Self { steps, contents: vec![empty] }
    }

    /// Returns the step to be stored next; `None` at the end.
    pub(crate) fn next(&self) -> Option<&Step> {
        self.steps.get(self.stored())
    }

    /// Returns how many steps were stored.
    pub(crate) fn stored(&self) -> usize {
        self.contents.len() - 1
    }

    /// Returns what was stored or tried as step `number`, counted from 1; of 0, the making of the file.
    pub(crate) fn what(&self, number: usize) -> &'static str {
        number.checked_sub(1).and_then(|place| self.steps.get(place)).map_or("opened", |step| step.what)
    }

    /// Takes note that the next step was stored, after making sure that the store holds what it was given.
    pub(crate) fn store_next(&mut self, store: &Store) {
        let content = look::content(store.path()).expect("an open store can be read");
        assert_ne!(Some(&content), self.contents.last(), "step {} changes something", self.stored() + 1);
        self.contents.push(content);
        self.check_promises(store);
        check_coverage(store);
    }

    /// Returns how many steps there are up to the newest promise among the first `stored`.
    pub(crate) fn promised(&self, stored: usize) -> usize {
        self.steps[..stored].iter().rposition(Step::is_promise).map_or(0, |place| place + 1)
    }

    /// Returns which moment of the history a recovered store shows.
    pub(crate) fn judge(&self, found: Content) -> Verdict {
        self.contents.iter().rposition(|content| *content == found).map_or(Verdict::Torn, Verdict::Behind)
    }

    /// D-3, in the store's own words: exactly the entries that were accepted and not forgotten are there.
    fn check_promises(&self, store: &Store) {
        let held = store.read(|reader| reader.outbox()).expect("the outbox can be read");
        let held: BTreeSet<_> = held.into_iter().map(|entry| entry.token).collect();
        assert_eq!(held, story::tokens_after(&self.steps[..self.stored()]).into_iter().collect());
    }
}

/// L-2: every covered position holds an event or lies in a hole.
fn check_coverage(store: &Store) {
    let complete = store.read(|reader| {
        for conversation in reader.saved_conversations()? {
            let mut explained: BTreeSet<_> = BTreeSet::new();
            for covered in conversation.coverage.iter() {
                explained.extend(reader.events(conversation.id, covered)?.into_iter().map(|event| event.sequence));
            }
            for hole in reader.holes(Some(conversation.id))? {
                explained.extend(hole.range.iter());
            }
            let unexplained =
                conversation.coverage.iter().flat_map(SequenceRange::iter).find(|at| !explained.contains(at));
            assert_eq!(unexplained, None, "a covered position of {} without an event", conversation.id);
        }
        Ok(())
    });
    complete.expect("the store can be read");
}
