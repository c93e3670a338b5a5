//! What an engine's refusal means.
//!
//! One pure function from (call, status, text) to the caller's choices. dockerd says it with its status; Podman answers 500 to
//! nearly everything and says it in the text. Texts are compared in lower case, and only where the status does not decide.

use super::error::EngineError;

/// What was asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Ping,
    Info,
    List,
    Inspect,
    Create,
    Start,
    Stop,
    Kill,
    Remove,
    Update,
    Wait,
    Logs,
    Copy,
    Events,
    Image,
    Build,
    Import,
    Network,
    NetworkCreate,
    Volume,
    ExecCreate,
    Exec,
}

/// The longest text of the engine's that an error repeats; errors go into conditions, events and logs.
const TEXT_CHARS_MAX: usize = 1000;

/// Sorts a refusal.
pub(super) fn classify(call: Call, status: u16, message: &str) -> EngineError {
    let text = clip(message, status);
    let words = message.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    if says(&["no space left on device", "disk quota exceeded"]) {
        return EngineError::NoSpace(text);
    }
    match status {
        404 => not_found(call, &words, text),
        409 if matches!(call, Call::Create | Call::NetworkCreate) && says(NAME_TAKEN) => {
            EngineError::NameTaken(text)
        }
        409 => EngineError::Conflict(text),
        400..=499 => EngineError::Refused(text),
        500..=599 => by_text(call, &words, text),
        _ => EngineError::Unreadable(format!("unexpected status {status}: {text}")),
    }
}

const NAME_TAKEN: &[&str] = &["already in use", "already exists", "already used"];

/// dockerd says the first, whatever its store; Podman both. A lone `image` would also be found in the names of things.
const NO_IMAGE: &[&str] = &["no such image", "image not known"];

const GONE: &[&str] = &[
    "no such container",
    "no such exec",
    "no such image",
    "image not known",
    "no such volume",
    "no such network",
    "network not found",
    "unable to find network",
];

/// A start that failed because of what the container is, which Docker reports as its own fault.
const BAD_START: &[&str] = &[
    "oci runtime",
    "runc create failed",
    "failed to create shim",
    "failed to create task",
    "port is already allocated",
    "address already in use",
    "failed programming external connectivity",
    "error while creating mount source path",
    "error mounting",
    "executable file not found",
    "no such file or directory",
    "invalid mount",
    "unknown or invalid runtime",
];

/// 404 does not say of what. Only the thing that the URL named is "not found"; a network, a runtime or a directory that a
/// request spoke of is a fault of the request, and the container is still there.
fn not_found(call: Call, words: &str, text: String) -> EngineError {
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    match call {
        Call::Create if says(NO_IMAGE) => EngineError::NoImage(text),
        Call::Create | Call::NetworkCreate => EngineError::Refused(text),
        Call::Start | Call::Update | Call::Copy if !says(&["no such container"]) => {
            EngineError::Refused(text)
        }
        Call::Ping
        | Call::Info
        | Call::List
        | Call::Inspect
        | Call::Start
        | Call::Stop
        | Call::Kill
        | Call::Remove
        | Call::Update
        | Call::Wait
        | Call::Logs
        | Call::Copy
        | Call::Events
        | Call::Image
        | Call::Build
        | Call::Import
        | Call::Network
        | Call::Volume
        | Call::ExecCreate
        | Call::Exec => EngineError::NotFound(text),
    }
}

fn by_text(call: Call, words: &str, text: String) -> EngineError {
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    match call {
        Call::Create if says(NO_IMAGE) => EngineError::NoImage(text),
        Call::Create | Call::NetworkCreate if says(NAME_TAKEN) => EngineError::NameTaken(text),
        Call::Start if says(BAD_START) => EngineError::Refused(text),
        _ if says(GONE) => EngineError::NotFound(text),
        _ if says(CONFLICT) => EngineError::Conflict(text),
        _ if says(BAD_REQUEST) => EngineError::Refused(text),
        _ => EngineError::Engine(text),
    }
}

/// Podman's words for dockerd's 409.
const CONFLICT: &[&str] = &[
    "container state improper",
    "is not running",
    "is running",
    "is paused",
    "cannot remove container",
    "can only kill running containers",
    "can only create exec sessions on running containers",
    "is being used",
    "in use by",
];

/// Podman's words for dockerd's 400.
const BAD_REQUEST: &[&str] = &[
    "names must match",
    "invalid reference format",
    "invalid filter",
    "is an invalid filter",
    "invalid signal",
    "failed to parse signal",
    "invalid argument",
    "must be an absolute path",
    "statfs",
];

