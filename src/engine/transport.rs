//! WebSocket to frames and back.
//!
//! One task a link: it dials, reads, decodes, encodes and writes. It knows nothing of what frames mean.

use super::clock::Clock;
use super::leaving::{Limit, Timely};
use super::reports::{Report, Reporter};
use crate::model::{ServerAddress, Uptime};
use crate::protocol::{ClientFrame, DecodeError, FRAME_BYTES_MAX, decode_server, encode_client};
use crate::sync::{Input, LinkId};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How long name look-up, TCP, TLS and WebSocket together may take; a user waits for it once.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of each buffer of a socket: some fifty events are read at once. The library's default of 128 KiB gains nothing
/// over it.
const BUFFER_BYTES: usize = 32 << 10;
/// Frames waiting to be written. The core paces requests far below; a queue this long is a peer that
/// does not read.
const OUTGOING_FRAMES_MAX: usize = 1_024;
/// Frames handed over together, where so many are there already, and no more bytes than a buffer holds: waking the
/// driver for each by itself costs as much as reading it.
const FRAMES_TOGETHER_MAX: usize = 64;

/// How long the system goes on sending what the peer does not acknowledge. The core gives up a silent link as soon; this
/// holds as well while the process is stopped.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// Why there is no link to the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address is not shaped as `wss://host:port/platform`.
    #[error("{url} is not the address of a server")]
    Address {
        /// As given.
        url: String,
    },
    /// A `ws://` address without permission, or not of this machine.
    #[error("{url} is not encrypted, which is allowed only to this machine and only when asked for")]
    Plain {
        /// As given.
        url: String,
    },
    /// The file with the extra root certificate cannot be used.
    #[error("cannot read the root certificate {}", path.display())]
    RootCertificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The TLS library refused its settings or the extra root certificate.
    #[error("cannot set up TLS")]
    TlsSetup(#[source] rustls::Error),
    /// No TCP connection, or a TLS handshake that failed: the certificate, for example.
    #[error("cannot connect to {host}")]
    Connect {
        /// Name and port.
        host: String,
        /// What the system or TLS said.
        source: io::Error,
    },
    /// What answered speaks no WebSocket, or the socket broke.
    #[error("the WebSocket to {host} failed")]
    WebSocket {
        /// Name and port.
        host: String,
        /// What the library said.
        source: Box<tungstenite::Error>,
    },
    /// The peer closed the socket.
    #[error("{host} closed the connection")]
    Closed {
        /// Name and port.
        host: String,
    },
    /// It took longer than ten seconds.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// Name and port.
        host: String,
    },
    /// The peer takes no frames any more.
    #[error("the server stopped reading")]
    Stuck,
}

/// Opens connections to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Address,
    extra_root: Option<PathBuf>,
    /// Made at the first dial, so that a missing certificate does not keep an application from its
    /// local data, and kept, so that TLS sessions are resumed.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Dialer {
    /// Takes the address of a server without touching file or network.
    ///
    /// # Errors
    ///
    /// [`TransportError::Address`] and [`TransportError::Plain`].
    pub(crate) fn new(server: &ServerAddress, allow_plain: bool) -> Result<Self, TransportError> {
        let address = Address::parse(&server.url)?;
        if address.plain && !(allow_plain && address.is_loopback()) {
            return Err(TransportError::Plain { url: address.url });
        }
        Ok(Self { address, extra_root: server.extra_root.as_ref().map(PathBuf::from), tls: OnceLock::new() })
    }

    async fn dial(&self, limit: Limit) -> Result<Socket, TransportError> {
        let host = &self.address.host;
        match tokio::time::timeout(DIAL_TIMEOUT, self.connect(limit)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(TransportError::TimedOut { host: host.clone() }),
        }
    }

    async fn connect(&self, limit: Limit) -> Result<Socket, TransportError> {
        let address = &self.address;
        let refused = |source| TransportError::Connect { host: address.host.clone(), source };
        let tcp = TcpStream::connect((address.name.as_str(), address.port)).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        // A link is only ever given up, and nothing of it may arrive afterwards: what the system
        // still holds for sending is thrown away on close, and the peer gets a reset.
        tcp.set_zero_linger().map_err(refused)?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        socket2::SockRef::from(&tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)).map_err(refused)?;
        if address.plain {
            if !tcp.peer_addr().map_err(refused)?.ip().is_loopback() {
                return Err(TransportError::Plain { url: address.url.clone() });
            }
            return Ok(Socket::Plain(Box::new(self.upgrade(Timely { tcp, limit }).await?)));
        }
        let name = ServerName::try_from(address.name.clone())
            .map_err(|_| TransportError::Address { url: address.url.clone() })?;
        let tls =
            TlsConnector::from(self.tls_config().await?).connect(name, Timely { tcp, limit }).await.map_err(refused)?;
        Ok(Socket::Tls(Box::new(self.upgrade(tls).await?)))
    }

    async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<WebSocketStream<S>, TransportError> {
        let limits = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        match client_async_with_config(self.address.request(), stream, Some(limits)).await {
            Ok((socket, _response)) => Ok(socket),
            Err(source) => Err(self.address.broken(source)),
        }
    }

    async fn tls_config(&self) -> Result<Arc<ClientConfig>, TransportError> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = self.extra_root.clone() {
            for certificate in read_certificates(path).await? {
                roots.add(certificate).map_err(TransportError::TlsSetup)?;
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TransportError::TlsSetup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }
}

