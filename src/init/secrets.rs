//! The form in which secrets reach a container: `NAME=value`, each ended by a NUL.
//!
//! Written by the host to a tmpfs, read by init as the container's user, exported at exec. A value may hold anything but
//! a NUL, line breaks too. The text of an error never holds a value.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// All of a container's secrets together are at most so long: beside the arguments they must fit into what the kernel
/// gives a new program (a quarter of the stack's limit, 2 MiB by default).
pub const MAX_BYTES: usize = 1024 * 1024;

/// Why secrets could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file is there and cannot be read.
    #[error("failed to read secrets from {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not of this form.
    #[error("{} is no secrets file", .0.display())]
    Malformed(PathBuf),
}

/// One name and its value.
pub type Variable = (OsString, OsString);

/// Puts names and values into the file's form. `None` when a name or value cannot be an environment variable, or all
/// are too long.
pub fn encode<'a>(variables: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains(&0) {
            return None;
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    (bytes.len() <= MAX_BYTES).then_some(bytes)
}

/// Takes the file's form apart. `None` when it is not of that form.
pub fn decode(bytes: &[u8]) -> Option<Vec<Variable>> {
    let Some((last, entries)) = bytes.split_last() else { return Some(Vec::new()) };
    if *last != 0 {
        return None;
    }
    let variable = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        let (name, value) = entry.split_at_checked(at)?;
        let value = value.get(1..)?;
        Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    };
    entries.split(|byte| *byte == 0).map(variable).collect()
}

/// Reads the secrets of this container. No file means no secrets: the demo image has its init without a chanop.
pub fn load(path: &Path) -> Result<Vec<Variable>, SecretsError> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let bound = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(path)?.take(bound).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() <= MAX_BYTES => {
            decode(&bytes).ok_or_else(|| SecretsError::Malformed(path.to_owned()))
        }
        Ok(_) => Err(SecretsError::Malformed(path.to_owned())),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(SecretsError::Read { path: path.to_owned(), cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let bytes = encode([("A", &b"x=y\nz"[..]), ("B", b""), ("C", b"\xff")]).unwrap();
        let decoded = decode(&bytes).unwrap();
        let pairs: Vec<(Vec<u8>, Vec<u8>)> =
            decoded.into_iter().map(|(n, v)| (n.into_vec(), v.into_vec())).collect();
        assert_eq!(
            pairs,
            [
                (b"A".to_vec(), b"x=y\nz".to_vec()),
                (b"B".to_vec(), b"".to_vec()),
                (b"C".to_vec(), b"\xff".to_vec())
            ]
        );
        assert_eq!(decode(b"").unwrap(), vec![]);
    }

    #[test]
    fn what_cannot_be_an_environment_variable_is_refused() {
        for (name, value) in [("", &b"x"[..]), ("A=B", b"x"), ("A", b"x\0y"), ("A\0", b"x")] {
            assert_eq!(encode([(name, value)]), None, "{name}");
        }
        for bytes in [&b"A=1"[..], b"A\0", b"=1\0", b"A=1\0\0"] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn secrets_have_a_bound() {
        let long = vec![b'x'; MAX_BYTES];
        assert_eq!(encode([("A", long.as_slice())]), None);
    }
}
