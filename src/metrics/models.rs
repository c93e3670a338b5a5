//! The label of a model.
//!
//! An agent chooses what stands in its output, so a name from there is never a label. A label is one of the families that are
//! known here, a name that the operator was started with (`--metrics-model`), a word of the program, or `other`.

use std::collections::BTreeSet;

use super::runs::OTHER;

/// The families that Anthropic's models are named by: `claude-opus-4-5`, `claude-3-5-haiku-20241022`,
/// `us.anthropic.claude-sonnet-4-5-20250929-v1:0`.
const FAMILIES: [(&str, &str); 3] =
    [("opus", "claude-opus"), ("sonnet", "claude-sonnet"), ("haiku", "claude-haiku")];

/// The program's own words, for runs whose model is not one name.
const WORDS: [&str; 2] = ["several", "unknown"];

/// The names that are labels.
#[derive(Debug)]
pub(super) struct Models(BTreeSet<String>);

impl Models {
    pub(super) const fn new(names: BTreeSet<String>) -> Self {
        Self(names)
    }

    pub(super) fn label(&self, model: &str) -> String {
        if self.0.contains(model) || WORDS.contains(&model) {
            return model.to_owned();
        }
        let words = || model.split(|c: char| !c.is_ascii_alphanumeric());
        let mut families = FAMILIES.iter().filter(|(word, _)| words().any(|it| it == *word));
        match (families.next(), families.next()) {
            (Some((_, label)), None) if words().any(|word| word == "claude") => (*label).to_owned(),
            _ => OTHER.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_labelled_by_its_family() {
        let models = Models::new(BTreeSet::new());
        for (model, label) in [
            ("claude-opus-5-5", "claude-opus"),
            ("claude-3-5-haiku-20241022", "claude-haiku"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet"),
            ("claude-opus-4-5@20251101", "claude-opus"),
            ("several", "several"),
            ("unknown", "unknown"),
        ] {
            assert_eq!(models.label(model), label, "{model}");
        }
    }

    #[test]
    fn a_name_that_an_agent_made_up_is_other() {
        let models = Models::new(BTreeSet::new());
        for model in
            ["", "opus", "gpt-9", "claude-opussum", "claude-opus,claude-haiku", "<synthetic>"]
        {
            assert_eq!(models.label(model), OTHER, "{model}");
        }
    }

    #[test]
    fn the_operator_adds_names_that_are_labels() {
        let models = Models::new(["claude-opus-5-5", "qwen3"].map(str::to_owned).into());
        assert_eq!(models.label("claude-opus-5-5"), "claude-opus-5-5");
        assert_eq!(models.label("qwen3"), "qwen3");
        assert_eq!(models.label("claude-opus-4-5"), "claude-opus");
    }
}
