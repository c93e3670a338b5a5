//! HTTP input: the body of an order, label selectors and the token file; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [first, rest @ ..] = data else { return };
    chanop::http::fuzz::request(*first, rest);
});
