//! Label selectors, as Kubernetes writes them: `team=billing,tier in (a, b),!legacy`.

use std::collections::{BTreeMap, BTreeSet};

/// A label selector. The empty one selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no label selector: write key=value, key!=value, key in (a,b), key notin (a,b), key or !key, with commas between"
)]
pub struct InvalidSelector(String);

impl Selector {
    /// Parses a selector.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let terms = split_terms(text).ok_or_else(|| InvalidSelector(text.to_owned()))?;
        let requirements = terms
            .into_iter()
            .map(|term| Requirement::parse(term).ok_or_else(|| InvalidSelector(term.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }

    /// Do these labels fit?
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|it| it.matches(labels))
    }
}

impl Requirement {
    fn parse(term: &str) -> Option<Self> {
        let term = term.trim();
        let one = |value: &str| value_of(value).map(|value| BTreeSet::from([value]));
        if let Some(key) = term.strip_prefix('!') {
            return Some(Self { key: key_of(key)?, test: Test::Missing });
        }
        if let Some((key, value)) = term.split_once("!=") {
            return Some(Self { key: key_of(key)?, test: Test::NotIn(one(value)?) });
        }
        if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            return Some(Self { key: key_of(key)?, test: Test::In(one(value)?) });
        }
        let Some((head, values)) = term.split_once('(') else {
            return Some(Self { key: key_of(term)?, test: Test::Exists });
        };
        let values = values.strip_suffix(')')?.split(',').map(value_of).collect::<Option<_>>()?;
        let mut words = head.split_whitespace();
        let (key, operator, rest) = (words.next()?, words.next()?, words.next());
        let test = match (operator, rest) {
            ("in", None) => Test::In(values),
            ("notin", None) => Test::NotIn(values),
            _ => return None,
        };
        Some(Self { key: key_of(key)?, test })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            // As in Kubernetes: what has no such label has none of these values.
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

/// The terms between commas that stand in no parentheses.
fn split_terms(text: &str) -> Option<Vec<&str>> {
    if text.trim().is_empty() {
        return Some(vec![]);
    }
    let mut depth = 0_u32;
    let mut begin = 0;
    let mut terms = vec![];
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                terms.push(text.get(begin..at)?);
                begin = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text.get(begin..)?);
    (depth == 0).then_some(terms)
}

fn key_of(text: &str) -> Option<String> {
    let text = text.trim();
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    (!text.is_empty() && text.bytes().all(ok)).then(|| text.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.bytes().all(ok).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_of_kubernetes_selects_as_it_does_there() {
        let labels = BTreeMap::from([("team".to_owned(), "billing".to_owned())]);
        for (text, selected) in [
            ("", true),
            ("team=billing", true),
            ("team == billing", true),
            ("team=ops", false),
            ("team!=ops", true),
            ("tier!=a", true),
            ("team in (ops, billing)", true),
            ("team notin (ops,billing)", false),
            ("tier notin (a)", true),
            ("team", true),
            ("!team", false),
            ("!tier,team", true),
            ("team in (billing),tier", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), selected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            [",", "a,", "=b", "a in b", "a in (b", "a of (b)", "a in (b))", "a b", "!", "a>1"]
        {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
