//! Docker's `config.json` and the answer of a credential helper; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [first, rest @ ..] = data else { return };
    chanop::docker::image::fuzz::credentials(first % 2 == 0, rest);
});
