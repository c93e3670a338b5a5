//! Whose workspaces these are: `--owner`, and the host's passwd and group files.
//!
//! The files are parsed here, because a static binary has no name service. A user who is only in a directory service
//! is named by numbers: `UID:GID:HOME`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::{ConfigError, Environment};
use crate::resource::Owner;

/// The login name of an owner whom the host does not know.
const NAMELESS: &str = "agent";

/// A line of passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdEntry {
    /// The login name.
    pub name: String,
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// The home directory.
    pub home: String,
}

/// The users of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passwd {
    entries: Vec<PasswdEntry>,
}

impl Passwd {
    /// Reads the host's own.
    pub fn read() -> Result<Self, ConfigError> {
        read(Path::new("/etc/passwd")).map(|text| Self::parse(&text))
    }

    /// Reads a text; lines that are none of passwd's (comments, `+` of NIS) are skipped, as the C library does.
    pub fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let home = fields.nth(1)?;
            Some(PasswdEntry { name: name.to_owned(), uid, gid, home: home.to_owned() })
        };
        Self { entries: text.lines().filter_map(entry).collect() }
    }

    /// All of them.
    pub fn entries(&self) -> impl Iterator<Item = &PasswdEntry> {
        self.entries.iter()
    }

    /// The first user of this name.
    pub fn by_name(&self, name: &str) -> Option<&PasswdEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Every user whose primary group this is.
    pub fn with_group(&self, gid: u32) -> impl Iterator<Item = &PasswdEntry> {
        self.entries.iter().filter(move |entry| entry.gid == gid)
    }

    /// The first user with this ID.
    pub fn by_uid(&self, uid: u32) -> Option<&PasswdEntry> {
        self.entries.iter().find(|entry| entry.uid == uid)
    }
}

/// A line of the group file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// Its name.
    pub name: String,
    /// Group ID.
    pub gid: u32,
    /// Login names of users who are in it beside those whose primary group it is.
    pub members: Vec<String>,
}

/// The groups of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    entries: Vec<GroupEntry>,
}

impl Groups {
    /// Reads the host's own.
    pub fn read() -> Result<Self, ConfigError> {
        read(Path::new("/etc/group")).map(|text| Self::parse(&text))
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
            let gid = fields.nth(1)?.parse().ok()?;
            let members = fields.next().unwrap_or_default().split(',').map(str::trim);
            let members = members.filter(|name| !name.is_empty()).map(str::to_owned).collect();
            Some(GroupEntry { name: name.to_owned(), gid, members })
        };
        Self { entries: text.lines().filter_map(entry).collect() }
    }

    /// All of them.
    pub fn entries(&self) -> impl Iterator<Item = &GroupEntry> {
        self.entries.iter()
    }

    /// The first group with this ID.
    pub fn by_gid(&self, gid: u32) -> Option<&GroupEntry> {
        self.entries.iter().find(|group| group.gid == gid)
    }
}

/// The files of ten thousand users are shorter.
const FILE_MAX: u64 = 4 << 20;

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Unreadable { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(failed(io::Error::other(format!("it is longer than {FILE_MAX} bytes"))));
    }
    // The comment field of some user may be Latin-1; that must not hide the others.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `--socket-group`: a name or a number.
pub fn parse_group(text: &str, groups: &Groups) -> Result<u32, ConfigError> {
    groups
        .entries
        .iter()
        .find(|group| group.name == text)
        .map(|group| group.gid)
        .or_else(|| text.parse().ok())
        .ok_or_else(|| ConfigError::NoGroup(text.to_owned()))
}

/// Who this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Effective user ID.
    pub euid: u32,
    /// Effective group ID.
    pub egid: u32,
}

impl Process {
    /// Asks the kernel.
    pub fn current() -> Self {
        Self {
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
        }
    }
}

/// Why the owner cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Root must say it: workspaces of root are hardly ever meant.
    #[error(
        "running as root, so say whose workspaces these are: --owner USER, or --owner UID:GID:HOME"
    )]
    Required,
    /// passwd has no such user.
    #[error("there is no user `{0}` in /etc/passwd; name them by numbers: --owner UID:GID:HOME")]
    NoUser(String),
    /// Neither a name nor numbers.
    #[error("`{0}` is no owner; write --owner USER, or --owner UID:GID:HOME")]
    Malformed(String),
    /// Not a place where a home can be.
    #[error("the home of `{user}` is `{home}`: it must be an absolute path, and not /")]
    Home {
        /// Whose.
        user: String,
        /// What it is said to be.
        home: String,
    },
}

/// `--owner USER` or `UID:GID:HOME`; required for root, else oneself.
pub fn parse_owner(
    text: Option<&str>,
    process: Process,
    environment: &Environment,
    passwd: &Passwd,
) -> Result<Owner, OwnerError> {
    let owner = match text {
        Some(text) if text.contains(':') => by_numbers(text, passwd)?,
        Some(name) => by_name(name, passwd)?,
        None if process.euid == 0 => return Err(OwnerError::Required),
        None => oneself(process, environment, passwd),
    };
    // A home of `/` would put the whole host below the owner's home, and that is where binds are allowed.
    if !owner.home.starts_with('/') || owner.home.trim_matches('/').is_empty() {
        return Err(OwnerError::Home { user: owner.user, home: owner.home });
    }
    let home = real_home(owner.home.trim_end_matches('/'));
    if home == "/" {
        return Err(OwnerError::Home { user: owner.user, home });
    }
    Ok(Owner { home, ..owner })
}

