//! What the operator was told: the environment, the settings, and the defaults between them.
//!
//! The only reader of the environment. Everything else is pure and takes what it needs, so that a default can be tested
//! for root and for a user on one machine. Flags are [`crate::cli`]'s; a flag that was given beats everything here.

mod access;
mod owner;
mod settings;

use std::fmt;
use std::path::PathBuf;

pub use access::{Access, Objection, WriteRule, check_not_writable_by_others};
pub use owner::{
    Groups, OwnerError, Passwd, PasswdEntry, Process, parse_group, parse_owner, real_home,
};
pub use settings::{
    ConfigError, LogFormat, Settings, default_secrets_dir, default_socket, default_state_dir,
    parse_host_label,
};

/// Every variable that chanop heeds. One that is empty, or no UTF-8, counts as not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `CHANOP_LOG`: what is logged; beats `RUST_LOG`.
    pub chanop_log: Option<String>,
    /// `CHANOP_SOCKET`: the control socket, for the operator and for those who ask it.
    pub chanop_socket: Option<String>,
    /// `DOCKER_CONFIG`: where the docker CLI keeps its contexts and credentials.
    pub docker_config: Option<String>,
    /// `DOCKER_CONTEXT`: which of them counts.
    pub docker_context: Option<String>,
    /// `DOCKER_HOST`: the engine; beats every context.
    pub docker_host: Option<String>,
    /// `HOME`.
    pub home: Option<String>,
    /// `NO_COLOR`: set to anything, output has no colour.
    pub no_color: Option<String>,
    /// `PATH`: where registries' credential helpers are looked for.
    pub path: Option<String>,
    /// The proxies, which containers get too.
    pub proxies: Proxies,
    /// `RUST_LOG`.
    pub rust_log: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
    /// `TZ`, which containers get too.
    pub tz: Option<String>,
    /// `USER`.
    pub user: Option<String>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<String>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<String>,
}

/// The proxy variables, in upper or lower case; upper case wins, as in Docker. Their addresses may hold passwords, so
/// they do not print.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`.
    pub http: Option<String>,
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `ALL_PROXY`.
    pub all: Option<String>,
    /// `NO_PROXY`: who is reached without one.
    pub none: Option<String>,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads any other.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let either = |name: &str| get(name).or_else(|| get(&name.to_ascii_lowercase()));
        Self {
            chanop_log: get("CHANOP_LOG"),
            chanop_socket: get("CHANOP_SOCKET"),
            docker_config: get("DOCKER_CONFIG"),
            docker_context: get("DOCKER_CONTEXT"),
            docker_host: get("DOCKER_HOST"),
            home: get("HOME"),
            no_color: get("NO_COLOR"),
            path: get("PATH"),
            proxies: Proxies {
                http: either("HTTP_PROXY"),
                https: either("HTTPS_PROXY"),
                all: either("ALL_PROXY"),
                none: either("NO_PROXY"),
            },
            rust_log: get("RUST_LOG"),
            term: get("TERM"),
            tz: get("TZ"),
            user: get("USER"),
            xdg_config_home: get("XDG_CONFIG_HOME"),
            xdg_runtime_dir: get("XDG_RUNTIME_DIR"),
            xdg_state_home: get("XDG_STATE_HOME"),
        }
    }

    /// Docker's own config file, in `$DOCKER_CONFIG` or `~/.docker`; `None` without either.
    pub fn docker_config_file(&self) -> Option<PathBuf> {
        let directory = self.docker_config.as_ref().map(PathBuf::from);
        let directory =
            directory.or_else(|| Some(PathBuf::from(self.home.as_ref()?).join(".docker")));
        Some(directory?.join("config.json"))
    }

    /// The directories of `PATH`.
    pub fn search_path(&self) -> Vec<PathBuf> {
        self.path.as_ref().map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
    }

    /// May output have colour, if it goes to a terminal?
    pub fn allows_color(&self) -> bool {
        self.no_color.is_none() && self.term.as_deref() != Some("dumb")
    }

    /// What containers get of it too: the time zone, and the proxies under both spellings, since programs read either.
    pub fn for_containers(&self) -> Vec<(String, String)> {
        let proxies = &self.proxies;
        let named = [
            ("HTTP_PROXY", &proxies.http),
            ("HTTPS_PROXY", &proxies.https),
            ("ALL_PROXY", &proxies.all),
            ("NO_PROXY", &proxies.none),
        ];
        let mut variables = Vec::new();
        for (name, value) in named {
            if let Some(value) = value {
                variables.push((name.to_owned(), value.clone()));
                variables.push((name.to_ascii_lowercase(), value.clone()));
            }
        }
        variables.extend(self.tz.iter().map(|zone| ("TZ".to_owned(), zone.clone())));
        variables
    }

    /// The path in `value` with `below` appended. XDG says that a relative one counts as not set.
    fn directory(value: Option<&str>, below: &str) -> Option<PathBuf> {
        let dir = PathBuf::from(value?);
        dir.is_absolute().then(|| dir.join(below))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [&self.http, &self.https, &self.all, &self.none];
        write!(f, "Proxies({} set)", all.iter().filter(|value| value.is_some()).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|wanted| {
            pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert_eq!(environment(&[("DOCKER_HOST", ""), ("NO_COLOR", "")]), Environment::default());
        assert!(environment(&[("NO_COLOR", "")]).allows_color());
        assert!(!environment(&[("NO_COLOR", "1")]).allows_color());
        assert!(!environment(&[("TERM", "dumb")]).allows_color());
    }

    #[test]
    fn dockers_config_file_is_where_docker_would_look_for_it() {
        let file = |pairs: &[(&str, &str)]| environment(pairs).docker_config_file();
        let home = ("HOME", "/home/ann");
        assert_eq!(file(&[home]), Some(PathBuf::from("/home/ann/.docker/config.json")));
        assert_eq!(file(&[home, ("DOCKER_CONFIG", "/d")]), Some(PathBuf::from("/d/config.json")));
        assert_eq!(file(&[]), None);
        let path = environment(&[("PATH", "/a:/b")]).search_path();
        assert_eq!(path, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(environment(&[]).search_path(), Vec::<PathBuf>::new());
    }

    #[test]
    fn proxies_are_found_in_either_case_and_do_not_print() {
        let found = environment(&[
            ("https_proxy", "http://me:hunter2@proxy:3128"),
            ("HTTP_PROXY", "http://upper:1"),
            ("http_proxy", "http://lower:1"),
        ]);
        assert_eq!(found.proxies.https.as_deref(), Some("http://me:hunter2@proxy:3128"));
        assert_eq!(found.proxies.http.as_deref(), Some("http://upper:1"));
        let printed = format!("{found:?}");
        assert!(printed.contains("Proxies(2 set)") && !printed.contains("hunter2"), "{printed}");
    }
}
