//! Users and groups of this host, for the policy.

use crate::config::{Groups, Passwd};
use crate::world::admission::HostAccounts;

/// `None`: the user file or the group file cannot be read. A user's primary group is included even if it has no name.
pub fn accounts() -> Option<HostAccounts> {
    let (passwd, groups) = (Passwd::read().ok()?, Groups::read().ok()?);
    let users = passwd.entries().map(|user| (user.uid, user.name.clone()));
    let primary = passwd.entries().map(|user| (user.gid, user.name.clone()));
    let named = groups.entries().map(|group| (group.gid, group.name.clone()));
    Some(HostAccounts { users: users.collect(), groups: primary.chain(named).collect() })
}
