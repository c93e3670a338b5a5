//! Bytes of a spec file: limited objects and violations, and places inside the file.
#![no_main]

use chanop::resource::validate::VIOLATIONS_MAX;
use chanop::specs::parse::{locate, parse_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = parse_bytes("a.yaml", data);
    assert!(parsed.violations.len() <= VIOLATIONS_MAX + 1);
    assert!(parsed.memory <= 16 << 20, "{} bytes", parsed.memory);
    let bytes: usize = parsed.violations.iter().map(|v| v.message.len() + v.path.len()).sum();
    assert!(bytes <= 1 << 20, "{bytes} bytes of messages");
    let Ok(text) = std::str::from_utf8(data) else { return };
    for violation in parsed.violations.iter().take(2) {
        let _place = locate(text, violation.line, &violation.path);
    }
    for resource in &parsed.resources {
        let _json = resource.to_json();
    }
});
