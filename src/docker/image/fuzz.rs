//! What the fuzz targets call: ignore files and registry credentials, from bytes.

use super::credentials::{DockerConfig, of_answer};
use super::ignore::{Ignore, Verdict};

/// Judges a path and the directories above it.
pub fn ignore(file: &str, path: &str) {
    let Ok(ignore) = Ignore::parse(file) else { return };
    let ignore = ignore.but_for("Dockerfile");
    let mut verdict = Verdict::default();
    for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
        let Some(path) = path.get(..end) else { return };
        verdict = ignore.judge(&verdict, path);
        let _may = ignore.may_take_back_below(path);
    }
}

/// Reads a configuration and finds the credentials of every registry in it, or reads a helper's answer.
pub fn credentials(config: bool, data: &[u8]) {
    if !config {
        drop(of_answer("https://registry.example", data));
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = DockerConfig::parse(text) else { return };
    for image in config.one_of_each() {
        drop(config.find(&image));
        drop(config.in_file(&image));
    }
}
