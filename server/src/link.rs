//! One link: from the handshake to its end.
//!
//! ```text
//!  accepted ──TLS, WebSocket──▶ greeted ──login──▶ attached ──closed, idle, too slow, stopped──▶ gone
//! ```

use crate::accounts::{AccountError, Accounts, Admission, Denial};
use crate::clock;
use crate::config::Limits;
use crate::faults::Faults;
use crate::pace::{Pace, UserPaces, lock};
use crate::switchboard::{Attached, Command, LinkId, Outgoing};
use backscroll::model::{Action, ErrorCode, MessagingError, RequestId, Secret, Timestamp, UserId, UserName};
use backscroll::protocol::{
    Announcement, ClientChat, ClientFault, ClientFrame, ClientRpc, FRAME_BYTES_MAX, Header, LoginOptions, Push,
    ServerChat, ServerFrame, ServerRpc, decode_client, encode_server,
};
use futures_util::stream::SplitStream;
use futures_util::{Sink, SinkExt, StreamExt};
use std::error::Error;
use std::future::{Future, pending};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// The one path that the protocol is spoken at.
pub(crate) const PATH: &str = "/platform";

/// Bytes of a frame before the login. Nothing a stranger has to say is longer.
const STRANGER_FRAME_BYTES_MAX: usize = 64 << 10;

/// Not a failure: the one-time key that was asked for comes with it. Source: protocol notes, section 3.
const ONE_TIME_KEY: i64 = 302;

/// Failed logins of one link, so that guessing passwords costs a handshake now and then.
const FAILED_LOGINS_MAX: u32 = 10;

/// Bytes of the WebSocket's buffers. The default of 128 KiB would be most of what an idle link costs.
const BUFFER_BYTES: usize = 4 << 10;

/// Frames taken from the queue before the socket is flushed.
const WRITTEN_AT_ONCE: usize = 64;

/// How long a link may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all links of a server share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) faults: Arc<Faults>,
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) accounts: Arc<Accounts>,
    /// How fast each user asks, over all links.
    pub(crate) paces: UserPaces,
    /// Bounds how many passwords are hashed at once.
    pub(crate) hashing: Semaphore,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Turns true when the server stops cleanly.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// How a link ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a closing frame.
    Politely,
    /// At once.
    Abruptly,
}

/// Who ends a link.
enum Parting {
    ByPeer,
    ByUs,
}

/// Serves one link until its end.
pub(crate) async fn serve(shared: Arc<Shared>, id: LinkId, stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match shared.acceptor.clone() {
        None => open(&shared, id, stream).await,
        Some(acceptor) => match timeout(shared.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => open(&shared, id, stream).await,
            Ok(Err(error)) => tracing::debug!(link = id, %error, "no TLS"),
            Err(_) => tracing::debug!(link = id, "TLS took too long"),
        },
    }
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(shared: &Arc<Shared>, id: LinkId, stream: S) {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    match timeout(shared.limits.handshake, accept_hdr_async_with_config(stream, check_target, Some(config))).await {
        Ok(Ok(socket)) => talk(shared, id, socket).await,
        Ok(Err(error)) => tracing::debug!(link = id, %error, "no WebSocket"),
        Err(_) => tracing::debug!(link = id, "the WebSocket took too long"),
    }
}

/// Lets in who asks for the protocol's path, and for its version or none.
#[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
fn check_target(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status, why: &str| {
        let mut refusal = ErrorResponse::new(Some(why.to_owned()));
        *refusal.status_mut() = status;
        Err(refusal)
    };
    if request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND, "nothing is served here");
    }
    let query = request.uri().query().unwrap_or_default();
    let version = query.split('&').find_map(|pair| pair.strip_prefix("im_version="));
    if version.is_some_and(|version| version != "2") {
        return refuse(StatusCode::BAD_REQUEST, "only im_version=2 is spoken here");
    }
    Ok(response)
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(shared: &Arc<Shared>, id: LinkId, socket: WebSocketStream<S>) {
    let (mut sink, stream) = socket.split();
    let (outgoing, queue) = mpsc::channel(shared.limits.backlog);
    let too_slow = Arc::new(Notify::new());
    let mut reader = Reader::new(shared, id, outgoing, Arc::clone(&too_slow));
    let mut writer = Writer { shared, id, queue, sent: 0 };
    let end = tokio::select! {
        end = reader.run(stream) => end,
        end = writer.run(&mut sink) => end,
        () = too_slow.notified() => {
            tracing::info!(link = id, "given up: it does not keep up with what it is told");
            End::Abruptly
        }
    };
    if reader.user.is_some() {
        // Fails only when the server is stopping, and nobody is attached any more.
        let _ = shared.commands.send(Command::Detach(id)).await;
    }
    if end == End::Politely {
        // A peer that is gone already needs no goodbye.
        let _ = timeout(GOODBYE, sink.close()).await;
    }
}

