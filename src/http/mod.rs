//! The HTTP faces: the control socket and the TCP listener.
//!
//! Both speak the same API in Kubernetes' shapes. Who may connect to the socket may do everything: its directory decides.
//! The TCP listener gives metrics and health to anyone and asks all others for a token. The room knows the core only by
//! [`CoreHandle`]: a snapshot to read and a mailbox to ask. What goes over the wire is in [`views`] and [`table`]; the
//! accept loops with their limits are in [`server`], what a run's stream tells in [`turns`], and the other end of the socket,
//! for the command line and for programs, in [`client`]; no type of hyper or axum leaves.

mod agent;
pub mod auth;
mod body;
pub mod client;
mod collection;
mod connections;
mod core;
mod discovery;
mod failed_tokens;
#[cfg(fuzzing)]
pub mod fuzz;
mod guard;
mod health;
mod order;
mod routes;
mod runs;
pub mod selector;
pub mod server;
pub mod socket;
mod spec_view;
mod status;
mod streams;
pub mod table;
mod timed_stream;
mod transcript;
pub mod turns;
pub mod views;
mod watch;

pub use agent::{AgentCall, AgentCalls, AgentOrder, Conversation, NoCall};
pub use auth::{Role, TokenFileError, Tokens};
pub use core::{CoreHandle, CoreUnavailable, Question, Snapshots};
pub use server::{Door, Faces, Limits, serve};
pub use socket::{Bound, SocketError};
pub use transcript::{TranscriptSource, TranscriptTail};

/// Where all of the API but metrics and health lies.
pub const BASE: &str = "/apis/chanop.dev/v1alpha1";
