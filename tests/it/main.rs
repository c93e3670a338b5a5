//! The integration tests: one binary, one module a subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are not in a #[test] function, and a failure there is a failure of the test"
)]

mod architecture;
mod cli;
mod demo_image;
mod examples;
mod faces;
mod http;
mod manifests;
mod resource;
mod schemas;
mod store;