/// The home with every link resolved: where `/home` is a link to `/var/home`, the policy compares real paths, so `~` must be one. A home
/// that is not there yet stays as it is written.
pub fn real_home(home: &str) -> String {
    let real = std::fs::canonicalize(home).ok();
    let real = real.and_then(|path| path.into_os_string().into_string().ok());
    real.unwrap_or_else(|| home.to_owned())
}

fn by_numbers(text: &str, passwd: &Passwd) -> Result<Owner, OwnerError> {
    let malformed = || OwnerError::Malformed(text.to_owned());
    let mut parts = text.splitn(3, ':');
    let mut number =
        || parts.next().and_then(|part| part.parse::<u32>().ok()).ok_or_else(malformed);
    let (uid, gid) = (number()?, number()?);
    let home = parts.next().ok_or_else(malformed)?.to_owned();
    let user = passwd.by_uid(uid).map_or(NAMELESS, |entry| &entry.name).to_owned();
    Ok(Owner { user, uid, gid, home })
}

fn by_name(name: &str, passwd: &Passwd) -> Result<Owner, OwnerError> {
    if name.is_empty() {
        return Err(OwnerError::Malformed(name.to_owned()));
    }
    let entry = passwd.by_name(name).ok_or_else(|| OwnerError::NoUser(name.to_owned()))?;
    let PasswdEntry { name, uid, gid, home } = entry.clone();
    Ok(Owner { user: name, uid, gid, home })
}

/// `$HOME` before passwd's word, since that is what `~` means in the user's shell.
fn oneself(process: Process, environment: &Environment, passwd: &Passwd) -> Owner {
    let entry = passwd.by_uid(process.euid);
    let user = entry
        .map(|entry| entry.name.clone())
        .or_else(|| environment.user.clone())
        .unwrap_or_else(|| NAMELESS.to_owned());
    let home = environment
        .home
        .clone()
        .or_else(|| entry.map(|entry| entry.home.clone()))
        .unwrap_or_default();
    Owner { user, uid: process.euid, gid: process.egid, home }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
# a comment
daemon:x:1:1::/:/usr/sbin/nologin
broken:x:nobody
+::::::
ann:x:1000:1001:Ann,,,:/home/ann/:/bin/zsh
";

    fn parse(text: Option<&str>, euid: u32) -> Result<Owner, OwnerError> {
        let environment =
            Environment { home: Some("/elsewhere/ann".to_owned()), ..Environment::default() };
        let process = Process { euid, egid: 50 };
        parse_owner(text, process, &environment, &Passwd::parse(PASSWD))
    }

    fn owner(user: &str, uid: u32, gid: u32, home: &str) -> Owner {
        Owner { user: user.to_owned(), uid, gid, home: home.to_owned() }
    }

    #[test]
    fn a_name_is_looked_up_in_passwd() {
        assert_eq!(parse(Some("ann"), 0).unwrap(), owner("ann", 1000, 1001, "/home/ann"));
        assert_eq!(parse(Some("bob"), 0).unwrap_err(), OwnerError::NoUser("bob".to_owned()));
    }

    #[test]
    fn numbers_need_no_passwd_and_take_a_name_from_it() {
        assert_eq!(parse(Some("1000:7:/srv/a"), 0).unwrap(), owner("ann", 1000, 7, "/srv/a"));
        assert_eq!(parse(Some("4711:7:/srv/a:b"), 0).unwrap(), owner("agent", 4711, 7, "/srv/a:b"));
        for bad in ["", "1000:7", "ann:7:/home/ann", "-1:7:/home/ann", ":"] {
            let error = parse(Some(bad), 0).unwrap_err();
            assert_eq!(error, OwnerError::Malformed(bad.to_owned()));
        }
    }

    #[test]
    fn root_must_say_whose_workspaces_these_are() {
        assert_eq!(parse(None, 0).unwrap_err(), OwnerError::Required);
    }

    #[test]
    fn a_user_owns_their_own_and_home_is_what_their_shell_says() {
        assert_eq!(parse(None, 1000).unwrap(), owner("ann", 1000, 50, "/elsewhere/ann"));
        assert_eq!(parse(None, 4711).unwrap(), owner("agent", 4711, 50, "/elsewhere/ann"));
    }

    #[test]
    fn a_home_that_is_the_whole_host_or_no_path_is_refused() {
        for bad in ["daemon", "5:5:/", "5:5:home", "5:5:", "5:5://"] {
            assert!(matches!(parse(Some(bad), 0), Err(OwnerError::Home { .. })), "{bad}");
        }
    }

    #[test]
    fn home_behind_a_link_is_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("var/home/ann")).unwrap();
        std::os::unix::fs::symlink("var/home", root.join("home")).unwrap();
        let (link, real) = (root.join("home/ann"), root.join("var/home/ann"));
        for written in [format!("{}", link.display()), format!("{}/", link.display())] {
            let parsed = parse(Some(&format!("5:5:{written}")), 0).unwrap();
            assert_eq!(parsed.home, real.to_str().unwrap());
        }
        std::os::unix::fs::symlink("/", root.join("all")).unwrap();
        let all = format!("5:5:{}", root.join("all").display());
        assert!(matches!(parse(Some(&all), 0), Err(OwnerError::Home { .. })));
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        let groups = Groups::parse("root:x:0:\ndocker:x:998:ann,bob\n");
        assert_eq!(parse_group("docker", &groups).unwrap(), 998);
        assert_eq!(parse_group("1234", &groups).unwrap(), 1234);
        assert!(parse_group("dokcer", &groups).is_err());
    }
}
