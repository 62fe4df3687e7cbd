//! Devices: a core, its disk, and the shell that performs what the core wants.

use super::disk::Disk;
use super::{Accepted, Flavour, Packet, World};
use backscroll::model::{Credentials, Intent, Secret, Sequence, ServerAddress, Uptime, UserId};
use backscroll::protocol::RateLimit;
use backscroll::sync::{Command, CommandId, Core, Input, LinkId, LinkState, Output, Reply, Settings, Signal, Write};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A process and the file it works on.
pub(super) struct Device {
    pub(super) user: UserId,
    pub(super) core: Option<Core>,
    pub(super) started: Duration,
    pub(super) disk: Disk,
    pub(super) link: Option<(LinkId, u64)>,
    pub(super) waiting: BTreeSet<CommandId>,
    pub(super) commands: u64,
    pub(super) state: LinkState,
    pub(super) spins: u32,
}

impl World {
    pub(super) fn settings(&self) -> Settings {
        let quarantine = if self.flavour == Flavour::Hasty { Duration::ZERO } else { Duration::from_secs(60) };
        let rate = RateLimit { burst: 16, interval: Duration::from_millis(20) };
        Settings { rate, quarantine, ..Settings::default() }
    }

    pub(super) fn start(&mut self, index: usize) -> Result<(), String> {
        let settings = self.settings();
        let seed = self.rng.u64(..);
        let device = &mut self.devices[index];
        device.started = self.now;
        device.state = LinkState::default();
        let saved = device.disk.saved_state();
        let is_new = saved.session.is_none();
        device.core = Some(Core::restore(saved, settings, seed, Uptime::default()));
        if is_new { self.log_in(index) } else { Ok(()) }
    }

    pub(super) fn log_in(&mut self, index: usize) -> Result<(), String> {
        let user = self.users.iter().find(|(id, _)| *id == self.devices[index].user).expect("known").1.clone();
        let credentials = Credentials::Password { user, password: Secret::new("password") };
        let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
        self.command(index, Command::LogIn { credentials, server })
    }

    pub(super) fn kill(&mut self, index: usize) {
        if self.trace {
            println!("{:?} device {index} killed", self.now);
        }
        if let Some((_, conn)) = self.devices[index].link.take() {
            self.sever(conn);
        }
        self.devices[index].core = None;
        self.devices[index].waiting.clear();
        self.devices[index].state = LinkState::default();
        let at = self.now + Duration::from_millis(self.rng.u64(0..5_000));
        self.post(at, Packet::Start(index));
    }

    pub(super) fn command(&mut self, index: usize, command: Command) -> Result<(), String> {
        let device = &mut self.devices[index];
        if device.core.is_none() {
            return Ok(());
        }
        device.commands += 1;
        let id = CommandId(device.commands);
        device.waiting.insert(id);
        self.give(index, Input::Command(id, command))
    }

    /// Gives a core one input and performs what it wants, as far as its process lives.
    pub(super) fn give(&mut self, index: usize, input: Input) -> Result<(), String> {
        let now = self.uptime(index);
        if self.trace {
            println!("{:?} device {index} <- {}", self.now, brief(&format!("{input:?}")));
        }
        let Some(core) = self.devices[index].core.as_mut() else { return Ok(()) };
        let mut outputs = VecDeque::from(core.handle(now, input));
        while let Some(output) = outputs.pop_front() {
            if self.chance(self.faults.kill) {
                self.struck.kills += 1;
                self.kill(index);
                return Ok(());
            }
            if self.trace {
                println!("{:?} device {index} -> {}", self.now, brief(&format!("{output:?}")));
            }
            match output {
                Output::Write(writes) => {
                    if self.chance(self.faults.commit) {
                        self.struck.commits += 1;
                        return self.recover(index);
                    }
                    let forgotten = writes.iter().filter_map(|write| match write {
                        Write::OutboxForget(token) => Some(*token),
                        _ => None,
                    });
                    self.cancelled.extend(forgotten);
                    self.devices[index].disk.apply(writes)?;
                }
                Output::Dial(link, _) => self.dial(index, link)?,
                Output::HangUp(link) => {
                    let Some((current, conn)) = self.devices[index].link.take() else {
                        return Err("hung up what was not open".to_owned());
                    };
                    if current != link {
                        return Err("hung up another link".to_owned());
                    }
                    self.sever(conn);
                }
                Output::Send(link, frame) => self.send(index, link, frame)?,
                Output::Load(load) => {
                    let device = &mut self.devices[index];
                    let found = device.disk.message(load.conversation, load.message);
                    let core = device.core.as_mut().expect("it lives");
                    outputs.extend(core.handle(now, Input::Loaded(load.token, found)));
                }
                Output::Answer(id, reply) => {
                    if !self.devices[index].waiting.remove(&id) {
                        return Err(format!("command {id:?} was answered twice"));
                    }
                    if let Ok(Reply::Accepted(entry)) = reply {
                        if !self.devices[index].disk.outbox.contains_key(&entry.token) {
                            return Err("D-3: accepted before it was stored".to_owned());
                        }
                        if let Intent::SendMessage { conversation, .. } = entry.intent {
                            self.accepted.push(Accepted { device: index, conversation, token: entry.token });
                        }
                    }
                }
                Output::Signal(signal) => self.told(index, signal)?,
            }
        }
        Ok(())
    }

    /// What the shell does after a failed commit: answers, hangs up, starts again from the file.
    pub(super) fn recover(&mut self, index: usize) -> Result<(), String> {
        if let Some((_, conn)) = self.devices[index].link.take() {
            self.sever(conn);
        }
        self.devices[index].waiting.clear();
        self.devices[index].core = None;
        self.start(index)
    }

    pub(super) fn told(&mut self, index: usize, signal: Signal) -> Result<(), String> {
        let device = &mut self.devices[index];
        match signal {
            Signal::Link(state) => {
                device.state = state;
                if device.state == LinkState::SignedOut {
                    let at = self.now + Duration::from_secs(1);
                    self.post(at, Packet::LogIn(index));
                }
            }
            Signal::Event { event, .. } => {
                let held = device.disk.conversations.get(&event.conversation);
                let held = held.and_then(|held| held.events.get(&event.sequence));
                if held.is_none() && event.sequence != Sequence::ZERO {
                    return Err("an event was shown before it was stored".to_owned());
                }
            }
            Signal::Outbox { entry, cancelled: true, .. } => {
                if !self.cancelled.contains(&entry.token) {
                    return Err("a cancellation was shown before it was stored".to_owned());
                }
            }
            Signal::Outbox { entry, .. } => {
                if device.disk.outbox.get(&entry.token) != Some(&entry) {
                    return Err("an entry was shown before it was stored".to_owned());
                }
            }
            Signal::Notice(_) | Signal::User(_) => {}
        }
        Ok(())
    }
}

fn brief(text: &str) -> &str {
    text.char_indices().nth(300).map_or(text, |(end, _)| &text[..end])
}
