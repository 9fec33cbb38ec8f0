//! How a call that fails is answered.

use super::{
    cbor::EncodeError,
    config::ERROR_MESSAGE_BYTES_MAX,
    error::ApplicationError,
    frame::{ErrorBody, ReadError},
};

/// The number in an error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The request breaks the protocol, or is not of the method's type (1).
    Malformed,
    /// There is no such service (2).
    NoService,
    /// The service has no such method (3).
    NoMethod,
    /// The caller may not call it (4).
    NotAuthorized,
    /// The method has failed; its code and its message are beside (5).
    Application,
    /// The request is larger than the server reads (6).
    RequestTooLarge,
    /// The answer is larger than the server writes (7).
    AnswerTooLarge,
    /// The time was over (8).
    TimedOut,
    /// The server has ended the call (9).
    Cancelled,
    /// The server serves as many calls as it can (10).
    Overloaded,
    /// The method has panicked (11).
    Panicked,
    /// The server has failed otherwise (12).
    Internal,
    /// A status that has no name here.
    Other(u64),
}

impl Status {
    /// Every status that has a name.
    pub const NAMED: [Self; 12] = [
        Self::Malformed,
        Self::NoService,
        Self::NoMethod,
        Self::NotAuthorized,
        Self::Application,
        Self::RequestTooLarge,
        Self::AnswerTooLarge,
        Self::TimedOut,
        Self::Cancelled,
        Self::Overloaded,
        Self::Panicked,
        Self::Internal,
    ];

    /// The number that stands for it on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Malformed => 1,
            Self::NoService => 2,
            Self::NoMethod => 3,
            Self::NotAuthorized => 4,
            Self::Application => 5,
            Self::RequestTooLarge => 6,
            Self::AnswerTooLarge => 7,
            Self::TimedOut => 8,
            Self::Cancelled => 9,
            Self::Overloaded => 10,
            Self::Panicked => 11,
            Self::Internal => 12,
            Self::Other(code) => code,
        }
    }

    /// The status that a number stands for.
    #[must_use]
    pub fn from_code(code: u64) -> Self {
        Self::NAMED.into_iter().find(|status| status.code() == code).unwrap_or(Self::Other(code))
    }
}

/// Why the server does not end an answer in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody waits for an answer.
    Gone,
    Malformed(String),
    NoService,
    NoMethod,
    NotAuthorized,
    Application(ApplicationError),
    RequestTooLarge {
        max_bytes: usize,
    },
    AnswerTooLarge {
        max_bytes: usize,
    },
    TimedOut,
    Cancelled,
    Overloaded(&'static str),
    Panicked,
    Internal(String),
}

impl Failure {
    /// What the caller is told, if there is one.
    pub(super) fn into_body(self) -> Option<ErrorBody> {
        let body = |status: Status| ErrorBody { status: status.code(), ..ErrorBody::default() };
        let told = |status, message: String| ErrorBody { message: cut(message), ..body(status) };
        let bound = |status, max: usize| ErrorBody { max_bytes: Some(max as u64), ..body(status) };
        Some(match self {
            Self::Gone => return None,
            Self::Malformed(reason) => told(Status::Malformed, reason),
            Self::NoService => body(Status::NoService),
            Self::NoMethod => body(Status::NoMethod),
            Self::NotAuthorized => body(Status::NotAuthorized),
            Self::Application(ApplicationError { code, message }) => {
                ErrorBody { code: Some(code), ..told(Status::Application, message) }
            }
            Self::RequestTooLarge { max_bytes } => bound(Status::RequestTooLarge, max_bytes),
            Self::AnswerTooLarge { max_bytes } => bound(Status::AnswerTooLarge, max_bytes),
            Self::TimedOut => body(Status::TimedOut),
            Self::Cancelled => body(Status::Cancelled),
            Self::Overloaded(reason) => told(Status::Overloaded, reason.to_owned()),
            Self::Panicked => body(Status::Panicked),
            Self::Internal(reason) => told(Status::Internal, reason),
        })
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLong { max_bytes } => Self::RequestTooLarge { max_bytes },
            ReadError::Malformed(reason) => Self::Malformed(reason.to_owned()),
            ReadError::Io(_) => Self::Gone,
        }
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooLarge { max_bytes } => Self::AnswerTooLarge { max_bytes },
            EncodeError::Refused { reason } => Self::Internal(reason),
        }
    }
}

fn cut(mut message: String) -> String {
    let mut end = message.len().min(ERROR_MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{
        CallError,
        config::ERROR_BYTES_MAX,
        error::{Message, Side},
        frame::{FrameKind, payload},
    };

    #[test]
    fn every_status_is_read_as_what_it_was_written_for() {
        for code in (0..100).chain([u64::MAX]) {
            assert_eq!(Status::from_code(code).code(), code);
        }
        for status in Status::NAMED {
            assert_eq!(Status::from_code(status.code()), status);
        }
    }

    /// What the caller gets, for each failure that the server has.
    #[test]
    fn every_failure_reaches_the_caller_as_what_it_is() {
        let told = |failure: Failure| CallError::from_body(failure.into_body().expect("there is a caller"));
        let error = ApplicationError::new(7, "seven");

        assert_eq!(Failure::Gone.into_body(), None);
        assert!(
            matches!(told(Failure::Malformed("x".into())), CallError::MalformedRequest { reason } if reason == "x")
        );
        assert!(matches!(told(Failure::NoService), CallError::NoService));
        assert!(matches!(told(Failure::NoMethod), CallError::NoMethod));
        assert!(matches!(told(Failure::NotAuthorized), CallError::NotAuthorized));
        assert!(matches!(told(Failure::Application(error.clone())), CallError::Application(got) if got == error));
        assert!(matches!(
            told(Failure::RequestTooLarge { max_bytes: 9 }),
            CallError::TooLarge { message: Message::Request, side: Side::Callee, max_bytes: Some(9) }
        ));
        assert!(matches!(
            told(Failure::AnswerTooLarge { max_bytes: 9 }),
            CallError::TooLarge { message: Message::Answer, side: Side::Callee, max_bytes: Some(9) }
        ));
        assert!(matches!(told(Failure::TimedOut), CallError::TimedOut { side: Side::Callee }));
        assert!(matches!(told(Failure::Cancelled), CallError::Cancelled { side: Side::Callee }));
        assert!(matches!(told(Failure::Overloaded("x")), CallError::Overloaded { reason } if reason == "x"));
        assert!(matches!(told(Failure::Panicked), CallError::Panicked));
        assert!(matches!(told(Failure::Internal("x".into())), CallError::Internal { reason } if reason == "x"));
        let later = ErrorBody { status: 99, message: "later".into(), ..ErrorBody::default() };
        assert!(matches!(CallError::from_body(later), CallError::Other { status: 99, .. }));
    }

    #[test]
    fn a_message_is_cut_between_characters_and_then_fits_its_frame() {
        let error = ApplicationError::new(u32::MAX, "é".repeat(ERROR_MESSAGE_BYTES_MAX) + "x");
        let body = Failure::Application(error).into_body().expect("there is a caller");
        assert_eq!(body.message.len(), ERROR_MESSAGE_BYTES_MAX);
        assert!(payload(FrameKind::Error, &body, ERROR_BYTES_MAX).is_ok());
        let odd = "x".to_owned() + &"é".repeat(ERROR_MESSAGE_BYTES_MAX);
        assert_eq!(cut(odd).len(), ERROR_MESSAGE_BYTES_MAX - 1);
    }
}
