//! Scenarios of what is written: merged, waiting for what it names, refused, tried again.

use super::*;
use crate::model::{Message, MessageKey, OutboxEntry};
use std::collections::BTreeMap;

impl Shell {
    fn submit(&mut self, n: u128, intent: Intent) -> Vec<Output> {
        self.command(Command::Submit { token: token(n), intent, queued_at: Timestamp(1) })
    }

    fn refuse(&mut self, request: RequestId, code: ErrorCode) -> Vec<Output> {
        self.push(Some(request), Push::Error { header: header(Action::SendMessage), error: code.into() })
    }

    fn entry(&self, n: u128) -> Option<OutboxEntry> {
        self.core.outbox.get(token(n)).cloned()
    }

    fn state(&self, n: u128) -> OutboxState {
        self.entry(n).expect("it is there").state
    }

    /// The server made a conversation of ours.
    fn make(&mut self, request: Option<RequestId>, n: u128, own: ClientToken) -> Vec<Output> {
        let mut made = described(n, 1);
        made.custom_data = crate::model::with_token_in_custom_data(&made.custom_data, own);
        let event = Event {
            conversation: conversation(n),
            sequence: Sequence(1),
            action: Action::CreateConversation,
            initiator: me(),
            timestamp: Timestamp(1),
            body: EventBody::ConversationCreated(Box::new(made)),
            unknown: None,
        };
        self.push(request, Push::Event(event))
    }
}

fn accepted(outputs: &[Output]) -> OutboxEntry {
    let found = outputs.iter().find_map(|output| match output {
        Output::Answer(_, Ok(Reply::Accepted(entry))) => Some(entry.clone()),
        _ => None,
    });
    found.expect("it was accepted")
}

fn refusal(outputs: &[Output]) -> Option<Refusal> {
    outputs.iter().find_map(|output| match output {
        Output::Answer(_, Err(refusal)) => Some(refusal.clone()),
        _ => None,
    })
}

fn text(conversation: ConversationId, text: &str) -> Intent {
    Intent::SendMessage { conversation, text: text.to_owned(), payload: None }
}

fn mark(sequence: u32) -> Intent {
    Intent::MarkAsRead { conversation: conversation(ROOM), sequence: Sequence(sequence) }
}

fn rename(conversation: ConversationId, title: &str) -> Intent {
    Intent::EditConversation { conversation, title: Some(title.to_owned()), public_join: None, custom_data: None }
}

fn edit(message: MessageKey, text: &str) -> Intent {
    let (conversation, text) = (conversation(ROOM), Some(text.to_owned()));
    Intent::EditMessage { conversation, message, text, payload: None }
}

fn removal(message: MessageKey) -> Intent {
    Intent::RemoveMessage { conversation: conversation(ROOM), message }
}

fn direct() -> Intent {
    Intent::CreateConversation(ConversationConfig::default())
}

/// O-6: several read marks that wait become one, the highest; one below what is read already changes nothing.
#[test]
fn read_marks_that_wait_become_the_highest() {
    let mut shell = Shell::resume();
    shell.come_up(true, 9);
    shell.lose_link();
    assert_eq!(accepted(&shell.submit(1, mark(3))).token, token(1));
    for (n, sequence) in [(2, 7), (3, 5)] {
        let entry = accepted(&shell.submit(n, mark(sequence)));
        assert_eq!((entry.token, entry.intent), (token(1), mark(7)), "the first stands for all");
    }
    assert_eq!(shell.core.outbox.unfinished().count(), 1);
    // Beyond what there is nothing can be read.
    let refused = refusal(&shell.submit(4, mark(10)));
    assert_eq!(refused, Some(Refusal::Messaging(ErrorCode::WrongSequenceArgument.into())));
    shell.come_up(true, 9);
    let waits = shell.core.outbox.get(token(1)).expect("under way").request;
    let (user, sequence) = (conversation(ROOM), Sequence(7));
    shell.push(Some(waits), Push::Read { header: header(Action::IsRead), conversation: user, sequence });
    assert_eq!(shell.state(1), OutboxState::Settled);
    assert_eq!(accepted(&shell.submit(5, mark(6))).state, OutboxState::Settled, "read already");
    // Everything unread again is a wish of its own.
    assert_eq!(accepted(&shell.submit(6, mark(0))).state, OutboxState::Queued);
}

