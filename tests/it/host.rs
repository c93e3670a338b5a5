//! The host on a real file system: what is seen of it, and what is made on it.

mod agent;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use chanop::host::{
    Occasion, PrepareError, give_volume, mount_changes, prepare, prepare_run, probe, remove_secrets,
};
use chanop::init::{mounts, secrets};
use chanop::resource::ResourceName;
use chanop::resource::condition::Reason;
use chanop::resource::effective::SecretKeyRef;
use chanop::world::facts::{CredentialsFact, Facts, FactsWanted, PathFact, PathKind, SecretFact};
use chanop::world::mounted::MountChangeKind;
use chanop::world::preparation::RunPlace;
use chanop::world::preparation::{Bind, HostFile};

use crate::bed::{Bed, OWNER, set_mode};

/// Stands for the keyed hash: shows what it was given.
fn shown(bytes: &[u8]) -> String {
    format!("hash of {}", String::from_utf8_lossy(bytes))
}

fn look(bed: &Bed, wanted: &FactsWanted) -> Facts {
    probe(wanted, Some(&bed.path("secrets")), &shown)
}

fn key(name: &str, key: &str) -> SecretKeyRef {
    SecretKeyRef { name: name.to_owned(), key: key.to_owned() }
}

fn secret_fact(bed: &Bed, reference: &SecretKeyRef) -> SecretFact {
    let wanted = FactsWanted { secrets: [reference.clone()].into(), ..FactsWanted::default() };
    look(bed, &wanted).secrets.remove(reference).unwrap()
}

#[test]
fn paths_are_seen_as_what_they_really_are() {
    let bed = Bed::new();
    bed.write("home/file", "x");
    symlink("src", bed.path("home/link")).unwrap();
    symlink("loop", bed.path("home/loop")).unwrap();
    let _socket = UnixListener::bind(bed.path("home/socket")).unwrap();
    let fact = |path: &str| {
        let wanted = FactsWanted { paths: [path.to_owned()].into(), ..FactsWanted::default() };
        look(&bed, &wanted).paths.remove(path).unwrap()
    };
    let seen = |name: &str| match fact(&bed.text(name)) {
        PathFact::Present { real, kind, uid, identity } => Some((real, kind, uid, identity)),
        _ => None,
    };
    let metadata = fs::metadata(bed.path("home/src")).unwrap();
    let src = (bed.text("home/src"), PathKind::Directory, OWNER, (metadata.dev(), metadata.ino()));
    assert_eq!(seen("home/src"), Some(src.clone()));
    assert_eq!(seen("home/link"), Some(src));
    assert_eq!(seen("home/file").unwrap().1, PathKind::File);
    assert_eq!(seen("home/socket").unwrap().1, PathKind::Socket);
    assert!(matches!(fact("/dev/null"), PathFact::Present { kind: PathKind::Other, .. }));
    assert_eq!(fact(&bed.text("home/gone")), PathFact::Missing);
    assert_eq!(fact(&bed.text("home/file/below")), PathFact::Missing);
    assert!(matches!(fact(&bed.text("home/loop")), PathFact::Unreadable(_)));
}

