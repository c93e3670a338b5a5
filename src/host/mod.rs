//! The host: its paths, owners, and what a container needs prepared on it.
//!
//! [`fn@probe`] looks and changes nothing; [`fn@prepare`] makes, right before a container is created or started, what
//! [`crate::world::preparation`] says, [`fn@prepare_run`] that and what one attempt of a run has for itself, and [`agent`] what each start of the agent needs.
//! All block: the executor calls them where blocking is allowed.
//!
//! An agent may write to its channel's home and workspace, and the operator may be root. So nothing here follows a link
//! where an agent could have put one, and what is given away was made here.

pub mod agent;
pub mod prepare;
pub mod probe;
pub mod secrets_root;

mod accounts;
mod archive;
mod beneath;
#[cfg(fuzzing)]
pub mod fuzz;
mod git;
mod home;
mod known;
mod leftovers;
mod mounted;
mod run;
mod secret;
mod secret_files;
mod users;

pub use accounts::accounts;
pub use agent::{AgentPlace, newest_session, prepare_agent, project_file};
pub use known::known_secrets;
pub use leftovers::remove_secrets;
pub use mounted::mount_changes;
pub use prepare::{
    GIVEN_AT, Host, Occasion, PrepareError, Prepared, VolumeGrant, give_volume, install_init,
    prepare,
};
pub use probe::probe;
pub use run::{exit_record, is_unstarted, prepare_run, remove_run_place, sweep_run_places};
pub use secret_files::SignIn;
pub use secrets_root::SecretsRoot;