/// The receiving half of a link, and what it knows of its client.
struct Reader<'a> {
    shared: &'a Arc<Shared>,
    id: LinkId,
    outgoing: mpsc::Sender<Outgoing>,
    too_slow: Arc<Notify>,
    /// Who is logged in.
    user: Option<UserId>,
    failed_logins: u32,
    pace: Pace,
    /// Shared with the other links of the user; `None` before the login.
    user_pace: Option<Arc<Mutex<Pace>>>,
    /// Bounds the requests under way: no more is read before one is answered.
    under_way: Arc<Semaphore>,
}

impl<'a> Reader<'a> {
    fn new(shared: &'a Arc<Shared>, id: LinkId, outgoing: mpsc::Sender<Outgoing>, too_slow: Arc<Notify>) -> Self {
        let Limits { rate, requests_per_minute, requests_under_way, .. } = shared.limits;
        let pace = Pace::new(rate, requests_per_minute, clock::instant());
        let under_way = Arc::new(Semaphore::new(requests_under_way));
        Self { shared, id, outgoing, too_slow, user: None, failed_logins: 0, pace, user_pace: None, under_way }
    }

    /// Greets, then serves what comes. On a clean stop everything under way is answered first.
    async fn run<S>(&mut self, stream: SplitStream<WebSocketStream<S>>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let announcement = Announcement { idempotent: true, heads: true, rate: Some(self.shared.limits.rate) };
        self.send(ServerRpc::Greeting { connection: Some(self.connection_name()), announcement }).await;
        let all = u32::try_from(self.shared.limits.requests_under_way).unwrap_or(u32::MAX);
        let under_way = Arc::clone(&self.under_way);
        let mut stopping = self.shared.stopping.clone();
        let stopped = async {
            // Fails only when the server was dropped, and then this link is about to be.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        tokio::select! {
            parting = self.receive(stream) => match parting {
                Parting::ByPeer => return End::Politely,
                Parting::ByUs => {}
            },
            () = stopped => drop(under_way.acquire_many(all).await),
        }
        // The writing half ends the link, behind what is queued already.
        let _ = self.outgoing.send(Outgoing::Close).await;
        pending().await
    }