#[test]
fn a_secret_is_trimmed_hashed_and_never_shown() {
    let bed = Bed::new();
    bed.secret("github", "token", b"s3cret\n");
    let wanted = FactsWanted { secrets: [key("github", "token")].into(), ..FactsWanted::default() };
    let found = probe(&wanted, Some(&bed.path("secrets")), &|bytes| bytes.len().to_string());
    assert_eq!(
        found.secrets[&key("github", "token")],
        SecretFact::Present { hash: "6".to_owned() }
    );
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[test]
fn a_secret_that_others_could_read_or_write_is_not_used() {
    let bed = Bed::new();
    let file = bed.secret("github", "token", b"v");
    let fact = || secret_fact(&bed, &key("github", "token"));
    let unusable = |text: &str| match fact() {
        SecretFact::Unusable(why) => assert!(why.contains(text), "{why}"),
        other => panic!("{other:?}"),
    };
    assert!(matches!(fact(), SecretFact::Present { .. }));
    for mode in [0o640, 0o604, 0o620, 0o602] {
        set_mode(&file, mode);
        unusable("open to others");
    }
    set_mode(&file, 0o600);
    std::os::unix::fs::chown(&file, Some(OWNER), None).unwrap();
    unusable("belongs to user 1000");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    // With the group of root alone it would be root's private group.
    std::os::unix::fs::chown(bed.path("secrets/github"), None, Some(OWNER)).unwrap();
    set_mode(&bed.path("secrets/github"), 0o770);
    unusable("github is open to others");
    set_mode(&bed.path("secrets/github"), 0o700);
    set_mode(&bed.path("secrets"), 0o777);
    unusable("the secrets directory is open to others");
}

#[test]
fn what_is_no_value_is_no_secret() {
    let bed = Bed::new();
    for (value, usable) in [
        (vec![b'x'; 64 * 1024], true),
        (vec![b'x'; 64 * 1024 + 1], false),
        (b"a\0b".to_vec(), false),
        (b"\n".to_vec(), false),
    ] {
        bed.secret("s", "k", &value);
        let fact = secret_fact(&bed, &key("s", "k"));
        assert_eq!(matches!(fact, SecretFact::Present { .. }), usable, "{}", value.len());
    }
    symlink("/etc/shadow", bed.path("secrets/s/link")).unwrap();
    fs::create_dir(bed.path("secrets/s/directory")).unwrap();
    bed.secret("outside", "k", b"x");
    for unusable in
        [key("s", "link"), key("s", "directory"), key("s", "../outside/k"), key("..", "k")]
    {
        let fact = secret_fact(&bed, &unusable);
        assert!(matches!(fact, SecretFact::Unusable(_)), "{unusable:?}: {fact:?}");
    }
    assert_eq!(secret_fact(&bed, &key("s", "gone")), SecretFact::Missing);
    assert_eq!(secret_fact(&bed, &key("gone", "k")), SecretFact::Missing);
}

#[test]
fn credentials_are_one_file_of_two() {
    let bed = Bed::new();
    let fact = || {
        let wanted =
            FactsWanted { credentials: ["agent".to_owned()].into(), ..FactsWanted::default() };
        look(&bed, &wanted).credentials.remove("agent").unwrap()
    };
    assert_eq!(fact(), CredentialsFact::Missing);
    let token = bed.secret("agent", "oauth-token", b"t\n");
    assert_eq!(fact(), CredentialsFact::OauthToken { hash: "hash of t".to_owned() });
    bed.secret("agent", "api-key", b"k");
    assert!(matches!(fact(), CredentialsFact::Unusable(_)));
    fs::remove_file(token).unwrap();
    assert_eq!(fact(), CredentialsFact::ApiKey { hash: "hash of k".to_owned() });
}

#[test]
fn preparing_twice_is_preparing_once() {
    let mut bed = Bed::new();
    bed.secret("s", "k", b"v");
    bed.preparation.secrets = vec![("K".to_owned(), key("s", "k"))];
    let first = bed.prepare().unwrap();
    let list = bed.preparation.mounts_file(&bed.host.paths);
    let inode = |path: &str| fs::metadata(path).unwrap().ino();
    let files = [bed.host.paths.init(), list, bed.text("state/channels/demo/passwd")];
    let before = files.clone().map(|path| inode(&path));
    assert_eq!(bed.prepare().unwrap(), first);
    // A running container has these mounted: the same things must stay there.
    assert_eq!(files.map(|path| inode(&path)), before);
}

#[test]
fn a_shell_and_runs_are_prepared_side_by_side() {
    let mut bed = Bed::new();
    bed.secret("s", "k", b"v");
    bed.preparation.secrets = vec![("K".to_owned(), key("s", "k"))];
    bed.preparation.targets = vec![bed.text("home/.cache/deep")];
    chanop::host::install_init(&bed.host).unwrap();
    let name = |text: &str| ResourceName::parse(text).unwrap();
    std::thread::scope(|scope| {
        let bed = &bed;
        for worker in 0..6_u32 {
            scope.spawn(move || {
                for attempt in 1..=20 {
                    let mut preparation = bed.preparation.clone();
                    // Another name of the owner's each time: another passwd.
                    preparation.owner.user = format!("u{worker}x{attempt}");
                    if worker == 0 {
                        prepare(&preparation, &bed.host, Occasion::Create).unwrap();
                        continue;
                    }
                    let run = name(&format!("run-{worker}"));
                    let channel = preparation.channel.clone();
                    preparation.run = Some(RunPlace { channel, run, attempt });
                    prepare_run(&preparation, &bed.host, b"x").unwrap();
                }
            });
        }
    });
    let prompts = fs::read_dir(bed.path("state/channels/demo/runs")).unwrap();
    let prompts = prompts.flat_map(|run| fs::read_dir(run.unwrap().path()).unwrap());
    assert_eq!(
        prompts.filter(|it| it.as_ref().unwrap().path().join("stdin").exists()).count(),
        100
    );
    let left = fs::read_dir(bed.path("state/channels/demo")).unwrap();
    assert!(left.flatten().all(|entry| entry.path().extension().is_none_or(|end| end != "new")));
}

#[test]
fn a_newer_init_takes_the_olders_place() {
    let mut bed = Bed::new();
    bed.prepare().unwrap();
    bed.write("init", "newer");
    bed.host.init_source = bed.path("init");
    bed.prepare().unwrap();
    assert_eq!(fs::read_to_string(bed.host.paths.init()).unwrap(), "newer");
}

#[test]
fn what_is_prepared_belongs_to_whom_it_should() {
    let mut bed = Bed::new();
    bed.secret("s", "k", b"a=b\n");
    bed.preparation.secrets = vec![("K".to_owned(), key("s", "k"))];
    bed.preparation.targets = vec![bed.text("home/.cache/deep"), "/scratch".to_owned()];
    bed.prepare().unwrap();
    let seen = |name: &str| {
        let metadata = fs::metadata(bed.path(name)).unwrap();
        (metadata.uid(), metadata.mode() & 0o777)
    };
    for (name, uid, mode) in [
        ("state/homes/demo", OWNER, 0o700),
        ("state/homes/demo/src/demo", OWNER, 0o755),
        ("state/homes/demo/.cache", OWNER, 0o755),
        ("state/homes/demo/.cache/deep", OWNER, 0o755),
        ("state/homes", 0, 0o700),
        ("state/channels/demo", 0, 0o700),
        ("state/channels/demo/passwd", 0, 0o444),
        ("state/bin/chanop-init", 0, 0o555),
        ("run/secrets", 0, 0o700),
        ("run/secrets/demo", OWNER, 0o500),
        ("run/secrets/demo/env", OWNER, 0o400),
    ] {
        assert_eq!(seen(name), (uid, mode), "{name}");
    }
    let bytes = fs::read(bed.path("run/secrets/demo/env")).unwrap();
    assert_eq!(secrets::decode(&bytes).unwrap(), [("K".into(), "a=b".into())]);
    let passwd = fs::read_to_string(bed.path("state/channels/demo/passwd")).unwrap();
    let line = format!("ada:x:1000:1000::{}:/bin/sh", bed.text("home"));
    assert_eq!(passwd.lines().nth(1).unwrap(), line);
    let group = fs::read_to_string(bed.path("state/channels/demo/group")).unwrap();
    assert_eq!(group, "root:x:0:\nada:x:1000:\nnogroup:x:65534:\n");
}

#[test]
fn the_identity_list_names_the_things_that_were_looked_at() {
    let mut bed = Bed::new();
    bed.write("home/data/x", "x");
    bed.preparation.binds =
        vec![Bind { source: bed.text("home/data"), target: "/data".to_owned(), read_only: true }];
    bed.prepare().unwrap();
    let list = bed.preparation.mounts_file(&bed.host.paths);
    let identities = mounts::decode(&fs::read_to_string(&list).unwrap()).unwrap();
    let metadata = fs::metadata(bed.path("home/data")).unwrap();
    let data = mounts::Identity {
        target: "/data".to_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    assert_eq!(identities.len(), 3);
    assert!(identities.contains(&data));

    // Another runtime has other numbers.
    bed.preparation.verify_mounts = false;
    bed.prepare().unwrap();
    assert_eq!(fs::read_to_string(list).unwrap(), "");
}

#[test]
fn what_changed_since_the_policy_looked_stops_the_preparation() {
    let mut bed = Bed::new();
    bed.write("home/data/x", "x");
    bed.preparation.binds =
        vec![Bind { source: bed.text("home/data"), target: "/d".to_owned(), read_only: true }];
    bed.prepare().unwrap();
    let data = bed.path("home/data");
    let attempt = |change: &dyn Fn(&Path)| {
        fs::remove_dir_all(&data).or_else(|_| fs::remove_file(&data)).unwrap();
        change(&data);
        bed.prepare().unwrap_err()
    };
    let link = attempt(&|data| symlink("/etc", data).unwrap());
    assert!(matches!(link, PrepareError::NotReal(_)), "{link}");
    let socket = attempt(&|data| drop(UnixListener::bind(data).unwrap()));
    assert!(matches!(socket, PrepareError::WrongKind { .. }), "{socket}");
    let missing = attempt(&|_| ());
    assert_eq!(missing.reason(), Reason::MountMissing);
    fs::remove_dir(bed.path("home/src/demo")).unwrap();
    assert_eq!(bed.prepare().unwrap_err().reason(), Reason::WorkspaceMissing);
}

#[test]
fn a_workspace_is_made_only_where_the_spec_says_so_and_never_through_a_link() {
    let mut bed = Bed::new();
    bed.preparation.workspace.path = bed.text("home/new/deep");
    assert_eq!(bed.prepare().unwrap_err().reason(), Reason::WorkspaceMissing);
    bed.preparation.workspace.create = true;
    bed.prepare().unwrap();
    for made in ["home/new", "home/new/deep"] {
        assert_eq!(fs::metadata(bed.path(made)).unwrap().uid(), OWNER);
    }
    fs::create_dir(bed.path("elsewhere")).unwrap();
    symlink(bed.path("elsewhere"), bed.path("home/trap")).unwrap();
    bed.preparation.workspace.path = bed.text("home/trap/deep");
    assert!(matches!(bed.prepare(), Err(PrepareError::NotReal(_))));
    assert!(!bed.path("elsewhere/deep").exists());
}

#[test]
fn a_link_in_the_agents_home_leads_the_operator_nowhere() {
    let mut bed = Bed::new();
    bed.prepare().unwrap();
    fs::create_dir(bed.path("elsewhere")).unwrap();
    symlink(bed.path("elsewhere"), bed.path("state/homes/demo/.cache")).unwrap();
    bed.preparation.targets = vec![bed.text("home/.cache/deep")];
    bed.prepare().unwrap();
    assert!(!bed.path("elsewhere/deep").exists());
    // Its own home swapped for a link is an error, and nothing elsewhere is given away.
    fs::remove_dir_all(bed.path("state/homes/demo")).unwrap();
    symlink(bed.path("elsewhere"), bed.path("state/homes/demo")).unwrap();
    assert!(matches!(bed.prepare(), Err(PrepareError::NotReal(_))));
    assert_eq!(fs::metadata(bed.path("elsewhere")).unwrap().uid(), 0);
}

#[test]
fn a_missing_or_open_secret_stops_the_preparation_without_its_value() {
    let mut bed = Bed::new();
    bed.preparation.secrets = vec![("K".to_owned(), key("s", "k"))];
    let missing = bed.prepare().unwrap_err();
    assert_eq!(missing.reason(), Reason::SecretMissing);
    set_mode(&bed.secret("s", "k", b"hidden"), 0o644);
    let open = bed.prepare().unwrap_err().to_string();
    assert!(open.contains("s/k") && open.contains("chmod 600"), "{open}");
    assert!(!open.contains("hidden"));
}

#[test]
fn a_staged_file_is_copied_anew_at_creation_and_left_alone_at_a_start() {
    let mut bed = Bed::new();
    bed.write("home/.npmrc", "one");
    let file = HostFile {
        source: bed.text("home/.npmrc"),
        target: bed.text("home/.npmrc"),
        read_only: false,
    };
    bed.preparation.files = vec![file.clone()];
    bed.prepare().unwrap();
    let staged = bed.preparation.staged_file(&bed.host.paths, &file);
    fs::write(&staged, "the container's").unwrap();
    prepare(&bed.preparation, &bed.host, Occasion::Start).unwrap();
    assert_eq!(fs::read_to_string(&staged).unwrap(), "the container's");
    bed.prepare().unwrap();
    assert_eq!(fs::read_to_string(&staged).unwrap(), "one");
    assert_eq!(fs::metadata(&staged).unwrap().uid(), OWNER);
    // The mount point in the home is the user's as well.
    assert_eq!(fs::metadata(bed.path("state/homes/demo/.npmrc")).unwrap().uid(), OWNER);
}

/// Of the bed's shell, as it was prepared last.
fn mount_changes_of(bed: &Bed) -> Vec<(String, MountChangeKind)> {
    let channel = &bed.preparation.channel;
    let found = mount_changes(&bed.host.paths, &bed.preparation.owner.home, [channel]);
    found[channel].iter().map(|change| (change.source.clone(), change.kind)).collect()
}

#[test]
fn replaced_and_missing_paths_are_found() {
    let mut bed = Bed::new();
    bed.write("home/conf", "one");
    bed.write("home/data/file", "x");
    bed.preparation.binds = ["conf", "data"]
        .map(|name| bed.text(&format!("home/{name}")))
        .map(|path| Bind { source: path.clone(), target: path, read_only: true })
        .to_vec();
    assert_eq!(mount_changes_of(&bed), [], "nothing was prepared");
    bed.prepare().unwrap();
    assert_eq!(mount_changes_of(&bed), []);
    bed.write("home/data/file", "another content is no other directory");
    assert_eq!(mount_changes_of(&bed), []);

    bed.write("home/conf.new", "two");
    fs::rename(bed.path("home/conf.new"), bed.path("home/conf")).unwrap();
    fs::remove_dir_all(bed.path("home/data")).unwrap();
    let workspace = bed.preparation.workspace.path.clone();
    fs::rename(&workspace, bed.path("home/src/old")).unwrap();
    fs::create_dir(&workspace).unwrap();
    let (replaced, missing) = (MountChangeKind::Replaced, MountChangeKind::Missing);
    let expected = [
        (bed.text("home/conf"), replaced),
        (bed.text("home/data"), missing),
        (workspace, replaced),
    ];
    assert_eq!(mount_changes_of(&bed), expected);
    fs::create_dir(bed.path("home/data")).unwrap();
    prepare(&bed.preparation, &bed.host, Occasion::Start).unwrap();
    assert_eq!(mount_changes_of(&bed), []);
}

#[test]
fn lost_secrets_directory_and_home_are_replaced_by_a_restart() {
    let bed = Bed::new();
    bed.prepare().unwrap();
    fs::remove_dir_all(bed.path("run")).unwrap();
    fs::remove_dir_all(bed.path("state/homes/demo")).unwrap();
    let kinds: Vec<MountChangeKind> =
        mount_changes_of(&bed).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [MountChangeKind::Replaced, MountChangeKind::Replaced]);
    prepare(&bed.preparation, &bed.host, Occasion::Start).unwrap();
    assert_eq!(mount_changes_of(&bed), []);
}

#[test]
fn preparing_a_run_does_not_hide_a_replaced_workspace() {
    let mut bed = Bed::new();
    bed.prepare().unwrap();
    let workspace = bed.preparation.workspace.path.clone();
    fs::rename(&workspace, bed.path("home/src/old")).unwrap();
    fs::create_dir(&workspace).unwrap();
    let run = ResourceName::parse("r").unwrap();
    let channel = bed.preparation.channel.clone();
    bed.preparation.run = Some(RunPlace { channel, run, attempt: 1 });
    prepare_run(&bed.preparation, &bed.host, b"x").unwrap();
    assert_eq!(mount_changes_of(&bed), [(workspace, MountChangeKind::Replaced)]);
}

#[test]
fn mount_points_in_the_workspace_are_made_as_the_owner() {
    let mut bed = Bed::new();
    bed.write("home/conf", "x");
    let workspace = bed.preparation.workspace.path.clone();
    bed.preparation.binds = vec![
        Bind {
            source: bed.text("home/conf"),
            target: format!("{workspace}/etc/conf"),
            read_only: true,
        },
        Bind { source: bed.text("home/src"), target: "/src".to_owned(), read_only: true },
    ];
    bed.preparation.targets = vec![
        format!("{workspace}/web/node_modules"),
        format!("{workspace}/etc/conf"),
        "/src".to_owned(),
        "/src/inside".to_owned(),
    ];
    bed.prepare().unwrap();
    for name in ["web", "web/node_modules", "etc", "etc/conf"] {
        let found = fs::metadata(Path::new(&workspace).join(name)).unwrap();
        assert_eq!((found.uid(), found.is_file()), (OWNER, name == "etc/conf"), "{name}");
    }
    assert!(!bed.path("home/src/inside").exists(), "nothing is made in a read-only source");
    assert!(!bed.path("state/homes/demo/src/demo/web").exists(), "nor where nothing shows it");
}

#[test]
fn mount_point_behind_a_link_is_refused() {
    let mut bed = Bed::new();
    let workspace = bed.preparation.workspace.path.clone();
    for link in ["/etc", "elsewhere"] {
        let at = Path::new(&workspace).join("web");
        symlink(link, &at).unwrap();
        for inner in ["web", "web/node_modules"] {
            bed.preparation.targets = vec![format!("{workspace}/{inner}")];
            let error = bed.prepare().unwrap_err();
            assert!(matches!(error, PrepareError::NotReal(_)), "{link} {inner}: {error}");
        }
        fs::remove_file(at).unwrap();
    }
    assert!(!Path::new(&workspace).join("elsewhere").exists());
}

#[test]
fn the_owners_git_identity_is_passed_on_and_their_credentials_are_not() {
    let bed = Bed::new();
    bed.write(
        "home/.gitconfig",
        "[user]\nname = Ada\nemail = a@b\n[core]\nexcludesFile = ~/ignore\n[credential]\nhelper = store\n",
    );
    bed.write("home/ignore", "*.swp\n");
    bed.prepare().unwrap();
    let read = |name: &str| fs::read_to_string(bed.path("state/channels/demo").join(name)).unwrap();
    let config = read("gitconfig");
    assert!(config.contains("name = \"Ada\"") && config.contains("email = \"a@b\""), "{config}");
    assert!(config.contains(&format!("directory = \"{}\"", bed.preparation.workspace.path)));
    assert!(!config.contains("helper"), "{config}");
    assert_eq!(read("gitignore"), "*.swp\n");
}

#[test]
fn a_linked_git_configuration_cannot_name_a_file_to_copy() {
    let bed = Bed::new();
    bed.write("home/.ssh/key", "private");
    bed.write("home/src/demo/gitconfig", "[user]\nname = Ada\n[core]\nexcludesFile = ~/.ssh/key\n");
    symlink(bed.path("home/src/demo/gitconfig"), bed.path("home/.gitconfig")).unwrap();
    bed.prepare().unwrap();
    let read = |name: &str| fs::read_to_string(bed.path("state/channels/demo").join(name)).unwrap();
    assert!(read("gitconfig").contains("Ada"));
    assert_eq!(read("gitignore"), "");
}

#[test]
fn only_a_directory_deep_enough_to_be_a_volumes_is_given_away() {
    // To whom they belong already: a refusal that is missing does no harm here.
    let owner = |path: &str| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid())
    };
    for bad in ["", "/", "//", "/.", "/proc", "proc/self", "/proc/.."] {
        let error = give_volume(bad, owner("/proc")).unwrap_err();
        assert_eq!(error.reason(), Reason::HostFailed, "{bad:?}: {error}");
    }
    let volume = tempfile::tempdir().unwrap();
    let path = volume.path().canonicalize().unwrap().display().to_string();
    give_volume(&path, owner(&path)).unwrap();
    symlink(&path, volume.path().join("link")).unwrap();
    let error = give_volume(&format!("{path}/link"), owner(&path)).unwrap_err();
    assert!(matches!(error, PrepareError::NotReal(_)), "{error}");
}

