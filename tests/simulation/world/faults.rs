//! What goes wrong in a world, as numbers.

use fastrand::Rng;

/// Chances in a thousand, unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A link is cut, at each frame that is delivered.
    pub(crate) cut: u32,
    /// A link goes silent without being closed, at each frame.
    pub(crate) silence: u32,
    /// A process is killed, between any two outputs.
    pub(crate) kill: u32,
    /// A process is stopped between any two outputs, where there is another one, and goes on later.
    pub(crate) stop: u32,
    /// The lease is taken over, at each action at a device with two processes.
    pub(crate) take_over: u32,
    /// A commit fails.
    pub(crate) commit: u32,
    /// A process dies in a commit, which is then there as a whole or not at all.
    pub(crate) torn_commit: u32,
    /// A dial is refused.
    pub(crate) refuse_dial: u32,
    /// There is no network for some minutes, from a dial on.
    pub(crate) offline: u32,
    /// A peer accepts a connection and never greets.
    pub(crate) mute: u32,
    /// A request meets a rate limit or an outage.
    pub(crate) refuse_request: u32,
    /// A login meets an outage.
    pub(crate) refuse_login: u32,
    /// An access token has expired when it is used.
    pub(crate) expire: u32,
    /// A refresh token has expired when it is used.
    pub(crate) expire_refresh: u32,
    /// A push is delivered twice.
    pub(crate) duplicate: u32,
    /// A frame arrives torn: it is no frame.
    pub(crate) noise: u32,
    /// A frame of a link that was given up reaches the core nevertheless.
    pub(crate) ghost: u32,
    /// A frame of history is left out of an answer.
    pub(crate) leave_out: u32,
    /// The server restarts, at each request.
    pub(crate) restart: u32,
    /// The server's time of day jumps, at each request.
    pub(crate) clock: u32,
    /// A frame of the server says something else than the truth.
    pub(crate) lie: u32,
    /// The longest a frame is under way, in milliseconds.
    pub(crate) latency_ms: u64,
    /// The longest a frame of a link that was given up is still under way, in milliseconds.
    pub(crate) late_ms: u64,
}

impl Faults {
    /// Most worlds have a few kinds of fault, some have all of them, some none.
    pub(crate) fn of(rng: &mut Rng, foreign: bool) -> Self {
        let mut one = |most: u32| if rng.u32(0..3) == 0 { rng.u32(0..=most) } else { 0 };
        Self {
            cut: one(60),
            silence: one(15),
            kill: one(20),
            // Only where there are two processes, and then always.
            stop: 20,
            take_over: 100,
            commit: one(20),
            torn_commit: one(20),
            refuse_dial: one(500),
            offline: one(100),
            mute: one(100),
            refuse_request: one(200),
            refuse_login: one(200),
            expire: one(300),
            expire_refresh: one(300),
            duplicate: one(200),
            noise: one(100),
            ghost: one(500),
            // Only a server that does not say how many frames follow can leave one out unnoticed.
            leave_out: if foreign { one(50) } else { 0 },
            restart: one(20),
            clock: one(50),
            lie: 0,
            latency_ms: u64::from(one(2_000)).max(5),
            late_ms: u64::from(one(30_000)).max(10),
        }
    }

    /// Nothing goes wrong any more; frames still take their time.
    pub(crate) fn quiet(self) -> Self {
        Self { latency_ms: self.latency_ms, late_ms: self.late_ms, ..Self::default() }
    }
}
