//! The operator's settings as plain data, and where things lie when nobody says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::access::Objection;
use super::{Environment, OwnerError};
use crate::resource::{Owner, ResourceName};

/// What one operator was told, every default filled in. Read once, then only passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `--instance`: whose containers are ours.
    pub instance: ResourceName,
    /// `--specs`: the directory that people write.
    pub specs_dir: PathBuf,
    /// `--secrets-dir`: one directory a secret, one file a key.
    pub secrets_dir: PathBuf,
    /// `--state-dir`: ours alone.
    pub state_dir: PathBuf,
    /// `--socket`: the control socket; its directory is made for it.
    pub socket: PathBuf,
    /// `--socket-group`: a group that may use the socket too.
    pub socket_group: Option<u32>,
    /// `--listen`: the TCP listener; `None`: none.
    pub listen: Option<SocketAddr>,
    /// `--token-file`: who may do what over TCP; `None`: only metrics and health.
    pub token_file: Option<PathBuf>,
    /// `--metrics-auth`: metrics over TCP need a token of role metrics.
    pub metrics_auth: bool,
    /// `--metrics-labels`: are names of channels labels?
    pub metrics_channels: bool,
    /// `--metrics-model`: models that have a label of their own.
    pub metrics_models: BTreeSet<String>,
    /// `--owner`: whose workspaces these are.
    pub owner: Owner,
    /// `--host-label`: what channels' `hostSelector` is matched against.
    pub host_labels: BTreeMap<String, String>,
    /// `--prune-delay`: how long a file must be missing before its channel counts as gone.
    pub prune_delay: Duration,
    /// `--max-runs`: so many runs at once on this host, whatever channels allow.
    pub max_runs: u32,
    /// `--policy`: the administrator's file; `None`: the built-in one.
    pub policy: Option<PathBuf>,
    /// `--docker-host`: the engine; `None`: as the docker CLI would choose.
    pub docker_host: Option<String>,
    /// `--agent-cli`: the CLI for channels that have theirs injected; `None`: there is none.
    pub agent_cli: Option<PathBuf>,
    /// `--runtime-class`: runtimes that specs may name besides the engine's default.
    pub runtime_classes: BTreeSet<String>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--takeover`: take an instance over whose state directory was lost.
    pub takeover: bool,
}

impl Settings {
    /// `--instance`.
    pub const DEFAULT_INSTANCE: &str = "default";
    /// `--listen`: this host only.
    pub const DEFAULT_LISTEN: &str = "127.0.0.1:9841";
    /// `--prune-delay`: longer than an editor, `git checkout` or a volume's swap leaves a file away.
    pub const DEFAULT_PRUNE_DELAY: Duration = Duration::from_secs(10);
    /// `--max-runs`: an agent waits for its model most of the time, so that a small host has room for this many.
    pub const DEFAULT_MAX_RUNS: u32 = 16;
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One readable line each.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Others could change what the operator obeys.
    #[error("{} {objection}, who could then decide what it starts; {} {}", path.display(), objection.remedy(), path.display())]
    WritableByOthers {
        /// Which directory or file.
        path: PathBuf,
        /// What is wrong with it.
        objection: Objection,
    },
    /// It cannot be looked at.
    #[error("failed to look at {}", path.display())]
    Unreadable {
        /// Which directory or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither the XDG variable nor `HOME` says where a user's files lie.
    #[error("neither ${variable} nor $HOME is an absolute path; set one, or give {flag}")]
    NoHome {
        /// The XDG variable that was looked at.
        variable: &'static str,
        /// The flag that makes it unnecessary.
        flag: &'static str,
    },
    /// Not of the form `k=v`.
    #[error("`{0}` is no host label; write key=value")]
    HostLabel(String),
    /// No such group.
    #[error("there is no group `{0}`")]
    NoGroup(String),
    /// The owner cannot be told.
    #[error(transparent)]
    Owner(#[from] OwnerError),
}

/// `/var/lib/chanop` for root, else `$XDG_STATE_HOME/chanop`.
pub fn default_state_dir(euid: u32, environment: &Environment) -> Result<PathBuf, ConfigError> {
    if euid == 0 {
        return Ok(PathBuf::from("/var/lib/chanop"));
    }
    Environment::directory(environment.xdg_state_home.as_deref(), "chanop")
        .or_else(|| Environment::directory(environment.home.as_deref(), ".local/state/chanop"))
        .ok_or(ConfigError::NoHome { variable: "XDG_STATE_HOME", flag: "--state-dir" })
}

/// `/etc/chanop/secrets` for root, else `$XDG_CONFIG_HOME/chanop/secrets`.
pub fn default_secrets_dir(euid: u32, environment: &Environment) -> Result<PathBuf, ConfigError> {
    if euid == 0 {
        return Ok(PathBuf::from("/etc/chanop/secrets"));
    }
    Environment::directory(environment.xdg_config_home.as_deref(), "chanop/secrets")
        .or_else(|| Environment::directory(environment.home.as_deref(), ".config/chanop/secrets"))
        .ok_or(ConfigError::NoHome { variable: "XDG_CONFIG_HOME", flag: "--secrets-dir" })
}

/// `$CHANOP_SOCKET`, else `/run/chanop/chanop.sock` for root and `$XDG_RUNTIME_DIR/chanop/chanop.sock` for others.
///
/// Without a runtime directory (no login session) it lies below the default state directory, where both sides find it
/// without being told.
pub fn default_socket(euid: u32, environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(socket) = &environment.chanop_socket {
        return Ok(PathBuf::from(socket));
    }
    if euid == 0 {
        return Ok(PathBuf::from("/run/chanop/chanop.sock"));
    }
    match Environment::directory(environment.xdg_runtime_dir.as_deref(), "chanop/chanop.sock") {
        Some(socket) => Ok(socket),
        None => default_state_dir(euid, environment)
            .map(|dir| dir.join("run/chanop.sock"))
            .map_err(|_| ConfigError::NoHome { variable: "XDG_RUNTIME_DIR", flag: "--socket" }),
    }
}

/// One `--host-label k=v`.
pub fn parse_host_label(text: &str) -> Result<(String, String), ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && key.trim() == key && value.trim() == value => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(ConfigError::HostLabel(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn home() -> Environment {
        Environment { home: Some("/home/ann".to_owned()), ..Environment::default() }
    }

    #[test]
    fn root_has_system_directories_whatever_the_environment_says() {
        let environment = Environment {
            xdg_state_home: Some("/x".to_owned()),
            xdg_runtime_dir: Some("/y".to_owned()),
            ..home()
        };
        assert_eq!(default_state_dir(0, &environment).unwrap(), Path::new("/var/lib/chanop"));
        assert_eq!(default_secrets_dir(0, &environment).unwrap(), Path::new("/etc/chanop/secrets"));
        assert_eq!(default_socket(0, &environment).unwrap(), Path::new("/run/chanop/chanop.sock"));
    }

    #[test]
    fn a_user_has_xdg_directories_and_else_those_below_home() {
        let xdg = Environment {
            xdg_state_home: Some("/state".to_owned()),
            xdg_config_home: Some("/config".to_owned()),
            xdg_runtime_dir: Some("/run/user/1000".to_owned()),
            ..home()
        };
        assert_eq!(default_state_dir(1000, &xdg).unwrap(), Path::new("/state/chanop"));
        assert_eq!(default_secrets_dir(1000, &xdg).unwrap(), Path::new("/config/chanop/secrets"));
        assert_eq!(
            default_socket(1000, &xdg).unwrap(),
            Path::new("/run/user/1000/chanop/chanop.sock")
        );
        assert_eq!(
            default_state_dir(1000, &home()).unwrap(),
            Path::new("/home/ann/.local/state/chanop")
        );
        assert_eq!(
            default_socket(1000, &home()).unwrap(),
            Path::new("/home/ann/.local/state/chanop/run/chanop.sock")
        );
    }

    #[test]
    fn a_relative_xdg_directory_counts_as_not_set() {
        let environment = Environment { xdg_state_home: Some("state".to_owned()), ..home() };
        assert_eq!(
            default_state_dir(1000, &environment).unwrap(),
            Path::new("/home/ann/.local/state/chanop")
        );
    }

    #[test]
    fn without_any_home_the_error_names_the_flag() {
        let error = default_socket(1000, &Environment::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "neither $XDG_RUNTIME_DIR nor $HOME is an absolute path; set one, or give --socket"
        );
    }

    #[test]
    fn the_socket_variable_beats_the_defaults() {
        let environment = Environment { chanop_socket: Some("/s".to_owned()), ..home() };
        assert_eq!(default_socket(0, &environment).unwrap(), Path::new("/s"));
        assert_eq!(default_socket(1000, &environment).unwrap(), Path::new("/s"));
    }

    #[test]
    fn a_host_label_is_a_key_and_a_value() {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parse_host_label("zone=eu").unwrap(), label("zone", "eu"));
        assert_eq!(parse_host_label("empty=").unwrap(), label("empty", ""));
        for bad in ["zone", "=eu", "zone =eu", "zone= eu", ""] {
            assert!(parse_host_label(bad).is_err(), "{bad}");
        }
    }
}
