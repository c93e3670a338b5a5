//! What an engine answers to each call in each state of a container, as data.
//!
//! Filled in from Docker 20.10 and held against the real engine; a simulated engine is held against the same rows. The file
//! uses nothing but itself, so that a simulator can take it in.

/// How the container came to be as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// Made, never started.
    Created,
    /// Its only start failed: there is no such program.
    FailedStart,
    /// Runs until TERM.
    Running,
    /// Frozen.
    Paused,
    /// Ended by itself with code 7; another start of it runs until TERM.
    Exited,
    /// There was one with that ID and name.
    Removed,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A create with the container's name.
    CreateSameName,
    Inspect,
    Start,
    /// With a second of grace.
    Stop,
    Kill,
    Remove,
    RemoveForce,
    Update,
    Wait,
    /// Without following.
    Logs,
    CopyTo,
    ExecCreate,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    Ok,
    /// A wait's exit code.
    Code(i64),
    /// A wait that does not end by itself.
    Blocks,
    /// The error's class.
    Error(&'static str),
}

/// How the container is afterwards: the engine's word, or `gone`.
pub(crate) type After = &'static str;

/// One row.
pub(crate) type Row = (Given, Asked, Answered, After);

use Answered::{Blocks, Code, Error, Ok};
use Asked::{
    CopyTo, CreateSameName, ExecCreate, Inspect, Kill, Logs, Remove, RemoveForce, Start, Stop,
    Update, Wait,
};
use Given::{Created, Exited, FailedStart, Paused, Removed, Running};

/// Every row.
pub(crate) const ROWS: &[Row] = &[
    (Created, CreateSameName, Error("name_taken"), "created"),
    (Created, Inspect, Ok, "created"),
    (Created, Start, Ok, "running"),
    (Created, Stop, Ok, "created"),
    (Created, Kill, Error("conflict"), "created"),
    (Created, Remove, Ok, "gone"),
    (Created, RemoveForce, Ok, "gone"),
    (Created, Update, Ok, "created"),
    // A container that never ran has an exit code: never believe a wait alone.
    (Created, Wait, Code(0), "created"),
    (Created, Logs, Ok, "created"),
    (Created, CopyTo, Ok, "created"),
    (Created, ExecCreate, Error("conflict"), "created"),
    (FailedStart, CreateSameName, Error("name_taken"), "created"),
    (FailedStart, Inspect, Ok, "created"),
    (FailedStart, Start, Error("refused"), "created"),
    (FailedStart, Stop, Ok, "created"),
    (FailedStart, Kill, Error("conflict"), "created"),
    (FailedStart, Remove, Ok, "gone"),
    (FailedStart, RemoveForce, Ok, "gone"),
    (FailedStart, Update, Ok, "created"),
    (FailedStart, Wait, Code(127), "created"),
    (FailedStart, Logs, Ok, "created"),
    (FailedStart, CopyTo, Ok, "created"),
    (FailedStart, ExecCreate, Error("conflict"), "created"),
    (Running, CreateSameName, Error("name_taken"), "running"),
    (Running, Inspect, Ok, "running"),
    (Running, Start, Ok, "running"),
    (Running, Stop, Ok, "exited"),
    (Running, Kill, Ok, "exited"),
    (Running, Remove, Error("conflict"), "running"),
    (Running, RemoveForce, Ok, "gone"),
    (Running, Update, Ok, "running"),
    (Running, Wait, Blocks, "running"),
    (Running, Logs, Ok, "running"),
    (Running, CopyTo, Ok, "running"),
    (Running, ExecCreate, Ok, "running"),
    (Paused, CreateSameName, Error("name_taken"), "paused"),
    (Paused, Inspect, Ok, "paused"),
    (Paused, Start, Error("conflict"), "paused"),
    (Paused, Stop, Ok, "exited"),
    (Paused, Kill, Ok, "exited"),
    (Paused, Remove, Error("conflict"), "paused"),
    (Paused, RemoveForce, Ok, "gone"),
    (Paused, Update, Ok, "paused"),
    (Paused, Wait, Blocks, "paused"),
    (Paused, Logs, Ok, "paused"),
    (Paused, CopyTo, Ok, "paused"),
    (Paused, ExecCreate, Error("conflict"), "paused"),
    (Exited, CreateSameName, Error("name_taken"), "exited"),
    (Exited, Inspect, Ok, "exited"),
    // The program runs again: a start that is sent twice is two runs.
    (Exited, Start, Ok, "running"),
    (Exited, Stop, Ok, "exited"),
    (Exited, Kill, Error("conflict"), "exited"),
    (Exited, Remove, Ok, "gone"),
    (Exited, RemoveForce, Ok, "gone"),
    (Exited, Update, Ok, "exited"),
    (Exited, Wait, Code(7), "exited"),
    (Exited, Logs, Ok, "exited"),
    (Exited, CopyTo, Ok, "exited"),
    (Exited, ExecCreate, Error("conflict"), "exited"),
    (Removed, CreateSameName, Ok, "gone"),
    (Removed, Inspect, Error("not_found"), "gone"),
    (Removed, Start, Error("not_found"), "gone"),
    (Removed, Stop, Error("not_found"), "gone"),
    (Removed, Kill, Error("not_found"), "gone"),
    (Removed, Remove, Error("not_found"), "gone"),
    (Removed, RemoveForce, Error("not_found"), "gone"),
    (Removed, Update, Error("not_found"), "gone"),
    (Removed, Wait, Error("not_found"), "gone"),
    (Removed, Logs, Error("not_found"), "gone"),
    (Removed, CopyTo, Error("not_found"), "gone"),
    (Removed, ExecCreate, Error("not_found"), "gone"),
];
