//! A client that knows frames and nothing else.

use backscroll::model::{RequestId, Secret, Tokens, UserName};
use backscroll::protocol::{
    ClientChat, ClientFrame, ClientRpc, LoginOptions, Push, Request, ServerChat, ServerFrame, ServerRpc, decode_server,
    encode_client, one_time_key_answer, password_hash,
};
use backscroll_server::{Config, LoginRules, Server, serve};
use futures_util::{SinkExt, StreamExt};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;

/// How long a frame may take before the test fails. Nothing waits so long when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse";

/// Alice, Bob, Carol and Dave are users 101 to 104.
pub(crate) const NAMES: [&str; 4] = ["alice@chat.acme", "bob@chat.acme", "carol@chat.acme", "dave@chat.acme"];

pub(crate) fn config(data: &Path) -> Config {
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), data);
    config.logins = LoginRules::for_tests();
    config
}

/// Starts a server that knows the four of [`NAMES`].
pub(crate) async fn start(data: &Path) -> Server {
    start_with(config(data)).await
}

pub(crate) async fn start_with(config: Config) -> Server {
    let server = serve(config).await.unwrap();
    if server.accounts().list().unwrap().is_empty() {
        for name in NAMES {
            server.accounts().add(&UserName::new(name), "", &Secret::new(PASSWORD)).unwrap();
        }
    }
    server
}

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub(crate) async fn tls(server: &Server) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(server.certificate().unwrap()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::from(server.address().ip());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

pub(crate) async fn open(server: &Server, target: &str) -> Result<Socket, tungstenite::Error> {
    let url = format!("wss://{}{target}", server.address());
    client_async(url, tls(server).await).await.map(|(socket, _)| socket)
}

pub(crate) struct Client {
    socket: Socket,
    waiting: VecDeque<ServerChat>,
}

impl Client {
    /// Connects and takes the greeting.
    pub(crate) async fn connect(server: &Server) -> Self {
        let socket = open(server, "/platform?im_version=2&client=test").await.unwrap();
        let mut client = Self { socket, waiting: VecDeque::new() };
        assert!(matches!(client.call().await, ServerRpc::Greeting { .. }));
        client
    }

    /// Connects and logs in by password.
    pub(crate) async fn log_in(server: &Server, name: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.password(name, PASSWORD).await.unwrap();
        client
    }

    pub(crate) async fn password(&mut self, name: &str, password: &str) -> Result<Tokens, i64> {
        let options = LoginOptions::default();
        let (user, password) = (UserName::new(name), Secret::new(password));
        self.rpc(ClientRpc::Login { user, password, options }).await;
        self.login_answer().await
    }

    pub(crate) async fn access_token(&mut self, name: &str, token: &Secret) -> Result<Tokens, i64> {
        let options = LoginOptions { access_token: Some(token.clone()), ..LoginOptions::default() };
        let (user, password) = (UserName::new(name), Secret::new(""));
        self.rpc(ClientRpc::Login { user, password, options }).await;
        self.login_answer().await
    }

    pub(crate) async fn refresh(&mut self, name: &str, refresh: &Secret) -> Result<Tokens, i64> {
        let (user, refresh) = (UserName::new(name), refresh.clone());
        self.rpc(ClientRpc::RefreshToken { user, refresh, device: None }).await;
        match self.call().await {
            ServerRpc::Refreshed(tokens) => Ok(tokens),
            ServerRpc::RefreshFailed { code } => Err(code),
            other => panic!("no answer to a refresh: {other:?}"),
        }
    }

    /// Asks for a one-time key.
    pub(crate) async fn key(&mut self, name: &str) -> Result<Secret, i64> {
        self.rpc(ClientRpc::GenerateOneTimeKey { user: UserName::new(name) }).await;
        match self.call().await {
            ServerRpc::LoginFailed { code: 302, extra: Some(key) } => Ok(key),
            ServerRpc::LoginFailed { code, extra: None } => Err(code),
            other => panic!("no answer to the wish for a key: {other:?}"),
        }
    }

    /// Answers a one-time key with what this password makes of it.
    pub(crate) async fn answer_key(&mut self, name: &str, key: &Secret, password: &str) -> Result<Tokens, i64> {
        let user = UserName::new(name);
        let hash = one_time_key_answer(key, &password_hash(&user, &Secret::new(password)));
        self.rpc(ClientRpc::LoginOneTimeKey { user, hash, options: LoginOptions::default() }).await;
        self.login_answer().await
    }

    async fn login_answer(&mut self) -> Result<Tokens, i64> {
        match self.call().await {
            ServerRpc::LoggedIn { tokens, .. } => Ok(tokens.unwrap()),
            ServerRpc::LoginFailed { code, .. } => Err(code),
            other => panic!("no answer to a login: {other:?}"),
        }
    }

    pub(crate) async fn rpc(&mut self, call: ClientRpc) {
        self.text(&encode_client(&ClientFrame::Rpc(call))).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.message(Message::text(text)).await;
    }

    pub(crate) async fn message(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends a request and does not wait.
    pub(crate) async fn send(&mut self, request: RequestId, body: Request) {
        self.text(&encode_client(&ClientFrame::Chat(ClientChat { request, body }))).await;
    }

    /// Sends a request and returns the first frame that answers it.
    pub(crate) async fn ask(&mut self, body: Request) -> Push {
        self.ask_as(fresh(), body).await
    }

    /// Sends a request under a given id and returns the first frame that answers it.
    pub(crate) async fn ask_as(&mut self, request: RequestId, body: Request) -> Push {
        self.send(request, body).await;
        self.answer(request).await
    }

    /// Returns the next frame that answers `request`; what else comes is kept.
    pub(crate) async fn answer(&mut self, request: RequestId) -> Push {
        if let Some(place) = self.waiting.iter().position(|chat| chat.request == Some(request)) {
            return self.waiting.remove(place).unwrap().push;
        }
        loop {
            let chat = self.receive().await;
            if chat.request == Some(request) {
                return chat.push;
            }
            self.waiting.push_back(chat);
        }
    }

    /// Sends a request that is to be refused and returns the code.
    pub(crate) async fn refusal(&mut self, body: Request) -> i64 {
        let action = body.action();
        match self.ask(body).await {
            Push::Error { header, error } => {
                assert_eq!(header.action, action);
                error.code.number()
            }
            other => panic!("{action} was not refused: {other:?}"),
        }
    }

    /// Returns the next messaging frame that was no answer.
    pub(crate) async fn push(&mut self) -> Push {
        let chat = match self.waiting.pop_front() {
            Some(chat) => chat,
            None => self.receive().await,
        };
        assert_eq!(chat.request, None, "an answer where a push was due: {:?}", chat.push);
        chat.push
    }

    /// Sends a ping and returns how many messaging frames came before its pong: nothing more is under way then.
    pub(crate) async fn count_until_pong(&mut self) -> usize {
        self.rpc(ClientRpc::Ping).await;
        let mut frames = std::mem::take(&mut self.waiting).len();
        loop {
            match self.frame().await.expect("the link ended") {
                ServerFrame::Chat(_) => frames += 1,
                ServerFrame::Rpc(ServerRpc::Pong) => return frames,
                ServerFrame::Rpc(other) => panic!("unexpected: {other:?}"),
            }
        }
    }

    pub(crate) async fn receive(&mut self) -> ServerChat {
        match self.frame().await.expect("the link ended") {
            ServerFrame::Chat(chat) => chat,
            ServerFrame::Rpc(other) => panic!("unexpected: {other:?}"),
        }
    }

    pub(crate) async fn call(&mut self) -> ServerRpc {
        match self.frame().await.expect("the link ended") {
            ServerFrame::Rpc(call) => call,
            ServerFrame::Chat(other) => panic!("unexpected: {other:?}"),
        }
    }

    /// Returns the next frame; `None` when the link has ended.
    pub(crate) async fn frame(&mut self) -> Option<ServerFrame> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("nothing came for too long") {
                Some(Ok(Message::Text(text))) => return Some(decode_server(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Waits for the end of the link and returns how many frames came before.
    pub(crate) async fn until_closed(&mut self) -> usize {
        let mut frames = 0;
        while self.frame().await.is_some() {
            frames += 1;
        }
        frames
    }
}

pub(crate) fn fresh() -> RequestId {
    RequestId::from_uuid(random())
}

#[expect(clippy::disallowed_methods, reason = "a client of a test may make up its ids")]
pub(crate) fn random() -> Uuid {
    Uuid::new_v4()
}
