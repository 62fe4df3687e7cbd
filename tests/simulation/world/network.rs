//! The wire: connections with a latency, that break, fall silent, and deliver late what the client has given up.

use super::medium::Medium;
use super::{Packet, World};
use backscroll::model::{ErrorClass, OutboxState, RequestId, Sequence, SequenceRange, UserId};
use backscroll::protocol::{
    Announcement, ClientFrame, ClientRpc, Push, RETRANSMIT_MAX, RateLimit, Request, ServerFrame, ServerRpc,
    decode_server, encode_server,
};
use backscroll::sync::{Input, LinkId};
use backscroll_server::storage::Storage;
use std::time::Duration;

/// A connection, as the network sees it.
pub(super) struct Conn {
    pub(super) device: usize,
    /// Which of the processes there.
    pub(super) process: usize,
    pub(super) link: LinkId,
    /// Whether the client's end still listens.
    pub(super) heard: bool,
    pub(super) silent: bool,
    /// When the peer fell silent, as far as the client can tell.
    pub(super) quiet_since: Option<Duration>,
    pub(super) user: Option<UserId>,
    pub(super) last_up: Duration,
    pub(super) last_down: Duration,
}

impl<M: Medium> World<M> {
    /// Something comes for a process, or for the server. While the process is stopped, the system keeps it.
    pub(super) fn arrive(&mut self, packet: Packet) -> Result<(), String> {
        let conn = match &packet {
            Packet::Connected(conn) | Packet::Noise(conn) | Packet::Closed(conn) | Packet::ToClient(conn, _) => {
                self.conns.get(conn)
            }
            _ => None,
        };
        let whose = match &packet {
            Packet::Refused(device, process, _) | Packet::Wakes(device, process) | Packet::Notices(device, process) => {
                Some((*device, *process))
            }
            _ => conn.map(|conn| (conn.device, conn.process)),
        };
        let Some((device, process)) = whose else { return self.happen(packet) };
        match self.stopped_until(device, process) {
            Some(until) if !matches!(packet, Packet::Wakes(..)) => {
                self.post(until, packet);
                Ok(())
            }
            _ => self.as_process(device, process, |world| world.happen(packet)),
        }
    }

    fn happen(&mut self, packet: Packet) -> Result<(), String> {
        match packet {
            Packet::ToServer(conn, frame) => {
                self.serve(conn, frame);
                Ok(())
            }
            Packet::Start(device, process) => self.start_again(device, process),
            Packet::Succeeds(device, process) => self.succeeds(device, process),
            Packet::TakesOver(device) => self.take_over(device),
            Packet::Notices(device, _) => self.gives_up(device),
            Packet::Wakes(device, _) => self.wakes(device),
            Packet::Wished(device) | Packet::LogIn(device) if self.devices[device].process.is_stopped() => Ok(()),
            Packet::LogIn(device) if self.devices[device].process.state.is_signed_out() => {
                self.log_in(device, self.devices[device].user)
            }
            Packet::LogIn(_) => Ok(()),
            Packet::Wished(device) => self.take_wishes(device),
            Packet::Act => self.act(),
            Packet::Refused(device, _, link) => {
                if self.devices[device].process.link.is_some_and(|(current, _)| current == link) {
                    self.devices[device].process.link = None;
                    return self.give(device, Input::Disconnected(link));
                }
                Ok(())
            }
            Packet::Connected(conn) => {
                if let Some(known) = self.conns.get_mut(&conn).filter(|conn| conn.quiet_since.is_some()) {
                    known.quiet_since = Some(self.now);
                }
                self.hear(conn, Input::Connected)
            }
            Packet::Noise(conn) => self.hear(conn, Input::Noise),
            Packet::Closed(conn) => self.close(conn),
            Packet::ToClient(conn, frame) => self.deliver(conn, frame),
        }
    }

    /// The client learns that a connection is gone.
    fn close(&mut self, conn: u64) -> Result<(), String> {
        let Some(known) = self.conns.get_mut(&conn).filter(|conn| conn.heard) else { return Ok(()) };
        known.heard = false;
        let (device, link) = (known.device, known.link);
        if self.devices[device].process.link.is_some_and(|(_, current)| current == conn) {
            self.devices[device].process.link = None;
        }
        self.devices[device].link_lost();
        self.give(device, Input::Disconnected(link))
    }

