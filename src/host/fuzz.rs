//! What the fuzz targets call: files of the host that others can write.

use super::{git, run};

/// Reads a Git configuration.
pub fn git_config(text: &str) {
    let bytes: usize = git::entries(text).iter().map(|(key, value)| key.len() + value.len()).sum();
    // Each entry repeats its section's name.
    assert!(bytes <= (text.len() + 1).saturating_mul(text.len() + 1));
}

/// Reads the end of an attempt's note.
pub fn attempt_note(text: &[u8]) {
    if let Some(record) = run::last_record(text) {
        assert!((0..=255).contains(&record.exit_code));
    }
}
