//! Which channel may mount which host path, where two channels want paths that contain each other.
//!
//! A channel that can write a directory can replace what is below it. So a source strictly below another channel's writable
//! path is refused, and so is a writable path above another channel's source. (The same path in two channels is sharing, and
//! allowed.) Which of the two is refused depends on who was there first:
//!
//! 1. a path that an existing container has mounted, then
//! 2. a path that a channel was admitted with before and still wants, then
//! 3. a path that an admitted channel wants now, in the order of the channels' names.
//!
//! A refused channel claims nothing, so a hostile spec cannot take a path from a channel that was there before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use super::{Denial, Rule, parent_of};
use crate::resource::ResourceName;
use crate::resource::condition::Reason;

/// Host paths that a channel's containers mount, each with whether they can write it. Sorted, for comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathClaims {
    paths: BTreeMap<String, Claim>,
}

/// How one path is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    writable: bool,
    /// The field of the spec that names it; empty where it is a container's.
    field: String,
}

impl PathClaims {
    /// Adds a path; one that is there twice is writable when either is.
    pub fn insert(&mut self, path: String, writable: bool, field: &str) {
        match self.paths.entry(path) {
            Entry::Occupied(mut there) => there.get_mut().writable |= writable,
            Entry::Vacant(free) => {
                free.insert(Claim { writable, field: field.to_owned() });
            }
        }
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Which paths channels have already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incumbents {
    /// What existing containers have mounted.
    pub containers: BTreeMap<ResourceName, PathClaims>,
    /// What channels were last admitted with.
    pub admitted: BTreeMap<ResourceName, Arc<PathClaims>>,
}

/// How good a claim is. A better one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Wanted now.
    Wanted,
    /// Admitted before, and still wanted.
    Admitted,
    /// An existing container has it mounted.
    Mounted,
}

/// Who claims a path, and how well.
type Claimants<'a> = BTreeMap<&'a ResourceName, Standing>;

/// Every claim that counts so far.
#[derive(Debug, Default)]
struct Ledger<'a> {
    mounted: BTreeMap<&'a str, Claimants<'a>>,
    writable: BTreeMap<&'a str, Claimants<'a>>,
}

impl<'a> Ledger<'a> {
    fn enter(&mut self, channel: &'a ResourceName, path: &'a str, writable: bool, as_: Standing) {
        let tables = [Some(&mut self.mounted), writable.then_some(&mut self.writable)];
        for table in tables.into_iter().flatten() {
            let standing = table.entry(path).or_default().entry(channel).or_insert(as_);
            *standing = as_.max(*standing);
        }
    }

    /// Why `channel` cannot have this path, if another channel's claim is better.
    fn conflict(&self, channel: &ResourceName, path: &str, claim: &Claim) -> Option<Denial> {
        let standing = |table: &BTreeMap<&str, Claimants<'_>>| {
            let known = table.get(path).and_then(|claimants| claimants.get(channel));
            known.copied().unwrap_or(Standing::Wanted)
        };
        let deny = |rule: Rule, message: String| {
            let (reason, path) = (Reason::PolicyViolation, claim.field.clone());
            Some(Denial { rule, reason, path, message })
        };
        let mine = standing(&self.mounted);
        // From the path upwards: ten thousand channels make this a few look-ups, not ten thousand comparisons.
        for parent in std::iter::successors(parent_of(path), |path| parent_of(path)) {
            let claimants = self.writable.get(parent).into_iter().flatten();
            let better = claimants.filter(|(other, theirs)| **other != channel && **theirs >= mine);
            if let Some((other, _)) = better.max_by_key(|(_, theirs)| **theirs) {
                let message = format!("{path} is below {parent}, which channel {other} can write");
                return deny(Rule::NotBelowForeignMount, message);
            }
        }
        if !claim.writable {
            return None;
        }
        let mine = standing(&self.writable);
        let below = format!("{path}/");
        let range = (Bound::Excluded(below.as_str()), Bound::Unbounded);
        let inside = self.mounted.range::<str, _>(range);
        for (inner, claimants) in inside.take_while(|(inner, _)| inner.starts_with(&below)) {
            // Two equal claims that are older than this round: the inner one yields, above.
            let wins = |theirs: Standing| theirs > mine || theirs == Standing::Wanted;
            let better = claimants.iter().find(|(other, it)| **other != channel && wins(**it));
            if let Some((other, _)) = better {
                let message = format!(
                    "{path} contains {inner}, which channel {other} mounts: a channel that can write {path} could replace it"
                );
                return deny(Rule::NotAboveForeignMount, message);
            }
        }
        None
    }
}

