//! Which files are taken, under which names, and what is never read.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use chanop::specs::scan_once;
use chanop::world::scan::{FileState, RawScan, Root};

use super::{Apart, Specs, apart, clock_ahead, names, refused, text};

#[test]
fn every_yaml_file_below_is_taken_and_nothing_hidden_or_left_by_an_editor() {
    let specs = Specs::new();
    for name in ["a.yaml", "b.yml", "team/c.yaml", "team/deep/er/d.yaml"] {
        specs.write(name, name);
    }
    for name in [
        ".git/x.yaml",
        "..data/x.yaml",
        ".x.yaml",
        "x.yaml~",
        "#x.yaml#",
        "x.yaml.swp",
        "x.yaml.bak",
        "x.json",
    ] {
        specs.write(name, "no");
    }
    let scan = specs.scan();
    assert_eq!(names(&scan), ["a.yaml", "b.yml", "team/c.yaml", "team/deep/er/d.yaml"]);
    assert_eq!(text(&scan, "team/deep/er/d.yaml"), Some("team/deep/er/d.yaml"));
    assert!(scan.proves_absence_of("gone.yaml") && scan.proves_absence_of("team/gone.yaml"));
}

#[test]
fn links_to_files_and_directories_beneath_are_followed_by_their_own_names() {
    let specs = Specs::new();
    specs.write(".store/1/a.yaml", "a");
    specs.write(".store/1/more/b.yaml", "b");
    specs.write("real/c.yaml", "c");
    specs.link("a.yaml", ".store/1/a.yaml");
    specs.link("more", ".store/1/more");
    specs.link("real/up.yaml", "../.store/1/more/../a.yaml");
    specs.link("real/more", "../more");
    let scan = specs.scan();
    // `real/up.yaml` and `real/more` are other names of what is there already.
    assert_eq!(names(&scan), ["a.yaml", "more/b.yaml", "real/c.yaml"]);
    assert!(scan.unreadable.is_empty() && scan.incomplete.is_none());
}

#[test]
fn a_link_to_a_secret_of_the_host_is_refused_and_nothing_of_it_is_shown() {
    let specs = Specs::new();
    fs::write(specs.outside.path().join("token"), "hunter2").unwrap();
    fs::create_dir(specs.outside.path().join("private")).unwrap();
    fs::write(specs.outside.path().join("private/key.yaml"), "hunter2").unwrap();
    specs.link("up.yaml", "../token");
    specs.link("absolute.yaml", specs.outside.path().join("token").to_str().unwrap());
    specs.link("passwd.yaml", "/etc/passwd");
    specs.link("via", "../private");
    specs.write("inner/x.yaml", "x");
    specs.link("twice.yaml", "inner/../../token");
    let scan = specs.scan();
    for name in ["up.yaml", "absolute.yaml", "passwd.yaml", "twice.yaml"] {
        assert_eq!(
            refused(&scan, name),
            Some("is a link that leads out of the spec directory"),
            "{name}"
        );
    }
    assert!(scan.unreadable.contains_key("via"));
    let shown = format!("{scan:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("root:x") && !shown.contains("token"),
        "{shown}"
    );
}

#[test]
fn a_directory_in_the_place_of_a_link_is_not_a_way_out() {
    let specs = Specs::new();
    fs::write(specs.outside.path().join("token.yaml"), "hunter2").unwrap();
    // The link leads to the root, and from there up.
    specs.link("here", ".");
    specs.link("x.yaml", "here/here/../token.yaml");
    assert!(refused(&specs.scan(), "x.yaml").is_some());
}

#[test]
fn links_that_go_round_end() {
    let specs = Specs::new();
    specs.write("a/b/x.yaml", "x");
    specs.link("a/b/up", "..");
    specs.link("self.yaml", "self.yaml");
    specs.link("one.yaml", "two.yaml");
    specs.link("two.yaml", "one.yaml");
    let scan = specs.scan();
    assert_eq!(text(&scan, "a/b/x.yaml"), Some("x"));
    for name in ["self.yaml", "one.yaml", "two.yaml"] {
        assert_eq!(refused(&scan, name), Some("is a link that never ends"), "{name}");
    }
    assert_eq!(scan.files.len(), 4);
}

