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
    /// A commit fails.
    pub(crate) commit: u32,
    /// A dial is refused.
    pub(crate) refuse_dial: u32,
    /// A request meets a rate limit or an outage.
    pub(crate) refuse_request: u32,
    /// A token has expired when it is used.
    pub(crate) expire: u32,
    /// A push is delivered twice.
    pub(crate) duplicate: u32,
    /// Something arrives that is no frame.
    pub(crate) noise: u32,
    /// A frame of history is left out of an answer.
    pub(crate) leave_out: u32,
    /// The server restarts, at each request.
    pub(crate) restart: u32,
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
            commit: one(20),
            refuse_dial: one(500),
            refuse_request: one(200),
            expire: one(300),
            duplicate: one(200),
            noise: one(100),
            // Only a server that does not say how many frames follow can leave one out unnoticed.
            leave_out: if foreign { one(50) } else { 0 },
            restart: one(20),
            latency_ms: u64::from(one(2_000)).max(5),
            late_ms: u64::from(one(30_000)).max(10),
        }
    }

    /// Nothing goes wrong any more; frames still take their time.
    pub(crate) fn quiet(self) -> Self {
        Self { latency_ms: self.latency_ms, late_ms: self.late_ms, ..Self::default() }
    }
}

/// How often each fault struck.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Struck {
    pub(crate) cuts: u64,
    pub(crate) silences: u64,
    pub(crate) kills: u64,
    pub(crate) commits: u64,
    pub(crate) refused_dials: u64,
    pub(crate) refused_requests: u64,
    pub(crate) expired: u64,
    pub(crate) duplicates: u64,
    pub(crate) noises: u64,
    pub(crate) left_out: u64,
    pub(crate) restarts: u64,
    pub(crate) late_frames: u64,
}

impl Struck {
    pub(crate) fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.silences += other.silences;
        self.kills += other.kills;
        self.commits += other.commits;
        self.refused_dials += other.refused_dials;
        self.refused_requests += other.refused_requests;
        self.expired += other.expired;
        self.duplicates += other.duplicates;
        self.noises += other.noises;
        self.left_out += other.left_out;
        self.restarts += other.restarts;
        self.late_frames += other.late_frames;
    }
}
