//! Labels: Kubernetes' grammar for keys and values.
//!
//! A label is printed in tables, compared by selectors and, later, matched by rules of a policy. So it is short, printable ASCII
//! on one line; a value that could break a line or hide text is refused where it is written.

use super::decode::{Decoder, Words};
use super::meta::LABEL_MAX;
use super::node::{Node, Value, shown};
use super::validate::Code;

/// The longest prefix of a key: a DNS name.
const PREFIX_MAX: usize = 253;

/// Reports every label of the map `key` in `node` that is not one. Call it inside the path of `node`.
pub(super) fn check(node: &Node, key: &str, decoder: &mut Decoder) {
    let Some(Value::Map(entries)) = node.get(key).map(|labels| &labels.value) else { return };
    for entry in entries.iter().filter(|entry| entry.key != "<<") {
        let value = entry.value.as_str().unwrap_or_default();
        let why = if !is_key(&entry.key) {
            format!("`{}` is not a valid label key", shown(&entry.key))
        } else if !is_value(value) {
            format!("`{}` is not a valid label value", shown(value))
        } else {
            continue;
        };
        let words = Words::new(why).label("not a label").help(
            "at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; a key can begin with a DNS name and `/`",
        );
        decoder.within(key, |decoder| {
            decoder.within(&entry.key, |d| d.report(Code::InvalidText, entry.place, words));
        });
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= PREFIX_MAX && prefix.split('.').all(is_dns_label) && is_name(name)
        }
        None => is_name(key),
    }
}

fn is_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |text: &str| {
        let bytes = text.as_bytes();
        [bytes.first(), bytes.last()].iter().all(|byte| byte.is_some_and(u8::is_ascii_alphanumeric))
    };
    text.len() <= LABEL_MAX && ends(text) && text.bytes().all(inner)
}

fn is_dns_label(text: &str) -> bool {
    is_name(text) && text.bytes().all(|byte| !b"_.".contains(&byte) && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_on_one_line() {
        for good in ["team", "a", "app.kubernetes.io/name", "A_b-c.d", "x".repeat(63).as_str()] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a\nb", "/a", "a/", "A.b/c", "a/b/c", "ü", "a\u{202e}b"]
        {
            assert!(!is_key(bad), "{bad:?}");
        }
        for good in ["", "billing", "v1.2_3-x"] {
            assert!(is_value(good), "{good}");
        }
        for bad in ["a\nb", "a b", ".a", "a\u{202e}", "x".repeat(64).as_str()] {
            assert!(!is_value(bad), "{bad:?}");
        }
    }
}
