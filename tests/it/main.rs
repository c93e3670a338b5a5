//! The integration tests: one binary, one module a subject.

// `cfg(test)` is always true here; it tells clippy that the helpers of the tests are test code too.
#[cfg(test)]
mod agent;
#[cfg(test)]
mod agent_cli;
#[cfg(test)]
mod agent_image;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod bed;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod claude;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod demo_image;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod faces;
#[cfg(test)]
mod follower;
#[cfg(test)]
mod host;
#[cfg(test)]
mod http;
#[cfg(test)]
mod init;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod resource;
#[cfg(test)]
mod run_place;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod specs;
#[cfg(test)]
mod store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transcript;
