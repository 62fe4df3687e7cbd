//! Until when what is to leave may leave: a socket that takes nothing later.
//!
//! A transaction proves that this process is the one that syncs, and frames leave on that proof. A process that is
//! stopped between the two goes on whenever it is let: by then another one may have taken over, looked for what was
//! under way, and sent it again. So the proof grows old, and is looked at where a frame leaves the process.

use super::clock::Clock;
use crate::model::Uptime;
use crate::sync::LEAVES_WITHIN;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What stands for no limit: nothing is under way.
const NEVER: u64 = u64::MAX;

/// Until when what is being written may be taken by the socket.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    clock: Clock,
    /// In microseconds of uptime.
    until: Arc<AtomicU64>,
}

impl Limit {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, until: Arc::new(AtomicU64::new(NEVER)) }
    }

    /// What is written next may leave until then.
    pub(crate) fn set(&self, until: Uptime) {
        let micros = u64::try_from(until.as_duration().as_micros()).unwrap_or(NEVER);
        self.until.store(micros, Ordering::Relaxed);
    }

    /// Everything has left.
    pub(crate) fn lift(&self) {
        self.until.store(NEVER, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.clock.uptime() > Uptime::from_duration(Duration::from_micros(self.until.load(Ordering::Relaxed)))
    }

    /// A part has left: a long frame on a slow network may take its time, as long as it moves.
    fn put_off(&self) {
        if self.until.load(Ordering::Relaxed) != NEVER {
            self.set(self.clock.uptime().after(LEAVES_WITHIN));
        }
    }
}

/// A socket that takes nothing beyond its limit.
#[derive(Debug)]
pub(crate) struct Timely {
    pub(crate) tcp: TcpStream,
    pub(crate) limit: Limit,
}

impl AsyncRead for Timely {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Timely {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.limit.is_over() {
            let late = io::Error::new(io::ErrorKind::TimedOut, "what was to leave has waited too long");
            return Poll::Ready(Err(late));
        }
        let written = ready!(Pin::new(&mut self.tcp).poll_write(context, bytes));
        self.limit.put_off();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
