//! Users and groups of the host. A container that runs as one of them can leave a setuid or setgid program in a directory that the
//! host shares with it, and so lend that user's or group's rights to everybody on the host.

use std::collections::BTreeMap;

use super::{Denial, Rule, root_denied, root_group_denied};
use crate::resource::Owner;
use crate::resource::condition::Reason;

/// What the host's user and group files name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAccounts {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl HostAccounts {
    /// Reads the texts of `/etc/passwd` and `/etc/group`. A user's primary group counts, whether or not it has a name.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let mut accounts = Self::default();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields.as_slice() else { continue };
            if let Ok(uid) = uid.parse() {
                accounts.users.insert(uid, (*name).to_owned());
            }
            if let Ok(gid) = gid.parse() {
                accounts.groups.insert(gid, (*name).to_owned());
            }
        }
        for line in group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let [name, _, gid, ..] = fields.as_slice()
                && let Ok(gid) = gid.parse()
            {
                accounts.groups.insert(gid, (*name).to_owned());
            }
        }
        accounts
    }
}

/// Judges `user: Image` when the image is known: neither root, nor a user or group of the host other than the owner's.
/// `accounts` is `None` where the host's files cannot be read.
pub fn admit_image_user(
    (uid, gid): (u32, u32),
    owner: &Owner,
    accounts: Option<&HostAccounts>,
) -> Option<Denial> {
    let denied = |message: String| {
        Some(Denial {
            rule: Rule::NoForeignUser,
            reason: Reason::PolicyViolation,
            path: "spec.user".to_owned(),
            message,
        })
    };
    if let Some(denial) = root_denied(uid).or_else(|| root_group_denied(gid)) {
        return Some(denial);
    }
    if (uid, gid) == (owner.uid, owner.gid) {
        return None;
    }
    let Some(accounts) = accounts else {
        return denied(format!(
            "whether {uid}:{gid} belongs to somebody on this host is unknown: /etc/passwd or /etc/group cannot be read"
        ));
    };
    if uid != owner.uid
        && let Some(name) = accounts.users.get(&uid)
    {
        return denied(format!("uid {uid} is user {name} of this host"));
    }
    if gid != owner.gid
        && let Some(name) = accounts.groups.get(&gid)
    {
        return denied(format!("gid {gid} is group {name} of this host"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_user_is_nobody_else_of_the_host() {
        let owner =
            Owner { user: "u".to_owned(), uid: 1000, gid: 1000, home: "/home/u".to_owned() };
        let accounts = HostAccounts::parse(
            "root:x:0:0::/:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\nann:x:1001:1777::/home/ann:/bin/sh\n# no line\n+\n",
            "root:x:0:\ndocker:x:105:u\n+\n",
        );
        let judged = |uid, gid, accounts: Option<&HostAccounts>| {
            admit_image_user((uid, gid), &owner, accounts).map(|denial| denial.message)
        };
        for (uid, gid) in [(1000, 1000), (65532, 65532), (1000, 65532), (65532, 1000)] {
            assert_eq!(judged(uid, gid, Some(&accounts)), None, "{uid}:{gid}");
        }
        for (uid, gid, why) in [
            (0, 1000, "uid 0"),
            (1000, 0, "gid 0"),
            (1000, 105, "gid 105 is group docker of this host"),
            (1001, 1000, "uid 1001 is user ann of this host"),
            (65532, 1777, "gid 1777 is group ann of this host"),
        ] {
            let message = judged(uid, gid, Some(&accounts)).unwrap();
            assert!(message.contains(why), "{message}");
        }
        assert_eq!(judged(1000, 1000, None), None);
        assert!(judged(65532, 65532, None).unwrap().contains("cannot be read"));
    }
}
