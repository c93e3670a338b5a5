//! Users and groups of the host. A container that runs as one of them can leave a setuid or setgid program in a directory that the
//! host shares with it. Everybody on the host then has the rights of that user or group.

use std::collections::BTreeMap;

use super::{Denial, Rule, root_denied, root_group_denied};
use crate::resource::Owner;
use crate::resource::condition::Reason;

/// Users and groups that the host knows, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAccounts {
    /// Names of users.
    pub users: BTreeMap<u32, String>,
    /// Names of groups; of one without a name, the name of a user whose primary group it is.
    pub groups: BTreeMap<u32, String>,
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
        let names = |names: &[(u32, &str)]| {
            names.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
        };
        let accounts = HostAccounts {
            users: names(&[(0, "root"), (1000, "u"), (1001, "ann")]),
            groups: names(&[(0, "root"), (105, "docker"), (1000, "u"), (1777, "ann")]),
        };
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
