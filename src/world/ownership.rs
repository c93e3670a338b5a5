//! Whose an instance is on an engine. The labels of the anchor volume name the holder: a state directory, and the process that works
//! on it. A copied state directory has the same ID, so the ID alone does not tell two operators apart.

use uuid::Uuid;

use crate::resource::ResourceName;

/// Who holds an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// Made with the store, and copied with it.
    pub state_id: String,
    /// Which process. `None`: the anchor was made by a version that did not say.
    pub process: Option<Uuid>,
    /// Where that process keeps its state.
    pub place: StatePlace,
}

/// Where a state directory is. A lock in it admits one process at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatePlace {
    /// Of the kernel that the process runs on. Another one means that the process is gone. Empty: unknown.
    pub boot_id: String,
    /// Device and inode number of the directory. They stay the same when it is renamed, and differ in a copy. Empty: unknown.
    pub inode: String,
    /// Its path, for people.
    pub path: String,
}

/// What an operator knows when it reads the anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What its own anchor says.
    pub ours: Holder,
    /// `--takeover`, until it was granted.
    pub takeover: bool,
    /// Did this state directory hold the instance on this engine before? If not, containers without an anchor are another's.
    pub held_before: bool,
    /// Has this process held it? Then a process that has taken it since is alive.
    pub held_by_us: bool,
}

/// What follows from the holder that the anchor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This process holds the instance.
    Ours,
    /// The holder was an earlier process of this state directory and is gone: the anchor is replaced.
    Succeed,
    /// Another operator held it, and a person said that it is gone.
    TakeOver,
    /// Another operator holds it.
    Refused,
}

impl Claim {
    /// May this process act for the instance?
    pub fn judge(&self, found: &Holder) -> Verdict {
        let ours = &self.ours;
        if found.state_id == ours.state_id && found.process == ours.process {
            return Verdict::Ours;
        }
        match (self.is_predecessor(found), self.takeover) {
            (true, _) => Verdict::Succeed,
            (false, true) => Verdict::TakeOver,
            (false, false) => Verdict::Refused,
        }
    }

    /// Is it surely an earlier process of our state directory?
    fn is_predecessor(&self, found: &Holder) -> bool {
        let StatePlace { boot_id, inode, path: _ } = &found.place;
        let ours = &self.ours.place;
        if found.state_id != self.ours.state_id {
            return false;
        }
        let same_boot = boot_id.is_empty() || ours.boot_id.is_empty() || *boot_id == ours.boot_id;
        // We hold the directory's lock, so no other process works on it. What it sent before its end may arrive late.
        if same_boot && !inode.is_empty() && *inode == ours.inode {
            return true;
        }
        // It ended with its kernel, or its version was stopped for the update. It cannot have taken the instance from us.
        !self.held_by_us && (!same_boot || found.process.is_none())
    }

    /// What a person is told who starts, or whose operator is replaced.
    pub fn refusal(&self, instance: &ResourceName, found: &Holder) -> String {
        let path = match found.place.path.as_str() {
            "" => "unknown".to_owned(),
            path => path.to_owned(),
        };
        let (who, way_out) = if found.state_id == self.ours.state_id {
            (format!("an operator on a copy of this state directory, {path},"), "remove the copy")
        } else {
            (
                format!("another operator (state directory {path})"),
                "use --instance for a second one",
            )
        };
        format!(
            "{who} holds instance `{instance}` on this engine, and this one changes nothing: {way_out}, or start with --takeover if the \
             other is gone for good"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(boot: &str, inode: &str) -> StatePlace {
        StatePlace { boot_id: boot.to_owned(), inode: inode.to_owned(), path: "/s".to_owned() }
    }

    fn holder(state: &str, process: Option<u128>, place: StatePlace) -> Holder {
        Holder { state_id: state.to_owned(), process: process.map(Uuid::from_u128), place }
    }

    fn claim(takeover: bool, held_by_us: bool) -> Claim {
        let ours = holder("s", Some(1), place("boot", "8:1"));
        Claim { ours, takeover, held_before: true, held_by_us }
    }

    #[test]
    fn a_holder_is_judged_by_state_process_boot_and_directory() {
        use Verdict::{Ours, Refused, Succeed, TakeOver};
        let no_place = StatePlace::default;
        // Found; then: at start, at start with --takeover, and after this process held it.
        let table = [
            (holder("s", Some(1), place("boot", "8:1")), [Ours, Ours, Ours]),
            // A process before this one.
            (holder("s", Some(2), place("boot", "8:1")), [Succeed, Succeed, Succeed]),
            (holder("s", Some(2), place("earlier", "8:1")), [Succeed, Succeed, Refused]),
            (holder("s", Some(2), place("earlier", "9:9")), [Succeed, Succeed, Refused]),
            (holder("s", None, no_place()), [Succeed, Succeed, Refused]),
            // A copy of the directory, beside us.
            (holder("s", Some(2), place("boot", "8:2")), [Refused, TakeOver, Refused]),
            (holder("s", Some(2), no_place()), [Refused, TakeOver, Refused]),
            // Another directory.
            (holder("t", Some(2), place("boot", "8:1")), [Refused, TakeOver, Refused]),
            (holder("t", Some(1), place("boot", "8:1")), [Refused, TakeOver, Refused]),
            (holder("t", None, no_place()), [Refused, TakeOver, Refused]),
            (holder("", None, no_place()), [Refused, TakeOver, Refused]),
        ];
        for (found, wanted) in table {
            let judged = [claim(false, false), claim(true, false), claim(false, true)]
                .map(|claim| claim.judge(&found));
            assert_eq!(judged, wanted, "{found:?}");
        }
    }

    #[test]
    fn an_unknown_boot_or_inode_proves_nothing() {
        let mut claim = claim(false, false);
        claim.ours.place = StatePlace::default();
        let found = holder("s", Some(2), place("boot", "8:1"));
        assert_eq!(claim.judge(&found), Verdict::Refused);
        claim.ours.place = place("", "");
        assert_eq!(claim.judge(&holder("s", Some(2), place("", ""))), Verdict::Refused);
    }
}
