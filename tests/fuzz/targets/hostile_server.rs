//! A real core against a server that says whatever comes to its mind.

use super::small_store::{self, Scratch, own, room};
use backscroll::model::{ClientToken, Intent, PrivateUser, RawJson, RequestId, Timestamp, Uptime, User, UserName};
use backscroll::protocol::{
    Announcement, ClientFrame, Header, Push, ServerChat, ServerFrame, ServerRpc, decode_client, decode_server,
    encode_client, encode_server,
};
use backscroll::store::{Fault, Store};
use backscroll::sync::{Command, CommandId, Core, Input, LinkId, Output, SavedState, Settings, Write};
use std::sync::LazyLock;
use std::time::Duration;
use uuid::Uuid;

/// Outputs of one input: so many, and one more for each byte that came in.
const OUTPUTS_MAX: usize = 2_000;

/// Deadlines in a row that do not move the clock, before a core counts as spinning.
const SPINS_MAX: u32 = 200;

/// Deadlines that are let pass after the last line.
const DEADLINES: u32 = 30;

/// A core with its shell: performs nothing, and remembers what was to be written.
#[derive(Clone)]
pub(super) struct Shell {
    core: Core,
    now: Uptime,
    link: Option<LinkId>,
    commands: u64,
    /// The requests that left, for answers to name.
    asked: Vec<RequestId>,
    /// One transaction an item.
    pub(super) transactions: Vec<Vec<Write>>,
}

impl Shell {
    /// Restores a core from what a store holds.
    pub(super) fn restore(saved: SavedState) -> Self {
        let settings = Settings { backoff: (Duration::from_millis(10), Duration::from_secs(1)), ..Settings::default() };
        let core = Core::restore(saved, settings, 1, Uptime::default());
        Self { core, now: Uptime::default(), link: None, commands: 0, asked: Vec::new(), transactions: Vec::new() }
    }

    fn give(&mut self, input: Input, bytes: usize) {
        let outputs = self.core.handle(self.now, input);
        assert!(outputs.len() <= OUTPUTS_MAX + bytes, "{} outputs for {bytes} bytes", outputs.len());
        for output in outputs {
            match output {
                Output::Write(writes) => self.transactions.push(writes),
                Output::Dial(link, _) => assert_eq!(self.link.replace(link), None, "C-5: a second link beside one"),
                Output::HangUp(link) => assert_eq!(self.link.take(), Some(link)),
                Output::Send(_, frame) => self.sent(&frame),
                Output::Load(load) => {
                    let held = small_store::held(load.message);
                    self.give(Input::Loaded(load.token, held), 0);
                }
                Output::Answer(..) | Output::Signal(_) => {}
            }
        }
    }

    /// A frame of ours is one that a server can read, whatever led to it.
    fn sent(&mut self, frame: &ClientFrame) {
        let written = encode_client(frame);
        assert_eq!(decode_client(&written).as_ref(), Ok(frame), "{written}");
        if let ClientFrame::Chat(chat) = frame {
            self.asked.push(chat.request);
        }
    }

    fn frame(&mut self, frame: ServerFrame, bytes: usize) {
        if let Some(link) = self.link {
            self.give(Input::Frame(link, frame), bytes);
        }
    }

    fn command(&mut self, command: Command) {
        self.commands += 1;
        self.give(Input::Command(CommandId(self.commands), command), 0);
    }

    /// Lets time pass until something is due, if anything is.
    pub(super) fn wait(&mut self) {
        let mut spins = 0;
        while let Some(due) = self.core.deadline() {
            let moves = due > self.now;
            self.now = self.now.max(due);
            self.give(Input::DeadlinePassed, 0);
            if moves {
                return;
            }
            spins += 1;
            assert!(spins < SPINS_MAX, "the core asks for one deadline again and again: {due:?}");
        }
    }

