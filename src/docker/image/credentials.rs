//! Which credentials Docker's config file has for a registry. Pure: the file's text comes in, and what must be asked of a helper
//! is said, not done ([`super::helper`]).
//!
//! As Docker's own command line looks: a helper of that registry, the store of all, then `auths`. Keys are hosts, and may have a scheme
//! and a path; Docker Hub's is its address of ten years ago. Nothing here prints a secret, errors neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;

use crate::container::image_ref::DOCKER_HUB;
use crate::container::{ImageRef, NormalImageRef};
use crate::docker::wire::nullable;

/// How the config file and the helpers name Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Its hosts, as people write them.
const DOCKER_HUB_HOSTS: &[&str] = &[DOCKER_HUB, "index.docker.io", "registry-1.docker.io"];
/// The name with which a helper says that its secret is a token.
const TOKEN_NAME: &str = "<token>";

/// What a registry wants to be told. Its secrets do not print.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    server: String,
    login: Login,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    Password { name: String, password: String },
    IdentityToken(String),
    RegistryToken(String),
}

impl RegistryAuth {
    /// A name and its password.
    pub fn password(server: &str, name: &str, password: &str) -> Self {
        let login = Login::Password { name: name.to_owned(), password: password.to_owned() };
        Self { server: server.to_owned(), login }
    }

    /// For which registry, in the file's words.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The same under the one name by which an engine finds it among several. It knows a host under every form of its key,
    /// but Docker Hub under one alone.
    pub(super) fn named_for(mut self, image: &NormalImageRef) -> Self {
        server_of(image.registry()).clone_into(&mut self.server);
        self
    }

    /// The value of the header that hands it to the engine.
    pub(in crate::docker) fn header(&self) -> String {
        URL_SAFE.encode(self.body().to_string())
    }

    /// The same for several registries, as a build may need them.
    pub(in crate::docker) fn header_of(all: &[Self]) -> String {
        let bodies: BTreeMap<&str, serde_json::Value> =
            all.iter().map(|auth| (auth.server(), auth.body())).collect();
        URL_SAFE.encode(serde_json::json!(bodies).to_string())
    }

    fn body(&self) -> serde_json::Value {
        let server = &self.server;
        match &self.login {
            Login::Password { name, password } => serde_json::json!({
                "serveraddress": server, "username": name, "password": password
            }),
            Login::IdentityToken(token) => {
                serde_json::json!({ "serveraddress": server, "identitytoken": token })
            }
            Login::RegistryToken(token) => {
                serde_json::json!({ "serveraddress": server, "registrytoken": token })
            }
        }
    }
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryAuth").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Why the credentials of a registry are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read, or is none.
    #[error("cannot read Docker's config file: {0}")]
    File(String),
    /// An entry is none.
    #[error(
        "Docker's config file has no usable credentials for {server}: {why}; log in again with `docker login`"
    )]
    Entry {
        /// The entry's key.
        server: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The name of a helper that could be a path.
    #[error("Docker's config file names the credential helper `{0}`, which is no plain word")]
    HelperName(String),
    /// The helper did not do what it is for.
    #[error("credential helper docker-credential-{name}: {why}")]
    Helper {
        /// Its name.
        name: String,
        /// What went wrong.
        why: String,
    },
}

/// The part of a helper's name after `docker-credential-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperName(String);

