//! A server that knows its answers by heart: a process of its own, so that only the client's work is counted.
#![expect(clippy::wildcard_enum_match_arm, reason = "a client that only catches up asks a few things")]

use crate::workload::pages;
use backscroll::model::{
    Action, Conversation, ConversationConfig, ConversationId, Participant, PrivateUser, RawJson, RequestId, Secret,
    Sequence, Timestamp, Tokens, User, UserId, UserName,
};
use backscroll::protocol::{
    Announcement, ClientFrame, ClientRpc, Header, Push, RateLimit, Request, ServerChat, ServerFrame, ServerRpc,
    UserKey, decode_client, encode_server,
};
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// Turns a run of the bench into the server.
const ARGUMENT: &str = "--scripted-server";

/// Stands where the id of a request goes in an answer that was written beforehand.
const ANY_REQUEST: Uuid = Uuid::from_u128(0xb5c5_0000_0000_4000_8000_0000_0000_0001);

/// One answer frame, cut where the request's id goes.
type Frame = (String, String);

/// Runs the server and never returns, if that is what this process was started for.
pub(crate) fn serve_if_asked() {
    let mut words = std::env::args().skip_while(|word| word != ARGUMENT).skip(1);
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let Some((events, conversations)) = number().zip(number()) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(serve(events, conversations));
    std::process::exit(0);
}

/// Starts the server in a process of its own.
pub(crate) fn start(events: usize, conversations: usize) -> (Child, SocketAddr) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args([ARGUMENT, &events.to_string(), &conversations.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a child");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its address");
    (child, line.trim().parse().expect("an address"))
}

fn me() -> UserId {
    UserId::new(5).expect("a small number")
}

fn header(action: Action) -> Header {
    Header::new(action, me(), Timestamp(1_700_000_000))
}

fn frame(push: Push) -> Frame {
    let request = Some(RequestId::from_uuid(ANY_REQUEST));
    let text = encode_server(&ServerFrame::Chat(ServerChat { request, push }));
    let (before, behind) = text.split_once(&ANY_REQUEST.to_string()).expect("the id");
    (before.to_owned(), behind.to_owned())
}

async fn serve(events: usize, conversations: usize) {
    let mut history: BTreeMap<ConversationId, BTreeMap<Sequence, Frame>> = BTreeMap::new();
    for page in pages(events, conversations) {
        let answer = history.entry(page.conversation).or_default();
        for event in page.events {
            // No number of frames: how many an answer has depends on what is asked, and these are written beforehand.
            let (from, to, count) = (None, None, None);
            let sequence = event.sequence;
            let push = Push::Retransmitted { header: header(Action::RetransmitEvents), from, to, count, event };
            answer.insert(sequence, frame(push));
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    std::io::stdout().flush().expect("a parent that reads");
    // One client after the other, until the parent ends this process.
    loop {
        let (stream, _) = listener.accept().await.expect("a client");
        stream.set_nodelay(true).expect("a socket");
        let mut socket = accept_async(stream).await.expect("a WebSocket");
        let rate = Some(RateLimit { burst: 1_000, interval: Duration::from_micros(1) });
        let announcement = Announcement { idempotent: true, heads: false, rate };
        let greeting = ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement });
        socket.send(Message::text(encode_server(&greeting))).await.expect("a client that reads");
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            for answer in answers(&history, decode_client(&text).expect("a frame of ours")) {
                socket.feed(Message::text(answer)).await.expect("a client that reads");
            }
            socket.flush().await.expect("a client that reads");
        }
    }
}

fn answers(history: &BTreeMap<ConversationId, BTreeMap<Sequence, Frame>>, asked: ClientFrame) -> Vec<String> {
    let chat = match asked {
        ClientFrame::Rpc(ClientRpc::Login { .. }) => {
            let tokens = Tokens {
                access: Secret::new("access"),
                access_expires_s: 172_800,
                refresh: Secret::new("refresh"),
                refresh_expires_s: 2_592_000,
            };
            let rpc = ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: Some(tokens) };
            return vec![encode_server(&ServerFrame::Rpc(rpc))];
        }
        ClientFrame::Rpc(_) => return vec![encode_server(&ServerFrame::Rpc(ServerRpc::Pong))],
        ClientFrame::Chat(chat) => chat,
    };
    let join = |(before, behind): &Frame| format!("{before}{}{behind}", chat.request);
    match chat.body {
        Request::GetUser(_) => vec![join(&frame(described(me(), history.keys().copied().collect())))],
        Request::GetSubscriptions => {
            vec![join(&frame(Push::Subscriptions { header: header(Action::GetSubscriptionList), users: Vec::new() }))]
        }
        Request::GetUsers(keys) => keys
            .into_iter()
            .filter_map(|key| match key {
                UserKey::Id(id) => Some(join(&frame(described(id, Vec::new())))),
                UserKey::Name(_) => None,
            })
            .collect(),
        Request::GetConversations(ids) => ids
            .into_iter()
            .map(|id| {
                let head = history[&id].keys().next_back().copied().unwrap_or(Sequence::ZERO);
                let participants = vec![Participant::new(me())];
                let config = ConversationConfig { participants, ..ConversationConfig::default() };
                let at = Timestamp(1_700_000_000);
                let conversation = Conversation::recreate(id, config, head, at, at);
                join(&frame(Push::Conversation { header: header(Action::GetConversations), conversation }))
            })
            .collect(),
        Request::RetransmitEvents { conversation, from: Some(from), to: Some(to), .. } => {
            let place = |number: i64| Sequence(u32::try_from(number).expect("a position"));
            history[&conversation].range(place(from)..=place(to)).map(|(_, frame)| join(frame)).collect()
        }
        other => panic!("a client that only catches up asked for {}", other.action()),
    }
}

fn described(id: UserId, conversations: Vec<ConversationId>) -> Push {
    let private = (id == me()).then(|| PrivateUser {
        custom_data: RawJson::empty_object(),
        notifications: Vec::new(),
        conversations,
        left_conversations: Vec::new(),
    });
    let user = User {
        id,
        name: UserName::new(&format!("user{id}@chat.acme")),
        display_name: String::new(),
        custom_data: RawJson::empty_object(),
        deleted: false,
        private,
    };
    Push::User { header: header(Action::GetUser), user }
}
