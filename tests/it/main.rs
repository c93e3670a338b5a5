//! The integration tests: one binary, one module a subject.

// `cfg(test)` is always true here; it tells clippy that the helpers of the tests are test code too.
#[cfg(test)]
mod store;
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by failing"
)]

mod resource;
