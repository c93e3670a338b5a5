//! Whose shells they are: the owner's number, home, name and files; and secrets that stand nowhere but in the process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tar::{Builder, Header};

use crate::support::image;
use crate::support::operator::{Ground, OWNER, Said, give, program};

/// The smallest useful file, word for word.
const SIX_LINES: &str = "\
apiVersion: chanop.dev/v1alpha1
kind: Channel
metadata: {name: payments}
spec:
  workspace: {path: ~/src/payments}
";

/// The busybox image with the host's git and the libraries that it needs.
fn root_with_git() -> Vec<u8> {
    let git = said("git", &["--exec-path"]).trim().to_owned() + "/git";
    let libraries = said("ldd", &[&git]);
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for word in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        files.insert(PathBuf::from(word));
    }
    // An archive ends with two empty blocks; this one goes on.
    let mut busybox = image::root().to_vec();
    busybox.truncate(busybox.len() - 1024);
    let mut archive = Builder::new(busybox);
    let mut append = |from: &Path, to: &str| {
        let content = fs::read(from).unwrap();
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, to, content.as_slice()).unwrap();
    };
    append(Path::new(&git), "bin/git");
    for file in &files {
        append(file, file.strip_prefix("/").unwrap().to_str().unwrap());
    }
    archive.into_inner().unwrap()
}

fn said(command: &str, arguments: &[&str]) -> String {
    let output = program(command).args(arguments).output();
    Said::from(output.unwrap_or_else(|error| panic!("this test needs {command}: {error}"))).well()
}

#[test]
fn the_six_line_file_gives_its_owner_a_home_and_a_name_and_files_of_their_own() {
    let mut ground = Ground::new();
    let with_git = format!("chanop-{}-git:latest", ground.instance);
    ground.import(&root_with_git(), &with_git);
    ground.write(
        "class.yaml",
        &format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: ChannelClass\nmetadata: {{name: default}}\n\
             spec:\n  image: {{ref: \"{with_git}\"}}\n"
        ),
    );
    let workspace = ground.workspace("payments");
    let config = ground.path("home/.gitconfig");
    fs::write(&config, "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n").unwrap();
    give(&config);
    ground.write("payments.yaml", SIX_LINES);
    ground.start();
    ground.until_converged(&["payments"]);

    // A git that was built for another place than /usr has its system-wide file elsewhere; images' gits have it in /etc.
    let script = "set -e; export GIT_CONFIG_SYSTEM=/etc/gitconfig; id -u; id -g; pwd; echo \"$HOME\"; touch \"$HOME/mine\" here; \
                  git init -q; git add here; git commit -q -m first; git log --format='%an <%ae>'";
    let said = ground.exec("payments", script).well();
    let home = ground.path("home");
    let expected = format!(
        "{OWNER}\n{OWNER}\n{}\n{}\nAda Lovelace <ada@example.org>\n",
        workspace.display(),
        home.display()
    );
    assert_eq!(said, expected);
    for file in ["here", ".git/HEAD"] {
        let found = fs::metadata(workspace.join(file)).unwrap();
        assert_eq!((found.uid(), found.gid()), (OWNER, OWNER), "{file} is the owner's");
    }
    assert!(!home.join("mine").exists(), "HOME in the shell is the channel's, not the owner's");
}

#[test]
fn a_secret_is_in_the_process_and_nowhere_else_and_another_value_makes_the_shell_anew() {
    let mut ground = Ground::new();
    let value = format!("it-is-a-secret-{}", ground.instance);
    ground.secret("github", "token", &value);
    let env =
        "  env:\n    - {name: GH_TOKEN, valueFrom: {secretKeyRef: {name: github, key: token}}}\n";
    ground.channel("a.yaml", "a", env);
    ground.start();
    ground.until_converged(&["a"]);
    let printed = ground.exec("a", "printf %s \"$GH_TOKEN\"").well();
    assert_eq!(printed, value);
    let before = ground.shell("a");
    assert!(!before.to_string().contains(&value), "docker inspect shows it");
    let told = ["get channels -o yaml", "describe channel/a", "get events", "plan"]
        .map(|words| ground.chanop(&words.split(' ').collect::<Vec<_>>()).out);
    assert!(told.iter().all(|text| !text.contains(&value)), "chanop tells it: {told:?}");

    // Rotated: the shell is made anew, but not while somebody is in it.
    let mut visitor = ground.chanop_command(&["exec", "a", "--", "sleep", "1000"]).spawn().unwrap();
    ground.until("the visitor is in", |ground| !ground.shell("a")["ExecIDs"].is_null());
    let next = format!("another-secret-{}", ground.instance);
    ground.secret("github", "token", &next);
    ground.chanop(&["reconcile"]).well();
    ground.until("the plan says that it waits", |ground| {
        let (code, plan) = ground.plan();
        code == 2 && plan["lines"][0]["verb"] == "recreate" && plan["lines"][0]["waiting"] == true
    });
    assert_eq!(ground.shell("a")["Id"], before["Id"]);
    ground.try_docker(&["exec", &ground.container("a"), "kill", "-9", "-1"]);
    visitor.wait().unwrap();
    ground.until_runs("a", |now| now["Id"] != before["Id"]);
    ground.until_converged(&["a"]);
    assert_eq!(ground.exec("a", "printf %s \"$GH_TOKEN\"").well(), next);
    let log = ground.log();
    assert!(!log.contains(&value) && !log.contains(&next), "the log tells it");
}