/// M-5: a mark that is set before the server has told who reads is shown as soon as it has.
#[test]
fn a_read_mark_waits_for_who_reads() {
    let unnamed = Session { user_id: None, ..session() };
    let mut shell = Shell::restore(SavedState { session: Some(unnamed), ..SavedState::default() });
    shell.submit(1, mark(7));
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let own_user = requests(&outputs).into_iter().find(|(_, body)| matches!(body, Request::GetUser(_))).expect("asked");
    let outputs = shell.tell_own_user(own_user.0, &[ROOM]);
    let shown = Write::ReadMark { conversation: conversation(ROOM), user: me(), sequence: Sequence(7) };
    let with_mark = |output: &Output| matches!(output, Output::Write(writes) if writes.contains(&shown));
    assert!(outputs.iter().any(with_mark), "{outputs:?}");
}

/// O-5: an edit of what has not left becomes part of it; several become one, each part by itself.
#[test]
fn an_edit_of_what_waits_becomes_part_of_it() {
    let mut shell = Shell::resume();
    shell.send_text(1);
    let payload = RawJson::new(r#"[{"a":1}]"#).expect("JSON");
    let conversation = conversation(ROOM);
    let message = MessageKey::Token(token(1));
    let with_payload = Intent::EditMessage { conversation, message, text: None, payload: Some(payload.clone()) };
    assert_eq!(accepted(&shell.submit(2, with_payload)).token, token(1));
    let entry = accepted(&shell.submit(3, edit(message, "better")));
    let whole = Intent::SendMessage { conversation, text: "better".to_owned(), payload: Some(payload.clone()) };
    assert_eq!((entry.token, entry.intent, shell.core.outbox.unfinished().count()), (token(1), whole, 1));

    let sent = MessageKey::Id(MessageId::from_uuid(Uuid::from_u128(5)));
    shell.submit(4, edit(sent, "one"));
    assert_eq!(accepted(&shell.submit(5, edit(sent, "two"))).intent, edit(sent, "two"));
    let part = |text| Intent::EditMessage { conversation, message: sent, text, payload: Some(payload.clone()) };
    assert_eq!(accepted(&shell.submit(8, part(None))).intent, part(Some("two".to_owned())), "the text stays");
    // A removal makes the edit needless.
    let outputs = shell.submit(6, removal(sent));
    assert!(
        outputs.iter().any(|output| matches!(output, Output::Signal(Signal::Outbox { entry, cancelled: true, .. })
        if entry.token == token(4)))
    );
    assert_eq!(accepted(&shell.submit(7, removal(sent))).token, token(6), "once is enough");
}

/// O-5, O-10: that a repetition was refused for now proves nothing of the attempt before it, whose answer was lost.
#[test]
fn an_edit_does_not_go_into_what_may_have_arrived_before_it_was_refused() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    shell.lose_link();
    shell.come_up(true, 0);
    let error = MessagingError::from(ErrorCode::Internal);
    shell.push(Some(first), Push::Error { header: header(Action::SendMessage), error });
    assert_eq!(shell.state(1), OutboxState::Queued);
    let entry = accepted(&shell.submit(2, edit(MessageKey::Token(token(1)), "better")));
    assert_eq!(entry.token, token(2), "it waits for its message");
    assert_eq!(refusal(&shell.command(Command::Cancel(token(1)))), Some(Refusal::TooLate));
}

