//! What is refused before it is accepted, so that nothing waits in the outbox only to fail.

use crate::model::{ErrorCode, Intent, MessagingError, RawJson};
use crate::protocol::{CUSTOM_DATA_BYTES_MAX, PARTICIPANTS_MAX, PAYLOAD_BYTES_MAX, TEXT_CHARS_MAX, TITLE_CHARS_MAX};

/// Checks the limits of the protocol that can be checked without the server.
///
/// # Errors
///
/// [`MessagingError`] with the code that a server, or the vendor's own client, gives for the same fault.
pub fn check_intent(intent: &Intent) -> Result<(), MessagingError> {
    match intent {
        Intent::SendMessage { text, payload, .. } => {
            if text.is_empty() && payload.is_none() {
                return Err(invalid("a message needs a text or a payload"));
            }
            check_content(text, payload.as_ref())
        }
        Intent::EditMessage { text, payload, .. } => {
            check_anything(text.is_some() || payload.is_some())?;
            check_content(text.as_deref().unwrap_or_default(), payload.as_ref())
        }
        Intent::CreateConversation(config) => {
            if config.participants.len() > PARTICIPANTS_MAX {
                return Err(ErrorCode::RequestedNumberTooBig.into());
            }
            if config.direct && (config.public_join || config.uber) {
                return Err(ErrorCode::DirectCannotBePublicOrUber.into());
            }
            check_title(&config.title)?;
            check_custom_data(&config.custom_data)
        }
        Intent::EditConversation { title, public_join, custom_data, .. } => {
            check_anything(title.is_some() || public_join.is_some() || custom_data.is_some())?;
            title.as_deref().map_or(Ok(()), check_title)?;
            custom_data.as_ref().map_or(Ok(()), check_custom_data)
        }
        Intent::AddParticipants { participants, .. } | Intent::EditParticipants { participants, .. } => {
            check_number(participants.len(), PARTICIPANTS_MAX)
        }
        Intent::RemoveParticipants { users, .. } => check_number(users.len(), PARTICIPANTS_MAX),
        Intent::EditUser { custom_data, private_custom_data } => {
            check_anything(custom_data.is_some() || private_custom_data.is_some())?;
            custom_data.iter().chain(private_custom_data).try_for_each(check_custom_data)
        }
        // A number of users that the protocol does not limit; ours keeps a frame within its bound.
        Intent::Subscribe(users) | Intent::Unsubscribe(users) => check_number(users.len(), PARTICIPANTS_MAX),
        Intent::MarkAsRead { .. }
        | Intent::RemoveMessage { .. }
        | Intent::RemoveDuplicate { .. }
        | Intent::RemoveConversation(_)
        | Intent::JoinConversation(_)
        | Intent::LeaveConversation(_)
        | Intent::ManageNotifications(_)
        | Intent::UnsubscribeAll => Ok(()),
    }
}

fn check_anything(anything: bool) -> Result<(), MessagingError> {
    if anything { Ok(()) } else { Err(invalid("nothing is to be changed")) }
}

fn check_number(number: usize, most: usize) -> Result<(), MessagingError> {
    match number {
        0 => Err(ErrorCode::RequestedNumberTooBigOr0.into()),
        _ if number > most => Err(ErrorCode::RequestedNumberTooBig.into()),
        _ => Ok(()),
    }
}

fn check_title(title: &str) -> Result<(), MessagingError> {
    if title.chars().count() > TITLE_CHARS_MAX {
        Err(invalid("the title is longer than 5,000 characters"))
    } else {
        Ok(())
    }
}

fn check_custom_data(data: &RawJson) -> Result<(), MessagingError> {
    if !data.is_object() {
        return Err(invalid("custom data must be a JSON object"));
    }
    if data.as_str().len() > CUSTOM_DATA_BYTES_MAX {
        return Err(invalid("custom data is longer than 5,000 bytes"));
    }
    Ok(())
}

fn check_content(text: &str, payload: Option<&RawJson>) -> Result<(), MessagingError> {
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(ErrorCode::MessageSizeExceedsLimit.into());
    }
    let Some(payload) = payload else { return Ok(()) };
    if !payload.is_array_of_objects() {
        return Err(invalid("a payload must be a JSON array of objects"));
    }
    if payload.as_str().len() > PAYLOAD_BYTES_MAX {
        return Err(invalid("the payload is longer than 1 MiB"));
    }
    Ok(())
}

fn invalid(what: &str) -> MessagingError {
    MessagingError::new(ErrorCode::InvalidArguments, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ConversationId;

    fn message(text: &str, payload: Option<&str>) -> Intent {
        Intent::SendMessage {
            conversation: ConversationId::from_uuid(uuid::Uuid::nil()),
            text: text.to_owned(),
            payload: payload.map(|json| RawJson::new(json).expect("JSON")),
        }
    }

    /// O-12: the limit counts characters, not bytes.
    #[test]
    fn a_text_of_exactly_the_limit_passes() {
        assert_eq!(check_intent(&message(&"ж".repeat(TEXT_CHARS_MAX), None)), Ok(()));
        let refused = check_intent(&message(&"ж".repeat(TEXT_CHARS_MAX + 1), None)).expect_err("one too many");
        assert_eq!(refused.code, ErrorCode::MessageSizeExceedsLimit);
    }

    #[test]
    fn a_payload_is_an_array_of_objects() {
        assert_eq!(check_intent(&message("", Some(r#"[{"a":1}]"#))), Ok(()));
        for wrong in [r#"{"a":1}"#, "[1]", "null"] {
            let refused = check_intent(&message("x", Some(wrong))).expect_err(wrong);
            assert_eq!(refused.code, ErrorCode::InvalidArguments);
        }
        assert!(check_intent(&message("", None)).is_err());
    }
}
