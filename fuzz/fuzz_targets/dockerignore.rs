//! A `.dockerignore` file and paths: no panic, and matching takes time in proportion to both.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The first line is the path, the others are the file.
    let (path, file) = text.split_once('\n').unwrap_or((text, "*a*\n!**/b\n"));
    chanop::docker::image::fuzz::ignore(file, path);
});