    /// Brings a link up to where the server has said who the user is; it may refuse to come.
    pub(super) fn come_up(&mut self) {
        for _ in 0..SPINS_MAX {
            if self.link.is_some() {
                break;
            }
            self.wait();
        }
        let Some(link) = self.link else { return };
        self.give(Input::Connected(link), 0);
        let announcement = Announcement { idempotent: true, heads: true, ..Announcement::default() };
        self.frame(ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement }), 0);
        let asked_first = self.asked.len();
        let logged_in = ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None };
        self.frame(ServerFrame::Rpc(logged_in), 0);
        let header = Header::new(backscroll::model::Action::GetUser, own(), Timestamp(1));
        let private = PrivateUser {
            custom_data: RawJson::empty_object(),
            notifications: Vec::new(),
            conversations: vec![room()],
            left_conversations: Vec::new(),
        };
        let user = User {
            id: own(),
            name: UserName::new("bob@chat.acme"),
            display_name: "Bob".to_owned(),
            custom_data: RawJson::empty_object(),
            deleted: false,
            private: Some(private),
        };
        let request = self.asked.get(asked_first).copied();
        self.frame(ServerFrame::Chat(ServerChat { request, push: Push::User { header, user } }), 0);
    }

    /// Does what a line says: `wait`, `lose` the link, `send` a message, or hear the line as a frame.
    fn line(&mut self, line: &str) {
        match line {
            "wait" => self.wait(),
            "lose" => {
                if let Some(link) = self.link.take() {
                    self.give(Input::Disconnected(link), 0);
                }
                self.come_up();
            }
            "send" => {
                let token = ClientToken::from_uuid(Uuid::from_u128(u128::from(self.commands) + (7 << 64)));
                let intent = Intent::SendMessage { conversation: room(), text: "A message".to_owned(), payload: None };
                self.command(Command::Submit { token, intent, queued_at: Timestamp(1) });
            }
            line => match decode_server(line) {
                Ok(frame) => {
                    let written = encode_server(&frame);
                    let again = decode_server(&written);
                    assert_eq!(again.as_ref().ok(), Some(&frame), "{written}\n{again:?}");
                    self.frame(self.addressed(frame), line.len());
                }
                Err(_) => {
                    if let Some(link) = self.link {
                        self.give(Input::Noise(link), line.len());
                    }
                }
            },
        }
    }

    /// Lets an answer name a request that was made: nobody guesses one.
    fn addressed(&self, mut frame: ServerFrame) -> ServerFrame {
        if let ServerFrame::Chat(ServerChat { request: Some(named), .. }) = &mut frame
            && !self.asked.is_empty()
        {
            let back = usize::from(named.as_uuid().as_bytes()[15]) % self.asked.len();
            *named = self.asked[self.asked.len() - 1 - back];
        }
        frame
    }
}

/// A core that has logged in, on top of what the small store holds.
static LOGGED_IN: LazyLock<Shell> = LazyLock::new(|| {
    let mut shell = Shell::restore(small_store::saved_state().clone());
    shell.come_up();
    shell
});

/// S-5: whatever a server says, the core neither panics nor spins nor floods, what it wants written can be written,
/// and the file then holds what it claims.
pub fn server_frame(bytes: &[u8]) {
    let mut shell = LOGGED_IN.clone();
    let before = shell.transactions.len();
    String::from_utf8_lossy(bytes).lines().for_each(|line| shell.line(line));
    (0..DEADLINES).for_each(|_| shell.wait());
    if shell.transactions.len() == before {
        return;
    }
    Scratch::with(|scratch| {
        let store = Store::open_with(scratch.place(small_store::image())).expect("a sound file");
        for writes in shell.transactions {
            let told = format!("{writes:?}");
            let stored = store.write(writes).wait();
            assert!(stored.is_ok(), "{stored:?} for {told}");
        }
        let mut findings = store.read(|reader| reader.verify()).expect("a sound file");
        // That such a server contradicts itself is said, and no fault of the file.
        findings.retain(|finding| finding.fault != Fault::Server);
        assert!(findings.is_empty(), "{findings:?}");
        let again = store.saved_state();
        assert!(again.is_ok(), "{again:?}");
        store.leave();
    });
}
