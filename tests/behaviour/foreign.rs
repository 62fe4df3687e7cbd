//! Somebody else's server: ours, behind one that takes out of the greeting what only ours says, and that leaves out or
//! swallows what a test wants.

use crate::raw::dial;
use crate::verifying::{about, at, talk};
use crate::world::{World, assert_sound, texts, until, within_patience};
use backscroll::engine::{Depth, Difference, Unanswered};
use backscroll::model::{ConversationConfig, ConversationId, Participant, Sequence, SequenceRange};
use backscroll::protocol::{
    Announcement, ClientFrame, Push, RateLimit, Request, ServerFrame, ServerRpc, decode_client, decode_server,
    encode_server,
};
use backscroll::sync::{LinkState, Settings};
use backscroll::{Config, Messenger};
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// What is kept from the clients.
#[derive(Default)]
struct Withheld {
    /// Positions that no answer shows.
    left_out: Mutex<BTreeSet<Sequence>>,
    /// How many more questions about history are passed on before some are swallowed.
    passed: AtomicU32,
    /// And how many more are swallowed.
    swallowed: AtomicU32,
    /// Whether what nobody asked for is lost.
    loses_pushes: AtomicBool,
}

impl Withheld {
    fn swallows(&self, text: &str) -> bool {
        let asks = matches!(
            decode_client(text),
            Ok(ClientFrame::Chat(chat)) if matches!(chat.body, Request::RetransmitEvents { .. })
        );
        let takes_one = |left: &AtomicU32| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        };
        asks && !takes_one(&self.passed) && takes_one(&self.swallowed)
    }

    /// Returns what of a frame of our server a foreign one would have said.
    fn told(&self, text: &str) -> Option<String> {
        match decode_server(text).unwrap() {
            ServerFrame::Rpc(ServerRpc::Greeting { connection, .. }) => {
                let greeting = ServerRpc::Greeting { connection, announcement: Announcement::default() };
                Some(encode_server(&ServerFrame::Rpc(greeting)))
            }
            ServerFrame::Chat(chat) if chat.request.is_none() && self.loses_pushes.load(Ordering::Relaxed) => None,
            ServerFrame::Chat(chat) => match chat.push {
                Push::Retransmitted { event, .. } if self.left_out.lock().unwrap().contains(&event.sequence) => None,
                _ => Some(text.to_owned()),
            },
            ServerFrame::Rpc(_) => Some(text.to_owned()),
        }
    }

    /// Stands between a client and the server until one of them is gone.
    async fn stand_between<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut client: WebSocketStream<TcpStream>,
        mut server: WebSocketStream<S>,
    ) {
        loop {
            let passed = tokio::select! {
                asked = client.next() => match asked {
                    Some(Ok(Message::Text(text))) if self.swallows(&text) => Ok(()),
                    Some(Ok(asked)) => server.send(asked).await,
                    Some(Err(_)) | None => return,
                },
                said = server.next() => match said {
                    Some(Ok(Message::Text(text))) => match self.told(&text) {
                        Some(told) => client.send(Message::text(told)).await,
                        None => Ok(()),
                    },
                    Some(Ok(said)) => client.send(said).await,
                    Some(Err(_)) | None => return,
                },
            };
            if passed.is_err() {
                return;
            }
        }
    }
}

/// A foreign server, and Alice, who has it for her own; Bob is at home.
struct Abroad {
    world: World,
    bob: Messenger,
    address: SocketAddr,
    withheld: Arc<Withheld>,
    conversation: ConversationId,
}

impl Abroad {
    /// Lets Alice, who holds one conversation of 21 events, come back to it behind a foreign server, after her file was
    /// changed by these statements.
    async fn with(statements: &str) -> (Self, Messenger) {
        let (world, alice, bob, conversation) = talk().await;
        alice.close().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let withheld = Arc::new(Withheld::default());
        tokio::spawn({
            let (withheld, dialled) = (Arc::clone(&withheld), dial(&world));
            async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let (withheld, server) = (Arc::clone(&withheld), dialled());
                    tokio::spawn(async move {
                        let client = accept_async(tcp).await.unwrap();
                        withheld.stand_between(client, server.await).await;
                    });
                }
            }
        });
        world.damage("alice", &format!("UPDATE session SET server_url = 'ws://{address}/platform'; {statements}"));
        let abroad = Self { world, bob, address, withheld, conversation };
        let alice = abroad.open().await;
        (abroad, alice)
    }

    async fn open(&self) -> Messenger {
        let settings = Settings {
            rate: RateLimit { burst: 100, interval: Duration::from_millis(1) },
            request_timeout: Duration::from_secs(1),
            backoff: (Duration::from_millis(10), Duration::from_millis(200)),
            ..Settings::default()
        };
        let url = format!("ws://{}/platform", self.address);
        let config = Config::new(self.world.store("alice")).server(url).allow_plain_loopback().settings(settings);
        let alice = Messenger::open(config).await.unwrap();
        let mut link = alice.connection();
        within_patience("the link", link.wait_for(|state| *state == LinkState::Live)).await.unwrap();
        alice
    }

    fn leave_out(&self, positions: &[u32]) {
        *self.withheld.left_out.lock().unwrap() = positions.iter().copied().map(Sequence).collect();
    }

    fn swallow_after(&self, passed: u32) {
        self.withheld.passed.store(passed, Ordering::Relaxed);
        self.swallow(u32::MAX);
    }

    fn swallow(&self, questions: u32) {
        self.withheld.swallowed.store(questions, Ordering::Relaxed);
    }
}

