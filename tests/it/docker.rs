//! The Docker room on the real engine, and its transport against engines that misbehave.

mod build;
mod client;
mod containers;
mod exec;
mod images;
mod objects;
mod output;
mod pull;
mod transport;
