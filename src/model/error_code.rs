//! The error codes of the protocol: number, name, and what may be done about each.

use std::fmt;

/// What a refusal means for the request that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same request may succeed later.
    Later,
    /// Slow down, then try again.
    TooFast,
    /// The same request will never succeed.
    Never,
    /// Nothing succeeds before signing in again.
    SignIn,
}

macro_rules! codes {
    ($($variant:ident = $number:literal, $name:literal, $class:ident, $text:literal;)*) => {
        /// A code of the protocol, or one that client libraries make themselves.
        ///
        /// Source: protocol notes, section 9. The names are those of the vendor's mobile wrappers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = $text] $variant,)*
            /// A code this version does not know: treated as temporary, with bounded attempts.
            Other(i64),
        }

        impl ErrorCode {
            /// Every code with a name, by rising number.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// Returns the number on the wire.
            pub const fn number(self) -> i64 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// Returns the published name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(_) => "UNKNOWN",
                }
            }

            /// Returns what the code means, as a sentence without its full stop.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(_) => "an error this version does not know",
                }
            }

            /// Returns what may be done about it.
            pub const fn class(self) -> ErrorClass {
                match self {
                    $(Self::$variant => ErrorClass::$class,)*
                    Self::Other(_) => ErrorClass::Later,
                }
            }
        }

        impl From<i64> for ErrorCode {
            fn from(number: i64) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

codes! {
    SomethingWentWrong = 0, "SOMETHING_WENT_WRONG", Never, "something in the request is wrong";
    MessageStructureIsWrong = 1, "TRANSPORT_MESSAGE_STRUCTURE_IS_WRONG", Never, "the frame is not shaped as the protocol asks";
    EventNameIsUnknown = 2, "EVENT_NAME_IS_UNKNOWN", Never, "the server does not know this action";
    NotAuthorized = 3, "NOT_AUTHORIZED", SignIn, "the link is not logged in";
    ConversationDoesNotExist = 8, "CONVERSATION_DOES_NOT_EXIST", Never, "there is no such conversation";
    MessageDoesNotExist = 10, "MESSAGE_DOES_NOT_EXIST", Never, "there is no such message";
    MessageDeleted = 11, "MESSAGE_DELETED", Never, "the message was removed";
    Acl = 12, "ACL", Never, "the user has no right to do this";
    AlreadyInParticipantsList = 13, "ALREADY_IN_PARTICIPANTS_LIST", Never, "the user takes part already";
    PublicJoinIsUnavailable = 15, "PUBLIC_JOIN_IS_UNAVAILABLE", Never, "the conversation cannot be joined";
    ConversationDeleted = 16, "CONVERSATION_DELETED", Never, "the conversation was removed";
    UserValidation = 18, "USER_VALIDATION", Never, "a participant is not a user of this account";
    UserIsNotInTheParticipantList = 19, "USER_IS_NOT_IN_THE_PARTICIPANT_LIST", Never, "the user does not take part";
    RequestedNumberTooBigOr0 = 21, "REQUESTED_NUMBER_TOO_BIG_OR_0", Never, "none or too many things were asked for";
    RequestedNumberTooBig = 22, "REQUESTED_NUMBER_TOO_BIG", Never, "too many things were asked for";
    MessageSizeExceedsLimit = 23, "MESSAGE_SIZE_EXCEEDS_LIMIT", Never, "the text is longer than 5,000 characters";
    WrongSequenceArgument = 24, "WRONG_SEQUENCE_ARGUMENT", Never, "the sequence is beyond what there is";
    UserNotFound = 25, "USER_NOT_FOUND", Never, "there is no such user";
    NotificationEventIncorrect = 26, "NOTIFICATION_EVENT_INCORRECT", Never, "there is no such kind of notification";
    FromGreaterThanTo = 28, "FROM_GREATER_THAN_TO", Never, "the range ends before it begins";
    ServiceUnavailable = 30, "IM_SERVICE_UNAVAILABLE", Later, "the service is not available for now";
    LimitPerSecond = 32, "LIMIT_PER_SECOND", TooFast, "too many requests in a second";
    LimitPerMinute = 33, "LIMIT_PER_MINUTE", TooFast, "too many requests in a minute";
    DirectCannotBePublicOrUber = 34, "DIRECT_CANNOT_BE_PUBLIC_OR_UBER", Never, "a direct conversation can be neither public nor uber";
    NumberOfUsersInDirect = 35, "NUMBER_OF_USERS_IN_DIRECT", Never, "a direct conversation has exactly two participants";
    SpecifyMaximumTwoParams = 36, "SPECIFY_MAXIMUM_TWO_PARAMS", Never, "from, to and count were given together";
    AddingToDirect = 37, "ADDING_TO_DIRECT", Never, "nobody can be added to a direct conversation";
    RemovingFromDirect = 38, "REMOVING_FROM_DIRECT", Never, "nobody can be removed from a direct conversation";
    EditingParticipantsInDirect = 39, "EDITING_PARTICIPANTS_IN_DIRECT", Never, "a direct conversation cannot be joined";
    LeavingDirectNotAllowed = 40, "LEAVING_DIRECT_NOT_ALLOWED", Never, "a direct conversation cannot be left";
    SpecifyAtLeastTwoParams = 41, "SPECIFY_AT_LEAST_TWO_PARAMS", Never, "two of from, to and count are needed";
    TierExceeded = 42, "MESSAGING_TIER_EXCEEDED", Never, "the account's messaging tier is used up";
    TierUpgrading = 43, "MESSAGING_TIER_UPGRADING", Later, "the account's messaging tier is being changed";
    Internal = 500, "INTERNAL", Later, "the server failed";
    MethodCallDiscarded = 10000, "METHOD_CALL_DISCARDED", Never, "typing was announced within the last ten seconds";
    InvalidArguments = 10001, "INVALID_ARGUMENTS", Never, "an argument is not valid";
    Timeout = 10002, "TIMEOUT", Later, "the server did not answer in time";
    ClientNotLoggedIn = 10003, "CLIENT_NOT_LOGGED_IN", Later, "there is no logged-in link to the server";
    FailedToProcessResponse = 10004, "FAILED_TO_PROCESS_RESPONSE", Never, "the server's answer could not be understood";
}

impl ErrorCode {
    /// Returns whether a server may send it; the others are made by client libraries.
    pub const fn is_on_the_wire(self) -> bool {
        self.number() < 10_000
    }
}

/// A refusal with its number, its published name and what was said about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MessagingError {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// What the server, or the local check, said; may be empty.
    pub description: String,
}

