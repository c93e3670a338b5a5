//! Where the engine is: one unix socket, found as Docker's own command line would find it.
//!
//! Reads files, never the environment (its values come in [`EndpointSources`]), and opens no connection: an endpoint may be
//! named before its engine runs. Only unix sockets are endpoints, because the state directory and every workspace must have
//! the same path for the operator, for the engine and in the bind mounts of the containers.

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What decides the endpoint, in this order of precedence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSources {
    /// `--docker-host`.
    pub flag: Option<String>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`: the directory that is else `~/.docker`.
    pub docker_config_dir: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where rootless engines have their sockets.
    pub xdg_runtime_dir: Option<PathBuf>,
}

/// What named the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundBy {
    /// `--docker-host`.
    Flag,
    /// `DOCKER_HOST`.
    DockerHost,
    /// `docker context`, the one of that name.
    Context(String),
    /// One of the usual places.
    Search,
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--docker-host"),
            Self::DockerHost => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "docker context `{name}`"),
            Self::Search => f.write_str("the usual places"),
        }
    }
}

/// A unix socket on which an engine is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    socket: PathBuf,
    found_by: FoundBy,
    tried: Vec<PathBuf>,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Another transport than a unix socket.
    #[error(
        "{found_by} is `{host}`, which is no unix socket: chanop's state directory and the channels' workspaces must have \
         the same path for the operator, the engine and the containers, so the operator runs on the engine's own host; \
         run it there, or name a socket: unix:///var/run/docker.sock"
    )]
    NotLocal {
        /// What named it.
        found_by: FoundBy,
        /// What it named.
        host: String,
    },
    /// A unix socket, but not by an absolute path in UTF-8.
    #[error(
        "{found_by} is `{host}`: the socket needs an absolute path, as in unix:///var/run/docker.sock"
    )]
    NotAbsolute {
        /// What named it.
        found_by: FoundBy,
        /// What it named.
        host: String,
    },
    /// The context cannot be read.
    #[error("cannot read docker context `{name}` at {}: {reason}; see `docker context ls`", path.display())]
    Context {
        /// The context's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default, rename = "currentContext")]
    current_context: String,
}

#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints")]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(default, rename = "Host")]
    host: String,
}

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

impl Endpoint {
    /// The endpoint that the sources name, or the first usual socket that exists, or else Docker's default one: the
    /// operator may be started before its engine.
    pub fn find(sources: &EndpointSources) -> Result<Self, EndpointError> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(host) = said(&sources.flag) {
            return Self::parse(&host, FoundBy::Flag);
        }
        if let Some(host) = said(&sources.docker_host) {
            return Self::parse(&host, FoundBy::DockerHost);
        }
        match current_context(sources) {
            Some((directory, name)) => {
                let host = context_host(&directory, &name)?;
                Self::parse(&host, FoundBy::Context(name))
            }
            None => Ok(Self::search(usual_sockets(sources))),
        }
    }

    /// A socket by its path.
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), found_by: FoundBy::Flag, tried: Vec::new() }
    }

    /// Its path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What named it.
    pub const fn found_by(&self) -> &FoundBy {
        &self.found_by
    }

    fn parse(host: &str, found_by: FoundBy) -> Result<Self, EndpointError> {
        let path = host.strip_prefix("unix://").unwrap_or(host);
        if path.starts_with('/') {
            return Ok(Self { socket: PathBuf::from(path), found_by, tried: Vec::new() });
        }
        let host = host.to_owned();
        if host.starts_with("unix://") {
            return Err(EndpointError::NotAbsolute { found_by, host });
        }
        Err(EndpointError::NotLocal { found_by, host })
    }

    fn search(places: Vec<PathBuf>) -> Self {
        let is_socket =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        match places.iter().find(|path| is_socket(path)) {
            Some(socket) => {
                Self { socket: socket.clone(), found_by: FoundBy::Search, tried: Vec::new() }
            }
            None => Self {
                socket: PathBuf::from(DEFAULT_SOCKET),
                found_by: FoundBy::Search,
                tried: places,
            },
        }
    }

    /// Says why nothing answers here, and what to do.
    pub(super) fn explain_unreachable(&self, reason: &str) -> String {
        let mut text = format!("no engine answers at {self} (from {}): {reason}", self.found_by);
        let others: Vec<String> = self
            .tried
            .iter()
            .filter(|path| **path != self.socket)
            .map(|path| path.display().to_string())
            .collect();
        if !others.is_empty() {
            let _ = write!(text, "; nor is there {}", others.join(", "));
        }
        let denied = reason.to_ascii_lowercase().contains("permission denied");
        text.push_str(if denied {
            "; run as root, or join the group that owns the socket: `sudo usermod -aG docker $USER`, then log in again"
        } else {
            "; start Docker (`sudo systemctl start docker`) or name its socket with --docker-host or DOCKER_HOST"
        });
        text
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.socket.display())
    }
}

/// Docker's directory and the name of the context in force; `None` when that is the built-in `default`.
fn current_context(sources: &EndpointSources) -> Option<(PathBuf, String)> {
    let directory = sources
        .docker_config_dir
        .clone()
        .or_else(|| sources.home.as_ref().map(|home| home.join(".docker")))?;
    let said = sources.docker_context.clone().filter(|name| !name.is_empty());
    // A file that is missing or unreadable names no context; Docker's own command line only warns as well.
    let name = said.or_else(|| {
        let text = fs::read_to_string(directory.join("config.json")).ok()?;
        Some(serde_json::from_str::<ConfigFile>(&text).ok()?.current_context)
    })?;
    (!name.is_empty() && name != "default").then_some((directory, name))
}

/// The engine's address in a context; Docker names the directory by the hash of the context's name.
fn context_host(directory: &Path, name: &str) -> Result<String, EndpointError> {
    let path = directory.join("contexts/meta").join(hash(name)).join("meta.json");
    let failed = |reason: String| EndpointError::Context {
        name: name.to_owned(),
        path: path.clone(),
        reason,
    };
    let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let meta: ContextMeta =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let endpoint = meta.endpoints.docker.filter(|endpoint| !endpoint.host.is_empty());
    endpoint
        .map(|endpoint| endpoint.host)
        .ok_or_else(|| failed("it names no Docker endpoint".to_owned()))
}

fn hash(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn usual_sockets(sources: &EndpointSources) -> Vec<PathBuf> {
    let rootless = |name: &str| sources.xdg_runtime_dir.as_ref().map(|dir| dir.join(name));
    [
        Some(PathBuf::from(DEFAULT_SOCKET)),
        rootless("docker.sock"),
        rootless("podman/podman.sock"),
        Some(PathBuf::from(PODMAN_SOCKET)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn sources(home: &Path) -> EndpointSources {
        EndpointSources { home: Some(home.to_owned()), ..EndpointSources::default() }
    }

    fn write_context(docker: &Path, name: &str, host: &str) {
        let directory = docker.join("contexts/meta").join(hash(name));
        fs::create_dir_all(&directory).unwrap();
        let meta = format!(
            r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#
        );
        fs::write(directory.join("meta.json"), meta).unwrap();
    }

    #[test]
    fn the_flag_beats_the_environment_which_beats_the_context() {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join(".docker");
        write_context(&docker, "desk", "unix:///run/context.sock");
        fs::write(docker.join("config.json"), r#"{"currentContext":"desk","auths":{}}"#).unwrap();
        let mut sources = sources(home.path());
        let found = Endpoint::find(&sources).unwrap();
        assert_eq!(found.socket(), Path::new("/run/context.sock"));
        assert_eq!(found.found_by(), &FoundBy::Context("desk".to_owned()));
        sources.docker_host = Some("unix:///run/host.sock".to_owned());
        assert_eq!(Endpoint::find(&sources).unwrap().found_by(), &FoundBy::DockerHost);
        sources.flag = Some("/run/flag.sock".to_owned());
        assert_eq!(Endpoint::find(&sources).unwrap().to_string(), "unix:///run/flag.sock");
    }

    #[test]
    fn docker_context_names_another_than_the_current_one() {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join("elsewhere");
        write_context(&docker, "desk", "unix:///run/desk.sock");
        write_context(&docker, "lab", "unix:///run/lab.sock");
        fs::write(docker.join("config.json"), r#"{"currentContext":"desk"}"#).unwrap();
        let mut sources = sources(home.path());
        sources.docker_config_dir = Some(docker);
        sources.docker_context = Some("lab".to_owned());
        assert_eq!(Endpoint::find(&sources).unwrap().socket(), Path::new("/run/lab.sock"));
        sources.docker_context = Some("default".to_owned());
        assert_eq!(Endpoint::find(&sources).unwrap().found_by(), &FoundBy::Search);
        sources.docker_context = Some("gone".to_owned());
        let error = Endpoint::find(&sources).unwrap_err().to_string();
        assert!(error.contains("`gone`") && error.contains("docker context ls"), "{error}");
    }

    #[test]
    fn other_transports_are_refused_with_the_reason_and_the_way_out() {
        for host in
            ["tcp://10.0.0.1:2375", "ssh://me@there", "npipe:////./pipe/docker_engine", "fd://"]
        {
            let sources =
                EndpointSources { docker_host: Some(host.to_owned()), ..Default::default() };
            let error = Endpoint::find(&sources).unwrap_err().to_string();
            assert!(error.contains(host) && error.contains("same path"), "{error}");
            assert!(error.contains("unix:///var/run/docker.sock"), "{error}");
        }
        let sources =
            EndpointSources { flag: Some("unix://docker.sock".to_owned()), ..Default::default() };
        assert!(matches!(Endpoint::find(&sources), Err(EndpointError::NotAbsolute { .. })));
    }

    #[test]
    fn the_first_usual_socket_that_exists_is_taken_and_a_plain_file_is_none() {
        let run = tempfile::tempdir().unwrap();
        let (file, socket) = (run.path().join("docker.sock"), run.path().join("podman.sock"));
        fs::write(&file, "").unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let found = Endpoint::search(vec![file, socket.clone()]);
        assert_eq!(found.socket(), socket);
    }

    #[test]
    fn a_missing_socket_says_what_was_tried_and_how_to_start_docker() {
        let found = Endpoint::search(vec![
            PathBuf::from(DEFAULT_SOCKET).join("no"),
            PathBuf::from("/nowhere/podman.sock"),
        ]);
        let text = found.explain_unreachable("No such file or directory (os error 2)");
        for part in
            [DEFAULT_SOCKET, "/nowhere/podman.sock", "systemctl start docker", "DOCKER_HOST"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(found.explain_unreachable("Permission denied (os error 13)").contains("usermod"));
    }
}
