//! Git's files: the owner's configuration, `HEAD` and packed references.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    chanop::host::fuzz::git_config(text);
    chanop::specs::fuzz::git_files(text);
});