    /// The network is gone for everybody.
    pub(super) fn lose_every_link(&mut self) -> Result<(), String> {
        let open: Vec<u64> =
            self.devices.iter().filter_map(|device| device.process.link.map(|(_, conn)| conn)).collect();
        for conn in open {
            self.sever(conn);
            self.close(conn)?;
        }
        Ok(())
    }

    fn deliver(&mut self, conn: u64, frame: ServerFrame) -> Result<(), String> {
        let Some(known) = self.conns.get(&conn) else { return Ok(()) };
        let (device, link) = (known.device, known.link);
        if self.devices[device].process.link.is_none_or(|(_, current)| current != conn) {
            return if self.chance(self.faults.ghost) { self.haunt(device, link, frame) } else { Ok(()) };
        }
        if !known.heard || known.silent {
            return Ok(());
        }
        if self.chance(self.faults.cut) {
            self.tally.strike(if self.is_mid_answer(conn, &frame) { "cut in an answer" } else { "cut" });
            self.sever(conn);
            let at = self.now + self.latency();
            self.post(at, Packet::Closed(conn));
            return Ok(());
        }
        if self.strikes("silent peer", self.faults.silence) {
            let known = self.conns.get_mut(&conn).expect("known");
            known.silent = true;
            known.quiet_since = Some(self.now);
            return Ok(());
        }
        let live = match &frame {
            ServerFrame::Chat(chat) => match &chat.push {
                Push::Event(event) => Some(event.clone()),
                _ => None,
            },
            ServerFrame::Rpc(_) => None,
        };
        self.mind(device, &frame);
        let lives = self.devices[device].process.started;
        self.give(device, Input::Frame(link, frame))?;
        match live {
            Some(event) if self.devices[device].process.runs_since(lives) => self.check_shown_at_once(device, &event),
            _ => Ok(()),
        }
    }

    /// What the answers that a device gets oblige it to.
    fn mind(&mut self, index: usize, frame: &ServerFrame) {
        let device = &mut self.devices[index];
        match frame {
            ServerFrame::Chat(chat) => {
                if let Push::Error { error, .. } = &chat.push {
                    device.interruptions += 1;
                    if chat.request.is_some() && error.code.class() == ErrorClass::TooFast {
                        device.process.slow_until = self.now + Duration::from_secs(1);
                    }
                }
            }
            ServerFrame::Rpc(ServerRpc::Refreshed(_) | ServerRpc::RefreshFailed { .. }) => {
                device.process.refreshing = None
            }
            ServerFrame::Rpc(_) => {}
        }
    }

    /// Whether more of the same answer is on its way behind this frame.
    fn is_mid_answer(&self, conn: u64, frame: &ServerFrame) -> bool {
        let request_of = |frame: &ServerFrame| -> Option<RequestId> {
            match frame {
                ServerFrame::Chat(chat) => chat.request,
                ServerFrame::Rpc(_) => None,
            }
        };
        let request = request_of(frame);
        request.is_some()
            && self.packets.values().any(
                |packet| matches!(packet, Packet::ToClient(of, next) if *of == conn && request_of(next) == request),
            )
    }

