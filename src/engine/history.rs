//! How much history is fetched by itself, and what is fetched because somebody asks.

use super::Messenger;
use crate::error::Error;
use crate::model::{ConversationId, HistoryPolicy, Sequence, SequenceRange};
use crate::protocol::RETRANSMIT_MAX;
use crate::store::{Item, Window};
use crate::sync::{Command, LinkState};

impl Messenger {
    /// Gives a conversation a history policy of its own; `None` takes it away. Works with no network, and is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 8 for an unknown conversation, [`Error::Store`], [`Error::Closed`].
    pub async fn set_history(&self, conversation: ConversationId, policy: Option<HistoryPolicy>) -> Result<(), Error> {
        self.call(Command::SetHistory(conversation, policy)).await.map(drop)
    }

    /// Fetches what is missing of a range, before everything else and whatever the history policy: returns when
    /// nothing of it is missing any more. Positions above the newest are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Offline`] when there is no link or it is lost; [`Error::Refused`] with the server's code, or with 10000
    /// when the answer is lacking: then it is asked for again later. What came is kept.
    pub async fn fetch(&self, conversation: ConversationId, range: SequenceRange) -> Result<(), Error> {
        self.call(Command::Fetch { conversation, range }).await.map(drop)
    }

    /// Asks for the parts of gaps that lie nearest to where a window was read, without waiting for them.
    pub(super) fn fetch_gaps(&self, conversation: ConversationId, window: Window, items: &[Item]) {
        if !matches!(&*self.shared.link.borrow(), LinkState::CatchingUp { .. } | LinkState::Live) {
            return;
        }
        let place = match window {
            Window::Newest => Sequence(u32::MAX),
            Window::Before(at) | Window::After(at) | Window::Around(at) => at,
        };
        for item in items {
            if let Item::Gap(gap) = item {
                self.suggest(Command::Fetch { conversation, range: gap.nearest(place, RETRANSMIT_MAX) });
            }
        }
    }
}