#[test]
fn secrets_and_copied_files_of_a_gone_channel_are_removed() {
    let mut bed = Bed::new();
    bed.write("home/.npmrc", "token");
    bed.secret("github", "token", b"s3cret");
    bed.preparation.secrets = vec![("T".to_owned(), key("github", "token"))];
    bed.preparation.files = vec![HostFile {
        source: bed.text("home/.npmrc"),
        target: bed.text("home/.npmrc"),
        read_only: false,
    }];
    bed.prepare().unwrap();
    let (secrets, files) = (bed.path("run/secrets/demo"), bed.path("state/channels/demo/files"));
    assert!(secrets.is_dir() && files.is_dir());
    let all = |_: &ResourceName| true;
    assert_eq!(remove_secrets(&bed.host, &|_| false, i64::MAX).unwrap(), 0);
    assert_eq!(remove_secrets(&bed.host, &all, 1).unwrap(), 0, "written since");
    assert!(secrets.is_dir() && files.is_dir());
    assert_eq!(remove_secrets(&bed.host, &all, i64::MAX).unwrap(), 1);
    assert!(!secrets.exists() && !files.exists());
    assert!(bed.path("state/homes/demo").is_dir(), "the home stays");
    assert_eq!(remove_secrets(&bed.host, &all, i64::MAX).unwrap(), 0);
    bed.prepare().unwrap();
    assert!(secrets.is_dir(), "and all can be prepared again");
}

