//! What links say to the driver, and how much of it may wait.
//!
//! Bounded in number and in bytes, from the socket until the batch it came in is on disk: a peer that sends faster
//! than the disk takes waits at its own end, whatever the size of its frames.

use super::transport::TransportError;
use crate::protocol::FRAME_BYTES_MAX;
use crate::sync::{Input, LinkId};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Reports waiting for the driver: of frames a thousand or so.
const WAITING_MAX: usize = 16;
/// Bytes of frames, as they came, that wait for the driver or for the disk: a few of the longest.
const BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// What a link has to say to the driver.
#[derive(Debug)]
pub(crate) enum Report {
    /// What came together, for the core, in order.
    Inputs(Vec<Input>),
    /// The socket is gone or could not be opened. Said once, and last.
    Lost(LinkId, TransportError),
}

/// The room that a report takes; given back when this is dropped.
type Room = OwnedSemaphorePermit;

/// The end of a link: it says what came, and waits while there is no room.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    queue: mpsc::Sender<(Report, Option<Room>)>,
    room: Arc<Semaphore>,
}

impl Reporter {
    /// Says something that came as so many bytes. Returns whether anybody still listens.
    pub(crate) async fn say(&self, report: Report, bytes: usize) -> bool {
        let room = match u32::try_from(bytes.min(BYTES_MAX)) {
            Ok(bytes @ 1..) => match Arc::clone(&self.room).acquire_many_owned(bytes).await {
                Ok(room) => Some(room),
                Err(_closed) => return false,
            },
            Ok(0) | Err(_) => None,
        };
        self.queue.send((report, room)).await.is_ok()
    }
}

/// The end of the driver.
pub(crate) struct Reports {
    reporter: Reporter,
    queue: mpsc::Receiver<(Report, Option<Room>)>,
    /// Of what was taken and is not done yet.
    taken: Vec<Room>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        let (sender, queue) = mpsc::channel(WAITING_MAX);
        let reporter = Reporter { queue: sender, room: Arc::new(Semaphore::new(BYTES_MAX)) };
        Self { reporter, queue, taken: Vec::new() }
    }

    /// Returns what a new link reports by.
    pub(crate) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Waits for the next report.
    pub(crate) async fn next(&mut self) -> Report {
        let (report, room) = self.queue.recv().await.expect("a reporter is kept here");
        self.taken.extend(room);
        report
    }

    /// Returns the next report, if one waits.
    pub(crate) fn try_next(&mut self) -> Option<Report> {
        let (report, room) = self.queue.try_recv().ok()?;
        self.taken.extend(room);
        Some(report)
    }

    /// What was taken is done, and its room free for others.
    pub(crate) fn done(&mut self) {
        self.taken.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// what waits is bounded by its bytes, until what was taken is done.
    #[tokio::test]
    async fn long_frames_wait_at_the_socket_until_those_before_are_done() {
        let mut reports = Reports::new();
        let reporter = reports.reporter();
        let say = || reporter.say(Report::Inputs(vec![Input::Noise(LinkId(1))]), FRAME_BYTES_MAX);
        for _ in 0..4 {
            assert_eq!(say().now_or_never(), Some(true));
        }
        assert_eq!(say().now_or_never(), None, "no room for a fifth");
        let short = reporter.say(Report::Inputs(vec![Input::Connected(LinkId(1))]), 0);
        assert_eq!(short.now_or_never(), Some(true), "what came as no frame takes no room");
        while reports.try_next().is_some() {}
        assert_eq!(say().now_or_never(), None, "taken is not done");
        reports.done();
        assert_eq!(say().now_or_never(), Some(true));
        assert!(matches!(reports.next().await, Report::Inputs(_)));
    }
}
