//! How much is read at most, and what is read at all.

/// The bounds of one scan. The defaults are far above what people write and far below what would hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of one file; a larger one is refused.
    pub(super) file_bytes: u64,
    /// Files with a spec's name; with more the scan is incomplete.
    pub(super) files: usize,
    /// Names of any kind looked at; with more the scan is incomplete. For a directory of other things given by mistake.
    pub(super) entries: usize,
    /// Of all files together, since their texts are kept; with more the scan is incomplete.
    pub(super) total_bytes: u64,
    /// Of memory for one file, its text and its objects; only what is above it counts as large.
    pub(super) ordinary_bytes: usize,
    /// Of memory that all large files may need above that, together; a file beyond it is refused, and the others are read.
    pub(super) large_bytes: usize,
    /// Directories within directories; a deeper one is not read.
    pub(super) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 20,
            files: 20_000,
            entries: 200_000,
            total_bytes: 256 << 20,
            ordinary_bytes: 16 << 10,
            large_bytes: 8 << 20,
            depth: 32,
        }
    }
}

/// Is a file of this name a spec?
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "`.YAML` is not what anybody's tools write, and a name means the same on every host"
)]
pub(super) fn is_spec_name(name: &str) -> bool {
    (name.ends_with(".yaml") || name.ends_with(".yml")) && !is_passed_over(name)
}

/// Is this a name that is never looked at: hidden, or what editors leave beside a file while they write it?
pub(super) fn is_passed_over(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
        || [".swp", ".swx", ".tmp"].iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_ends_in_yaml_or_yml_and_is_no_editors_leftover() {
        for name in ["a.yaml", "a.yml", "a.b.yaml", "a#.yaml", "#a.yaml", "ä.yaml"] {
            assert!(is_spec_name(name), "{name}");
        }
        for name in [
            ".a.yaml",
            ".#a.yaml",
            "#a.yaml#",
            "a.yaml~",
            "a.yaml.swp",
            ".a.yaml.swp",
            "a.yaml.tmp",
            "a.yaml.bak",
            "a.json",
            "yaml",
            "..yaml",
            "a.YAML",
        ] {
            assert!(!is_spec_name(name), "{name}");
        }
    }
}