/// O-5: edits take effect in their order, also when the first had to wait for a message that was then refused for now.
#[test]
fn a_later_edit_does_not_overtake_one_that_waits() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    let message = MessageKey::Token(token(1));
    assert_eq!(accepted(&shell.submit(2, edit(message, "better"))).token, token(2), "the message is under way");
    let error = MessagingError::from(ErrorCode::Internal);
    shell.push(Some(first), Push::Error { header: header(Action::SendMessage), error });
    let outputs = shell.submit(3, edit(message, "best"));
    let room = conversation(ROOM);
    assert_eq!((accepted(&outputs).token, accepted(&outputs).intent), (token(1), text(room, "best")));
    assert_eq!(shell.entry(2), None, "it is part of the message, and does not leave behind it");
    let carried = |output: &Output| matches!(output, Output::Signal(Signal::Carried { token: part, by }) if *part == token(2) && *by == accepted(&outputs));
    let forgotten = |output: &Output| matches!(output, Output::Signal(Signal::Outbox { entry, cancelled: true, .. }) if entry.token == token(2));
    assert!(position(&outputs, carried) < position(&outputs, forgotten), "who waits for it is told nothing of its end");
}

/// O-5: so do changes of a conversation that is still to be made.
#[test]
fn a_later_change_of_a_conversation_does_not_overtake_one_that_waits() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let (request, _) = requests(&shell.submit(1, direct())).remove(0);
    let room = ConversationId::provisional(token(1));
    assert_eq!(accepted(&shell.submit(2, rename(room, "better"))).token, token(2), "the making is under way");
    let error = MessagingError::from(ErrorCode::Internal);
    shell.push(Some(request), Push::Error { header: header(Action::CreateConversation), error });
    let join = Intent::EditConversation { conversation: room, title: None, public_join: Some(true), custom_data: None };
    let entry = accepted(&shell.submit(3, join));
    let Intent::CreateConversation(config) = entry.intent else { panic!("its making is changed") };
    assert_eq!((config.title.as_str(), config.public_join, shell.entry(2)), ("better", true, None));
}

/// O-5: a removal of what has not left takes it back, and the server never hears of either.
#[test]
fn a_removal_of_what_waits_takes_it_back() {
    let mut shell = Shell::resume();
    shell.send_text(1);
    let outputs = shell.submit(2, removal(MessageKey::Token(token(1))));
    assert_eq!(accepted(&outputs).state, OutboxState::Settled);
    assert_eq!(shell.entry(1), None);
    let outputs = shell.come_up(true, 0);
    assert!(!requests(&outputs).iter().any(|(_, body)| body.is_mutation()));
    let unknown = refusal(&shell.submit(3, removal(MessageKey::Token(token(1)))));
    assert_eq!(unknown, Some(Refusal::Messaging(ErrorCode::MessageDoesNotExist.into())));
}

/// O-5: changes of a message under way wait for its id, in order, and are sent with it.
#[test]
fn changes_of_a_message_under_way_wait_for_its_id() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let sending = sends(&shell.send_text(1))[0];
    let key = MessageKey::Token(token(1));
    assert_eq!(requests(&shell.submit(2, edit(key, "better"))), []);
    let sent = message(ROOM, 1, me(), Some(token(1)));
    let id = MessageKey::Id(sent.body.message().expect("a message"));
    let outputs = shell.push(Some(sending), Push::Event(sent));
    // Named anew in the transaction that settles the sending.
    let together = |output: &Output| {
        matches!(output, Output::Write(writes) if [token(1), token(2)].iter().all(|token| writes.iter().any(
            |write| matches!(write, Write::Outbox(entry) if entry.token == *token))))
    };
    assert!(outputs.iter().any(together), "{outputs:?}");
    assert_eq!(shell.entry(2).expect("waits").intent, edit(id, "better"));
    let edits = |(_, body): &(RequestId, Request)| matches!(body, Request::EditMessage { message, .. } if MessageKey::Id(*message) == id);
    assert!(requests(&outputs).iter().any(edits));
    // Later on the token still names the message.
    assert_eq!(accepted(&shell.submit(3, removal(key))).intent, removal(id));
}