/// An engine's text, not without end and not empty.
pub(super) fn clip(message: &str, status: u16) -> String {
    let message = message.trim();
    if message.is_empty() {
        return format!("status {status} without a text");
    }
    match message.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Call, status, text, class. The texts were answered by the engine named above them.
    const MATRIX: &[(Call, u16, &str, &str)] = &[
        // dockerd 20.10
        (
            Call::Create,
            409,
            "Conflict. The container name \"/x\" is already in use by container \"ab\".",
            "name_taken",
        ),
        (Call::Create, 404, "No such image: nowhere:latest", "no_image"),
        (Call::Create, 404, "network chanop_images not found", "refused"),
        (Call::Create, 404, "get chanop-web-images: no such volume", "refused"),
        (
            Call::Create,
            400,
            "invalid mount config for type \"bind\": bind source path does not exist: /nowhere",
            "refused",
        ),
        (Call::Create, 400, "unknown or invalid runtime name: x", "refused"),
        (Call::Start, 404, "network chanop_x not found", "refused"),
        (Call::Start, 404, "No such container: ab", "not_found"),
        (
            Call::Start,
            400,
            "failed to create shim: OCI runtime create failed: exec: \"no\": executable file not found in $PATH",
            "refused",
        ),
        (
            Call::Start,
            500,
            "driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated",
            "refused",
        ),
        (Call::Start, 500, "error creating overlay mount: no space left on device", "no_space"),
        (Call::Start, 500, "context deadline exceeded", "engine"),
        (Call::Start, 409, "cannot start a paused container, try unpause instead", "conflict"),
        (
            Call::Remove,
            409,
            "You cannot remove a running container ab. Stop the container before attempting removal or force remove",
            "conflict",
        ),
        (Call::Remove, 409, "removal of container ab is already in progress", "conflict"),
        (Call::Remove, 404, "No such container: ab", "not_found"),
        (Call::Kill, 409, "Container ab is not running", "conflict"),
        (Call::Update, 400, "Minimum memory limit allowed is 6MB", "refused"),
        (Call::Copy, 404, "Could not find the file /nowhere in container ab", "refused"),
        (Call::Copy, 404, "No such container: ab", "not_found"),
        (Call::Inspect, 404, "No such container: ab", "not_found"),
        (Call::Image, 404, "No such image: x", "not_found"),
        (Call::Volume, 409, "remove v: volume is in use - [ab]", "conflict"),
        (Call::Volume, 404, "get v: no such volume", "not_found"),
        (
            Call::Network,
            403,
            "error while removing network: network x id y has active endpoints",
            "refused",
        ),
        (Call::ExecCreate, 409, "Container ab is not running", "conflict"),
        (
            Call::List,
            400,
            "client version 1.99 is too new. Maximum supported API version is 1.41",
            "refused",
        ),
        (Call::Ping, 503, "", "engine"),
        (Call::Ping, 302, "", "unreadable"),
        // dockerd 28 and 29, with containerd's store: an ID is named as it was asked for
        (Call::Create, 404, "No such image: docker.io/library/nowhere:latest", "no_image"),
        (Call::Create, 404, "No such image: sha256:ab", "no_image"),
        // Podman 4.3
        (
            Call::Create,
            500,
            "creating container storage: the container name \"x\" is already in use by ab. You have to remove that container to be able to reuse that name: that name is already in use",
            "name_taken",
        ),
        (Call::Create, 404, "no such image", "no_image"),
        (Call::Create, 404, "no such image: x: image not known", "no_image"),
        (Call::Create, 404, "x: image not known", "no_image"),
        (Call::Create, 500, "x: image not known", "no_image"),
        (
            Call::Create,
            404,
            "unable to find network with name or ID images: network not found",
            "refused",
        ),
        (
            Call::Remove,
            500,
            "cannot remove container ab as it is running - running or paused containers cannot be removed without force: container state improper",
            "conflict",
        ),
        (
            Call::Kill,
            500,
            "can only kill running containers. ab is in state exited: container state improper",
            "conflict",
        ),
        (
            Call::ExecCreate,
            500,
            "can only create exec sessions on running containers: container state improper",
            "conflict",
        ),
        (
            Call::Inspect,
            404,
            "no container with name or ID \"ab\" found: no such container",
            "not_found",
        ),
        (
            Call::Start,
            500,
            "runc: runc create failed: unable to start container process: exec: \"no\": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found",
            "refused",
        ),
        (
            Call::NetworkCreate,
            500,
            "network name x already used: network already exists",
            "name_taken",
        ),
        (Call::Kill, 500, "failed to parse signal: invalid signal: NOPE", "refused"),
        (Call::Update, 404, "Not Found", "refused"),
    ];

    #[test]
    fn every_refusal_that_was_seen_has_its_class() {
        for (call, status, text, class) in MATRIX {
            let error = classify(*call, *status, text);
            assert_eq!(error.class(), *class, "{call:?} {status} {text}");
            assert!(text.is_empty() || error.to_string().contains(text.trim()), "{error}");
        }
    }

    #[test]
    fn a_failed_start_is_not_taken_for_a_broken_engine() {
        let error = classify(Call::Start, 500, "OCI runtime create failed: x");
        assert!(!error.is_uncertain() && !error.is_engine_down());
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let error = classify(Call::Ping, 500, &"ä".repeat(5000));
        assert!(error.to_string().chars().count() < 1100);
    }
}
