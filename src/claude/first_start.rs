//! What the CLI must find in `~/.claude.json` so that its first start at a terminal asks no questions.
//!
//! In a fresh home it would ask for a theme, warn of the mode that asks nothing, and ask whether the directory is trusted;
//! one that is answered `No` ends it. In batch it asks nothing and needs none of this. A key is asked about only when
//! it comes by `ANTHROPIC_API_KEY`, which [`super::credentials`] avoids. The file is the CLI's and grows with use, so the
//! answers are put into what is there.

use serde_json::{Map, Value as Json};

use super::command::BYPASS;
use crate::resource::effective::Effective;

/// The file, in the home directory.
pub const FILE: &str = ".claude.json";

/// Values in the file. The agent can write it, and a value of two bytes needs a hundred in memory.
const VALUES_MAX: usize = 200_000;

/// Has the JSON text no more than `most` values? Judged by the bytes that divide them, before any is read.
fn has_values_at_most(json: &[u8], most: usize) -> bool {
    let mut values = 0;
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' | b':' if !in_text => values += 1,
            _ => {}
        }
    }
    values <= most
}

/// The file is there and no JSON object: whoever broke it must look at it; the CLI keeps a copy and starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("~/{FILE} is no JSON object")]
pub struct NotAnObject;

/// The file's new text, or `None` when `found` has all the answers. What it says otherwise is kept, and its order.
pub fn answers(effective: &Effective, found: Option<&[u8]>) -> Result<Option<String>, NotAnObject> {
    let mut all: Map<String, Json> = match found {
        None => Map::new(),
        Some(bytes) if !has_values_at_most(bytes, VALUES_MAX) => return Err(NotAnObject),
        Some(bytes) => serde_json::from_slice(bytes).map_err(|_| NotAnObject)?,
    };
    let mut changed = answer(&mut all, "hasCompletedOnboarding");
    if effective.agent.permission_mode == BYPASS {
        changed |= answer(&mut all, "bypassPermissionsModeAccepted");
    }
    changed |= within(&mut all, "projects", |projects| {
        within(projects, &effective.workspace.path, |project| {
            answer(project, "hasTrustDialogAccepted")
        })
    });
    Ok(changed.then(|| Json::Object(all).to_string()))
}

/// Says yes to `key`; true when that was new.
fn answer(map: &mut Map<String, Json>, key: &str) -> bool {
    map.insert(key.to_owned(), Json::Bool(true)) != Some(Json::Bool(true))
}

/// Changes the object at `key`; anything else there is of no use to the CLI either, and is replaced.
fn within(
    map: &mut Map<String, Json>,
    key: &str,
    change: impl FnOnce(&mut Map<String, Json>) -> bool,
) -> bool {
    let entry = map.entry(key).or_insert(Json::Null);
    if let Json::Object(object) = entry {
        return change(object);
    }
    let mut object = Map::new();
    let changed = change(&mut object);
    *entry = Json::Object(object);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::tests::effective;

    const ALL: &str = r#"{"hasCompletedOnboarding":true,"bypassPermissionsModeAccepted":true,"projects":{"/home/ann/payments":{"hasTrustDialogAccepted":true}}}"#;

    #[test]
    fn files_of_too_many_values_are_left_alone() {
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(VALUES_MAX));
        assert_eq!(answers(&effective(""), Some(many.as_bytes())), Err(NotAnObject));
        let text = format!("{{\"a\":\"{}\"}}", ",[\\\"{".repeat(VALUES_MAX));
        assert!(answers(&effective(""), Some(text.as_bytes())).unwrap().is_some());
    }

    #[test]
    fn an_empty_home_gets_every_answer_and_only_once() {
        let first = answers(&effective(""), None).unwrap().unwrap();
        assert_eq!(first, ALL);
        assert_eq!(answers(&effective(""), Some(first.as_bytes())), Ok(None));
    }

    #[test]
    fn what_the_cli_wrote_is_kept() {
        let found = br#"{"theme":"dark","projects":{"/x":{"a":1},"/home/ann/payments":{"b":[2],"hasTrustDialogAccepted":false}},"hasCompletedOnboarding":true}"#;
        let text = answers(&effective("permissionMode: plan"), Some(found)).unwrap().unwrap();
        assert_eq!(
            text,
            r#"{"theme":"dark","projects":{"/x":{"a":1},"/home/ann/payments":{"b":[2],"hasTrustDialogAccepted":true}},"hasCompletedOnboarding":true}"#
        );
        let odd = answers(&effective(""), Some(br#"{"projects":[1]}"#)).unwrap().unwrap();
        assert!(odd.contains(r#""projects":{"/home/ann/payments":{"#), "{odd}");
    }

    #[test]
    fn a_broken_file_is_left_alone() {
        for text in ["", "[]", "{", "null", "\u{feff}{}"] {
            assert_eq!(answers(&effective(""), Some(text.as_bytes())), Err(NotAnObject), "{text}");
        }
    }
}
