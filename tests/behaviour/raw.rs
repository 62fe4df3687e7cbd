//! A client that is only a socket: it asks as fast as the server answers, without a store or a lane.

use crate::world::{World, credentials, within_patience};
use backscroll::model::{ConversationId, Credentials, RequestId, Secret, Tokens, UserName};
use backscroll::protocol::{
    ClientChat, ClientFrame, ClientRpc, LoginOptions, Push, Request, ServerChat, ServerFrame, ServerRpc, decode_server,
    encode_client,
};
use futures_util::{SinkExt, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;

/// Requests on their way at once; below what the server lets a link have.
pub(crate) const UNDER_WAY: usize = 32;

/// How many sockets there were so far.
static SOCKETS: AtomicU64 = AtomicU64::new(1);

/// A socket before anybody logged in.
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Returns what connects to the server over real TLS.
pub(crate) fn dial(world: &World) -> impl Fn() -> Pin<Box<dyn Future<Output = Socket> + Send>> + Send + use<> {
    let certificate = CertificateDer::from_pem_file(world.server().certificate().expect("TLS")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let (connector, address) = (TlsConnector::from(Arc::new(config)), world.server().address());
    let url = world.server().url().to_owned();
    move || {
        let (connector, url) = (connector.clone(), url.clone());
        Box::pin(async move {
            let tcp = TcpStream::connect(address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let tls = connector.connect(ServerName::from(address.ip()), tcp).await.unwrap();
            client_async(url, tls).await.unwrap().0
        })
    }
}

/// One logged-in socket.
pub(crate) struct Raw {
    socket: Socket,
    requests: u128,
}

impl Raw {
    /// Connects.
    async fn connect(world: &World) -> Self {
        let socket = dial(world)().await;
        // Ids of its own for each socket: a second request with the same id would be answered as the first.
        let requests = u128::from(SOCKETS.fetch_add(1, Ordering::Relaxed)) << 64;
        Self { socket, requests }
    }

    /// Trades a refresh token for a new pair, as a device does that then dies and never uses it.
    pub(crate) async fn refresh(world: &World, user: UserName, refresh: Secret) -> Tokens {
        let mut raw = Self::connect(world).await;
        raw.send(ClientFrame::Rpc(ClientRpc::RefreshToken { user, refresh, device: None })).await;
        loop {
            match raw.next().await {
                ServerFrame::Rpc(ServerRpc::Refreshed(tokens)) => return tokens,
                ServerFrame::Rpc(ServerRpc::RefreshFailed { code }) => panic!("refresh refused with {code}"),
                ServerFrame::Rpc(_) | ServerFrame::Chat(_) => {}
            }
        }
    }

    /// Connects and logs in.
    pub(crate) async fn log_in(world: &World, user: &str) -> Self {
        let mut raw = Self::connect(world).await;
        let Credentials::Password { user, password } = credentials(user) else { panic!("users have passwords") };
        raw.send(ClientFrame::Rpc(ClientRpc::Login { user, password, options: LoginOptions::default() })).await;
        loop {
            match raw.next().await {
                ServerFrame::Rpc(ServerRpc::LoggedIn { .. }) => return raw,
                ServerFrame::Rpc(ServerRpc::LoginFailed { code, .. }) => panic!("login refused with {code}"),
                ServerFrame::Rpc(_) | ServerFrame::Chat(_) => {}
            }
        }
    }

    async fn send(&mut self, frame: ClientFrame) {
        self.socket.send(Message::text(encode_client(&frame))).await.unwrap();
    }

    async fn next(&mut self) -> ServerFrame {
        loop {
            let message = within_patience("a frame", self.socket.next()).await.expect("an open socket").unwrap();
            if let Message::Text(text) = message {
                return decode_server(&text).unwrap();
            }
        }
    }

    /// Asks for something without waiting, and returns the id that its answer will carry.
    pub(crate) async fn submit(&mut self, body: Request) -> RequestId {
        self.requests += 1;
        let request = RequestId::from_uuid(Uuid::from_u128(self.requests));
        self.send(ClientFrame::Chat(ClientChat { request, body })).await;
        request
    }

    /// Returns the next messaging frame, be it an answer or not.
    pub(crate) async fn told(&mut self) -> ServerChat {
        loop {
            if let ServerFrame::Chat(chat) = self.next().await {
                return chat;
            }
        }
    }

    /// Asks for something and returns its answer: as many frames as it says to have, one if it does not say.
    pub(crate) async fn ask(&mut self, body: Request) -> Vec<Push> {
        let request = self.submit(body).await;
        let mut answer = Vec::new();
        let mut expected = 1;
        while answer.len() < expected {
            let chat = self.told().await;
            if chat.request == Some(request) {
                if let Push::Retransmitted { count: Some(count), .. } = &chat.push {
                    expected = usize::try_from(*count).unwrap();
                }
                answer.push(chat.push);
            }
        }
        answer
    }

    /// Sends messages numbered as in `numbers` and waits until the server has answered each.
    pub(crate) async fn send_messages(&mut self, conversation: ConversationId, numbers: std::ops::Range<u32>) {
        let mut waiting = 0;
        let mut numbers = numbers.map(|number| format!("message {number}"));
        loop {
            while waiting < UNDER_WAY
                && let Some(text) = numbers.next()
            {
                self.submit(Request::SendMessage { conversation, text, payload: None }).await;
                waiting += 1;
            }
            if waiting == 0 {
                return;
            }
            let chat = self.told().await;
            if chat.request.is_some() {
                match chat.push {
                    Push::Event(_) => waiting -= 1,
                    Push::Error { error, .. } => panic!("refused: {error}"),
                    other => panic!("neither an event nor a refusal: {other:?}"),
                }
            }
        }
    }
}