    fn hear(&mut self, conn: u64, input: impl FnOnce(LinkId) -> Input) -> Result<(), String> {
        match self.conns.get(&conn) {
            Some(known) if known.heard && !known.silent => {
                let (device, link) = (known.device, known.link);
                self.give(device, input(link))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn dial(&mut self, index: usize, link: LinkId) -> Result<(), String> {
        let device = &self.devices[index];
        self.tally.holds("C-5", device.process.link.is_none(), || "dialled while a link is open".to_owned())?;
        let has_tokens = device.tokens().is_some();
        let nobody = || "dialled with nobody to log in as".to_owned();
        // One that was stopped may not know yet that another process logged out.
        let has_somebody = has_tokens || device.process.knows_password || !device.is_current();
        self.tally.holds("C-3", has_somebody, nobody)?;
        self.serial += 1;
        let conn = self.serial;
        let process = self.devices[index].process.number;
        self.devices[index].process.link = Some((link, conn));
        let at = self.now + self.latency();
        if self.strikes("no network for minutes", self.faults.offline) {
            let longest_s = self.rng.u64(30..240);
            self.devices[index].offline_until = self.now + Duration::from_secs(longest_s);
        }
        if self.now < self.devices[index].offline_until || self.strikes("refused dial", self.faults.refuse_dial) {
            self.post(at, Packet::Refused(index, process, link));
            return Ok(());
        }
        let is_mute = self.strikes("peer that never greets", self.faults.mute);
        self.conns.insert(
            conn,
            Conn {
                device: index,
                process,
                link,
                heard: true,
                silent: false,
                quiet_since: is_mute.then_some(at),
                user: None,
                last_up: at,
                last_down: at,
            },
        );
        self.post(at, Packet::Connected(conn));
        if !is_mute {
            let idempotent = self.announces_idempotence();
            let rate = idempotent.then_some(RateLimit { burst: 64, interval: Duration::from_millis(1) });
            let announcement = Announcement { idempotent, heads: self.idempotent, rate };
            self.reply(conn, ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement }));
        }
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        index: usize,
        link: LinkId,
        frame: ClientFrame,
        decided: Duration,
    ) -> Result<(), String> {
        let Some((current, conn)) = self.devices[index].process.link else { return Ok(()) };
        self.tally.holds("C-5", current == link, || "sent on another link".to_owned())?;
        if changes_something(&frame) {
            self.check_leaving(index, decided)?;
        }
        self.check_sent(index, link, &frame)?;
        let at = self.now + self.latency();
        if let Some(known) = self.conns.get_mut(&conn).filter(|conn| !conn.silent) {
            known.last_up = known.last_up.max(at);
            let at = known.last_up;
            if at > self.now + Duration::from_secs(1) {
                self.tally.strike("delay of more than a second");
            }
            self.post(at, Packet::ToServer(conn, frame));
        }
        Ok(())
    }

    /// What must be true of everything that leaves a device.
    fn check_sent(&mut self, index: usize, link: LinkId, frame: &ClientFrame) -> Result<(), String> {
        let (device, tally) = (&mut self.devices[index], &mut self.tally);
        // What one left behind, another may have gone on with.
        let is_current = device.is_current();
        let chat = match frame {
            ClientFrame::Chat(chat) => chat,
            ClientFrame::Rpc(rpc) => {
                let tokens = device.tokens();
                let not_stored = || "a token was used that is not on disk".to_owned();
                match rpc {
                    ClientRpc::Login { options, .. } => {
                        let stored = options.access_token.as_ref();
                        let is_stored = stored.is_none() || stored == tokens.map(|tokens| &tokens.access);
                        tally.holds("C-1", is_stored, not_stored)?;
                    }
                    ClientRpc::RefreshToken { refresh, .. } => {
                        tally.holds("C-1", Some(refresh) == tokens.map(|tokens| &tokens.refresh), not_stored)?;
                        let alone = device.process.refreshing.replace(link) != Some(link);
                        tally.holds("C-2", alone, || "two refreshes at once".to_owned())?;
                    }
                    _ => {}
                }
                return Ok(());
            }
        };
        let is_calm = self.now >= device.process.slow_until;
        tally.holds("O-8", is_calm, || "a request left though the server said to slow down".to_owned())?;
        match &chat.body {
            Request::SendMessage { .. } => {
                let mut entries = device.disk.outbox.values();
                let stored = !is_current
                    || entries.any(|entry| entry.request == chat.request && entry.state == OutboxState::Sending);
                tally.holds("O-1", stored, || "a message left before that was stored".to_owned())?;
            }
            Request::EditMessage { conversation, message, .. } | Request::RemoveMessage { conversation, message } => {
                let known = self.hub.storage().message(*conversation, *message).map_err(|error| error.to_string())?;
                let made_up = || format!("{message} was never given by the server");
                tally.holds("O-5", known.is_some(), made_up)?;
            }
            Request::MarkAsRead { conversation, sequence } if is_current => {
                let before = device.marks.insert(*conversation, *sequence);
                let rises = before.is_none_or(|before| before <= *sequence);
                tally.holds("O-6", rises, || format!("a mark fell to {sequence}"))?;
            }
            Request::RetransmitEvents { conversation, from: Some(from), to: Some(to), .. } => {
                let length = to - from + 1;
                let fits = (1..=i64::from(RETRANSMIT_MAX)).contains(&length);
                tally.holds("L-5", fits, || format!("{length} events were asked for at once"))?;
                let at = |number: i64| Sequence(u32::try_from(number).unwrap_or(u32::MAX));
                let range = SequenceRange::new(at(*from), at(*to));
                device.asked.entry(*conversation).or_default().extend(range);
                if let Some(range) = range.filter(|_| is_current) {
                    self.check_wanted(index, *conversation, range)?;
                }
            }
            Request::GetConversations(ids) => {
                if let [id] = ids.as_slice() {
                    device.search(*id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the keys of what is on its way to the server on a connection, in order.
    fn on_its_way(&self, conn: u64) -> Vec<(Duration, u64)> {
        let mine = |packet: &Packet| matches!(packet, Packet::ToServer(of, _) if *of == conn);
        self.packets.iter().filter(|(_, packet)| mine(packet)).map(|(key, _)| *key).collect()
    }

    /// A connection is over for the client. What is on its way to it is lost; what is on its way to the server is
    /// lost or comes late.
    pub(super) fn sever(&mut self, conn: u64) {
        self.sever_within(conn, self.faults.late_ms);
    }

    /// The same, where what comes late comes within so many milliseconds.
    pub(super) fn sever_within(&mut self, conn: u64, late_ms: u64) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let was_silent = known.silent;
        known.silent = true;
        known.quiet_since = None;
        let mut last = self.now;
        for key in self.on_its_way(conn) {
            let packet = self.packets.remove(&key).expect("just seen");
            if was_silent || self.rng.bool() {
                self.tally.strike("lost frame");
                continue;
            }
            last = last.max(self.now + Duration::from_millis(self.rng.u64(0..=late_ms)));
            self.tally.strike("late frame of a dead link");
            self.post(last, packet);
        }
    }

    /// The system of a stopped process has trouble to get rid of what that handed to it.
    pub(super) fn hold_back(&mut self, conn: u64, until: Duration) {
        for key in self.on_its_way(conn) {
            let packet = self.packets.remove(&key).expect("just seen");
            self.tally.strike("frame of a stopped process held back");
            self.post(until.max(key.0), packet);
        }
    }

    pub(super) fn reply(&mut self, conn: u64, frame: ServerFrame) {
        let frame = if self.strikes("lie", self.faults.lie) { self.twist(frame) } else { frame };
        let at = self.now + self.latency();
        if self.strikes("torn frame", self.faults.noise) {
            let text = encode_server(&frame);
            let middle = (text.len() / 2..).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            assert!(decode_server(&text[..middle]).is_err(), "half a frame is none");
            self.post(at, Packet::Noise(conn));
        }
        if let Some(known) = self.conns.get_mut(&conn).filter(|conn| !conn.silent) {
            known.last_down = known.last_down.max(at);
            let at = known.last_down;
            self.post(at, Packet::ToClient(conn, frame));
        }
    }
}

/// Whether a frame asks for something that may be there twice then, or undo what came later.
fn changes_something(frame: &ClientFrame) -> bool {
    match frame {
        ClientFrame::Rpc(_) => false,
        ClientFrame::Chat(chat) => !matches!(
            chat.body,
            Request::GetConversation(_)
                | Request::GetConversations(_)
                | Request::GetPublicConversations
                | Request::GetUser(_)
                | Request::GetUsers(_)
                | Request::GetSubscriptions
                | Request::HeadsSince { .. }
                | Request::RetransmitEvents { .. }
                | Request::Typing(_)
                | Request::SetStatus { .. }
        ),
    }
}