#[test]
fn several_changes_of_a_conversation_become_one() {
    let mut shell = Shell::resume();
    let room = conversation(ROOM);
    shell.submit(1, rename(room, "one"));
    let data = Some(RawJson::new(r#"{"a":1}"#).expect("JSON"));
    let change =
        Intent::EditConversation { conversation: room, title: None, public_join: Some(true), custom_data: data };
    shell.submit(2, change.clone());
    let entry = accepted(&shell.submit(3, rename(room, "two")));
    let Intent::EditConversation { custom_data, .. } = change else { unreachable!("made so above") };
    let title = Some("two".to_owned());
    let whole = Intent::EditConversation { conversation: room, title, public_join: Some(true), custom_data };
    assert_eq!((entry.token, entry.intent), (token(1), whole));
}

#[test]
fn following_twice_is_done_once_and_the_opposite_replaces_it() {
    let mut shell = Shell::resume();
    let (one, other) = (UserId::new(7).expect("small"), UserId::new(8).expect("small"));
    shell.submit(1, Intent::Subscribe(vec![one, other]));
    assert_eq!(accepted(&shell.submit(2, Intent::Subscribe(vec![other, one]))).token, token(1));
    assert_eq!(accepted(&shell.submit(3, Intent::Unsubscribe(vec![one, other]))).token, token(3));
    assert_eq!((shell.entry(1), shell.core.outbox.unfinished().count()), (None, 1));
    // About some of the same users: order decides, so both stay.
    shell.submit(4, Intent::Subscribe(vec![one]));
    assert_eq!(shell.core.outbox.unfinished().count(), 2);
    shell.submit(5, Intent::UnsubscribeAll);
    assert_eq!(shell.core.outbox.unfinished().count(), 1);
    let public = |json: &str| Some(RawJson::new(json).expect("JSON"));
    shell.submit(6, Intent::EditUser { custom_data: public("{}"), private_custom_data: None });
    let entry = accepted(&shell.submit(7, Intent::EditUser { custom_data: None, private_custom_data: public("{}") }));
    let whole = Intent::EditUser { custom_data: public("{}"), private_custom_data: public("{}") };
    assert_eq!((entry.token, entry.intent), (token(6), whole));
}

/// What is written into a conversation before the server has named it waits for its making, and then goes there.
#[test]
fn a_conversation_made_offline_is_written_into_at_once() {
    let mut shell = Shell::resume();
    shell.submit(1, direct());
    let here = ConversationId::provisional(token(1));
    shell.submit(2, text(here, "first"));
    // Changes of what has not left become part of it.
    let renamed = accepted(&shell.submit(3, rename(here, "Lunch")));
    assert!(matches!(&renamed.intent, Intent::CreateConversation(config) if config.title == "Lunch"));
    let outputs = shell.come_up(true, 0);
    assert_eq!(sends(&outputs), [], "the conversation comes first");
    let making = shell.entry(1).expect("under way").request;
    let outputs = shell.make(Some(making), 30, token(1));
    let [(_, Request::SendMessage { conversation: there, .. })] = &requests(&outputs)[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(*there, conversation(30));
    // The provisional id goes on to name it.
    assert_eq!(accepted(&shell.submit(4, text(here, "second"))).intent, text(conversation(30), "second"));
}

/// A process that ends between accepting and naming forgets nothing of it.
#[test]
fn what_waits_for_a_conversation_waits_for_it_after_a_restart() {
    let mut shell = Shell::resume();
    shell.submit(1, direct());
    let here = ConversationId::provisional(token(1));
    shell.submit(2, text(here, "first"));
    let outbox = vec![shell.entry(1).expect("kept"), shell.entry(2).expect("kept")];
    let saved = SavedState { session: Some(session()), outbox, ..SavedState::default() };
    let mut shell = Shell::restore(saved);
    shell.come_up(true, 0);
    // Told by somebody else's device, by history, by a description: whatever shows our token.
    let outputs = shell.make(None, 30, token(1));
    assert_eq!(sends(&outputs).len(), 1);
    assert_eq!(shell.entry(2).expect("under way").intent, text(conversation(30), "first"));
}

/// R-31: a refused making is set aside and holds back what was meant for it, and nothing else.
#[test]
fn a_refused_making_holds_back_only_what_was_meant_for_it() {
    let mut shell = Shell::resume();
    shell.submit(1, direct());
    let here = ConversationId::provisional(token(1));
    shell.submit(2, text(here, "meant for it"));
    shell.come_up(true, 0);
    let making = shell.entry(1).expect("under way").request;
    shell.refuse(making, ErrorCode::UserValidation);
    assert_eq!((shell.state(1), shell.state(2)), (OutboxState::Failed, OutboxState::Queued));
    assert_eq!(sends(&shell.submit(3, text(conversation(ROOM), "elsewhere"))).len(), 1);

    // Tried again by hand it is a new attempt, under a new id.
    let outputs = shell.command(Command::Retry(token(1)));
    let [(again, Request::CreateConversation(_))] = &requests(&outputs)[..] else { panic!("{outputs:?}") };
    assert_ne!(*again, making);
    shell.refuse(*again, ErrorCode::UserValidation);
    // Taken back, it takes with it what it held back, and says so.
    let outputs = shell.command(Command::Cancel(token(1)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Answer(_, Ok(Reply::Done)))));
    assert_eq!((shell.entry(1), shell.state(2)), (None, OutboxState::Failed));
    assert_eq!(
        shell.entry(2).and_then(|entry| entry.error).map(|error| error.code),
        Some(ErrorCode::ConversationDoesNotExist)
    );
}

/// R-31, R-32: a refused message can be changed and tried again; what was to change it waits.
#[test]
fn a_refused_message_is_changed_and_tried_again() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let sending = sends(&shell.send_text(1))[0];
    shell.submit(2, edit(MessageKey::Token(token(1)), "while under way"));
    shell.refuse(sending, ErrorCode::Acl);
    assert_eq!((shell.state(1), shell.state(2)), (OutboxState::Failed, OutboxState::Queued));
    assert_eq!(sends(&shell.send_text(3)).len(), 1, "R-31: what does not depend on it goes on");
    let changed = accepted(&shell.submit(4, edit(MessageKey::Token(token(1)), "changed")));
    assert_eq!((changed.token, changed.state), (token(1), OutboxState::Failed));
    let refused = shell.command(Command::Retry(token(9)));
    assert_eq!(refusal(&refused), Some(Refusal::TooLate));
    // One at a time in a conversation: what is under way comes first.
    assert_eq!(sends(&shell.command(Command::Retry(token(1)))), []);
    let third = shell.entry(3).expect("under way").request;
    let outputs = shell.push(Some(third), Push::Event(message(ROOM, 1, me(), Some(token(3)))));
    assert!(
        requests(&outputs)
            .iter()
            .any(|(_, body)| matches!(body, Request::SendMessage { text, .. } if text == "changed"))
    );
}

/// Protocol notes 13.5, 14 #15: a server that replaces all parts is sent all of them, the rest as it is there now.
#[test]
fn a_foreign_server_is_asked_for_what_a_change_of_a_conversation_leaves_alone() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    let outputs = shell.submit(1, rename(conversation(ROOM), "new"));
    let [(asked, Request::GetConversations(ids))] = &requests(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(ids, &[conversation(ROOM)]);
    let mut known = described(ROOM, 0);
    (known.public_join, known.title) = (true, "old".to_owned());
    known.custom_data = RawJson::new(r#"{"kept":1}"#).expect("JSON");
    let told = Push::Conversation { header: header(Action::GetConversations), conversation: known.clone() };
    let outputs = shell.push(Some(*asked), told);
    let [(_, Request::EditConversation { title, public_join, custom_data, .. })] = &requests(&outputs)[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((title.as_deref(), *public_join), (Some("new"), Some(true)));
    assert_eq!(custom_data, &Some(known.custom_data));
    // Ours keeps what is absent.
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.submit(1, rename(conversation(ROOM), "new"));
    let sent = requests(&outputs);
    assert!(matches!(&sent[..], [(_, Request::EditConversation { public_join: None, custom_data: None, .. })]));
}

/// Protocol notes 14 #15: an edit of the text through a thin message keeps the payload, as the store has it.
#[test]
fn a_foreign_server_is_sent_what_an_edit_leaves_alone_as_it_is_held() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    let id = MessageId::from_uuid(Uuid::from_u128(5));
    let outputs = shell.submit(1, edit(MessageKey::Id(id), "new"));
    assert_eq!(requests(&outputs), []);
    let load = outputs.iter().find_map(|output| if let Output::Load(load) = output { Some(*load) } else { None });
    let load = load.expect("asked of the store");
    assert_eq!((load.message, load.conversation), (id, conversation(ROOM)));
    let payload = RawJson::new(r#"[{"kept":1}]"#).expect("JSON");
    let held = Message::recreate(Some(id), load.conversation, "old".to_owned(), Some(payload.clone()), Sequence(1));
    let outputs = shell.give(Input::Loaded(load.token, Some(held)));
    let [(_, Request::EditMessage { text, payload: sent, .. })] = &requests(&outputs)[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((text.as_deref(), sent), (Some("new"), &Some(payload)));

    // Not held, and nothing missing that could bring it: set aside, before anything is erased.
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    shell.submit(1, edit(MessageKey::Id(id), "new"));
    let outputs = shell.give(Input::Loaded(token(1), None));
    assert_eq!((requests(&outputs), shell.state(1)), (Vec::new(), OutboxState::Failed));
}

/// O-5: an edit of a part of a message that no policy wants has the message fetched, and leaves with what it has to know.
#[test]
fn what_an_edit_has_to_know_is_searched_for_whatever_the_policy() {
    let mut shell =
        Shell::restore_with(SavedState { session: Some(session()), ..SavedState::default() }, HistoryPolicy::OnDemand);
    assert!(ranges(&shell.come_up(false, 3)).is_empty(), "nothing is fetched without anybody asking");
    let old = message(ROOM, 1, me(), None).body.message().expect("a message");
    shell.submit(1, edit(MessageKey::Id(old), "new"));
    let outputs = shell.give(Input::Loaded(token(1), None));
    let (request, from, to) = ranges(&outputs)[0];
    assert_eq!((from, to, shell.state(1)), (1, 3, OutboxState::Queued));
    shell.answer_range(request, 1, 3, &[]);
    let asks = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Load(_)));
    shell.live_until(Duration::from_secs(1), asks);
    let held = Message::recreate(Some(old), conversation(ROOM), "old".to_owned(), None, Sequence(1));
    let outputs = shell.give(Input::Loaded(token(1), Some(held)));
    assert!(requests(&outputs).iter().any(|(_, body)| matches!(body, Request::EditMessage { .. })), "{outputs:?}");
}

/// O-3: a server that stored a message twice is asked once to remove the second copy, whichever is seen first.
#[test]
fn the_copy_with_the_higher_sequence_is_removed() {
    for order in [[1, 2], [2, 1]] {
        let mut shell = Shell::resume();
        shell.come_up(false, 0);
        let sending = sends(&shell.send_text(1))[0];
        let copy = message(ROOM, 2, me(), Some(token(1))).body.message().expect("a message");
        shell.push(Some(sending), Push::Event(message(ROOM, order[0], me(), Some(token(1)))));
        for _ in 0..2 {
            shell.push(None, Push::Event(message(ROOM, order[1], me(), Some(token(1)))));
        }
        let settled = shell.entry(1).and_then(|entry| entry.settlement).expect("settled");
        assert_eq!(settled.sequence, Some(Sequence(1)));
        let removals: Vec<_> = shell.core.outbox.unfinished().map(|entry| entry.intent.clone()).collect();
        assert_eq!(removals, [Intent::RemoveDuplicate { conversation: conversation(ROOM), message: copy }]);
    }
}

/// R-24: word of a network, a conversation that is opened and any success end the rest of what was refused for now.
#[test]
fn four_signals_wake_what_rests() {
    let opened = Command::Focus(vec![conversation(ROOM)]);
    for signal in [Some(Command::NetworkChanged), Some(opened), Some(Command::Retry(token(1))), None] {
        let mut shell = Shell::resume();
        shell.come_up(true, 0);
        let sending = sends(&shell.send_text(1))[0];
        // Refused so often that the next rest is a long one.
        for _ in 0..8 {
            shell.refuse(sending, ErrorCode::Internal);
            shell.command(Command::NetworkChanged);
        }
        shell.refuse(sending, ErrorCode::Internal);
        shell.now = shell.now.after(Duration::from_millis(500));
        let outputs = match signal {
            Some(signal) => shell.command(signal),
            None => {
                let outputs = shell.command(Command::Query(Query::Subscriptions));
                let (asked, _) = requests(&outputs).pop().expect("asked");
                let users = Vec::new();
                shell.push(Some(asked), Push::Subscriptions { header: header(Action::GetSubscriptionList), users })
            }
        };
        assert_eq!(sends(&outputs), [sending]);
    }
}

/// R-25: by default a message that is refused for now holds up those behind it; an application may let them pass.
#[test]
fn new_ones_pass_what_is_refused_for_now_if_that_is_wanted() {
    for new_ones_pass in [false, true] {
        let mut shell = Shell::resume();
        shell.core.settings.new_ones_pass = new_ones_pass;
        shell.come_up(true, 0);
        let first = sends(&shell.send_text(1))[0];
        shell.send_text(2);
        let second = shell.entry(2).expect("waits").request;
        shell.refuse(first, ErrorCode::Internal);
        let outputs = shell.command(Command::NetworkChanged);
        assert_eq!(sends(&outputs), [if new_ones_pass { second } else { first }]);
    }
}

/// Settled entries are forgotten, the oldest first; those that made a conversation are kept longer.
#[test]
fn settled_entries_do_not_pile_up() {
    let mut shell = Shell::resume();
    shell.submit(1_000, direct());
    shell.come_up(true, 0);
    let making = shell.entry(1_000).expect("under way").request;
    shell.make(Some(making), 30, token(1_000));
    for n in 1..=300 {
        let mut sent = sends(&shell.send_text(n));
        while sent.is_empty() {
            sent = sends(&shell.wait());
        }
        let sending = sent[0];
        let sequence = u32::try_from(n).expect("small");
        shell.push(Some(sending), Push::Event(message(ROOM, sequence, me(), Some(token(n)))));
    }
    assert_eq!(
        (shell.entry(44), shell.state(45), shell.state(1_000)),
        (None, OutboxState::Settled, OutboxState::Settled)
    );
}

/// R-35: typing counts now or never, and not twice in ten seconds.
#[test]
fn typing_is_said_once_in_ten_seconds_and_never_later() {
    let mut shell = Shell::resume();
    let done = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Answer(_, Ok(Reply::Done))));
    assert!(done(&shell.command(Command::Typing(conversation(ROOM)))), "dropped without an error");
    assert!(!requests(&shell.come_up(true, 0)).iter().any(|(_, body)| matches!(body, Request::Typing(_))));
    let outputs = shell.command(Command::Typing(conversation(ROOM)));
    assert!(matches!(&requests(&outputs)[..], [(_, Request::Typing(_))]));
    let again = refusal(&shell.command(Command::Typing(conversation(ROOM))));
    assert_eq!(again, Some(Refusal::Messaging(ErrorCode::MethodCallDiscarded.into())));
    assert_eq!(refusal(&shell.command(Command::Typing(conversation(ROOM + 1)))), None, "elsewhere it may be said");
    assert!(done(&shell.lose_link()), "nobody waits for what nobody will hear");
}

