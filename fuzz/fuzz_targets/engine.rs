//! Bytes of an engine's answers: lists, inspections, events, errors, progress and output frames.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| chanop::docker::fuzz::answers(data));