impl MessagingError {
    /// Returns a refusal that explains itself.
    pub fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }
}

impl From<ErrorCode> for MessagingError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.meaning())
    }
}

impl fmt::Display for MessagingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {}, {})", self.description, self.code.number(), self.code.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O-7: each code has one class. Written out once more, so that none changes by the way.
    #[test]
    fn every_code_has_its_class() {
        let class_of = |number: i64| match number {
            30 | 43 | 500 | 10_002 | 10_003 => ErrorClass::Later,
            32 | 33 => ErrorClass::TooFast,
            3 => ErrorClass::SignIn,
            _ => ErrorClass::Never,
        };
        let numbers: Vec<i64> = ErrorCode::KNOWN.iter().map(|code| code.number()).collect();
        let expected = [
            0, 1, 2, 3, 8, 10, 11, 12, 13, 15, 16, 18, 19, 21, 22, 23, 24, 25, 26, 28, 30, 32, 33, 34, 35, 36, 37, 38,
            39, 40, 41, 42, 43, 500, 10_000, 10_001, 10_002, 10_003, 10_004,
        ];
        assert_eq!(numbers, expected);
        for code in ErrorCode::KNOWN {
            assert_eq!(code.class(), class_of(code.number()), "{code:?}");
        }
    }

    #[test]
    fn numbers_and_codes_are_one_to_one() {
        for code in ErrorCode::KNOWN {
            assert_eq!(ErrorCode::from(code.number()), *code);
            assert!(!code.meaning().is_empty() && code.name() != "UNKNOWN");
        }
        assert_eq!(ErrorCode::from(77), ErrorCode::Other(77));
        assert_eq!(ErrorCode::Other(77).class(), ErrorClass::Later);
    }
}