/// Those known come back and those unknown are absent, from a server that refuses a question as a whole.
#[test]
fn a_look_up_refused_as_a_whole_is_asked_in_halves() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let keys =
        |ids: std::ops::Range<u64>| ids.map(|id| UserKey::Id(UserId::new(id).expect("small"))).collect::<Vec<_>>();
    let mut outputs = shell.command(Command::Query(Query::Users(keys(1..51))));
    let mut asked = 0;
    let users = loop {
        if let Some(users) = outputs.iter().find_map(|output| match output {
            Output::Answer(_, Ok(Reply::Users(users))) => Some(users.len()),
            _ => None,
        }) {
            break users;
        }
        let Some((request, Request::GetUsers(keys))) = requests(&outputs).pop() else {
            outputs = shell.wait();
            continue;
        };
        asked += 1;
        let unknown = UserKey::Id(UserId::new(13).expect("small"));
        outputs = if keys.contains(&unknown) {
            shell.refuse(request, ErrorCode::UserNotFound)
        } else {
            let tell = |key: UserKey| {
                let UserKey::Id(id) = key else { unreachable!("asked by number") };
                let (name, data) = (UserName::new("x@chat.acme"), RawJson::empty_object());
                let user =
                    User { id, name, display_name: String::new(), custom_data: data, deleted: false, private: None };
                Push::User { header: header(Action::GetUsers), user }
            };
            keys.into_iter().flat_map(|key| shell.push(Some(request), tell(key))).collect()
        };
    };
    assert_eq!((users, asked), (49, 11));
}