    async fn receive<S>(&mut self, mut stream: SplitStream<WebSocketStream<S>>) -> Parting
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let login_by = clock::instant() + self.shared.limits.login;
        loop {
            let patience = match self.user {
                Some(_) => self.shared.limits.idle,
                None => self.shared.limits.idle.min(login_by.saturating_duration_since(clock::instant())),
            };
            let message = match timeout(patience, stream.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => {
                    tracing::debug!(link = self.id, %error, "the link broke");
                    return Parting::ByPeer;
                }
                Ok(None) => return Parting::ByPeer,
                Err(_) => {
                    tracing::debug!(link = self.id, "nothing heard for too long");
                    return Parting::ByUs;
                }
            };
            let flow = match message {
                Message::Text(text) => self.frame(&text).await,
                Message::Close(_) => return Parting::ByPeer,
                // The protocol has no binary frames; pings are answered by the library.
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Continue(()),
            };
            if flow.is_break() {
                return Parting::ByUs;
            }
        }
    }

    /// Serves one frame; a break ends the link.
    async fn frame(&mut self, text: &str) -> ControlFlow<()> {
        if self.user.is_none() && text.len() > STRANGER_FRAME_BYTES_MAX {
            return Break(());
        }
        match decode_client(text) {
            Ok(ClientFrame::Chat(chat)) => self.chat(chat).await,
            Ok(ClientFrame::Rpc(call)) => self.call(call).await,
            Err(fault) => self.fault(fault).await,
        }
    }

    /// Answers a request that could not be read; what names no request is ignored.
    async fn fault(&mut self, fault: ClientFault) -> ControlFlow<()> {
        let ClientFault { request, action, code, what } = fault;
        if request.is_none() {
            return Continue(());
        }
        match self.check_pace() {
            Ok(()) if self.user.is_none() => self.refuse(request, action, ErrorCode::NotAuthorized, "").await,
            Ok(()) => self.refuse(request, action, code, &what).await,
            Err(limit) => self.refuse(request, action, limit, "").await,
        }
    }

    async fn chat(&mut self, chat: ClientChat) -> ControlFlow<()> {
        let refusal = if self.user.is_none() { Err(ErrorCode::NotAuthorized) } else { self.check_pace() };
        if let Err(code) = refusal {
            return self.refuse(Some(chat.request), chat.body.action(), code, "").await;
        }
        let Ok(permit) = Arc::clone(&self.under_way).acquire_owned().await else { return Break(()) };
        self.command(Command::Request(self.id, chat, permit)).await
    }

    fn check_pace(&mut self) -> Result<(), ErrorCode> {
        let now = clock::instant();
        self.pace.take(now)?;
        self.user_pace.as_ref().map_or(Ok(()), |pace| lock(pace).take(now))
    }

    async fn refuse(
        &mut self,
        request: Option<RequestId>,
        action: Action,
        code: ErrorCode,
        what: &str,
    ) -> ControlFlow<()> {
        let error = if what.is_empty() { code.into() } else { MessagingError::new(code, what) };
        let header = Header { action, initiator: self.user, timestamp: Some(clock::now()), unknown: None };
        let chat = ServerChat { request, push: Push::Error { header, error } };
        self.send_frame(ServerFrame::Chat(chat)).await;
        Continue(())
    }

    async fn call(&mut self, call: ClientRpc) -> ControlFlow<()> {
        match call {
            ClientRpc::Ping => self.send(ServerRpc::Pong).await,
            ClientRpc::Login { user, password, options } => return self.log_in(user, password, options).await,
            ClientRpc::RefreshToken { user, refresh, device: _ } => return self.refresh(user, refresh).await,
            ClientRpc::GenerateOneTimeKey { user } => return self.give_key(user).await,
            ClientRpc::LoginOneTimeKey { user, hash, options: _ } => {
                let admitted = self.ask_accounts(move |accounts, now| accounts.admit_by_key(&user, &hash, now)).await;
                return self.welcome(admitted).await;
            }
            // No login of ours has a second stage.
            ClientRpc::LoginSecondStage { .. } => self.send(ServerRpc::LoginFailed { code: 500, extra: None }).await,
            ClientRpc::RegisterPushToken(token) => self.change_push_tokens(token, Accounts::register_push_token).await,
            ClientRpc::UnregisterPushToken(token) => {
                self.change_push_tokens(token, Accounts::unregister_push_token).await;
            }
            // Pushing, calls and queues are served elsewhere.
            ClientRpc::PushFeedback(_) | ClientRpc::Unknown { .. } | _ => {}
        }
        Continue(())
    }

    /// Keeps or forgets a push token of whoever is logged in. Nobody is told what came of it.
    async fn change_push_tokens(
        &self,
        token: Secret,
        change: impl FnOnce(&Accounts, UserId, &Secret) -> Result<(), AccountError> + Send + 'static,
    ) {
        if let Some(user) = self.user {
            // What goes wrong is in the log already.
            let _ = self.ask_accounts(move |accounts, _| Ok(change(accounts, user, &token)?)).await;
        }
    }

    async fn log_in(&mut self, user: UserName, password: Secret, options: LoginOptions) -> ControlFlow<()> {
        let admitted = match options.access_token {
            Some(token) if password.reveal().is_empty() => {
                self.ask_accounts(move |accounts, now| accounts.admit_by_token(&user, &token, now)).await
            }
            Some(_) | None => {
                self.ask_accounts(move |accounts, now| accounts.admit_by_password(&user, &password, now)).await
            }
        };
        self.welcome(admitted).await
    }

    /// Answers a request for a one-time key, which the protocol calls a failure with code 302.
    async fn give_key(&mut self, user: UserName) -> ControlFlow<()> {
        match self.ask_accounts(move |accounts, now| accounts.one_time_key(&user, now)).await {
            Ok(key) => {
                self.send(ServerRpc::LoginFailed { code: ONE_TIME_KEY, extra: Some(key) }).await;
                Continue(())
            }
            Err(denial) => {
                self.send(ServerRpc::LoginFailed { code: denial.code(), extra: None }).await;
                self.count_failure()
            }
        }
    }

    /// Lets somebody in, or tells why not.
    async fn welcome(&mut self, admitted: Result<Admission, Denial>) -> ControlFlow<()> {
        match admitted {
            Ok(Admission { account, tokens }) if self.user.is_none_or(|user| user == account.id) => {
                self.user = Some(account.id);
                self.user_pace = Some(self.shared.paces.of(account.id, clock::instant()));
                let welcome = ServerRpc::LoggedIn {
                    display_name: account.display_name,
                    connection: Some(self.connection_name()),
                    tokens: Some(tokens),
                };
                let attached = Attached {
                    user: account.id,
                    outgoing: self.outgoing.clone(),
                    too_slow: Arc::clone(&self.too_slow),
                };
                self.command(Command::Attach(self.id, attached, Box::new(ServerFrame::Rpc(welcome)))).await
            }
            // Somebody else is logged in on this link.
            Ok(_) => {
                self.send(ServerRpc::LoginFailed { code: 491, extra: None }).await;
                Continue(())
            }
            Err(denial) => {
                self.send(ServerRpc::LoginFailed { code: denial.code(), extra: None }).await;
                self.count_failure()
            }
        }
    }

    async fn refresh(&mut self, user: UserName, refresh: Secret) -> ControlFlow<()> {
        match self.ask_accounts(move |accounts, now| accounts.refresh(&user, &refresh, now)).await {
            Ok(tokens) => {
                self.send(ServerRpc::Refreshed(tokens)).await;
                Continue(())
            }
            Err(denial) => {
                self.send(ServerRpc::RefreshFailed { code: denial.code() }).await;
                self.count_failure()
            }
        }
    }

    fn count_failure(&mut self) -> ControlFlow<()> {
        self.failed_logins += 1;
        if self.failed_logins >= FAILED_LOGINS_MAX { Break(()) } else { Continue(()) }
    }

    /// Asks the accounts where that may block, a bounded number at a time.
    async fn ask_accounts<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Accounts, Timestamp) -> Result<T, Denial> + Send + 'static,
    ) -> Result<T, Denial> {
        let _turn = self.shared.hashing.acquire().await;
        let accounts = Arc::clone(&self.shared.accounts);
        let answer = task::spawn_blocking(move || question(&accounts, clock::now())).await;
        let answer = answer.unwrap_or(Err(Denial::Interrupted));
        answer.inspect_err(|denial| match denial {
            Denial::Failed(error) => tracing::error!(link = self.id, error = error as &dyn Error, "nobody is let in"),
            Denial::UnknownUser
            | Denial::Wrong
            | Denial::Frozen
            | Denial::NoKeys
            | Denial::Expired
            | Denial::Interrupted => {
                tracing::info!(link = self.id, code = denial.code(), "not let in");
            }
        })
    }

    fn connection_name(&self) -> String {
        self.id.to_string()
    }

    async fn command(&self, command: Command) -> ControlFlow<()> {
        match self.shared.commands.send(command).await {
            Ok(()) => Continue(()),
            Err(_) => Break(()),
        }
    }

    async fn send(&self, call: ServerRpc) {
        self.send_frame(ServerFrame::Rpc(call)).await;
    }

    async fn send_frame(&self, frame: ServerFrame) {
        // Fails only when the writing half has ended, and then this one is about to.
        let _ = self.outgoing.send(Outgoing::Answer(vec![frame], None)).await;
    }
}

