//! One line of the event stream.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::container::container_id;
use super::nullable;
use crate::docker::engine::ContainerEvent;
use crate::docker::error::EngineResult;

/// As the engine writes it.
#[derive(Debug, Deserialize)]
pub(in crate::docker) struct Event {
    #[serde(default, rename = "Type", deserialize_with = "nullable")]
    kind: String,
    #[serde(default, rename = "Action", deserialize_with = "nullable")]
    action: String,
    #[serde(default, rename = "Actor", deserialize_with = "nullable")]
    actor: Actor,
    #[serde(default, rename = "timeNano", deserialize_with = "nullable")]
    time_nano: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(default, rename = "ID", deserialize_with = "nullable")]
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// What it says of a container; `None` when it is of something else.
    pub(in crate::docker) fn into_container_event(self) -> EngineResult<Option<ContainerEvent>> {
        if self.kind != "container" {
            return Ok(None);
        }
        let labels = self.actor.attributes;
        let code = labels.get("exitCode").or_else(|| labels.get("containerExitCode"));
        Ok(Some(ContainerEvent {
            id: container_id(&self.actor.id)?,
            action: action(&self.action).to_owned(),
            exit_code: code.and_then(|code| code.parse().ok()),
            time_nano: self.time_nano,
            labels,
        }))
    }
}

/// Docker's word. `exec_create: sh -c …` repeats a command, which is nobody's business; Podman has words of its own.
fn action(text: &str) -> &str {
    match text.split(':').next().unwrap_or_default() {
        "died" => "die",
        "remove" => "destroy",
        word => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::wire::decode;

    fn event(json: &str) -> Option<ContainerEvent> {
        let json = json.replace("ID64", &"b".repeat(64));
        decode::<Event>("event", json.as_bytes()).unwrap().into_container_event().unwrap()
    }

    #[test]
    fn an_exit_brings_its_code_and_time() {
        let event = event(
            r#"{"status":"die","id":"ID64","Type":"container","Action":"die","Actor":{"ID":"ID64",
            "Attributes":{"exitCode":"137","dev.chanop.channel":"web"}},"scope":"local","time":1,"timeNano":1000000001}"#,
        )
        .unwrap();
        assert_eq!(
            (event.action.as_str(), event.exit_code, event.time_nano),
            ("die", Some(137), 1_000_000_001)
        );
        assert_eq!(event.labels.get("dev.chanop.channel").map(String::as_str), Some("web"));
    }

    #[test]
    fn a_commands_words_are_cut_off_and_podmans_words_are_dockers() {
        let said = |word: &str| {
            event(&format!(r#"{{"Type":"container","Action":"{word}","Actor":{{"ID":"ID64"}}}}"#))
                .unwrap()
                .action
        };
        assert_eq!(said("exec_start: sh -c secretish"), "exec_start");
        assert_eq!((said("died"), said("remove")), ("die".to_owned(), "destroy".to_owned()));
    }

    #[test]
    fn an_event_of_something_else_is_none_whatever_its_type() {
        assert_eq!(event(r#"{"Type":"hologram","Action":"pull","Actor":{"ID":"x"}}"#), None);
    }
}
