//! Who may do what: one function a question, over values only.
//!
//! Source: protocol notes, section 11.2.

use backscroll::model::{Conversation, ErrorCode, Participant, Permissions, UserId};

/// Returns the participant who is `user`, or refuses with error 19.
pub(super) fn participant(conversation: &Conversation, user: UserId) -> Result<&Participant, ErrorCode> {
    conversation.participant(user).ok_or(ErrorCode::UserIsNotInTheParticipantList)
}

/// Turns the answer to one of the questions below into error 12.
pub(super) const fn require(allowed: bool) -> Result<(), ErrorCode> {
    if allowed { Ok(()) } else { Err(ErrorCode::Acl) }
}

/// Returns whether title, data and public join may be changed, or the conversation removed.
pub(super) const fn may_edit_conversation(of: Permissions) -> bool {
    of.is_owner()
}

/// Returns whether participants who are no owners may be added, changed and removed.
pub(super) const fn may_manage(of: Permissions) -> bool {
    of.can_manage_participants() || of.is_owner()
}

/// Returns whether owners may be made, changed and removed: that takes both rights.
pub(super) const fn may_manage_owners(of: Permissions) -> bool {
    of.can_manage_participants() && of.is_owner()
}

/// Returns whether messages may be sent.
pub(super) const fn may_write(of: Permissions) -> bool {
    of.can_write() || of.is_owner()
}

/// Returns whether a message may be changed.
pub(super) const fn may_edit(of: Permissions, is_own: bool) -> bool {
    of.is_owner() || of.can_edit_all() || (is_own && of.can_edit())
}

/// Returns whether a message may be removed.
pub(super) const fn may_remove(of: Permissions, is_own: bool) -> bool {
    of.is_owner() || of.can_remove_all() || (is_own && of.can_remove())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-9: every combination of the seven rights, against the table of the protocol notes.
    #[test]
    fn each_right_gives_what_the_table_says_and_nothing_else() {
        for bits in (0..64).chain(32768..32832).chain([65535]) {
            let of = Permissions::from_bits(bits);
            let has = |bit: u32| bits & bit != 0;
            let owner = has(32768);
            assert_eq!(may_edit_conversation(of), owner, "{bits}");
            assert_eq!(may_manage(of), owner || has(8), "{bits}");
            assert_eq!(may_manage_owners(of), owner && has(8), "{bits}");
            assert_eq!(may_write(of), owner || has(1), "{bits}");
            assert_eq!(may_edit(of, true), owner || has(2) || has(16), "{bits}");
            assert_eq!(may_edit(of, false), owner || has(16), "{bits}");
            assert_eq!(may_remove(of, true), owner || has(4) || has(32), "{bits}");
            assert_eq!(may_remove(of, false), owner || has(32), "{bits}");
        }
    }
}
