//! Bytes of a project file, which the agent can write.
#![no_main]

use chanop::resource::project::decode_project;
use chanop::specs::parse::parse_node;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(node) = parse_node("project.yaml", text) else { return };
    let (project, violations) = decode_project("project.yaml", &node);
    assert!(project.is_some() || violations.iter().any(|violation| violation.is_error()));
});