const HOLES: &str = "DELETE FROM message WHERE id & 4294967295 IN (8, 21);
     INSERT INTO hole (conversation, first, last, reason) SELECT id, 8, 8, 0 FROM conversation;
     INSERT INTO hole (conversation, first, last, reason) SELECT id, 21, 21, 0 FROM conversation;";

/// holes of a server that says nothing of them are the same, and what it shows there after all is found.
#[tokio::test]
async fn holes_are_compared_by_what_comes_around_them() {
    let (abroad, alice) = Abroad::with(HOLES).await;
    abroad.leave_out(&[8, 21]);
    let same = alice.verify_online(Depth::Full).await.unwrap();
    assert!(same.is_same(), "{same:?}");
    assert_eq!(same.positions, 21);
    abroad.leave_out(&[]);
    let shown = alice.verify_online(Depth::Full).await.unwrap();
    let hole = |position| at(abroad.conversation, position, position, Difference::Hole);
    assert_eq!(shown.found, [hole(8), hole(21)]);
    let sampled = alice.verify_online(Depth::Sample { positions: 2, seed: 1 }).await.unwrap();
    assert_eq!(sampled.found, [hole(8), hole(21)]);
}

/// what is held and left out of an answer is told, and only that.
#[tokio::test]
async fn an_event_that_is_held_and_left_out_is_found_by_silence() {
    let (abroad, alice) = Abroad::with("").await;
    abroad.leave_out(&[12]);
    let comparison = alice.verify_online(Depth::Full).await.unwrap();
    assert_eq!(comparison.found, [at(abroad.conversation, 12, 12, Difference::NotShown(None))]);
    assert_eq!((comparison.positions, comparison.silent), (21, 0));
}

/// a server that is slow is asked again, and its silence is told as silence: no difference, and not the same.
#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_no_difference() {
    let (abroad, alice) = Abroad::with("").await;
    abroad.swallow(2);
    let patient = alice.verify_online(Depth::Full).await.unwrap();
    assert!(patient.is_same(), "{patient:?}");
    assert_eq!(patient.positions, 21);

    abroad.swallow(u32::MAX);
    let silent = alice.verify_online(Depth::Full).await.unwrap();
    let range = SequenceRange::new(Sequence(1), Sequence(21));
    assert_eq!((silent.found.as_slice(), silent.positions, silent.silent), (&[][..], 0, 1));
    assert_eq!(silent.unanswered, [Unanswered { conversation: abroad.conversation, range }]);
    assert!(!silent.is_same());
}

/// what cannot be looked at again after a repair is not told as fixed.
#[tokio::test]
async fn a_repair_that_cannot_be_looked_at_is_not_told_as_one() {
    let (abroad, alice) = Abroad::with(HOLES).await;
    // Two looks find the holes, two questions fill them, and then the server says no more.
    abroad.swallow_after(4);
    let repair = alice.repair_online(Depth::Full).await.unwrap();
    assert_eq!((repair.found.wrong, repair.fixed.len()), (2, 0), "{repair:?}");
    assert_eq!((repair.left.wrong, repair.left.silent), (0, 1));
    abroad.swallow(0);
    let comparison = alice.verify_online(Depth::Full).await.unwrap();
    assert!(comparison.is_same(), "{comparison:?}");
}

/// a tail that was lost and a conversation that nobody told of are found, and fetched with all they hold.
#[tokio::test]
async fn what_was_lost_on_a_quiet_link_is_found_and_fetched() {
    let (abroad, alice) = Abroad::with("").await;
    assert!(alice.verify_online(Depth::Full).await.unwrap().is_same());
    abroad.withheld.loses_pushes.store(true, Ordering::Relaxed);
    let known = abroad.bob.conversation(abroad.conversation).await.unwrap().expect("held").conversation;
    for text in ["lost", "lost as well"] {
        within_patience("a message", known.send_message(text, None).await.unwrap()).await.unwrap();
    }
    let participants = vec![Participant::new(alice.my_id().expect("logged in"))];
    let config = ConversationConfig { title: "Untold".to_owned(), participants, ..ConversationConfig::default() };
    let made = within_patience("a conversation", abroad.bob.create_conversation(config).await.unwrap()).await.unwrap();
    let untold = made.conversation;
    within_patience("a message", untold.send_message("hello", None).await.unwrap()).await.unwrap();

    let comparison = alice.verify_online(Depth::Full).await.unwrap();
    let behind = Difference::HeadBehind { held: Sequence(21), shown: Sequence(23) };
    let mut expected = [about(abroad.conversation, behind), about(untold.id, Difference::NotHeld)];
    expected.sort_by_key(|found| found.conversation);
    assert_eq!((comparison.found.as_slice(), comparison.positions), (&expected[..], 21));
    assert!(alice.conversation(untold.id).await.unwrap().is_none(), "looking heals nothing");

    let repair = alice.repair_online(Depth::Full).await.unwrap();
    assert_eq!((repair.fixed.as_slice(), repair.left.found.as_slice()), (&expected[..], &[][..]));
    let has_all = || async {
        texts(&alice, abroad.conversation).await.len() == 22 && texts(&alice, untold.id).await == ["hello"]
    };
    until(&alice, "what was lost", has_all).await;
    assert_sound(&alice).await;
    let comparison = alice.verify_online(Depth::Full).await.unwrap();
    assert!(comparison.is_same() && comparison.positions == 25, "{comparison:?}");
}