impl HelperName {
    /// A plain word: it becomes a program's name, and must not become a path or a flag.
    fn parse(text: &str) -> Result<Self, CredentialsError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let good = (1..=64).contains(&text.len())
            && text.bytes().all(plain)
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(CredentialsError::HelperName(text.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a registry's credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There are none: the pull is anonymous.
    Nothing,
    /// Here.
    Auth(RegistryAuth),
    /// A helper has them.
    Ask {
        /// Which.
        helper: HelperName,
        /// What it is asked for.
        server: String,
    },
}

/// Docker's config file, as much of it as says who one is. Its secrets do not print.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default, deserialize_with = "nullable")]
    auths: BTreeMap<String, Entry>,
    #[serde(default, deserialize_with = "nullable")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "nullable")]
    auth: String,
    #[serde(default, deserialize_with = "nullable")]
    username: String,
    #[serde(default, deserialize_with = "nullable")]
    password: String,
    #[serde(default, deserialize_with = "nullable")]
    identitytoken: String,
    #[serde(default, deserialize_with = "nullable")]
    registrytoken: String,
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig")
            .field("auths", &self.auths.keys())
            .field("cred_helpers", &self.cred_helpers)
            .field("creds_store", &self.creds_store)
            .finish()
    }
}

impl DockerConfig {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        // serde's own text could repeat what stands there.
        serde_json::from_str(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            CredentialsError::File(format!("{:?} error at {place}", error.classify()))
        })
    }

    /// Whom the engine should be when it pulls this image.
    pub fn find(&self, image: &NormalImageRef) -> Result<Found, CredentialsError> {
        let registry = image.registry();
        let of_this = by_host(&self.cred_helpers, registry).map(|(_, name)| name.as_str());
        let store = Some(self.creds_store.as_str()).filter(|name| !name.is_empty());
        if let Some(helper) = of_this.filter(|name| !name.is_empty()).or(store) {
            return Ok(Found::Ask {
                helper: HelperName::parse(helper)?,
                server: server_of(registry).to_owned(),
            });
        }
        self.in_file(image)
    }

    /// One image of each registry that the file names, to [`Self::find`] with: the registries whose credentials can be known.
    /// The store of all is asked only for those in `auths`, where Docker leaves a mark when somebody logs in. A key
    /// that no reference can name is no registry.
    pub fn one_of_each(&self) -> BTreeSet<NormalImageRef> {
        let helped = self.cred_helpers.iter().filter(|(_, helper)| !helper.is_empty());
        let keys = self.auths.keys().chain(helped.map(|(key, _)| key));
        keys.filter_map(|key| an_image_at(host_of(key))).collect()
    }

    /// What stands in the file itself: also for those whose helper knows nothing.
    pub fn in_file(&self, image: &NormalImageRef) -> Result<Found, CredentialsError> {
        match by_host(&self.auths, image.registry()) {
            Some((server, entry)) => entry.read(server),
            None => Ok(Found::Nothing),
        }
    }
}