#[test]
fn many_links_to_many_links_do_not_make_a_large_tree() {
    let specs = Specs::new();
    for level in 0..20 {
        fs::create_dir(specs.path(&format!("d{level:02}"))).unwrap();
        for link in ["a", "b", "c"] {
            specs.link(&format!("d{level:02}/{link}"), &format!("../d{:02}", level + 1));
        }
    }
    specs.write("d20/x.yaml", "x");
    assert_eq!(names(&specs.scan()), ["d20/x.yaml"]);
}

#[test]
fn a_link_to_nothing_is_no_proof_that_the_file_is_gone() {
    let specs = Specs::new();
    specs.link("a.yaml", ".gone/a.yaml");
    specs.link("team", ".gone/team");
    let scan = specs.scan();
    assert!(matches!(scan.files.get("a.yaml"), Some(FileState::Unreadable(_))));
    assert!(!scan.proves_absence_of("team/b.yaml"));
    assert!(scan.proves_absence_of("b.yaml"));
}

#[test]
fn a_pipe_a_socket_and_a_directory_with_the_name_of_a_spec_hang_nobody() {
    let specs = Specs::new();
    super::run("mkfifo", &["x.yaml"], &specs.root());
    let _socket = std::os::unix::net::UnixListener::bind(specs.path("s.yaml")).unwrap();
    specs.write("d.yaml/a.yaml", "a");
    specs.link("to-pipe.yaml", "x.yaml");
    specs.link("to-device.yaml", "/dev/zero");
    let scan = specs.scan();
    assert_eq!(refused(&scan, "x.yaml"), Some("is a named pipe, not a regular file"));
    assert_eq!(refused(&scan, "s.yaml"), Some("is a socket, not a regular file"));
    assert!(refused(&scan, "to-device.yaml").is_some());
    assert_eq!(text(&scan, "d.yaml/a.yaml"), Some("a"));
}

#[test]
fn ten_megabytes_of_brackets_are_refused_for_their_size() {
    let specs = Specs::new();
    specs.write("deep.yaml", "[".repeat(10 << 20));
    specs.write("most.yaml", "#".repeat(1 << 20));
    specs.write("more.yaml", "#".repeat((1 << 20) + 1));
    let scan = specs.scan();
    assert_eq!(refused(&scan, "deep.yaml"), Some("is larger than 1 MiB"));
    assert_eq!(refused(&scan, "more.yaml"), Some("is larger than 1 MiB"));
    assert!(text(&scan, "most.yaml").is_some());
}

