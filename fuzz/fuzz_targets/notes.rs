//! Files that init and the operator share: the note of an attempt, which an agent can write, and the secrets file.
#![no_main]

use chanop::init::secrets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    chanop::host::fuzz::attempt_note(data);
    if let Some(variables) = secrets::decode(data) {
        assert!(variables.len() <= data.len());
    }
});
