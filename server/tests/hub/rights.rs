//! Who may do what, where: each action, for each combination of rights, in each kind and state of a conversation.

use crate::world::*;
use backscroll::model::{ConversationConfig, ConversationId, MessageId, Participant, Permissions};
use backscroll::protocol::Request;
use backscroll_server::storage::{Memory, Storage};
use uuid::Uuid;

/// What the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    Direct,
    Public,
    Uber,
    Removed,
    Unknown,
}

const KINDS: [Kind; 6] = [Kind::Regular, Kind::Direct, Kind::Public, Kind::Uber, Kind::Removed, Kind::Unknown];

/// What Bob, who acts, is to the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Stranger,
    Former,
    /// With these rights.
    In(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Describe,
    DescribeMany,
    History,
    Join,
    Leave,
    Typing,
    Read,
    Edit,
    Remove,
    Send,
    EditOwn,
    EditOther,
    RemoveOwn,
    RemoveOther,
    Add,
    AddOwner,
    Allow,
    AllowOwner,
    Expel,
    ExpelOwner,
}

const ACTIONS: [Action; 20] = [
    Action::Describe,
    Action::DescribeMany,
    Action::History,
    Action::Join,
    Action::Leave,
    Action::Typing,
    Action::Read,
    Action::Edit,
    Action::Remove,
    Action::Send,
    Action::EditOwn,
    Action::EditOther,
    Action::RemoveOwn,
    Action::RemoveOther,
    Action::Add,
    Action::AddOwner,
    Action::Allow,
    Action::AllowOwner,
    Action::Expel,
    Action::ExpelOwner,
];

/// Returns the code that the action meets; `None` when it is carried out.
///
/// Source: protocol notes, sections 9 and 11.2.
fn expected(action: Action, kind: Kind, role: Role) -> Option<i64> {
    match kind {
        Kind::Unknown => return Some(8),
        Kind::Removed => return Some(16),
        Kind::Regular | Kind::Direct | Kind::Public | Kind::Uber => {}
    }
    let (direct, public) = (kind == Kind::Direct, kind == Kind::Public);
    let unless = |allowed: bool, code| (!allowed).then_some(code);
    match action {
        Action::Describe | Action::DescribeMany => return unless(public || role != Role::Stranger, 12),
        Action::History => return unless(role != Role::Stranger, 12),
        Action::Join if direct => return Some(39),
        Action::Join if !public => return Some(15),
        Action::Join => return unless(!matches!(role, Role::In(_)), 13),
        _ => {}
    }
    let Role::In(bits) = role else { return Some(19) };
    let (owner, has) = (bits & 32768 != 0, |bit: u32| bits & bit != 0);
    match action {
        Action::Leave => unless(!direct, 40),
        Action::Edit | Action::Remove => unless(owner, 12),
        Action::Send => unless(owner || has(1), 12),
        Action::EditOwn => unless(owner || has(2) || has(16), 12),
        Action::EditOther => unless(owner || has(16), 12),
        Action::RemoveOwn => unless(owner || has(4) || has(32), 12),
        Action::RemoveOther => unless(owner || has(32), 12),
        Action::Add | Action::AddOwner if direct => Some(37),
        Action::Allow | Action::AllowOwner if direct => Some(39),
        Action::Expel | Action::ExpelOwner if direct => Some(38),
        Action::Add | Action::Allow | Action::Expel => unless(owner || has(8), 12),
        Action::AddOwner | Action::AllowOwner | Action::ExpelOwner => unless(owner && has(8), 12),
        Action::Typing | Action::Read => None,
        Action::Describe | Action::DescribeMany | Action::History | Action::Join => unreachable!("decided above"),
    }
}

/// A conversation of Alice's with Carol, and Bob in his role; a message of Bob's and one of another.
struct Scene {
    world: World<Memory>,
    conversation: ConversationId,
    own: MessageId,
    others: MessageId,
}

