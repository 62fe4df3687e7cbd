//! Looking after the file: is it sound, and what can be put right.

use super::Messenger;
use super::shift::Call;
use crate::error::Error;
use crate::model::{ConversationId, Event, SequenceRange};
use crate::store::Finding;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// What was not as it should be.
    pub found: Vec<Finding>,
    /// The conversations that were made anew from their logs, rising.
    pub rebuilt: Vec<ConversationId>,
    /// What of it was damaged, and is asked for again.
    pub missing: Vec<(ConversationId, SequenceRange)>,
    /// What is still not as it should be: nothing that could not be replaced was taken away.
    pub left: Vec<Finding>,
}

impl Messenger {
    /// Checks whether the file holds what it claims; empty when all is well. Reads all of it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the file cannot be read at all.
    pub async fn verify(&self) -> Result<Vec<Finding>, Error> {
        self.read(|reader| reader.verify()).await
    }

    /// Puts right what can be put right, and says what that was.
    ///
    /// Messages, indices, counts and coverage are made anew from the events held, and by what entries of the outbox are
    /// found. An event that is damaged is missing from then on, and fetched again like anything else that is missing; in
    /// a conversation that no server will show again it is left as it is. What cannot be read of a conversation's
    /// description or of a user is asked for again. No entry of the outbox is touched. The link is given up and comes back
    /// by itself.
    ///
    /// What kept conversations from being read at all was put right when the file was opened, and is not among `found`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the file cannot be read or written, [`Error::Following`] when another process syncs,
    /// [`Error::Paused`], [`Error::Closed`].
    pub async fn repair(&self) -> Result<Repair, Error> {
        let (found, gaps) = self.read(|reader| Ok((reader.verify()?, reader.gaps(None)?))).await?;
        if !found.iter().any(|found| found.fault.is_rebuilt()) {
            return Ok(Repair { left: found.clone(), found, ..Repair::default() });
        }
        let rebuilt: BTreeSet<ConversationId> =
            found.iter().filter(|found| found.fault.is_rebuilt()).filter_map(|found| found.conversation).collect();
        let rebuilt = Vec::from_iter(rebuilt);
        self.rebuild(rebuilt.iter().map(|id| (*id, Vec::new())).collect()).await?;
        let (left, mut missing) = self.read(|reader| Ok((reader.verify()?, reader.gaps(None)?))).await?;
        missing.retain(|gap| !gaps.contains(gap));
        Ok(Repair { found, rebuilt, missing, left })
    }

    /// Makes conversations anew from their logs, each with these events in place of those held at their positions, and
    /// the index of the outbox from its entries.
    pub(super) async fn rebuild(&self, conversations: Vec<(ConversationId, Vec<Event>)>) -> Result<(), Error> {
        let (answer, done) = oneshot::channel();
        self.shared.calls.send(Call::Rebuild(conversations, answer)).await.map_err(|_| Error::Closed)?;
        done.await.map_err(|_| Error::Closed)?
    }
}
