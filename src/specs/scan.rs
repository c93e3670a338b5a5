//! One look at the whole spec directory, taken until it is one state of it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};

use super::NowFn;
use super::beneath::Stillness;
use super::cache::Cache;
use super::limits::Limits;
use super::parse;
use super::place::{self, Steps};
use super::read::{NotRead, Permitted, read_file};
use super::revision;
use super::tree::{Parse, Parsed, Tree, Walk};
use crate::config::WriteRule;
use crate::resource::Now;
use crate::resource::validate::Violation;
use crate::world::scan::{FileState, Identity, ParsedFile, Place, RawScan, Root, Watch};

/// How often a tree that changes while it is read is read again before the scan says so.
const TRIES: usize = 3;

/// Where to listen for changes of what a scan saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listen {
    /// Directories on the way to the root, and the name in each that matters.
    pub(super) way: Steps,
    /// Directories of which everything matters.
    pub(super) whole: Vec<(PathBuf, Identity)>,
    /// The tree did not hold still: look again soon.
    pub(super) unsettled: bool,
}

/// Takes scans of one directory, remembering the last one's files.
#[derive(Debug)]
pub(super) struct Scanner {
    directory: PathBuf,
    limits: Limits,
    cache: Cache,
    parse: Parse,
}

impl Scanner {
    /// For the operator, which needs nothing of a broken file but the reason.
    pub(super) fn new(directory: PathBuf, limits: Limits) -> Self {
        Self { directory, limits, cache: Cache::default(), parse: parse_for_operator }
    }

    /// For a single look that shows every mistake with its line.
    fn for_people(directory: PathBuf) -> Self {
        Self { directory, limits: Limits::default(), cache: Cache::default(), parse }
    }

    /// Looks at everything.
    pub(super) fn scan(&mut self, now: &NowFn) -> (RawScan, Listen) {
        let started = now();
        self.cache.begin(started.wall);
        let mut listen = Listen::default();
        let mut parsed = 0;
        let mut tries = 0;
        loop {
            tries += 1;
            let (place, steps) = place::find(&self.directory);
            listen.way = steps;
            let walked = place
                .map_err(|error| error.to_string())
                .and_then(|place| self.walk(&place).map(|walked| (place, walked)));
            let (place, (mut tree, stillness)) = match walked {
                Ok(walked) => walked,
                Err(reason) => {
                    listen.whole.clear();
                    let reason = format!("{}: {reason}", self.directory.display());
                    return (unavailable(started, now, reason), listen);
                }
            };
            parsed += tree.parsed;
            tree.parsed = parsed;
            listen.whole = whole(&place, &tree);
            if stillness != Stillness::Still && tries < TRIES {
                continue;
            }
            listen.unsettled = stillness != Stillness::Still;
            if listen.unsettled {
                tree = unsettled(tree, stillness);
            } else {
                self.cache.retain(|name| tree.files.contains_key(name));
            }
            return (present(started, now, place, tree), listen);
        }
    }

    /// One walk, and whether it saw one state of the tree. An error is of the root itself.
    fn walk(&mut self, place: &Place) -> Result<(Tree, Stillness), String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, place.real.as_str(), flags, Mode::empty())
            .map_err(|errno| errno.to_string())?;
        let (tree, stillness) =
            Walk::new(root, Path::new(&place.real), &self.limits, &mut self.cache, self.parse)
                .walk();
        if let Some(reason) = tree.unreadable.get("") {
            return Err(reason.clone());
        }
        let same_place = place::find(&self.directory).0.is_ok_and(|after| after == *place);
        Ok((tree, if same_place { stillness } else { Stillness::Swapped }))
    }
}

/// A tree that changed each time. When it may be a mixture of two, no file of it is passed on; else those that were seen are,
/// so that somebody who writes all the time does not keep the others from being heard.
fn unsettled(tree: Tree, stillness: Stillness) -> Tree {
    let reason = "the files changed while they were read, each time".to_owned();
    match stillness {
        Stillness::Swapped => {
            Tree { parsed: tree.parsed, incomplete: Some(reason), ..Tree::default() }
        }
        Stillness::Still | Stillness::Moving => Tree { incomplete: Some(reason), ..tree },
    }
}

