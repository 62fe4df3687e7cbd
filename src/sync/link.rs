//! One connection at a time: dialling, greeting, keep-alive.

use super::LinkId;
use super::pace::Backoff;
use crate::model::{ServerAddress, Uptime};
use std::time::Duration;

/// How the link stands.
///
/// ```text
///            session or credentials          socket open         greeting
///   Idle ──────────────────────────▶ Dialing ───────────▶ Greeting ───────▶ LoggingIn ─────────────▶ Ready
///    ▲                                ▲   │ failed           │ no greeting   │  │ ▲ login with        │
///    │                          time  │   ▼                  ▼ in time       │  ▼ │ the answer        │
///    │                                Down ◀─────────────────────── refused ─┤  KeyGiven              │
///    │                                  ▲                           for now  │   │ five minutes       │
///    │                                  └────────────────────────────────────┼───┴─ lost, silent ─────┘
///    └── nobody to log in as: logged out, or the server refused for good ────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is nobody to log in as.
    Idle,
    /// Waiting before the next attempt.
    Down {
        /// When it is due.
        until: Uptime,
    },
    /// The shell opens a socket; it reports a failure by itself.
    Dialing,
    /// The socket is open, the server has not greeted.
    Greeting {
        /// When it is given up.
        deadline: Uptime,
    },
    /// A login or a refresh is under way.
    LoggingIn {
        /// When it is given up.
        deadline: Uptime,
        /// What the answer will be about.
        attempt: Attempt,
    },
    /// The application has the one-time key that it asked for; the login with the answer may come on this link.
    KeyGiven {
        /// When the key ends, and with it the use of the link.
        deadline: Uptime,
    },
    /// Logged in.
    Ready,
}

/// What was sent to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// What the application brought: a password, the answer to a one-time key, a token.
    Proof,
    /// A wish for a one-time key; its answer is the proof that follows, or goes to the application.
    Key,
    /// The access token that is kept.
    AccessToken,
    /// The refresh token; a login with the new access token follows.
    Refresh,
    /// The access token that a refresh on this link gave.
    FreshToken,
}

/// The present link, or the wait for the next.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    /// Where it leads or last led.
    pub(super) server: Option<ServerAddress>,
    pub(super) phase: Phase,
    pub(super) backoff: Backoff,
    last_heard: Uptime,
    next_ping: Uptime,
}

impl Link {
    /// `before` is below every link of this core, and drawn by chance: reports of links that an earlier core
    /// dialled may still be on their way, and must not be taken for those of a new one.
    pub(super) fn new(before: LinkId, phase: Phase, backoff: (Duration, Duration)) -> Self {
        Self {
            id: before,
            server: None,
            phase,
            backoff: Backoff::new(backoff),
            last_heard: Uptime::default(),
            next_ping: Uptime::default(),
        }
    }

    /// Returns whether `id` names the present link and it is open or being opened.
    pub(super) fn is(&self, id: LinkId) -> bool {
        self.id == id && self.is_up()
    }

    /// Returns whether there is a socket, or one is being opened.
    pub(super) const fn is_up(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Down { .. } => false,
            Phase::Dialing
            | Phase::Greeting { .. }
            | Phase::LoggingIn { .. }
            | Phase::KeyGiven { .. }
            | Phase::Ready => true,
        }
    }

    /// Begins a new link.
    pub(super) fn dial(&mut self, server: ServerAddress) -> LinkId {
        self.server = Some(server);
        self.id = LinkId(self.id.0 + 1);
        self.phase = Phase::Dialing;
        self.id
    }

    /// Something arrived.
    pub(super) const fn heard(&mut self, now: Uptime) {
        self.last_heard = now;
    }

    /// The peer is to be asked for a sign of life at once.
    pub(super) const fn ping_now(&mut self, now: Uptime) {
        self.next_ping = now;
    }

    /// Returns whether a ping is due, and plans the next one if so.
    pub(super) fn take_ping(&mut self, now: Uptime, interval: Duration) -> bool {
        if !matches!(self.phase, Phase::Ready | Phase::KeyGiven { .. }) || now < self.next_ping {
            return false;
        }
        self.next_ping = now.after(interval);
        true
    }

    /// Returns when something about the link is due, if anything ever is.
    pub(super) fn deadline(&self, silence_limit: Duration) -> Option<Uptime> {
        match self.phase {
            Phase::Idle | Phase::Dialing => None,
            Phase::Down { until } => Some(until),
            Phase::Greeting { deadline } | Phase::LoggingIn { deadline, .. } => Some(deadline),
            Phase::KeyGiven { deadline } => Some(deadline.min(self.sign_of_life_due(silence_limit))),
            Phase::Ready => Some(self.sign_of_life_due(silence_limit)),
        }
    }

    /// Returns whether the peer has had its time and did not use it.
    pub(super) fn is_overdue(&self, now: Uptime, silence_limit: Duration) -> bool {
        match self.phase {
            Phase::Idle | Phase::Dialing | Phase::Down { .. } => false,
            Phase::Greeting { deadline } | Phase::LoggingIn { deadline, .. } => now >= deadline,
            Phase::KeyGiven { deadline } => now >= deadline || now >= self.last_heard.after(silence_limit),
            Phase::Ready => now >= self.last_heard.after(silence_limit),
        }
    }

    fn sign_of_life_due(&self, silence_limit: Duration) -> Uptime {
        self.next_ping.min(self.last_heard.after(silence_limit))
    }
}