fn scene(kind: Kind, role: Role) -> Scene {
    let mut world = World::new();
    let config = match kind {
        Kind::Regular | Kind::Removed | Kind::Unknown => with(&[BOB, CAROL]),
        Kind::Direct => direct(BOB),
        Kind::Public => public(&[BOB, CAROL]),
        Kind::Uber => uber(&[BOB, CAROL]),
    };
    // Where Bob is a stranger it is Carol's, a direct one included.
    let config = match role {
        Role::Stranger => ConversationConfig { participants: with(&[CAROL]).participants, ..config },
        Role::Former | Role::In(_) => config,
    };
    let mut conversation = world.create(ALICE, config);
    let others = world.say(ALICE, conversation, "Alice's");
    let own = if role == Role::Stranger { others } else { world.say(BOB, conversation, "Bob's") };
    match role {
        Role::Stranger => {}
        Role::Former => drop(world.event(ALICE, expel(conversation, &[BOB]))),
        Role::In(bits) => {
            let rights = Permissions::from_bits(bits);
            world.hub.storage_mut().set_permissions(conversation, BOB, rights).unwrap();
        }
    }
    match kind {
        Kind::Removed => drop(world.get(ALICE, Request::RemoveConversation(conversation))),
        Kind::Unknown => conversation = ConversationId::from_uuid(Uuid::max()),
        Kind::Regular | Kind::Direct | Kind::Public | Kind::Uber => {}
    }
    Scene { world, conversation, own, others }
}

fn request(action: Action, scene: &Scene) -> Request {
    let Scene { conversation, own, others, .. } = *scene;
    let owner = |user| vec![Participant::new(user).with_permissions(Permissions::OWNER)];
    match action {
        Action::Describe => Request::GetConversation(conversation),
        Action::DescribeMany => Request::GetConversations(vec![conversation]),
        Action::History => range(conversation, 1, 1),
        Action::Join => Request::JoinConversation(conversation),
        Action::Leave => Request::LeaveConversation(conversation),
        Action::Typing => Request::Typing(conversation),
        Action::Read => read(conversation, 1),
        Action::Edit => rename(conversation, "new"),
        Action::Remove => Request::RemoveConversation(conversation),
        Action::Send => say(conversation, "hello"),
        Action::EditOwn => edit(conversation, own, "new"),
        Action::EditOther => edit(conversation, others, "new"),
        Action::RemoveOwn => remove(conversation, own),
        Action::RemoveOther => remove(conversation, others),
        Action::Add => add(conversation, &[DAVE]),
        Action::AddOwner => Request::AddParticipants { conversation, participants: owner(DAVE) },
        Action::Allow => allow(conversation, CAROL, 1),
        Action::AllowOwner => allow(conversation, ALICE, 1),
        Action::Expel => expel(conversation, &[CAROL]),
        Action::ExpelOwner => expel(conversation, &[ALICE]),
    }
}

/// S-9: all of them. What is refused changes nothing and is told to nobody.
#[test]
fn each_action_in_each_role_and_state_is_carried_out_or_refused_by_its_code() {
    let rights = (0..64).chain(32768..32832).chain([65535]).map(Role::In);
    let roles: Vec<Role> = [Role::Stranger, Role::Former].into_iter().chain(rights).collect();
    let mut carried_out = 0;
    let mut refused = 0;
    for kind in KINDS {
        // Nobody leaves a direct conversation.
        for role in roles.iter().copied().filter(|role| (kind, *role) != (Kind::Direct, Role::Former)) {
            let scene = scene(kind, role);
            for action in ACTIONS {
                let mut world = scene.world.clone();
                let asked = request(action, &scene);
                if let Some(code) = expected(action, kind, role) {
                    let before = world.hub.storage().clone();
                    assert_eq!(world.refusal(BOB, asked), code, "{action:?} by {role:?} in {kind:?}");
                    assert!(before == *world.hub.storage(), "{action:?} by {role:?} in {kind:?} changed something");
                    refused += 1;
                } else {
                    let answer = world.get(BOB, asked);
                    assert_eq!(code(&answer), None, "{action:?} by {role:?} in {kind:?}");
                    carried_out += 1;
                }
            }
        }
    }
    println!("{carried_out} carried out, {refused} refused");
    assert_eq!(carried_out + refused, ACTIONS.len() * (KINDS.len() * roles.len() - 1));
}
