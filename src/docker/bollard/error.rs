//! bollard's errors and the transport's, as the caller's choices.

use bollard::errors::Error;

use crate::docker::classify::{Call, classify};
use crate::docker::error::EngineError;
use crate::docker::transport::{TransportError, chain};

/// Not sent, or sent and not answered.
pub(super) fn of_transport(error: TransportError) -> EngineError {
    match error {
        TransportError::NotSent(text) => EngineError::Unreachable(text),
        TransportError::Broken(text) => EngineError::Unknown(text),
    }
}

/// What bollard says went wrong with a call.
pub(super) fn of_bollard(call: Call, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            classify(call, status_code, &message)
        }
        // An error in the middle of a progress stream, after status 200.
        Error::DockerStreamError { error } => in_stream(call, &error),
        Error::IOError { err } => {
            match err.get_ref().and_then(|inner| inner.downcast_ref::<TransportError>()) {
                Some(carried) => of_transport(carried.clone()),
                None => EngineError::Unknown(err.to_string()),
            }
        }
        // Their texts may repeat a payload's piece, which is nobody's business.
        Error::JsonDataError { column, .. } => {
            EngineError::Unreadable(format!("unexpected JSON at column {column}"))
        }
        Error::JsonSerdeError { err } => {
            EngineError::Unreadable(format!("{:?} error in JSON", err.classify()))
        }
        Error::StrParseError { err } => EngineError::Unreadable(err.to_string()),
        error @ (Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::RequestTimeoutError) => EngineError::Unknown(chain(&error)),
        // The rest is about making the request: a URL, a header, an encoding.
        error => EngineError::Refused(chain(&error)),
    }
}

fn in_stream(call: Call, text: &str) -> EngineError {
    match call {
        // An archive that is none: the same again next time.
        Call::Import => classify(call, 400, text),
        _ => classify(call, 500, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_transport_survives_its_way_through_bollard() {
        let through =
            |error| of_bollard(Call::Start, Error::IOError { err: std::io::Error::other(error) });
        assert_eq!(
            through(TransportError::NotSent("x".to_owned())),
            EngineError::Unreachable("x".to_owned())
        );
        assert_eq!(
            through(TransportError::Broken("x".to_owned())),
            EngineError::Unknown("x".to_owned())
        );
    }

    #[test]
    fn an_error_in_a_progress_stream_is_sorted_by_what_was_done() {
        let said = |call, text: &str| {
            of_bollard(call, Error::DockerStreamError { error: text.to_owned() }).class()
        };
        assert_eq!(said(Call::Import, "archive/tar: invalid tar header"), "refused");
        assert_eq!(said(Call::Import, "write /x: no space left on device"), "no_space");
        assert_eq!(said(Call::Image, "context canceled"), "engine");
    }
}