/// A scan that saw nothing at all.
pub(super) fn unavailable(started: Now, now: &NowFn, reason: String) -> RawScan {
    of_root(started, now, Root::Unavailable { reason }, Tree::default())
}

fn present(started: Now, now: &NowFn, place: Place, tree: Tree) -> RawScan {
    let data_link = tree.data_link.as_ref().map(|link| link.to_string_lossy());
    let revision = revision::of(&place, data_link.as_deref());
    RawScan { revision, ..of_root(started, now, Root::Present(place), tree) }
}

fn of_root(started: Now, now: &NowFn, root: Root, tree: Tree) -> RawScan {
    RawScan {
        started,
        took: now().mono.saturating_sub(started.mono),
        root,
        files: tree.files,
        directories: tree.directories,
        unreadable: tree.unreadable,
        incomplete: tree.incomplete,
        revision: None,
        watch: Watch::Off,
        parsed: tree.parsed,
    }
}

fn whole(place: &Place, tree: &Tree) -> Vec<(PathBuf, Identity)> {
    let root = Path::new(&place.real);
    tree.real_directories.iter().map(|(path, identity)| (root.join(path), *identity)).collect()
}

/// Looks at `path` once: a directory with all beneath it, or a single file, which may have any name and be a link.
pub fn scan_once(path: &Path, now: &NowFn) -> RawScan {
    if path.is_dir() {
        return Scanner::for_people(path.to_path_buf()).scan(now).0;
    }
    let started = now();
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) => return unavailable(started, now, format!("{}: {error}", path.display())),
    };
    let (Some(directory), Some(entry)) = (real.parent(), real.file_name()) else {
        return unavailable(started, now, format!("{}: no file", path.display()));
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, directory, flags, Mode::empty()).map_err(NotRead::Failed);
    let name = path.to_string_lossy().into_owned();
    let read = |directory: OwnedFd| {
        let owner = fstat(&directory).map_err(NotRead::Failed)?.st_uid;
        let permitted = Permitted { rule: &WriteRule::below(owner), path: &real };
        read_file(directory, entry, &Limits::default(), &permitted)
    };
    let state = match opened.and_then(read) {
        Ok((_, bytes)) => FileState::Parsed(Arc::new(parse(&name, bytes).file)),
        Err(NotRead::Failed(errno)) => FileState::Unreadable(errno.to_string()),
        Err(NotRead::Refused(reason)) => FileState::Refused(reason),
        Err(NotRead::Unstable) => FileState::Unstable,
    };
    let tree = Tree { files: [(name, state)].into(), parsed: 1, ..Tree::default() };
    match place::find(directory).0 {
        Ok(place) => present(started, now, place, tree),
        Err(error) => unavailable(started, now, error.to_string()),
    }
}

/// One file to its objects. What is no text has a violation that says so, and is kept as far as it can be shown.
fn parse(file: &str, bytes: Vec<u8>) -> Parsed {
    let parse::ParsedFile { resources, violations, memory } = parse::parse_bytes(file, &bytes);
    // No limit for what is broken: its content is kept for one look, or not at all.
    let memory = if violations.iter().any(Violation::is_error) { 0 } else { memory };
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Parsed { file: ParsedFile { text: text.into(), resources, violations }, memory }
}

