//! chanop: a reconciling operator for AI-agent channels on plain Docker.

pub mod claude;
pub mod cli;
pub mod clock;
pub mod config;
pub mod container;
pub mod controller;
pub mod docker;
pub mod executor;
pub mod follower;
pub mod host;
pub mod http;
pub mod init;
pub mod metrics;
pub mod planner;
pub mod resource;
pub mod runner;
pub mod specs;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod wiring;
pub mod world;
