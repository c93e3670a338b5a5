//! From the engine's and the host's errors to what the core does about them.

use crate::controller::effect::Call;
use crate::controller::input::Failure;
use crate::docker::EngineError;
use crate::host::PrepareError;
use crate::resource::condition::Reason;

/// One word for metrics.
pub(super) const fn word(failure: &Failure) -> &'static str {
    match failure {
        Failure::NotFound(_) => "not_found",
        Failure::NameTaken(_) => "name_taken",
        Failure::Conflict(_) => "conflict",
        Failure::Refused(..) => "refused",
        Failure::Failed(..) => "failed",
        Failure::NoSpace(_) => "no_space",
        Failure::Unknown(_) => "unknown",
        Failure::Unreachable(_) => "unreachable",
    }
}

/// What the engine's error means for this call.
///
/// A create or start that the engine fails at (5xx) is that container's fault far more often than the engine's: a port in
/// use, a runtime that is not there. It must be read again, and does not count against the engine.
pub(super) fn of_engine(call: &Call, error: EngineError) -> Failure {
    let about = match call {
        Call::Create { .. } | Call::CreateRun { .. } => Reason::CreateFailed,
        Call::Start { .. } => Reason::StartFailed,
        Call::Update { .. } => Reason::UpdateFailed,
        _ => Reason::HostFailed,
    };
    match error {
        EngineError::NotFound(text) => Failure::NotFound(text),
        EngineError::NameTaken(text) => Failure::NameTaken(text),
        EngineError::Conflict(text) => Failure::Conflict(text),
        // Bound to the network's ID, which another network of the name does not have.
        EngineError::Refused(text)
            if matches!(call, Call::Start { .. })
                && text.contains("network")
                && text.contains("not found") =>
        {
            Failure::Refused(Reason::NetworkMissing, text)
        }
        EngineError::Refused(text) | EngineError::Engine(text)
            if matches!(call, Call::Start { .. }) && is_port_in_use(&text) =>
        {
            Failure::Failed(Reason::PortInUse, port_in_use(&text))
        }
        EngineError::Refused(text) => Failure::Refused(about, text),
        EngineError::NoImage(text) => match call {
            Call::Create { target, .. } => super::image::missing(&target.wanted_image()),
            Call::CreateRun { target, .. } => super::image::missing(&target.target.wanted_image()),
            _ => Failure::Refused(Reason::ImageMissing, text),
        },
        EngineError::NoSpace(text) => Failure::NoSpace(text),
        EngineError::Engine(text) if call.mutates() => Failure::Failed(about, text),
        EngineError::Engine(text) | EngineError::Unknown(text) | EngineError::Unreadable(text) => {
            Failure::Unknown(text)
        }
        EngineError::Unreachable(text) => Failure::Unreachable(text),
    }
}

/// What a host that could not be prepared means.
pub(super) fn of_host(error: &PrepareError) -> Failure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::Refused(error.reason(), text)
}

/// The engine's own words for a port that a container holds.
const ALLOCATED: &str = "port is already allocated";
/// The kernel's, for one that another program listens on.
const LISTENED_ON: &str = "address already in use";

fn is_port_in_use(text: &str) -> bool {
    text.contains(ALLOCATED) || text.contains(LISTENED_ON)
}

/// Who has it is not known to the engine: only of which kind the holder is.
fn port_in_use(text: &str) -> String {
    let port = text.split("127.0.0.1:").nth(1).unwrap_or_default();
    let digits: String = port.chars().take_while(char::is_ascii_digit).take(5).collect();
    let port = if digits.is_empty() { "a port".to_owned() } else { format!("port {digits}") };
    let filter = if digits.is_empty() { "<port>" } else { &digits };
    if text.contains(ALLOCATED) {
        format!(
            "{port} is used by another container of the engine: see `docker ps --filter publish={filter}`"
        )
    } else {
        format!("{port} is used by a program on the host: see `ss -ltnp 'sport = :{filter}'`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_names_port_and_kind_of_holder() {
        let container = "driver failed programming external connectivity on endpoint x (0f): Bind for 127.0.0.1:29361 failed: port is already allocated";
        assert!(is_port_in_use(container));
        assert_eq!(
            port_in_use(container),
            "port 29361 is used by another container of the engine: see `docker ps --filter publish=29361`"
        );
        let program = "driver failed programming external connectivity on endpoint x (0f): Error starting userland proxy: listen tcp4 127.0.0.1:29361: bind: address already in use";
        assert_eq!(
            port_in_use(program),
            "port 29361 is used by a program on the host: see `ss -ltnp 'sport = :29361'`"
        );
        assert!(port_in_use(LISTENED_ON).starts_with("a port is used by a program"));
        assert!(!is_port_in_use("no such device"));
    }
}