/// A server for one purpose: it stores messages in order, and refuses some for now.
fn deliver(shell: &mut Shell, rooms: u128, count: usize, failures_in_ten: u8) -> BTreeMap<ConversationId, Vec<String>> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut log: BTreeMap<ConversationId, Vec<String>> = BTreeMap::new();
    let listed: Vec<u128> = (0..rooms).map(|n| ROOM + n).collect();
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    let own = requests(&outputs).iter().find(|(_, body)| matches!(body, Request::GetUser(_))).expect("own user").0;
    let mut waiting = requests(&outputs);
    waiting.extend(requests(&shell.tell_own_user(own, &listed)));
    while log.values().map(Vec::len).sum::<usize>() < count {
        if waiting.is_empty() {
            shell.give(Input::Noise(shell.link()));
            waiting.extend(requests(&shell.wait()));
            continue;
        }
        let (request, body) = waiting.remove(0);
        let outputs = match body {
            Request::SendMessage { .. } if rng.u8(0..10) < failures_in_ten => {
                shell.refuse(request, ErrorCode::Internal)
            }
            Request::SendMessage { conversation, text, payload } => {
                let log = log.entry(conversation).or_default();
                log.push(text.clone());
                let n = conversation.as_uuid().as_u128();
                let sequence = u32::try_from(log.len()).expect("small");
                let mut event = message(n, sequence, me(), None);
                let EventBody::MessageSent(content) = &mut event.body else { unreachable!("made so") };
                (content.text, content.payload) = (text, payload);
                shell.push(Some(request), Push::Event(event))
            }
            Request::GetConversations(ids) => {
                let describe = |id: ConversationId| {
                    let head = u32::try_from(log.get(&id).map_or(0, Vec::len)).expect("small");
                    let conversation = described(id.as_uuid().as_u128(), head);
                    Push::Conversation { header: header(Action::GetConversations), conversation }
                };
                ids.into_iter().flat_map(|id| shell.push(Some(request), describe(id))).collect()
            }
            _ => Vec::new(),
        };
        waiting.extend(requests(&outputs));
    }
    log
}

/// R-23, O-4: 200 messages queued offline in five conversations arrive once each and in order, though three in ten
/// attempts fail.
#[test]
fn two_hundred_messages_in_five_conversations_arrive_once_and_in_order() {
    let mut shell = Shell::resume();
    for n in 0..200 {
        shell.submit(n, text(conversation(ROOM + n % 5), &n.to_string()));
    }
    let log = deliver(&mut shell, 5, 200, 3);
    for (room, texts) in (0..5).zip(log.values()) {
        let expected: Vec<String> = (0..200).filter(|n| n % 5 == room).map(|n| n.to_string()).collect();
        assert_eq!(*texts, expected);
    }
    assert_eq!(shell.core.outbox.unfinished().count(), 0);
}

/// R-36: a thousand messages written at once all arrive.
#[test]
fn a_thousand_messages_written_at_once_all_arrive() {
    let mut shell = Shell::resume();
    for n in 0..1_000 {
        shell.submit(n, text(conversation(ROOM), &n.to_string()));
    }
    let log = deliver(&mut shell, 1, 1_000, 0);
    let expected: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(log.into_values().collect::<Vec<_>>(), [expected]);
}
