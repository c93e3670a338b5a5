//! The host's user and group files.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::world::admission::HostAccounts;

/// Ten thousand users take less.
const FILE_MAX: u64 = 4 << 20;

/// `None`: one of them cannot be read, or is too long.
pub fn accounts() -> Option<HostAccounts> {
    let passwd = read(Path::new("/etc/passwd"))?;
    let group = read(Path::new("/etc/group"))?;
    Some(HostAccounts::parse(&passwd, &group))
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= FILE_MAX).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
