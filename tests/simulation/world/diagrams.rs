//! The state diagrams of the core, followed from outside: what goes in and comes out of it shows where it stands.

use super::tally::Tally;
use backscroll::model::{ClientToken, ConversationId, OutboxEntry, OutboxState};
use backscroll::protocol::{ClientFrame, ClientRpc, Push, Request, ServerFrame, ServerRpc};
use backscroll::sync::{Input, LinkState, Output, SavedState, Signal, Write};
use std::collections::{BTreeMap, BTreeSet};

/// Where one process stands.
#[derive(Debug, Default)]
pub(super) struct Diagrams {
    link_state: &'static str,
    phase: &'static str,
    /// Whether the present server does nothing twice, so that nothing is looked for.
    idempotent: bool,
    uncertain: BTreeMap<Lane, BTreeSet<ClientToken>>,
    looks: BTreeMap<Lane, &'static str>,
}

/// What is looked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Conversation(ConversationId),
    New,
}

fn lane_of(entry: &OutboxEntry) -> Lane {
    entry.intent.conversation().map_or(Lane::New, Lane::Conversation)
}

impl Diagrams {
    /// A process begins with what is stored.
    pub(super) fn begin(saved: &SavedState) -> Self {
        let has_tokens = saved.session.as_ref().is_some_and(|session| session.tokens.is_some());
        let mut diagrams =
            Self { link_state: "SignedOut", phase: if has_tokens { "Down" } else { "Idle" }, ..Self::default() };
        for entry in &saved.outbox {
            if matches!(entry.state, OutboxState::Sending | OutboxState::Uncertain) {
                diagrams.look_for(entry);
            }
        }
        diagrams
    }

    pub(super) fn see_input(&mut self, input: &Input, tally: &mut Tally) {
        match input {
            Input::Connected(_) => self.enter("Greeting", tally),
            Input::Disconnected(_) => self.link_lost(tally),
            Input::Frame(_, ServerFrame::Rpc(ServerRpc::Greeting { announcement, .. })) => {
                self.idempotent = announcement.idempotent;
            }
            Input::Frame(_, ServerFrame::Rpc(ServerRpc::LoggedIn { .. })) if self.phase.starts_with("LoggingIn") => {
                self.enter("Ready", tally);
            }
            Input::Frame(_, ServerFrame::Chat(chat)) => {
                if let Push::Conversation { conversation, .. } = &chat.push
                    && chat.request.is_some()
                {
                    self.advance(Lane::Conversation(conversation.id), "Asked", "CatchUp", tally);
                }
            }
            _ => {}
        }
    }

    pub(super) fn see_output(&mut self, output: &Output, tally: &mut Tally) {
        match output {
            Output::Dial(..) => {
                if self.phase != "Idle" {
                    self.enter("Down", tally);
                }
                self.enter("Dialing", tally);
            }
            Output::HangUp(_) => self.link_lost(tally),
            Output::Send(_, ClientFrame::Rpc(ClientRpc::Login { options, .. })) => {
                let with = if options.access_token.is_some() { "LoggingIn by token" } else { "LoggingIn by password" };
                self.enter(with, tally);
            }
            Output::Send(_, ClientFrame::Rpc(ClientRpc::RefreshToken { .. })) => {
                self.enter("LoggingIn, refreshing", tally)
            }
            Output::Send(_, ClientFrame::Chat(chat)) => {
                if let Request::GetConversations(ids) = &chat.body
                    && let [id] = ids.as_slice()
                {
                    self.advance(Lane::Conversation(*id), "Quarantine", "AskHead", tally);
                    self.advance(Lane::Conversation(*id), "AskHead", "Asked", tally);
                }
            }
            Output::Signal(Signal::Link(state)) => {
                let name = name_of(state);
                tally.arrow("LinkState", self.link_state, name);
                self.link_state = name;
                match state {
                    LinkState::SignedOut(_) => self.enter("Idle", tally),
                    LinkState::Offline { .. } => self.enter("Down", tally),
                    LinkState::Connecting | LinkState::CatchingUp { .. } | LinkState::Live | LinkState::Paused => {}
                }
            }
            Output::Write(writes) => {
                for write in writes {
                    match write {
                        Write::Outbox(entry) if entry.state == OutboxState::Uncertain => self.look_for(entry),
                        Write::Outbox(entry) => self.decide(entry, tally),
                        _ => {}
                    }
                }
            }
            Output::Signal(_) | Output::Load(_) | Output::Answer(..) | Output::Send(..) => {}
        }
    }

    fn enter(&mut self, phase: &'static str, tally: &mut Tally) {
        tally.arrow("Phase", self.phase, phase);
        self.phase = phase;
    }

    fn look_for(&mut self, entry: &OutboxEntry) {
        let lane = lane_of(entry);
        self.uncertain.entry(lane).or_default().insert(entry.token);
        self.looks.insert(lane, "Quarantine");
    }

    fn advance(&mut self, lane: Lane, from: &'static str, to: &'static str, tally: &mut Tally) {
        if let Some(look) = self.looks.get_mut(&lane).filter(|look| **look == from && !self.idempotent) {
            *look = to;
            tally.arrow("Look", from, to);
        }
    }

    fn decide(&mut self, entry: &OutboxEntry, tally: &mut Tally) {
        let lane = lane_of(entry);
        if !self.uncertain.get_mut(&lane).is_some_and(|tokens| tokens.remove(&entry.token)) {
            return;
        }
        if self.looks.remove(&lane) == Some("CatchUp") {
            let found = if entry.state == OutboxState::Settled { "settled" } else { "queued again" };
            tally.arrow("Look", "CatchUp", found);
        }
    }

    fn link_lost(&mut self, tally: &mut Tally) {
        for look in self.looks.values_mut() {
            if *look != "Quarantine" {
                tally.arrow("Look", look, "AskHead");
                *look = "AskHead";
            }
        }
    }
}

const fn name_of(state: &LinkState) -> &'static str {
    match state {
        LinkState::SignedOut(_) => "SignedOut",
        LinkState::Offline { .. } => "Offline",
        LinkState::Connecting => "Connecting",
        LinkState::CatchingUp { .. } => "CatchingUp",
        LinkState::Live => "Live",
        LinkState::Paused => "Paused",
    }
}