async fn read_certificates(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let named = path.clone();
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<_>, pem::Error> {
        let certificates = CertificateDer::pem_file_iter(&path)?.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certificates) }
    });
    let outcome = read.await.unwrap_or_else(|stopped| Err(pem::Error::Io(io::Error::other(stopped))));
    outcome.map_err(|source| TransportError::RootCertificate { path: named, source })
}

/// Where a server is.
#[derive(Clone, Debug)]
struct Address {
    /// As given.
    url: String,
    /// Name or number, without brackets.
    name: String,
    port: u16,
    /// Name and port as written in the address.
    host: String,
    path: String,
    plain: bool,
}

impl Address {
    fn parse(url: &str) -> Result<Self, TransportError> {
        let fault = || TransportError::Address { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| fault())?;
        let (plain, default_port) = match uri.scheme_str() {
            Some("wss") => (false, 443),
            Some("ws") => (true, 80),
            _ => return Err(fault()),
        };
        let host = uri.authority().ok_or_else(fault)?.as_str().to_owned();
        let name = uri.host().ok_or_else(fault)?.trim_matches(['[', ']']).to_owned();
        if name.is_empty() || host.contains('@') || uri.query().is_some() {
            return Err(fault());
        }
        let path = if uri.path() == "/" { "/platform" } else { uri.path() }.to_owned();
        let port = uri.port_u16().unwrap_or(default_port);
        Ok(Self { url: url.to_owned(), name, port, host, path, plain })
    }

    fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(|number| number.is_loopback())
    }

    /// Returns the address to ask for. Source of the query: protocol notes, section 1.2.
    fn request(&self) -> String {
        let scheme = if self.plain { "ws" } else { "wss" };
        format!(
            "{scheme}://{host}{path}?version=3&client=backscroll&im_version=2&client_version={version}",
            host = self.host,
            path = self.path,
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    fn broken(&self, source: tungstenite::Error) -> TransportError {
        TransportError::WebSocket { host: self.host.clone(), source: Box::new(source) }
    }
}

enum Socket {
    Plain(Box<WebSocketStream<Timely>>),
    Tls(Box<WebSocketStream<tokio_rustls::client::TlsStream<Timely>>>),
}

/// A frame, and until when it may leave.
type Outgoing = (ClientFrame, Uptime);

/// One connection, from the moment it is asked for.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    outgoing: mpsc::Sender<Outgoing>,
    task: JoinHandle<()>,
}

