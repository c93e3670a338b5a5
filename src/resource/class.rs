//! Kind `ChannelClass`: what many channels share.

use super::channel::ChannelSpec;
use super::decode::{Decoder, Words};
use super::meta::{ObjectMeta, SourceRef};
use super::node::Node;
use super::validate::Code;

/// A class as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelClass {
    /// Name, labels, annotations.
    pub meta: ObjectMeta,
    /// Any field of a channel's spec but `workspace.path` and `className`.
    pub spec: ChannelSpec,
    /// Where it was written.
    pub source: SourceRef,
}

/// Fields that say which channel it is, and so cannot be shared.
pub(super) const NOT_SHARED: [(&[&str], &str); 2] = [
    (&["className"], "classes do not inherit from classes"),
    (&["workspace", "path"], "each channel has a workspace of its own"),
];

/// Reports the fields that a class cannot have.
pub(super) fn check(spec: &Node, decoder: &mut Decoder) {
    for (path, why) in NOT_SHARED {
        let mut entry = None;
        let mut node = Some(spec);
        for key in path {
            entry =
                node.and_then(|node| node.entry(key)).filter(|e| e.value != blank(e.value.place));
            node = entry.map(|entry| &entry.value);
        }
        if let Some(entry) = entry {
            let words = Words::new(format!("`{}` has no place in a ChannelClass", path.join(".")))
                .label("not in a class")
                .help(why);
            decoder.report(Code::NotHere, entry.place, words);
        }
    }
}

fn blank(place: super::node::Place) -> Node {
    Node { place, value: super::node::Value::Null }
}