/// The sending half of a link.
struct Writer<'a> {
    shared: &'a Shared,
    id: LinkId,
    queue: mpsc::Receiver<Outgoing>,
    /// Frames so far.
    sent: u64,
}

impl Writer<'_> {
    /// Writes what is queued, and flushes when the queue is empty for the moment.
    async fn run(&mut self, sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin)) -> End {
        let mut taken = Vec::with_capacity(WRITTEN_AT_ONCE);
        while self.queue.recv_many(&mut taken, WRITTEN_AT_ONCE).await > 0 {
            let mut answered = Vec::new();
            for outgoing in taken.drain(..) {
                let flow = match outgoing {
                    Outgoing::Close => Break(End::Politely),
                    Outgoing::Push(text) => self.write(sink, text, true).await,
                    Outgoing::Answer(frames, permit) => {
                        answered.extend(permit);
                        self.answer(sink, frames).await
                    }
                };
                if let Break(end) = flow {
                    return end;
                }
            }
            if let Break(end) = self.moving(sink.flush()).await {
                return end;
            }
        }
        End::Politely
    }

    async fn answer(
        &mut self,
        sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
        frames: Vec<ServerFrame>,
    ) -> ControlFlow<End> {
        let cut = self.shared.faults.take_cut(frames.len());
        for (place, frame) in frames.iter().enumerate() {
            if cut == Some(place) {
                self.moving(sink.flush()).await?;
                return Break(End::Abruptly);
            }
            let is_chat = matches!(frame, ServerFrame::Chat(_));
            self.write(sink, encode_server(frame).into(), is_chat).await?;
        }
        Continue(())
    }

    async fn write(
        &mut self,
        sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
        text: Utf8Bytes,
        is_chat: bool,
    ) -> ControlFlow<End> {
        let faults = &self.shared.faults;
        let times = if is_chat && faults.duplicates(self.sent + 1) { 2 } else { 1 };
        for _ in 0..times {
            let delay = faults.delay();
            if !delay.is_zero() {
                self.moving(sink.flush()).await?;
                sleep(delay).await;
            }
            self.moving(sink.feed(Message::Text(text.clone()))).await?;
            self.sent += 1;
            if faults.takes_link(self.id, self.sent) {
                self.moving(sink.flush()).await?;
                return Break(End::Abruptly);
            }
        }
        Continue(())
    }

    /// Waits for the socket, but not for ever: a peer that takes nothing is given up.
    async fn moving(&self, writing: impl Future<Output = Result<(), tungstenite::Error>>) -> ControlFlow<End> {
        match timeout(self.shared.limits.idle, writing).await {
            Ok(Ok(())) => Continue(()),
            Ok(Err(_)) | Err(_) => Break(End::Abruptly),
        }
    }
}
