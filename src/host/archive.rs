//! A tar archive that gives a new volume to its user.

use std::io;

use bytes::Bytes;
use tar::{Builder, EntryType, Header};

use super::beneath::Ids;

/// An archive for `/` of nothing but the directory `target`, which lies right beneath it, as `owner`'s.
pub(super) fn of_ownership(target: &str, (uid, gid): Ids) -> io::Result<Bytes> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(0);
    header.set_size(0);
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header, format!("{}/", target.trim_matches('/')), io::empty())?;
    archive.into_inner().map(Bytes::from)
}
