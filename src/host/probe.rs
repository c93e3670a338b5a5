//! Looking at the host: paths and secrets, as facts. Nothing is changed, and no value of a secret is in the answer.

use std::fs::FileType;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::beneath;
use super::secret::{self, Secret, SecretError};
use crate::resource::effective::SecretKeyRef;
use crate::world::facts::{CredentialsFact, Facts, FactsWanted, PathFact, PathKind, SecretFact};
use crate::world::worktree;

/// Looks at everything that is wanted. `keyed_hash` is keyed with a key of the state directory.
///
/// Blocks on the file system; a path on a dead network mount blocks for as long as the kernel does.
pub fn probe(
    wanted: &FactsWanted,
    secrets_directory: Option<&Path>,
    keyed_hash: &dyn Fn(&[u8]) -> String,
) -> Facts {
    let read = |reference: &SecretKeyRef| {
        secrets_directory.map_or(Err(SecretError::Missing), |dir| secret::read(dir, reference))
    };
    let hash = |secret: &Secret| keyed_hash(secret.bytes());
    Facts {
        // The engine's to tell.
        default_runtime: None,
        builds: std::collections::BTreeMap::new(),
        git: wanted
            .paths
            .iter()
            .filter_map(|path| Some((path.clone(), git_directory(path)?)))
            .collect(),
        paths: wanted.paths.iter().map(|path| (path.clone(), path_fact(path))).collect(),
        secrets: wanted
            .secrets
            .iter()
            .map(|reference| (reference.clone(), secret_fact(&read(reference), hash)))
            .collect(),
        credentials: wanted
            .credentials
            .iter()
            .map(|name| (name.clone(), credentials_fact(name, read, hash)))
            .collect(),
    }
}

/// What the `.git` file in the directory names, when it is a file and names a directory elsewhere.
fn git_directory(path: &str) -> Option<String> {
    let directory = beneath::directory(Path::new(path)).ok()?;
    let found = beneath::read_file(&directory, Path::new(".git"), worktree::MAX_BYTES);
    let (_, content) = found.ok()?;
    worktree::needed_directory(path, &content?)
}

fn path_fact(path: &str) -> PathFact {
    let look = || -> std::io::Result<PathFact> {
        let real = std::fs::canonicalize(path)?;
        let metadata = std::fs::metadata(&real)?;
        let Ok(real) = real.into_os_string().into_string() else {
            return Ok(PathFact::Unreadable("its real path is not UTF-8".to_owned()));
        };
        Ok(PathFact::Present {
            real,
            kind: kind_of(metadata.file_type()),
            uid: metadata.uid(),
            identity: (metadata.dev(), metadata.ino()),
        })
    };
    look().unwrap_or_else(|cause| match cause.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => PathFact::Missing,
        _ => PathFact::Unreadable(cause.to_string()),
    })
}

fn kind_of(file_type: FileType) -> PathKind {
    if file_type.is_dir() {
        PathKind::Directory
    } else if file_type.is_file() {
        PathKind::File
    } else if file_type.is_socket() {
        PathKind::Socket
    } else {
        PathKind::Other
    }
}

fn secret_fact(
    found: &Result<Secret, SecretError>,
    hash: impl Fn(&Secret) -> String,
) -> SecretFact {
    match found {
        Ok(secret) => SecretFact::Present { hash: hash(secret) },
        Err(SecretError::Missing) => SecretFact::Missing,
        Err(SecretError::Unusable(why)) => SecretFact::Unusable(why.clone()),
    }
}

/// The file with the agent's OAuth token, in its credentials' directory.
pub(super) const OAUTH_TOKEN: &str = "oauth-token";
/// The file with the agent's API key.
pub(super) const API_KEY: &str = "api-key";

fn credentials_fact(
    name: &str,
    read: impl Fn(&SecretKeyRef) -> Result<Secret, SecretError>,
    hash: impl Fn(&Secret) -> String,
) -> CredentialsFact {
    let file = |key: &str| read(&SecretKeyRef { name: name.to_owned(), key: key.to_owned() });
    match (file(OAUTH_TOKEN), file(API_KEY)) {
        (Ok(token), Err(SecretError::Missing)) => {
            CredentialsFact::OauthToken { hash: hash(&token) }
        }
        (Err(SecretError::Missing), Ok(key)) => CredentialsFact::ApiKey { hash: hash(&key) },
        (Err(SecretError::Missing), Err(SecretError::Missing)) => CredentialsFact::Missing,
        (Err(SecretError::Unusable(why)), _) | (_, Err(SecretError::Unusable(why))) => {
            CredentialsFact::Unusable(why)
        }
        (Ok(_), Ok(_)) => CredentialsFact::Unusable(format!(
            "{name} holds both {OAUTH_TOKEN} and {API_KEY}: keep one"
        )),
    }
}
