//! `/etc/passwd` and `/etc/group` of a container: the user has a name there, and a home.
//!
//! Without a line of their own, git, ssh and Python's `getpass` fail for the user's number.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::world::preparation::Preparation;

/// Every image has it; the login shell is chosen by init.
const SHELL: &str = "/bin/sh";
const NOBODY: u32 = 65534;

/// The user's name: the owner's where it is the owner, and fit for the file.
fn name_of(preparation: &Preparation) -> &str {
    let owner = &preparation.owner;
    let fit = |name: &str| {
        name.len() <= 32
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
            && !matches!(name, "root" | "nobody" | "nogroup")
    };
    if preparation.user.uid == owner.uid && fit(&owner.user) { &owner.user } else { "agent" }
}

/// `/etc/passwd`.
pub(super) fn passwd(preparation: &Preparation) -> String {
    let (uid, gid) = (preparation.user.uid, preparation.user.gid);
    // A home that could break the line is none that a login may have.
    let home = Some(preparation.owner.home.as_str())
        .filter(|home| !home.contains([':', '\n']))
        .unwrap_or("/");
    let root_home = if uid == 0 { home } else { "/root" };
    let mut text = format!("root:x:0:0:root:{root_home}:{SHELL}\n");
    if uid != 0 && uid != NOBODY {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}:x:{uid}:{gid}::{home}:{SHELL}", name = name_of(preparation));
    }
    let nobody_home = if uid == NOBODY { home } else { "/nonexistent" };
    let _ = writeln!(text, "nobody:x:{NOBODY}:{NOBODY}:nobody:{nobody_home}:{SHELL}");
    text
}

/// `/etc/group`.
pub(super) fn group(preparation: &Preparation) -> String {
    let name = name_of(preparation);
    let mut text = String::from("root:x:0:\n");
    let mut seen = BTreeSet::from([0, NOBODY]);
    if seen.insert(preparation.user.gid) {
        let _ = writeln!(text, "{name}:x:{}:", preparation.user.gid);
    }
    for gid in &preparation.groups {
        if seen.insert(*gid) {
            let _ = writeln!(text, "g{gid}:x:{gid}:{name}");
        }
    }
    let _ = writeln!(text, "nogroup:x:{NOBODY}:");
    text
}