/// Judges channels against each other. `candidates` are those that nothing else speaks against, in the order of their names;
/// the answer has an entry for each that is refused.
pub fn conflicts<'a>(
    candidates: impl Iterator<Item = (&'a ResourceName, &'a PathClaims)> + Clone,
    incumbents: &'a Incumbents,
) -> BTreeMap<ResourceName, Vec<Denial>> {
    let mut ledger = Ledger::default();
    for (channel, held) in &incumbents.containers {
        for (path, claim) in &held.paths {
            ledger.enter(channel, path, claim.writable, Standing::Mounted);
        }
    }
    for (channel, wanted) in candidates.clone() {
        let Some(before) = incumbents.admitted.get(channel) else { continue };
        for (path, claim) in &wanted.paths {
            if let Some(old) = before.paths.get(path) {
                let writable = claim.writable && old.writable;
                ledger.enter(channel, path, writable, Standing::Admitted);
            }
        }
    }
    let mut refused = BTreeMap::new();
    for (channel, wanted) in candidates {
        let conflict = |(path, claim): (&String, &Claim)| ledger.conflict(channel, path, claim);
        let denials: Vec<Denial> = wanted.paths.iter().filter_map(conflict).collect();
        if denials.is_empty() {
            for (path, claim) in &wanted.paths {
                ledger.enter(channel, path, claim.writable, Standing::Wanted);
            }
        } else {
            refused.insert(channel.clone(), denials);
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    /// `rw:/path` or `ro:/path`.
    fn claims(paths: &[&str]) -> PathClaims {
        let mut claims = PathClaims::default();
        for path in paths {
            let (mode, path) = path.split_once(':').unwrap();
            claims.insert(path.to_owned(), mode == "rw", "spec.mounts[0].source");
        }
        claims
    }

    type Channels<'a> = &'a [(&'a str, &'a [&'a str])];

    fn refused(wanted: Channels<'_>, containers: Channels<'_>, admitted: Channels<'_>) -> String {
        let wanted: BTreeMap<ResourceName, PathClaims> =
            wanted.iter().map(|(channel, paths)| (name(channel), claims(paths))).collect();
        let incumbents = Incumbents {
            containers: containers.iter().map(|(it, paths)| (name(it), claims(paths))).collect(),
            admitted: admitted.iter().map(|(it, paths)| (name(it), claims(paths).into())).collect(),
        };
        let refused = conflicts(wanted.iter(), &incumbents);
        let words = refused.iter().map(|(channel, denials)| {
            let rules: Vec<&str> = denials.iter().map(|denial| denial.rule.as_str()).collect();
            format!("{channel}:{}", rules.join("+"))
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_same_path_is_shared() {
        assert_eq!(refused(&[("a", &["rw:/h/x"]), ("b", &["rw:/h/x"])], &[], &[]), "");
        assert_eq!(refused(&[("a", &["rw:/h/x"]), ("b", &["rw:/h/x2"])], &[], &[]), "");
    }

    #[test]
    fn a_path_inside_a_read_only_one_is_free() {
        assert_eq!(refused(&[("a", &["ro:/h/x"]), ("b", &["rw:/h/x/y"])], &[], &[]), "");
    }

    #[test]
    fn of_two_new_channels_the_first_name_wins() {
        let outer_first: Channels<'_> = &[("a", &["rw:/h/x"]), ("b", &["ro:/h/x/y"])];
        assert_eq!(refused(outer_first, &[], &[]), "b:NotBelowForeignMount");
        let inner_first: Channels<'_> = &[("a", &["ro:/h/x/y"]), ("b", &["rw:/h/x"])];
        assert_eq!(refused(inner_first, &[], &[]), "b:NotAboveForeignMount");
    }

    #[test]
    fn a_new_channel_takes_nothing_from_an_admitted_one() {
        let wanted: Channels<'_> = &[("a", &["rw:/h/x"]), ("b", &["rw:/h/x/y"])];
        assert_eq!(refused(wanted, &[], &[("b", &["rw:/h/x/y"])]), "a:NotAboveForeignMount");
        assert_eq!(refused(wanted, &[("b", &["rw:/h/x/y"])], &[]), "a:NotAboveForeignMount");
        assert_eq!(refused(wanted, &[], &[("a", &["rw:/h/x"])]), "b:NotBelowForeignMount");
    }

    #[test]
    fn a_container_counts_more_than_an_earlier_judgement() {
        let wanted: Channels<'_> = &[("a", &["rw:/h/x"]), ("b", &["rw:/h/x/y"])];
        let found = refused(wanted, &[("b", &["rw:/h/x/y"])], &[("a", &["rw:/h/x"])]);
        assert_eq!(found, "a:NotAboveForeignMount");
    }

    #[test]
    fn a_channel_that_waits_for_a_path_does_not_get_it_by_an_edit_of_its_holder() {
        // `a` has waited for /h/x. `b`, which holds /h/x/y, now wants something more.
        let wanted: Channels<'_> = &[("a", &["rw:/h/x"]), ("b", &["rw:/h/x/y", "ro:/h/z"])];
        assert_eq!(refused(wanted, &[], &[("b", &["rw:/h/x/y"])]), "a:NotAboveForeignMount");
    }

    #[test]
    fn a_path_that_became_writable_is_a_new_claim() {
        let wanted: Channels<'_> = &[("a", &["rw:/h/x"]), ("b", &["ro:/h/x/y"])];
        let before: Channels<'_> = &[("a", &["ro:/h/x"]), ("b", &["ro:/h/x/y"])];
        assert_eq!(refused(wanted, &[], before), "a:NotAboveForeignMount");
    }

    #[test]
    fn a_refused_channel_claims_nothing() {
        // `c` holds /h/x/y, so `a` is refused, and what else it wants is free for `b`.
        let wanted: Channels<'_> =
            &[("a", &["rw:/h/x", "rw:/h/z"]), ("b", &["ro:/h/z/1"]), ("c", &["rw:/h/x/y"])];
        assert_eq!(refused(wanted, &[("c", &["rw:/h/x/y"])], &[]), "a:NotAboveForeignMount");
    }

    #[test]
    fn the_container_of_a_channel_that_is_gone_keeps_its_paths() {
        let wanted: Channels<'_> = &[("b", &["ro:/h/x/y"])];
        assert_eq!(refused(wanted, &[("gone", &["rw:/h/x"])], &[]), "b:NotBelowForeignMount");
    }

    #[test]
    fn what_was_admitted_once_and_is_wanted_no_more_is_free() {
        let wanted: Channels<'_> = &[("a", &["rw:/h/z"]), ("b", &["ro:/h/x/y"])];
        assert_eq!(refused(wanted, &[], &[("a", &["rw:/h/x"])]), "");
    }

    #[test]
    fn a_channel_does_not_stand_in_its_own_way() {
        assert_eq!(refused(&[("a", &["rw:/h/x", "rw:/h/x/y"])], &[("a", &["rw:/h/x"])], &[]), "");
    }
}