impl Entry {
    fn read(&self, server: &str) -> Result<Found, CredentialsError> {
        let bad = |why| CredentialsError::Entry { server: server.to_owned(), why };
        let found = |login| Ok(Found::Auth(RegistryAuth { server: server.to_owned(), login }));
        if !self.identitytoken.is_empty() {
            return found(Login::IdentityToken(self.identitytoken.clone()));
        }
        if !self.registrytoken.is_empty() {
            return found(Login::RegistryToken(self.registrytoken.clone()));
        }
        if self.auth.is_empty() {
            // `{}` is what Docker leaves for a registry whose credentials are in a store.
            if self.username.is_empty() && self.password.is_empty() {
                return Ok(Found::Nothing);
            }
            let (name, password) = (self.username.clone(), self.password.clone());
            return found(Login::Password { name, password });
        }
        let bytes = STANDARD.decode(self.auth.trim()).map_err(|_| bad("`auth` is not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| bad("`auth` is not UTF-8"))?;
        let (name, password) = text.split_once(':').ok_or_else(|| bad("`auth` has no colon"))?;
        // Docker itself cuts these off: old versions padded with them.
        let password = password.trim_matches('\0');
        found(Login::Password { name: name.to_owned(), password: password.to_owned() })
    }
}

/// The entry for a registry: the one whose key is the host itself, or else one that has it with a scheme or a path.
fn by_host<'a, T>(entries: &'a BTreeMap<String, T>, registry: &str) -> Option<(&'a str, &'a T)> {
    let is_hub = registry == DOCKER_HUB;
    let found = entries.get_key_value(server_of(registry)).or_else(|| {
        entries.iter().find(|(key, _)| {
            let host = host_of(key);
            host == registry || (is_hub && DOCKER_HUB_HOSTS.contains(&host))
        })
    });
    found.map(|(key, entry)| (key.as_str(), entry))
}

/// What the file, the helpers and the engine call a registry.
fn server_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// Any image of a registry. `None` where the host is none: `node` would be taken for an image.
fn an_image_at(host: &str) -> Option<NormalImageRef> {
    let registry = if DOCKER_HUB_HOSTS.contains(&host) { DOCKER_HUB } else { host };
    let image = ImageRef::parse(&format!("{registry}/any")).ok()?.normal()?;
    (image.registry() == registry).then_some(image)
}

/// `https://host:port/v1/` without what is around the host.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Reads a helper's answer to `get`.
pub(super) fn of_answer(server: &str, answer: &[u8]) -> Option<RegistryAuth> {
    let Answer { username: name, secret } = serde_json::from_slice(answer).ok()?;
    let login = if name == TOKEN_NAME {
        Login::IdentityToken(secret)
    } else {
        Login::Password { name, password: secret }
    };
    Some(RegistryAuth { server: server.to_owned(), login })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> NormalImageRef {
        ImageRef::parse(text).unwrap().normal().unwrap()
    }

    fn find(config: &str, reference: &str) -> Result<Found, CredentialsError> {
        DockerConfig::parse(config).unwrap().find(&image(reference))
    }

    fn header(found: Result<Found, CredentialsError>) -> serde_json::Value {
        let Found::Auth(auth) = found.unwrap() else { panic!("credentials stand in the file") };
        serde_json::from_slice(&URL_SAFE.decode(auth.header()).unwrap()).unwrap()
    }

    /// `ann:hunter2:x`
    const AUTH: &str = "YW5uOmh1bnRlcjI6eA==";

    #[test]
    fn a_name_and_password_become_the_engines_header() {
        let config = format!(r#"{{"auths":{{"localhost:5000":{{"auth":"{AUTH}"}}}}}}"#);
        let said = header(find(&config, "localhost:5000/x"));
        let wanted = serde_json::json!({
            "serveraddress": "localhost:5000", "username": "ann", "password": "hunter2:x"
        });
        assert_eq!(said, wanted);
        assert_eq!(find(&config, "localhost:5001/x"), Ok(Found::Nothing), "the port belongs to it");
        assert_eq!(find(&config, "x"), Ok(Found::Nothing));
    }

    #[test]
    fn a_registry_is_found_under_every_form_of_its_key() {
        for (key, reference) in [
            ("https://index.docker.io/v1/", "node"),
            ("index.docker.io", "ann/x"),
            ("docker.io", "docker.io/x"),
            ("registry-1.docker.io", "x"),
            ("ghcr.io", "ghcr.io/x"),
            ("https://ghcr.io", "ghcr.io/x"),
            ("http://ghcr.io/v2/", "ghcr.io/x"),
            ("https://reg.io:8443/v1/", "reg.io:8443/x"),
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{AUTH}"}}}}}}"#);
            assert_eq!(header(find(&config, reference))["serveraddress"], key, "{reference}");
        }
    }

    #[test]
    fn the_key_that_is_the_host_beats_one_that_only_has_it() {
        let config = r#"{"auths":{"http://a.io":{"username":"u","password":"1"},"a.io":{"username":"u","password":"2"}}}"#;
        assert_eq!(header(find(config, "a.io/x"))["password"], "2");
    }

    #[test]
    fn tokens_are_handed_on_as_tokens() {
        let config = format!(r#"{{"auths":{{"a.io":{{"auth":"{AUTH}","identitytoken":"t"}}}}}}"#);
        let said = header(find(&config, "a.io/x"));
        assert_eq!((&said["identitytoken"], &said["password"]), (&"t".into(), &().into()));
        let auth = of_answer("a.io", br#"{"ServerURL":"a.io","Username":"<token>","Secret":"t"}"#);
        assert_eq!(header(Ok(Found::Auth(auth.unwrap())))["identitytoken"], "t");
    }

    #[test]
    fn the_registrys_helper_beats_the_store_and_the_store_beats_the_file() {
        let config = format!(
            r#"{{"auths":{{"a.io":{{"auth":"{AUTH}"}}}},"credHelpers":{{"b.io":"ecr-login","c.io":""}},"credsStore":"pass"}}"#
        );
        let asks = |reference| match find(&config, reference).unwrap() {
            Found::Ask { helper, server } => format!("{} {server}", helper.as_str()),
            found => format!("{found:?}"),
        };
        assert_eq!(asks("a.io/x"), "pass a.io");
        assert_eq!(asks("b.io/x"), "ecr-login b.io");
        assert_eq!(asks("node"), "pass https://index.docker.io/v1/");
        assert_eq!(asks("c.io/x"), "pass c.io");
    }

    #[test]
    fn each_registry_of_the_file_is_named_once_and_what_is_none_not_at_all() {
        let config = r#"{"credsStore":"pass","credHelpers":{"b.io":"ecr-login","c.io":"","a.io":"x"},"auths":{
            "https://index.docker.io/v1/":{},"docker.io":{},"registry-1.docker.io":{},"a.io":{},"https://a.io/v1/":{},
            "http://reg.io:8443/v2/":{},"localhost:5000/team":{},"node":{},"":{},"https://":{},"a b.io":{},"a.io\nd.io":{}}}"#;
        let config = DockerConfig::parse(config).unwrap();
        let found = config.one_of_each();
        let servers: Vec<&str> = found.iter().map(|image| server_of(image.registry())).collect();
        let wanted =
            ["a.io", "b.io", "https://index.docker.io/v1/", "localhost:5000", "reg.io:8443"];
        assert_eq!(servers, wanted);
    }

    #[test]
    fn what_docker_leaves_behind_for_a_store_is_nothing() {
        assert_eq!(
            find(r#"{"auths":{"a.io":{}},"credHelpers":null}"#, "a.io/x"),
            Ok(Found::Nothing)
        );
        assert_eq!(find("{}", "a.io/x"), Ok(Found::Nothing));
    }

    #[test]
    fn bad_entries_are_errors_that_say_no_secret() {
        for (auth, why) in [("h!nter2", "base64"), ("aHVudGVyMg==", "colon"), ("/w==", "UTF-8")] {
            let config = format!(r#"{{"auths":{{"a.io":{{"auth":"{auth}"}}}}}}"#);
            let error = find(&config, "a.io/x").unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("a.io"), "{error}");
            assert!(!error.contains(auth) && !error.contains("hunter2"), "{error}");
        }
        let error = DockerConfig::parse(r#"{"auths":{"a.io":"hunter2"}}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_helpers_name_is_a_word_and_no_path_or_flag() {
        for name in ["../x", "/bin/sh", "a b", "-x", ".", "a;b", "é"] {
            let config = format!(r#"{{"credsStore":"{name}"}}"#);
            let error = find(&config, "x").unwrap_err();
            assert_eq!(error, CredentialsError::HelperName(name.to_owned()), "{name}");
        }
    }

    #[test]
    fn nothing_here_prints_a_secret() {
        let config = format!(r#"{{"auths":{{"a.io":{{"auth":"{AUTH}","password":"hunter2"}}}}}}"#);
        let config = DockerConfig::parse(&config).unwrap();
        let printed = format!("{config:?} {:?}", config.find(&image("a.io/x")).unwrap());
        assert!(printed.contains("a.io") && !printed.contains("hunter2"), "{printed}");
        assert!(!printed.contains(AUTH), "{printed}");
    }
}