/// The codes of what is wrong with a file, of a file that was read.
fn violations(scan: &RawScan, name: &str) -> Vec<String> {
    match scan.files.get(name) {
        Some(FileState::Parsed(file)) => {
            assert!(file.resources.is_empty(), "{file:?}");
            file.violations.iter().filter(|one| one.is_error()).map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn brackets_bombs_binaries_and_torn_files_are_violations_and_cost_little() {
    let specs = Specs::new();
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (one, next) in ('a'..'j').zip('b'..='j') {
        let nine = vec![format!("*{one}"); 9].join(", ");
        writeln!(bomb, "{next}: &{next} [{nine}]").unwrap();
    }
    specs.write("brackets.yaml", "[".repeat(1_000_000));
    specs.write("bomb.yaml", bomb);
    specs.write("binary.yaml", [0xff, 0xfe, 0x00]);
    specs.write("empty.yaml", "");
    specs.write("blank.yaml", " \n\t\n");
    specs.write("half.yaml", "apiVersion: chanop.dev/v1alpha1\nkind: Chan");
    let scan = specs.scan();
    for name in
        ["brackets.yaml", "bomb.yaml", "binary.yaml", "empty.yaml", "blank.yaml", "half.yaml"]
    {
        let violations = violations(&scan, name);
        assert!(!violations.is_empty(), "{name}");
        assert!(violations.iter().all(|one| one.starts_with(name)), "{violations:?}");
    }
    assert!(scan.took < Duration::from_secs(5), "{:?}", scan.took);
}

#[test]
fn a_name_that_would_move_the_cursor_is_written_in_escapes() {
    let specs = Specs::new();
    specs.write("\u{1b}[2Jx.yaml", "x");
    assert_eq!(names(&specs.scan()), ["\\x1b[2Jx.yaml"]);
}

#[test]
fn a_tree_deeper_than_anybody_writes_is_not_followed_to_its_end() {
    let specs = Specs::new();
    specs.write(&format!("{}x.yaml", "d/".repeat(32)), "x");
    specs.write(&format!("{}y.yaml", "e/".repeat(33)), "y");
    let scan = specs.scan();
    assert_eq!(scan.files.len(), 1);
    assert!(!scan.proves_absence_of(&format!("{}y.yaml", "e/".repeat(33))));
}

#[test]
fn with_more_files_than_are_read_nothing_is_proved_absent() {
    let specs = Specs::new();
    for number in 0..20_001 {
        fs::write(specs.path(&format!("{number}.yaml")), "").unwrap();
    }
    let scan = specs.scan();
    assert_eq!(scan.files.len(), 20_000);
    assert_eq!(scan.incomplete.as_deref(), Some("more than 20000 files: the rest was not read"));
    assert!(!scan.proves_absence_of("gone.yaml"));
}

#[test]
fn what_may_not_be_read_is_not_taken_for_deleted() {
    if !apart(&Apart::Nobody, "specs::tree::what_may_not_be_read_is_not_taken_for_deleted") {
        return;
    }
    let specs = Specs::new();
    let shut = |name: &str, mode| {
        fs::set_permissions(specs.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    specs.write("a.yaml", "a");
    specs.write("file.yaml", "secret");
    specs.write("team/b.yaml", "b");
    specs.write("listed/c.yaml", "c");
    shut("file.yaml", 0o000);
    shut("team", 0o000);
    shut("listed", 0o444);
    let scan = specs.scan();
    assert_eq!(text(&scan, "a.yaml"), Some("a"));
    assert!(matches!(scan.files.get("file.yaml"), Some(FileState::Unreadable(_))));
    assert!(!scan.proves_absence_of("team/b.yaml"));
    assert!(matches!(scan.files.get("listed/c.yaml"), Some(FileState::Unreadable(_))));
    assert!(scan.proves_absence_of("other.yaml"));

    shut("", 0o000);
    let scan = specs.scan();
    assert!(matches!(scan.root, Root::Unavailable { .. }) && scan.files.is_empty());
    assert!(!scan.proves_absence_of("a.yaml"));
    // Otherwise nobody could clean up.
    shut("", 0o755);
    shut("team", 0o755);
    shut("listed", 0o755);
}

#[test]
fn a_root_that_is_missing_says_why() {
    let specs = Specs::new();
    specs.write("a.yaml", "a");
    let reason = |path: &Path| match scan_once(path, &*clock_ahead(0)).root {
        Root::Unavailable { reason } => reason,
        Root::Present(place) => panic!("{place:?}"),
    };
    assert!(reason(&specs.path("nothing")).contains("No such file"));
}

#[test]
fn a_single_file_may_be_named_and_may_be_a_link() {
    let specs = Specs::new();
    specs.write("a.txt", "a");
    specs.link("link", "a.txt");
    let path = specs.path("link");
    let scan = scan_once(&path, &*clock_ahead(0));
    assert_eq!(text(&scan, path.to_str().unwrap()), Some("a"));
}
