//! Who can write what the operator obeys: one rule for specs, prompts, secrets, tokens and the agent's CLI.
//!
//! Whoever can write a spec, the policy or a secret decides what is started as the owner. So a file or directory is used only
//! if nobody but its owner and root can write it. A user's private group counts as that user: the primary group of one user,
//! with the user's name and no other members, which is what distributions with `umask 002` give everybody.
//!
//! Caveat: a group's write permission can also come from an access control list, which is not looked at; with a list, the
//! permission bits show the most that any entry of it grants.

use std::cell::OnceCell;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ConfigError;
use super::owner::{Groups, Passwd};

/// Whose file it is, and what its permission bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits; others are ignored.
    pub mode: u32,
}

impl Access {
    /// Of what was looked at.
    pub fn of(stat: &rustix::fs::Stat) -> Self {
        Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }
    }
}

/// Why a file or directory is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// Everybody can write it.
    Everybody {
        /// Its permission bits.
        mode: u32,
    },
    /// A group can write it, and the group is not the owner alone.
    Group {
        /// The group.
        gid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to a user who decides nothing here.
    Owner {
        /// The user.
        uid: u32,
    },
}

impl Objection {
    /// The command that makes it usable, without the path.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Everybody { mode } | Self::Group { mode, .. } if mode & 0o002 == 0 => "chmod g-w",
            Self::Everybody { .. } | Self::Group { .. } => "chmod go-w",
            Self::Owner { .. } => "chown root",
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody { mode } => write!(f, "can be written by everybody (mode {mode:04o})"),
            Self::Group { gid, mode } => {
                write!(f, "can be written by group {gid} (mode {mode:04o})")
            }
            Self::Owner { uid } => write!(f, "belongs to user {uid}"),
        }
    }
}

/// The rule, with the users and groups of the host. These are read when the first file needs them.
#[derive(Debug, Default)]
pub struct WriteRule {
    /// Users whose files are used; `None` for any, where somebody else judges the owner.
    owners: Option<[u32; 3]>,
    users: OnceCell<(Passwd, Groups)>,
}

impl WriteRule {
    /// Whoever owns the file.
    pub fn of_any_owner() -> Self {
        Self::default()
    }

    /// For files in a directory of `owner`: used are those of `owner`, of this process's user and of root.
    pub fn below(owner: u32) -> Self {
        let process = rustix::process::geteuid().as_raw();
        Self { owners: Some([0, process, owner]), users: OnceCell::new() }
    }

    /// Why a file or directory is not used; `None` when it is.
    pub fn objection(&self, access: Access) -> Option<Objection> {
        let Access { uid, gid, mode } = access;
        if self.owners.is_some_and(|owners| !owners.contains(&uid)) {
            return Some(Objection::Owner { uid });
        }
        if mode & 0o002 != 0 {
            return Some(Objection::Everybody { mode });
        }
        if mode & 0o020 != 0 && !self.is_private_group(gid, uid) {
            return Some(Objection::Group { gid, mode });
        }
        None
    }

    /// Is everybody in the group `gid` the user `uid`?
    fn is_private_group(&self, gid: u32, uid: u32) -> bool {
        // A host without these files has no private groups.
        let (users, groups) = self.users.get_or_init(|| {
            (Passwd::read().unwrap_or_default(), Groups::read().unwrap_or_default())
        });
        users.by_uid(uid).is_some_and(|user| {
            user.gid == gid
                && users.with_group(gid).all(|other| other.uid == uid)
                && groups.by_gid(gid).is_some_and(|group| {
                    group.name == user.name
                        && group.members.iter().all(|member| *member == user.name)
                })
        })
    }
}

/// Refuses a directory or file that others than its owner can write. The path's links are followed.
pub fn check_not_writable_by_others(path: &Path) -> Result<(), ConfigError> {
    let found = std::fs::metadata(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    let access = Access { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 };
    match WriteRule::of_any_owner().objection(access) {
        Some(objection) => {
            Err(ConfigError::WritableByOthers { path: path.to_path_buf(), objection })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_others_can_write_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("specs");
        std::fs::create_dir(&path).unwrap();
        let chmod =
            |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();

        for fine in [0o700, 0o755, 0o555] {
            chmod(fine);
            check_not_writable_by_others(&path).unwrap();
        }
        for bad in [0o757, 0o777, 0o1777] {
            chmod(bad);
            let error = check_not_writable_by_others(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {bad:04o})")), "{error}");
            assert!(error.ends_with(&format!("chmod go-w {}", path.display())), "{error}");
        }

        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(check_not_writable_by_others(&link).is_err());
    }

    /// ann has a private group, bob shares his with carl, dora's has a member, eve's has another name.
    fn rule(owners: Option<[u32; 3]>) -> WriteRule {
        let users = "root:x:0:0::/root:\nann:x:1000:1000::/:\nbob:x:1001:1001::/:\ncarl:x:1002:1001::/:\n\
                     dora:x:1003:1003::/:\neve:x:1004:1004::/:\n";
        let groups = "root:x:0:\nann:x:1000:ann\nbob:x:1001:\ndora:x:1003:ann\nstaff:x:1004:\n";
        let rule = WriteRule { owners, users: OnceCell::new() };
        rule.users.set((Passwd::parse(users), Groups::parse(groups))).unwrap();
        rule
    }

    #[test]
    fn a_private_group_counts_as_its_user() {
        let rule = rule(None);
        let judged = |uid, gid, mode| rule.objection(Access { uid, gid, mode });
        for (uid, gid) in [(0, 0), (1000, 1000)] {
            assert_eq!(judged(uid, gid, 0o775), None, "{uid}");
            assert_eq!(judged(uid, gid, 0o664), None, "{uid}");
        }
        for (uid, gid) in [(1000, 0), (0, 1000), (1001, 1001), (1003, 1003), (1004, 1004), (9, 9)] {
            assert_eq!(judged(uid, gid, 0o755), None, "{uid}");
            let found = judged(uid, gid, 0o775).unwrap();
            assert_eq!(found, Objection::Group { gid, mode: 0o775 });
            assert_eq!(found.remedy(), "chmod g-w");
        }
    }

    #[test]
    fn what_everybody_can_write_is_not_used() {
        let rule = rule(None);
        for mode in [0o666, 0o602, 0o777, 0o1777] {
            let found = rule.objection(Access { uid: 1000, gid: 1000, mode }).unwrap();
            assert_eq!(found, Objection::Everybody { mode });
            assert_eq!(found.remedy(), "chmod go-w");
        }
    }

    #[test]
    fn files_of_a_stranger_are_not_used() {
        let rule = rule(Some([0, 1000, 1001]));
        let judged = |uid| rule.objection(Access { uid, gid: 5, mode: 0o644 });
        assert_eq!((judged(0), judged(1000), judged(1001)), (None, None, None));
        assert_eq!(judged(1003), Some(Objection::Owner { uid: 1003 }));
    }

    #[test]
    fn what_is_not_there_is_said_to_be_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_not_writable_by_others(&dir.path().join("nothing")).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    }
}
