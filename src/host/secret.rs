//! Reading a secret from the secrets directory: `<dir>/<name>/<key>`.
//!
//! A value leaves this room as a keyed hash or into a container's secrets file, and no other way; [`Secret`] does not
//! print it.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Stat, fstat};

use super::beneath::{self, WalkError};
use crate::config::{Access, Objection, WriteRule};
use crate::resource::effective::SecretKeyRef;

/// A secret is at most so long. Keys and tokens are; a certificate chain is as well.
const MAX_BYTES: u64 = 64 * 1024;

/// A value.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretError {
    /// Nothing there.
    Missing,
    /// It must not or cannot be used; the text says what to do.
    Unusable(String),
}

/// Reads one secret.
pub(super) fn read(directory: &Path, reference: &SecretKeyRef) -> Result<Secret, SecretError> {
    let SecretKeyRef { name, key } = reference;
    let (Some(name_path), Some(key_path)) = (plain(name), plain(key)) else {
        return Err(SecretError::Unusable(format!("`{name}/{key}` is no name of a secret")));
    };
    let parent = open_directories(directory, name_path, name)?;
    let (stat, bytes) = beneath::read_file(&parent, key_path, MAX_BYTES)
        .map_err(|e| unusable(&format!("{name}/{key}"), e))?;
    let what = format!("{name}/{key}");
    judge(&stat, &what)?;
    if stat.st_mode & 0o077 != 0 {
        let mode = stat.st_mode & 0o777;
        let text = format!("{what} is open to others (mode {mode:04o}): chmod 600");
        return Err(SecretError::Unusable(text));
    }
    let mut bytes = bytes.ok_or_else(|| {
        SecretError::Unusable(format!("{name}/{key} is longer than {MAX_BYTES} bytes"))
    })?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(SecretError::Unusable(format!("{name}/{key} is empty")));
    }
    if bytes.contains(&0) {
        return Err(SecretError::Unusable(format!(
            "{name}/{key} holds a NUL, which no environment can"
        )));
    }
    Ok(Secret(bytes))
}

/// The directory of the secret `name`. The secrets directory itself is the administrator's word, links and all.
fn open_directories(
    directory: &Path,
    name_path: &Path,
    name: &str,
) -> Result<OwnedFd, SecretError> {
    let real = directory
        .canonicalize()
        .map_err(|cause| unusable("the secrets directory", WalkError::Io(cause)))?;
    for (path, what) in [(real.clone(), "the secrets directory"), (real.join(name_path), name)] {
        let fd = beneath::directory(&path).map_err(|e| unusable(what, e))?;
        let stat = fstat(&fd).map_err(|e| unusable(what, e.into()))?;
        judge(&stat, what)?;
        if what == name {
            return Ok(fd);
        }
    }
    Err(SecretError::Missing)
}

/// Whoever can write a secret, or the directory it lies in, chooses what the agent runs with.
fn judge(stat: &Stat, what: &str) -> Result<(), SecretError> {
    match WriteRule::below(0).objection(Access::of(stat)) {
        None => Ok(()),
        Some(Objection::Owner { uid }) => {
            let text = format!("{what} belongs to user {uid}, not to root or the operator");
            Err(SecretError::Unusable(text))
        }
        Some(objection @ (Objection::Everybody { mode } | Objection::Group { mode, .. })) => {
            let remedy = objection.remedy();
            let text = format!("{what} is open to others (mode {mode:04o}): {remedy}");
            Err(SecretError::Unusable(text))
        }
    }
}

fn unusable(what: &str, error: WalkError) -> SecretError {
    match error {
        WalkError::Missing => SecretError::Missing,
        WalkError::NotReal => SecretError::Unusable(format!("{what} is a link")),
        WalkError::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            SecretError::Missing
        }
        WalkError::Io(cause) => SecretError::Unusable(format!("failed to read {what}: {cause}")),
    }
}

/// One plain component. Names were judged by the parser; a join is judged here all the same.
fn plain(name: &str) -> Option<&Path> {
    let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
    (!bad).then(|| Path::new(name))
}
