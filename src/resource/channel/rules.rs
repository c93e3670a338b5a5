//! Rules between fields and between the items of a list.

use std::collections::BTreeMap;

use super::ChannelSpec;
use crate::resource::decode::{Decoder, Words};
use crate::resource::node::{Node, Value, shown};
use crate::resource::text::HostPath;
use crate::resource::validate::Code;

/// Rules that look at several fields of the channel.
pub(super) fn check(spec: &ChannelSpec, node: &Node, decoder: &mut Decoder) {
    unique(node, "env", decoder, |item| Some(item.get("name")?.as_str()?.to_owned()));
    unique(node, "mounts", decoder, target);
    unique(node, "files", decoder, target);
    unique(node, "ports", decoder, |item| {
        let port = item.get("hostPort").or_else(|| item.get("containerPort"))?;
        Some(port.to_json().to_string())
    });
    if let (Some(name), Some(at)) = (&spec.runtime_class_name, node.get("runtimeClassName"))
        && !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        let words = Words::new(format!("`{}` is no name of a runtime", shown(name)));
        decoder.within("runtimeClassName", |d| d.report(Code::InvalidName, at.place, words));
    }
}

fn target(item: &Node) -> Option<String> {
    let target = match &item.value {
        Value::String(text) => text.split(':').nth(1)?,
        _ => item.get("target")?.as_str()?,
    };
    HostPath::parse(target).ok().map(|path| path.to_string())
}

/// Reports each item of the list `key` that claims what an earlier one has.
fn unique(node: &Node, key: &str, decoder: &mut Decoder, claim: impl Fn(&Node) -> Option<String>) {
    let Some(Value::List(items)) = node.get(key).map(|list| &list.value) else { return };
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let Some(claimed) = claim(item) else { continue };
        let Some(line) = seen.get(&claimed) else {
            seen.insert(claimed, item.place.line);
            continue;
        };
        let words = Words::new(format!("`{}` stands twice in `{key}`", shown(&claimed)))
            .label(format!("already in line {line}"));
        decoder.within(key, |decoder| {
            decoder.within_item(index, |d| d.report(Code::DuplicateItem, item.place, words));
        });
    }
}

/// Reports when not exactly one of `keys` is set.
pub(in crate::resource) fn exactly_one(node: &Node, keys: &[&str], decoder: &mut Decoder) {
    let set: Vec<&str> = keys.iter().copied().filter(|key| node.get(key).is_some()).collect();
    let list = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match set.as_slice() {
        [_one] => {}
        [] => {
            let words = Words::new(format!("exactly one of {list} must be set, and none is"))
                .label("none of them is set");
            decoder.report(Code::ExactlyOne, node.place, words);
        }
        [first, rest @ ..] => {
            for key in rest {
                let place = node.entry(key).map_or(node.place, |entry| entry.place);
                let words = Words::new(format!("exactly one of {list} may be set"))
                    .label(format!("`{first}` is set already"));
                decoder.report(Code::ExactlyOne, place, words);
            }
        }
    }
}

/// With `$patch: delete` nothing but the key of the item counts.
pub(super) fn only_key(node: &Node, key: &str, decoder: &mut Decoder) {
    let Value::Map(entries) = &node.value else { return };
    for entry in entries.iter().filter(|e| e.key != key && e.key != "$patch") {
        if entry.value.value != Value::Null {
            let words = Words::new(format!("`{}` does not go with `$patch: delete`", entry.key))
                .label(format!("only `{key}` and `$patch`"));
            decoder.report(Code::FieldConflict, entry.place, words);
        }
    }
}
