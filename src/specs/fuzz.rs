//! What the fuzz targets call: Git's files beside the specs.

use super::revision;

/// Reads a `HEAD`, a packed reference and the target of a link.
pub fn git_files(text: &str) {
    if let Some(commit) = revision::commit_digits(text.trim_end()) {
        assert!(matches!(commit.len(), 40 | 64));
    }
    let name = text.lines().next().unwrap_or_default();
    if revision::is_ref_name(name) {
        assert!(!name.contains(".."), "{name}");
    }
    let _commit = revision::packed(text, "refs/heads/main");
    if let Some(name) = revision::last_name(text) {
        assert!(name.chars().count() <= 64 && !name.chars().any(char::is_control));
    }
}