impl Link {
    /// Begins to open a connection and returns at once. What waits for the driver is bounded: while that is busy,
    /// nothing is read from the socket.
    pub(crate) fn dial(id: LinkId, dialer: Arc<Dialer>, clock: Clock, reporter: Reporter) -> Self {
        let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES_MAX);
        let task = tokio::spawn(async move {
            let ending = run(id, &dialer, Limit::new(clock), frames, &reporter).await;
            // Nobody listens any more only when the engine is closing.
            reporter.say(Report::Lost(id, ending), 0).await;
        });
        Self { id, outgoing, task }
    }

    /// Returns its name.
    pub(crate) const fn id(&self) -> LinkId {
        self.id
    }

    /// Queues a frame; on a socket that is gone it is dropped without a word. One that has not left by `until` ends the
    /// link instead.
    ///
    /// # Errors
    ///
    /// [`TransportError::Stuck`] when the queue is full.
    pub(crate) fn send(&self, frame: ClientFrame, until: Uptime) -> Result<(), TransportError> {
        match self.outgoing.try_send((frame, until)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(TransportError::Stuck),
        }
    }

    /// Gives the connection up. When this returns the socket is closed and what it had not sent is gone.
    pub(crate) async fn hang_up(mut self) {
        self.task.abort();
        // Ends as cancelled, or as done when it was quicker.
        (&mut self.task).await.ok();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    id: LinkId,
    dialer: &Dialer,
    limit: Limit,
    frames: mpsc::Receiver<Outgoing>,
    reporter: &Reporter,
) -> TransportError {
    match dialer.dial(limit.clone()).await {
        Ok(Socket::Plain(socket)) => converse(id, *socket, &dialer.address, &limit, frames, reporter).await,
        Ok(Socket::Tls(socket)) => converse(id, *socket, &dialer.address, &limit, frames, reporter).await,
        Err(error) => error,
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    id: LinkId,
    socket: WebSocketStream<S>,
    address: &Address,
    limit: &Limit,
    mut frames: mpsc::Receiver<Outgoing>,
    reporter: &Reporter,
) -> TransportError {
    let (mut sink, mut stream) = socket.split();
    let closed = || TransportError::Closed { host: address.host.clone() };
    let read = async {
        let (mut inputs, mut bytes) = (vec![Input::Connected(id)], 0);
        loop {
            if !reporter.say(Report::Inputs(inputs), bytes).await {
                return closed();
            }
            (inputs, bytes) = (Vec::new(), 0);
            let mut next = stream.next().await;
            let ending = loop {
                match next {
                    Some(Ok(Message::Close(_))) | None => break Some(closed()),
                    Some(Ok(message)) => {
                        bytes += message.len();
                        inputs.push(understood(id, &message));
                    }
                    Some(Err(error)) => break Some(address.broken(error)),
                }
                if inputs.len() >= FRAMES_TOGETHER_MAX || bytes >= BUFFER_BYTES {
                    break None;
                }
                match stream.next().now_or_never() {
                    Some(another) => next = another,
                    None => break None,
                }
            };
            if let Some(ending) = ending {
                if !inputs.is_empty() {
                    // What came before the end counts, unless the engine is closing.
                    reporter.say(Report::Inputs(inputs), bytes).await;
                }
                return ending;
            }
        }
    };
    // Reading must go on while writing waits: two ends that both wait for the other to read never stop.
    let write = async {
        while let Some((frame, until)) = frames.recv().await {
            // The first is the oldest: what leaves with it may not leave later.
            limit.set(until);
            sink.feed(text_of(&frame)).await?;
            while let Ok((frame, _)) = frames.try_recv() {
                sink.feed(text_of(&frame)).await?;
            }
            sink.flush().await?;
            limit.lift();
        }
        Ok(())
    };
    tokio::select! {
        ending = read => ending,
        ending = write => match ending {
            Ok(()) => closed(),
            Err(error) => address.broken(error),
        },
    }
}

/// Returns what the core is told of a message.
fn understood(id: LinkId, message: &Message) -> Input {
    let Message::Text(text) = message else { return Input::Noise(id) };
    match decode_server(text) {
        Ok(frame) => Input::Frame(id, frame),
        Err(error) => {
            report_undecodable(&error, text.len());
            Input::Noise(id)
        }
    }
}

fn text_of(frame: &ClientFrame) -> Message {
    Message::text(encode_client(frame))
}

/// Names the kind and the size only: what people write must not reach a log.
fn report_undecodable(error: &DecodeError, bytes: usize) {
    let kind = match error {
        DecodeError::TooLong { .. } => "too long",
        DecodeError::Malformed { .. } => "malformed",
        DecodeError::Content { .. } => "content",
    };
    tracing::warn!(kind, bytes, "the server sent a frame that cannot be understood");
}

#[cfg(test)]
mod tests {
    use super::super::reports::Reports;
    use super::*;
    use crate::protocol::{ClientRpc, ServerFrame, ServerRpc};
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    fn server(url: &str) -> ServerAddress {
        ServerAddress { url: url.to_owned(), extra_root: None }
    }

    #[test]
    fn an_address_is_completed_and_its_query_is_ours() {
        let address = Address::parse("wss://chat.example.org").expect("an address");
        assert_eq!((address.name.as_str(), address.port), ("chat.example.org", 443));
        assert!(address.request().starts_with("wss://chat.example.org/platform?version=3&client=backscroll&"));
        let address = Address::parse("wss://[::1]:8443/other").expect("an address");
        assert_eq!((address.name.as_str(), address.port, address.path.as_str()), ("::1", 8443, "/other"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["", "chat.example.org", "https://chat.example.org", "wss://", "wss://a@b", "wss://h/p?q=1"] {
            assert!(matches!(Address::parse(url), Err(TransportError::Address { .. })), "{url}");
        }
    }

    #[test]
    fn plain_goes_to_this_machine_only_and_only_when_asked() {
        assert!(Dialer::new(&server("ws://127.0.0.1:1"), true).is_ok());
        assert!(Dialer::new(&server("ws://[::1]:1"), true).is_ok());
        assert!(matches!(Dialer::new(&server("ws://127.0.0.1:1"), false), Err(TransportError::Plain { .. })));
        assert!(matches!(Dialer::new(&server("ws://192.0.2.1:1"), true), Err(TransportError::Plain { .. })));
    }

    /// Late enough for any test.
    const LATER: Uptime = Uptime::from_duration(Duration::MAX);

    /// Opens a link to a peer that does as told.
    async fn link_to<F: Future<Output = ()> + Send + 'static>(
        peer: impl FnOnce(WebSocketStream<TcpStream>) -> F + Send + 'static,
    ) -> (Link, Reports, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let peer = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            peer(tokio_tungstenite::accept_async(tcp).await.unwrap()).await;
        });
        let told = Reports::new();
        let dialer = Arc::new(Dialer::new(&server(&url), true).unwrap());
        (Link::dial(LinkId(7), dialer, Clock::start(), told.reporter()), told, peer)
    }

    /// Returns what a link told before its end, and why it ended.
    async fn hear_all(told: &mut Reports) -> (Vec<Input>, TransportError) {
        let mut heard = Vec::new();
        loop {
            match told.next().await {
                Report::Inputs(inputs) => heard.extend(inputs),
                Report::Lost(LinkId(7), ending) => return (heard, ending),
                Report::Lost(other, _) => panic!("the end of {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_link_tells_what_came_and_that_it_ended_once() {
        let (link, mut told, peer) = link_to(|mut socket| async move {
            for text in [r#"{"name":"__pong","params":[]}"#, "no JSON", r#"{"service":"chat","event":7}"#] {
                socket.send(Message::text(text)).await.unwrap();
            }
            let ping = socket.next().await.unwrap().unwrap();
            assert!(ping.to_text().unwrap().contains("__ping"));
            socket.close(None).await.unwrap();
        })
        .await;
        link.send(ClientFrame::Rpc(ClientRpc::Ping), LATER).unwrap();
        let (heard, ending) = hear_all(&mut told).await;
        let pong = ServerFrame::Rpc(ServerRpc::Pong);
        let [Input::Connected(LinkId(7)), Input::Frame(LinkId(7), frame), rest @ ..] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(*frame, pong);
        assert!(matches!(rest, [Input::Noise(LinkId(7)), Input::Noise(LinkId(7))]), "{rest:?}");
        assert!(matches!(ending, TransportError::Closed { .. }));
        assert!(told.try_next().is_none());
        peer.await.unwrap();
        // The socket is gone: dropped without a word.
        link.send(ClientFrame::Rpc(ClientRpc::Ping), LATER).unwrap();
    }

    /// R-46, O-1: a process that was stopped before its frames left does not send them when it goes on.
    #[tokio::test]
    async fn what_has_waited_too_long_does_not_leave_and_ends_the_link() {
        let (link, mut told, peer) = link_to(|mut socket| async move {
            let came = socket.next().await;
            assert!(matches!(came, None | Some(Err(_))), "{came:?}");
        })
        .await;
        assert!(matches!(told.next().await, Report::Inputs(inputs) if matches!(inputs[..], [Input::Connected(_)])));
        link.send(ClientFrame::Rpc(ClientRpc::Ping), Uptime::default()).unwrap();
        assert!(matches!(told.next().await, Report::Lost(LinkId(7), TransportError::WebSocket { .. })));
        peer.await.unwrap();
    }

    #[tokio::test]
    async fn a_link_given_up_is_reset_and_reports_nothing() {
        let (link, mut told, peer) = link_to(|mut socket| async move {
            let ending = socket.next().await;
            let Some(Err(tungstenite::Error::Io(reset))) = ending else { panic!("not reset: {ending:?}") };
            assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        })
        .await;
        assert!(matches!(told.next().await, Report::Inputs(inputs) if matches!(inputs[..], [Input::Connected(_)])));
        link.hang_up().await;
        peer.await.unwrap();
        assert!(told.try_next().is_none());
    }

    #[tokio::test]
    async fn a_frame_beyond_the_limit_ends_the_link() {
        let (_link, mut told, peer) = link_to(|mut socket| async move {
            // The client may hang up before all of it is written.
            socket.send(Message::text("x".repeat(FRAME_BYTES_MAX + 1))).await.ok();
        })
        .await;
        let (heard, ending) = hear_all(&mut told).await;
        assert!(matches!(heard[..], [Input::Connected(_)]));
        assert!(matches!(ending, TransportError::WebSocket { .. }));
        peer.await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_certificate_is_named_at_the_first_dial() {
        let mut server = server("wss://127.0.0.1:1");
        server.extra_root = Some("/nowhere/root.pem".to_owned());
        let dialer = Dialer::new(&server, false).expect("an address");
        let error = dialer.tls_config().await.expect_err("no such file");
        assert!(error.to_string().contains("/nowhere/root.pem"));
    }
}
