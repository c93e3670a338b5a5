//! The core: a state machine without I/O that says when the planner's actions are carried out.

pub mod request;
pub mod view;