#[test]
fn link_in_place_of_secrets_is_not_followed() {
    let bed = Bed::new();
    bed.prepare().unwrap();
    bed.write("home/kept/file", "x");
    let secrets = bed.path("run/secrets/other");
    symlink(bed.path("home/kept"), &secrets).unwrap();
    remove_secrets(&bed.host, &|_| true, i64::MAX).unwrap();
    assert!(bed.path("home/kept/file").exists());
}

#[test]
fn git_file_is_read_as_hostile_input() {
    let bed = Bed::new();
    let workspace = bed.preparation.workspace.path.clone();
    let wanted = FactsWanted { paths: [workspace.clone()].into(), ..FactsWanted::default() };
    let git = Path::new(&workspace).join(".git");
    let found = || look(&bed, &wanted).git.get(&workspace).cloned();
    fs::write(&git, "gitdir: /r/.git/worktrees/w\n").unwrap();
    assert_eq!(found().as_deref(), Some("/r/.git"));
    fs::write(&git, format!("gitdir: /{}", "x".repeat(1 << 20))).unwrap();
    assert_eq!(found(), None, "too long");
    fs::remove_file(&git).unwrap();
    bed.write("home/elsewhere", "gitdir: /r/.git\n");
    symlink(bed.path("home/elsewhere"), &git).unwrap();
    assert_eq!(found(), None, "a link");
    fs::remove_file(&git).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &git, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(found(), None, "a pipe without a writer");
}

#[test]
fn pipe_or_huge_file_in_place_of_a_file_to_copy_is_refused() {
    let mut bed = Bed::new();
    let path = bed.path("home/conf");
    bed.preparation.files = vec![HostFile {
        source: bed.text("home/conf"),
        target: "/etc/conf".to_owned(),
        read_only: false,
    }];
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = bed.prepare().unwrap_err();
    assert_eq!(error.reason(), Reason::HostFailed, "{error}");
    fs::remove_file(&path).unwrap();
    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = bed.prepare().unwrap_err();
    assert!(matches!(error, PrepareError::TooLong { .. }), "{error}");
}
