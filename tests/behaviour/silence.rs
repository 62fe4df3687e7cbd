//! Servers that are there and say nothing.

use crate::world::{credentials, within_patience};
use backscroll::protocol::{Announcement, ServerFrame, ServerRpc, encode_server};
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Error, Messenger};
use futures_util::{SinkExt, StreamExt};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

async fn say(socket: &mut WebSocketStream<TcpStream>, rpc: ServerRpc) {
    socket.send(Message::text(encode_server(&ServerFrame::Rpc(rpc)))).await.unwrap();
}

/// R-87, C-4: behind a link that is up and a login that went well there is nobody any more; it is replaced.
#[tokio::test]
async fn a_socket_that_became_a_black_hole_is_replaced() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The default finds it within 20 s, which a test of the core shows on its own clock.
    let settings = Settings {
        ping_interval: Duration::from_millis(50),
        silence_limit: Duration::from_millis(200),
        backoff: (Duration::from_millis(1), Duration::from_millis(10)),
        ..Settings::default()
    };
    let url = format!("ws://{}/platform", listener.local_addr().unwrap());
    let config = Config::new(folder.path().join("alice.db")).server(url).allow_plain_loopback().settings(settings);
    let alice = Messenger::open(config).await.unwrap();
    let login = tokio::spawn({
        let alice = alice.clone();
        async move { alice.log_in(credentials("alice")).await }
    });

    let (tcp, _) = within_patience("a dial", listener.accept()).await.unwrap();
    let mut hole = accept_async(tcp).await.unwrap();
    say(&mut hole, ServerRpc::Greeting { connection: None, announcement: Announcement::default() }).await;
    within_patience("the login", hole.next()).await.unwrap().unwrap();
    let tokens = None;
    say(&mut hole, ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens }).await;
    // From here on it neither reads nor writes, and the socket stays open.
    let (again, _) = within_patience("another dial", listener.accept()).await.unwrap();
    assert!(matches!(login.await.unwrap(), Err(Error::Offline { .. })));
    assert_ne!(*alice.connection().borrow(), LinkState::Live);

    // C-8: with a peer that does not even greet, closing waits for nobody.
    within_patience("the end", alice.close()).await;
    drop((hole, again));
}
