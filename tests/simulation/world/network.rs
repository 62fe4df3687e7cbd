//! The wire: connections with a latency, that break, fall silent, and deliver late what the client has given up.

use super::{Flavour, Packet, World};
use backscroll::model::{OutboxState, UserId};
use backscroll::protocol::{Announcement, ClientFrame, RateLimit, Request, ServerFrame, ServerRpc};
use backscroll::sync::{Input, LinkId};
use std::time::Duration;

/// A connection, as the network sees it.
pub(super) struct Conn {
    pub(super) device: usize,
    pub(super) link: LinkId,
    /// Whether the client's end still listens.
    pub(super) heard: bool,
    pub(super) silent: bool,
    pub(super) user: Option<UserId>,
    pub(super) last_up: Duration,
    pub(super) last_down: Duration,
}

impl World {
    pub(super) fn arrive(&mut self, packet: Packet) -> Result<(), String> {
        match packet {
            Packet::ToServer(conn, frame) => {
                self.serve(conn, frame);
                Ok(())
            }
            Packet::Start(device) => self.start(device),
            Packet::LogIn(device) if self.devices[device].state.is_signed_out() => self.log_in(device),
            Packet::LogIn(_) => Ok(()),
            Packet::Act => self.act(),
            Packet::Refused(device, link) => {
                if self.devices[device].link.is_some_and(|(current, _)| current == link) {
                    self.devices[device].link = None;
                    return self.give(device, Input::Disconnected(link));
                }
                Ok(())
            }
            Packet::Connected(conn) => self.hear(conn, Input::Connected),
            Packet::Noise(conn) => self.hear(conn, Input::Noise),
            Packet::Closed(conn) => {
                let Some(known) = self.conns.get_mut(&conn).filter(|conn| conn.heard) else { return Ok(()) };
                known.heard = false;
                let (device, link) = (known.device, known.link);
                if self.devices[device].link.is_some_and(|(_, current)| current == conn) {
                    self.devices[device].link = None;
                }
                self.give(device, Input::Disconnected(link))
            }
            Packet::ToClient(conn, frame) => {
                if !self.conns.get(&conn).is_some_and(|conn| conn.heard) {
                    return Ok(());
                }
                if self.chance(self.faults.cut) {
                    self.struck.cuts += 1;
                    self.sever(conn);
                    let at = self.now + self.latency();
                    self.post(at, Packet::Closed(conn));
                    return Ok(());
                }
                if self.chance(self.faults.silence) {
                    self.struck.silences += 1;
                    self.conns.get_mut(&conn).expect("known").silent = true;
                }
                self.hear(conn, |link| Input::Frame(link, frame))
            }
        }
    }

    pub(super) fn hear(&mut self, conn: u64, input: impl FnOnce(LinkId) -> Input) -> Result<(), String> {
        match self.conns.get(&conn) {
            Some(known) if known.heard && !known.silent => {
                let (device, link) = (known.device, known.link);
                self.give(device, input(link))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn dial(&mut self, index: usize, link: LinkId) -> Result<(), String> {
        if self.devices[index].link.is_some() {
            return Err("C-5: dialled while a link is open".to_owned());
        }
        self.serial += 1;
        let conn = self.serial;
        self.devices[index].link = Some((link, conn));
        let at = self.now + self.latency();
        if self.chance(self.faults.refuse_dial) {
            self.struck.refused_dials += 1;
            self.post(at, Packet::Refused(index, link));
            return Ok(());
        }
        let known = Conn { device: index, link, heard: true, silent: false, user: None, last_up: at, last_down: at };
        self.conns.insert(conn, known);
        self.post(at, Packet::Connected(conn));
        let idempotent = matches!(self.flavour, Flavour::Ours | Flavour::Blind);
        let rate = idempotent.then_some(RateLimit { burst: 64, interval: Duration::from_millis(1) });
        let announcement = Announcement { idempotent, heads: idempotent, rate };
        self.reply(conn, ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement }));
        Ok(())
    }

    pub(super) fn send(&mut self, index: usize, link: LinkId, frame: ClientFrame) -> Result<(), String> {
        let Some((current, conn)) = self.devices[index].link else { return Ok(()) };
        if current != link {
            return Err("sent on another link".to_owned());
        }
        if let ClientFrame::Chat(chat) = &frame
            && matches!(chat.body, Request::SendMessage { .. })
        {
            let mut entries = self.devices[index].disk.outbox.values();
            if !entries.any(|entry| entry.request == chat.request && entry.state == OutboxState::Sending) {
                return Err("a message left before that was stored".to_owned());
            }
        }
        let at = self.now + self.latency();
        if let Some(known) = self.conns.get_mut(&conn).filter(|conn| !conn.silent) {
            known.last_up = known.last_up.max(at);
            let at = known.last_up;
            self.post(at, Packet::ToServer(conn, frame));
        }
        Ok(())
    }

    /// A connection is over for the client. What is on its way to it is lost; what is on its way to the server is
    /// lost or comes late.
    pub(super) fn sever(&mut self, conn: u64) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let was_silent = known.silent;
        known.silent = true;
        let mine = |packet: &Packet| matches!(packet, Packet::ToServer(of, _) if *of == conn);
        let keys: Vec<(Duration, u64)> =
            self.packets.iter().filter(|(_, packet)| mine(packet)).map(|(key, _)| *key).collect();
        let mut last = self.now;
        for key in keys {
            let packet = self.packets.remove(&key).expect("just seen");
            if was_silent || self.rng.bool() {
                continue;
            }
            last = last.max(self.now + Duration::from_millis(self.rng.u64(0..=self.faults.late_ms)));
            self.struck.late_frames += 1;
            self.post(last, packet);
        }
    }

    pub(super) fn reply(&mut self, conn: u64, frame: ServerFrame) {
        let at = self.now + self.latency();
        if self.chance(self.faults.noise) {
            self.struck.noises += 1;
            self.post(at, Packet::Noise(conn));
        }
        if let Some(known) = self.conns.get_mut(&conn).filter(|conn| !conn.silent) {
            known.last_down = known.last_down.max(at);
            let at = known.last_down;
            self.post(at, Packet::ToClient(conn, frame));
        }
    }
}
