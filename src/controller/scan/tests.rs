//! What scans mean, one case a test.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::resource::{Now, ResourceName};
use crate::world::scan::Watch;

const DELAY: Duration = Duration::from_secs(10);

fn channel(name: &str) -> ObjectRef {
    ObjectRef::channel(ResourceName::parse(name).unwrap())
}

fn good(name: &str) -> FileState {
    let text = format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: {name}}}\nspec: {{workspace: {{path: /home/u/{name}}}}}\n"
    );
    parsed(&text)
}

// The parser belongs to another room, which this one may not use: these are made as it makes them.
fn parsed(text: &str) -> FileState {
    let file = crate::specs::parse::parse_file("f.yaml", text);
    FileState::Parsed(Arc::new(ParsedFile {
        text: Arc::from(text),
        resources: file.resources,
        violations: file.violations,
    }))
}

fn scan(at: u64, inode: u64, files: &[(&str, FileState)]) -> RawScan {
    RawScan {
        started: Now { mono: Duration::from_secs(at), wall: Timestamp::UNIX_EPOCH },
        took: Duration::ZERO,
        root: Root::Present(Place {
            identity: (1, inode),
            real: "/specs".to_owned(),
            links: Vec::new(),
        }),
        files: files.iter().map(|(file, state)| ((*file).to_owned(), state.clone())).collect(),
        directories: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        incomplete: None,
        revision: None,
        watch: Watch::Off,
        parsed: 0,
    }
}

fn with(files: &[(&str, FileState)]) -> Sources {
    let mut sources = Sources::default();
    sources.absorb(scan(0, 1, files), DELAY);
    sources
}

#[test]
fn a_file_that_is_missing_twice_and_long_enough_is_gone() {
    let mut sources = with(&[("a.yaml", good("a")), ("b.yaml", good("b"))]);
    let b = [("b.yaml", good("b"))];
    let first = sources.absorb(scan(1, 1, &b), DELAY);
    assert!(first.gone.is_empty());
    assert_eq!(first.rescan_at, Some(Duration::from_secs(11)));
    assert!(sources.absorb(scan(5, 1, &b), DELAY).gone.is_empty());
    let last = sources.absorb(scan(11, 1, &b), DELAY);
    assert_eq!(last.gone, BTreeMap::from([(channel("a"), "a.yaml".to_owned())]));
    assert!(!sources.objects().contains_key(&channel("a")));
}

#[test]
fn a_file_that_comes_back_broken_was_not_deleted() {
    let broken = parsed("kind: [");
    for state in [broken, FileState::Unreadable("x".to_owned()), FileState::Unstable] {
        let mut sources = with(&[("a.yaml", good("a")), ("b.yaml", good("b"))]);
        sources.absorb(scan(1, 1, &[("b.yaml", good("b"))]), DELAY);
        for at in [2, 20, 40] {
            let files = [("b.yaml", good("b")), ("a.yaml", state.clone())];
            assert!(sources.absorb(scan(at, 1, &files), DELAY).gone.is_empty(), "{state:?}");
        }
        let kept = sources.objects().get(&channel("a")).unwrap();
        assert_eq!(kept.trouble.as_ref().map(|(reason, _)| *reason), Some(Reason::SourceInvalid));
    }
}

#[test]
fn a_folder_that_is_closed_meanwhile_proves_nothing() {
    let mut sources = with(&[("t/a.yaml", good("a")), ("b.yaml", good("b"))]);
    sources.absorb(scan(1, 1, &[("b.yaml", good("b"))]), DELAY);
    let mut closed = scan(20, 1, &[("b.yaml", good("b"))]);
    closed.unreadable.insert("t".to_owned(), "permission denied".to_owned());
    assert!(sources.absorb(closed, DELAY).gone.is_empty());
}

#[test]
fn half_of_the_channels_at_once_are_held_until_a_person_says_so() {
    let all: Vec<(String, FileState)> =
        ["a", "b", "c", "d"].iter().map(|n| (format!("{n}.yaml"), good(n))).collect();
    let all: Vec<(&str, FileState)> = all.iter().map(|(f, s)| (f.as_str(), s.clone())).collect();
    let mut sources = with(&all);
    for at in [1, 20, 40] {
        assert!(sources.absorb(scan(at, 1, &all[..1]), DELAY).gone.is_empty());
    }
    assert_eq!(sources.held().count(), 3);
    assert_eq!(sources.confirm(), 3);
    assert_eq!(sources.absorb(scan(50, 1, &all[..1]), DELAY).gone.len(), 3);
}

#[test]
fn what_is_missing_in_another_directory_is_held() {
    let mut sources = with(&[("a.yaml", good("a")), ("b.yaml", good("b"))]);
    for at in [1, 20, 40] {
        assert!(sources.absorb(scan(at, 2, &[("b.yaml", good("b"))]), DELAY).gone.is_empty());
    }
    assert_eq!(sources.held().count(), 1);
    sources.absorb(scan(50, 2, &[("a.yaml", good("a")), ("b.yaml", good("b"))]), DELAY);
    assert_eq!(sources.held().count(), 0, "the file's return ends it");
}

#[test]
fn a_broken_file_keeps_its_last_good_content_over_a_restart() {
    let FileState::Parsed(text) = good("a") else { unreachable!() };
    let stored = BTreeMap::from([("a.yaml".to_owned(), text)]);
    let owners = BTreeMap::from([(channel("a"), "a.yaml".to_owned())]);
    let mut sources = Sources::restore(stored, &owners, &BTreeSet::new(), None, false);
    for at in [1, 20] {
        let outcome = sources.absorb(scan(at, 1, &[("a.yaml", parsed("x: ["))]), DELAY);
        assert!(outcome.gone.is_empty());
    }
    assert!(sources.objects().get(&channel("a")).unwrap().resource().is_some());
}

#[test]
fn a_held_removal_stays_held_while_nobody_can_look_also_over_a_restart() {
    let FileState::Parsed(text) = good("a") else { unreachable!() };
    let stored = BTreeMap::from([("t/a.yaml".to_owned(), text)]);
    let owners = BTreeMap::from([(channel("a"), "t/a.yaml".to_owned())]);
    let mut sources =
        Sources::restore(stored, &owners, &BTreeSet::from([channel("a")]), None, false);
    let mut closed = scan(1, 1, &[("b.yaml", good("b"))]);
    closed.unreadable.insert("t".to_owned(), "permission denied".to_owned());
    sources.absorb(closed, DELAY);
    for at in [2, 20] {
        assert!(sources.absorb(scan(at, 1, &[("b.yaml", good("b"))]), DELAY).gone.is_empty());
    }
    assert_eq!(sources.held().count(), 1);
}