/// The same, without the content of a large file that has an error: its last good content counts, so the memory would be spent on
/// nothing but the mistakes of whoever wrote it.
fn parse_for_operator(file: &str, bytes: Vec<u8>) -> Parsed {
    /// The first error is what a condition shows.
    const VIOLATIONS_KEPT: usize = 3;
    let mut parsed = parse(file, bytes);
    let is_large = parsed.file.text.len() > Limits::default().ordinary_bytes;
    if is_large && parsed.file.violations.iter().any(Violation::is_error) {
        let mut violations = std::mem::take(&mut parsed.file.violations);
        violations.retain(Violation::is_error);
        violations.truncate(VIOLATIONS_KEPT);
        violations.shrink_to_fit();
        parsed.file = ParsedFile { text: "".into(), resources: Vec::new(), violations };
    }
    parsed
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A file that, when it is parsed, does what it says, a step a line: so the tree changes at a known point of a scan.
    fn obey(_: &str, bytes: Vec<u8>) -> Parsed {
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["rename", from, to] => fs::rename(from, to).unwrap(),
                ["write", path, text] => fs::write(path, text).unwrap(),
                // Each time another tree behind the link, whose file does the same again.
                ["swap", link] => {
                    let old = fs::read_link(link).unwrap();
                    let new = format!("{}x", old.display());
                    let root = Path::new(link).parent().unwrap();
                    fs::create_dir(root.join(&new)).unwrap();
                    fs::write(root.join(&new).join("a.yaml"), format!("swap {link}\n# {new}"))
                        .unwrap();
                    fs::remove_file(link).unwrap();
                    symlink(&new, link).unwrap();
                }
                _ => {}
            }
        }
        let memory = 0;
        let file = ParsedFile { text: text.into(), resources: Vec::new(), violations: Vec::new() };
        Parsed { file, memory }
    }

    fn scan(root: &Path) -> (RawScan, Listen) {
        let mut scanner = Scanner::new(root.to_path_buf(), Limits::default());
        scanner.parse = obey;
        let now = Now { mono: std::time::Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        scanner.scan(&move || now)
    }

    #[test]
    fn a_file_that_moves_behind_the_back_of_a_scan_is_not_missed() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        for directory in ["a", "b", "c"] {
            fs::create_dir(path(directory)).unwrap();
        }
        fs::write(path("c/y.yaml"), "y").unwrap();
        // When `b` is read, `a` has been and `c` has not.
        fs::write(path("b/x.yaml"), format!("rename {} {}", path("c/y.yaml"), path("a/y.yaml")))
            .unwrap();
        let (scan, listen) = scan(root.path());
        assert_eq!(scan.files.keys().collect::<Vec<_>>(), ["a/y.yaml", "b/x.yaml"]);
        assert!(scan.proves_absence_of("c/y.yaml") && !listen.unsettled);
    }

    #[test]
    fn a_link_swapped_after_it_was_followed_is_followed_again() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        fs::create_dir(path(".old")).unwrap();
        fs::create_dir(path(".new")).unwrap();
        symlink(".old", path(".data")).unwrap();
        symlink(".new", path(".next")).unwrap();
        symlink(".data/a.yaml", path("a.yaml")).unwrap();
        fs::write(path(".old/a.yaml"), format!("rename {} {}", path(".next"), path(".data")))
            .unwrap();
        fs::write(path(".new/a.yaml"), "new").unwrap();
        let (scan, _) = scan(root.path());
        assert!(matches!(&scan.files["a.yaml"], FileState::Parsed(file) if &*file.text == "new"));
    }

    #[test]
    fn a_tree_swapped_each_time_shows_no_file_and_proves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        fs::create_dir(path(".0")).unwrap();
        symlink(".0", path(".data")).unwrap();
        symlink(".data/a.yaml", path("a.yaml")).unwrap();
        fs::write(path(".0/a.yaml"), format!("swap {}", path(".data"))).unwrap();
        let (scan, listen) = scan(root.path());
        assert!(scan.files.is_empty() && !scan.proves_absence_of("a.yaml") && listen.unsettled);
    }

    #[test]
    fn large_broken_files_keep_no_content_in_the_operator() {
        let text = format!("kind: Channel\nbad: {}\n", "x".repeat(100_000));
        let parsed = parse_for_operator("a.yaml", text.into_bytes());
        assert!(parsed.file.text.is_empty() && parsed.file.resources.is_empty());
        assert!((1..=3).contains(&parsed.file.violations.len()) && parsed.memory == 0);
        assert!(parsed.file.violations.iter().all(Violation::is_error));
    }

    #[test]
    fn large_files_share_a_limit_and_spare_the_others() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        put("a.yaml", &"#".repeat(3_000));
        put("b.yaml", &"#".repeat(3_000));
        put("c.yaml", "#");
        let limits = Limits { ordinary_bytes: 1_000, large_bytes: 2_500, ..Limits::default() };
        let mut scanner = Scanner::new(root.path().to_path_buf(), limits);
        scanner.parse = obey;
        let now = Now { mono: std::time::Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        let mut scan = || scanner.scan(&move || now).0;
        for parsed in [3, 0] {
            let scan = scan();
            assert_eq!(scan.parsed, parsed);
            assert!(matches!(scan.files["a.yaml"], FileState::Parsed(_)));
            let FileState::Refused(why) = &scan.files["b.yaml"] else { panic!("{:?}", scan.files) };
            assert!(why.starts_with("needs 2 KiB of memory"), "{why}");
            assert!(
                matches!(scan.files["c.yaml"], FileState::Parsed(_)) && scan.incomplete.is_none()
            );
        }
        fs::remove_file(root.path().join("a.yaml")).unwrap();
        let scan = scan();
        assert_eq!(scan.parsed, 1);
        assert!(matches!(scan.files["b.yaml"], FileState::Parsed(_)));
    }

    fn chmod(path: impl AsRef<Path>, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;

        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_and_directories_that_others_can_write_are_not_used() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for directory in ["good", "open", ".hidden"] {
            fs::create_dir(path(directory)).unwrap();
            fs::write(path(directory).join("a.yaml"), "x").unwrap();
            chmod(path(directory), 0o755);
            chmod(path(directory).join("a.yaml"), 0o644);
        }
        fs::write(path("file.yaml"), "x").unwrap();
        chmod(path("file.yaml"), 0o666);
        chmod(path("open"), 0o777);
        chmod(path(".hidden"), 0o757);
        symlink(".hidden/a.yaml", path("link.yaml")).unwrap();
        let (found, _) = scan(root.path());
        let real = root.path().canonicalize().unwrap();
        let why = |mode, name: &str| {
            let at = real.join(name).display().to_string();
            format!(
                "can be written by everybody (mode {mode:04o}), so it is not used: chmod go-w {at}"
            )
        };
        assert!(matches!(found.files["good/a.yaml"], FileState::Parsed(_)));
        for (file, said) in
            [("file.yaml", why(0o666, "file.yaml")), ("link.yaml", why(0o757, ".hidden"))]
        {
            assert!(
                matches!(&found.files[file], FileState::Refused(it) if *it == said),
                "{found:?}"
            );
        }
        assert_eq!(found.unreadable["open"], why(0o777, "open"));
        assert!(!found.proves_absence_of("open/a.yaml") && found.proves_absence_of("gone.yaml"));

        // The same file alone, as for `validate`.
        let now = Now { mono: std::time::Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        let alone = scan_once(&path("file.yaml"), &move || now);
        assert!(matches!(alone.files.values().next(), Some(FileState::Refused(_))), "{alone:?}");
        // A chmod is a change of the file, though its content is the same.
        chmod(path("file.yaml"), 0o644);
        assert!(matches!(scan(root.path()).0.files["file.yaml"], FileState::Parsed(_)));
    }

    #[test]
    fn spec_directories_that_others_can_write_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), "x").unwrap();
        chmod(root.path(), 0o777);
        let Root::Unavailable { reason } = scan(root.path()).0.root else { panic!("it was read") };
        assert!(reason.contains("can be written by everybody (mode 0777)"), "{reason}");
        assert!(
            reason.ends_with(&format!(
                "chmod go-w {}",
                root.path().canonicalize().unwrap().display()
            ))
        );
    }
}
