//! The integration tests: one binary, one module a subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy knows only functions with #[test] for tests; here the helpers are tests too"
)]

mod contract;
mod docker;
mod support;
