//! Builds on a real engine: what gets in, what is said, and each way to fail.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use chanop::docker::image::build::finish;
use chanop::docker::image::{
    BuildContext, BuildError, BuildEvent, ContextError, CredentialSources, ImageBuildSpec,
    PullError, RegistryAuth, no_progress_for,
};
use chanop::docker::{self, Engine as _};
use futures_util::StreamExt as _;

use crate::support::engine::{TEST_LABEL, TestBed};
use crate::support::image;
use crate::support::registry::{Doors, NAME, PASSWORD, Registry};

/// A context of these files.
fn context(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn read(directory: &tempfile::TempDir) -> BuildContext {
    BuildContext::read(directory.path(), "Dockerfile").unwrap()
}

async fn failure(bed: &TestBed, directory: &tempfile::TempDir) -> BuildError {
    let tag = bed.image_name("bad");
    let build = bed.docker.image_build(&ImageBuildSpec::default(), &read(directory), &tag);
    finish(build).await.unwrap_err()
}

#[tokio::test]
async fn a_directory_is_built_into_an_image_with_its_links_and_says_what_it_does() {
    let bed = TestBed::new().await;
    let dockerfile = format!(
        "FROM {} AS first\nARG WORD=none\nCOPY . /in/\nRUN test -L /in/link && echo $WORD >/in/arg && echo said $WORD\n\
         RUN cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/tmp/x; true\n\
         FROM first\nRUN false\n",
        bed.image.reference()
    );
    let directory = context(&[
        ("Dockerfile", &dockerfile),
        (".dockerignore", "secret\n**/*.log\n!keep.log\nDockerfile\n"),
        ("word", "from the context\n"),
        ("secret", ""),
        ("sub/x.log", ""),
        ("keep.log", ""),
    ]);
    symlink("word", directory.path().join("link")).unwrap();
    let spec = ImageBuildSpec {
        args: BTreeMap::from([("WORD".to_owned(), "a & b=c".to_owned())]),
        target: "first".to_owned(),
        memory_bytes: 3 << 30,
        labels: BTreeMap::from([(TEST_LABEL.to_owned(), bed.mark().to_owned())]),
        auths: Vec::new(),
    };
    let tag = bed.image_name("build");
    let build = bed.docker.image_build(&spec, &read(&directory), &tag);
    let events: Vec<BuildEvent> =
        no_progress_for(build, Duration::from_mins(1)).map(|event| event.unwrap()).collect().await;
    let line = |text: &str| BuildEvent::Line(text.to_owned());
    assert!(events.contains(&line("said a & b=c")), "{events:?}");
    assert!(events.contains(&line("3221225472")), "more than 32 bits of memory: {events:?}");
    let built = bed.docker.image(&tag).await.unwrap().unwrap();
    assert_eq!(events.last(), Some(&BuildEvent::Built(built.id)));
    assert_eq!(built.labels.get(TEST_LABEL).map(String::as_str), Some(bed.mark()));
    let mut config = bed.config("cat /in/link /in/arg; ls -A /in /in/sub");
    config.image = tag.to_string();
    let id = bed.docker.create(&bed.name("built"), &config).await.unwrap();
    bed.docker.start(&id).await.unwrap();
    bed.docker.wait(&id).await.unwrap();
    let (said, _) = bed.output(&id).await;
    let words: Vec<&str> = said.lines().collect();
    assert_eq!(words[..2], ["from the context", "a & b=c"]);
    // The Dockerfile went to the engine all the same; it is the engine that keeps it out of the image.
    assert_eq!(
        words[2..],
        ["/in:", ".dockerignore", "arg", "keep.log", "link", "sub", "word", "", "/in/sub:"]
    );
    bed.docker.remove(&id, true).await.unwrap();
}

#[tokio::test]
async fn a_build_that_fails_says_so_and_leaves_no_container_behind() {
    let bed = TestBed::new().await;
    // The base's label is on the build's own containers, and no layer is left of a build whose first step fails.
    let base = bed.image_name("base");
    let changes = [format!("LABEL {TEST_LABEL}={}", bed.mark()), "ENV PATH=/bin".to_owned()];
    bed.docker.image_import(image::root(), &base, &changes).await.unwrap();
    let dockerfile = format!("FROM {base}\nRUN echo going to fail; exit 3\n");
    match failure(&bed, &context(&[("Dockerfile", &dockerfile)])).await {
        BuildError::Failed { message, output } => {
            assert!(message.contains("code: 3"), "{message}");
            assert!(output.contains("\ngoing to fail"), "{output}");
            assert!(output.starts_with("Step 1/2 : FROM "), "{output}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(bed.docker.list(TEST_LABEL, bed.mark()).await.unwrap(), vec![]);
    let nonsense = failure(&bed, &context(&[("Dockerfile", "NONSENSE")])).await;
    assert!(matches!(&nonsense, BuildError::Failed { .. }), "{nonsense}");
    assert!(nonsense.to_string().contains("NONSENSE"), "{nonsense}");
}

#[tokio::test]
async fn a_context_that_changed_since_it_was_looked_at_is_not_built() {
    let bed = TestBed::new().await;
    let dockerfile = format!("FROM {}\nCOPY large /\n", bed.image.reference());
    let large = "x".repeat(3 << 20);
    let directory = context(&[("Dockerfile", &dockerfile), ("large", &large)]);
    let looked_at = read(&directory);
    fs::write(directory.path().join("large"), format!("{large}y")).unwrap();
    let tag = bed.image_name("changed");
    let spec = ImageBuildSpec::default();
    let error = finish(bed.docker.image_build(&spec, &looked_at, &tag)).await.unwrap_err();
    assert!(matches!(error, BuildError::Context(ContextError::Changed { .. })), "{error}");
    assert_eq!(bed.docker.image(&tag).await.unwrap(), None);
    // The engine is well, and so is the connection to it.
    finish(bed.docker.image_build(&spec, &read(&directory), &tag)).await.unwrap();
    assert!(bed.docker.image(&tag).await.unwrap().is_some());
}

#[tokio::test]
async fn a_base_image_is_pulled_with_the_credentials_and_missed_without() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Locked).await;
    registry.push(&bed, "base:1", 1 << 20).await;
    let base = registry.reference("base:1");
    bed.will_have(&base);
    let directory = context(&[("Dockerfile", &format!("FROM {base}\nENV A=1\n"))]);
    let error = failure(&bed, &directory).await;
    assert!(matches!(error, BuildError::Base(PullError::Denied(_))), "{error}");
    let server = registry.address().to_string();
    let spec = ImageBuildSpec {
        auths: vec![RegistryAuth::password(&server, NAME, PASSWORD)],
        ..ImageBuildSpec::default()
    };
    let tag = bed.image_name("based");
    let build = bed.docker.image_build(&spec, &read(&directory), &tag);
    let events: Vec<BuildEvent> = build.map(|event| event.unwrap()).collect().await;
    assert!(events.iter().any(|event| matches!(event, BuildEvent::Pulling(_))), "{events:?}");
    let missing = registry.reference("base:2");
    let directory = context(&[("Dockerfile", &format!("FROM {missing}\n"))]);
    let error = finish(bed.docker.image_build(&spec, &read(&directory), &tag)).await.unwrap_err();
    assert!(matches!(error, BuildError::Base(PullError::NotFound(_))), "{error}");
}

#[tokio::test]
async fn a_base_image_is_pulled_with_what_dockers_config_file_knows() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Locked).await;
    registry.push(&bed, "base:1", 1 << 20).await;
    let base = registry.reference("base:1");
    bed.will_have(&base);
    // The registry's key has a scheme and a path, as old logins left it; others of the file are of no use here.
    let address = registry.address();
    let config = directory_with_login(&address.to_string());
    let sources = CredentialSources {
        config_file: Some(config.path().join("config.json")),
        search_path: Vec::new(),
    };
    let directory = context(&[("Dockerfile", &format!("FROM {base}\nENV A=1\n"))]);
    let error = failure(&bed, &directory).await;
    assert!(matches!(error, BuildError::Base(PullError::Denied(_))), "{error}");
    let auths = sources.all().await.unwrap();
    assert_eq!(auths.len(), 2, "{auths:?}");
    let spec = ImageBuildSpec { auths, ..ImageBuildSpec::default() };
    let tag = bed.image_name("known");
    finish(bed.docker.image_build(&spec, &read(&directory), &tag)).await.unwrap();
    assert!(bed.docker.image(&tag).await.unwrap().is_some());
}

/// A `config.json` of somebody who is logged in at a registry, and elsewhere.
fn directory_with_login(address: &str) -> tempfile::TempDir {
    let entry = |name: &str| serde_json::json!({ "username": name, "password": PASSWORD });
    let config = serde_json::json!({
        "credHelpers": { "absent.example": "absent" },
        "auths": { format!("http://{address}/v1/"): entry(NAME), "docker.io": entry("else") },
    });
    context(&[("config.json", &config.to_string())])
}

#[tokio::test]
async fn a_command_that_hangs_is_given_up_and_stops() {
    let bed = TestBed::new().await;
    let base = bed.image_name("base");
    let changes = [format!("LABEL {TEST_LABEL}={}", bed.mark()), "ENV PATH=/bin".to_owned()];
    bed.docker.image_import(image::root(), &base, &changes).await.unwrap();
    let dockerfile = format!("FROM {base}\nRUN echo begun; sleep 1000\n");
    let directory = context(&[("Dockerfile", &dockerfile)]);
    let tag = bed.image_name("hangs");
    let build = bed.docker.image_build(&ImageBuildSpec::default(), &read(&directory), &tag);
    let error = finish(no_progress_for(build, Duration::from_secs(3))).await.unwrap_err();
    assert_eq!(error.to_string(), "the build was given up: no progress for 3 s (begun)");
    // The engine heard of it: its container goes away.
    let gone = async {
        while !bed.docker.list(TEST_LABEL, bed.mark()).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gone).await.unwrap();
}

#[tokio::test]
async fn a_channels_tag_is_what_is_built_and_nothing_else() {
    let files = [("Dockerfile", "FROM scratch"), ("other/Dockerfile", "FROM scratch")];
    let directory = context(&files);
    let channel = chanop::resource::ResourceName::parse("web").unwrap();
    let tag = |spec: &ImageBuildSpec, dockerfile: &str| {
        let context = BuildContext::read(directory.path(), dockerfile).unwrap();
        spec.tag(&channel, &context).unwrap().to_string()
    };
    let spec = ImageBuildSpec::default();
    let plain = tag(&spec, "Dockerfile");
    assert!(plain.starts_with("chanop-build/web:") && plain.len() == 17 + 32, "{plain}");
    assert_eq!(tag(&spec, "./Dockerfile"), plain);
    let limited = ImageBuildSpec { memory_bytes: 1 << 30, ..spec.clone() };
    assert_eq!(tag(&limited, "Dockerfile"), plain, "a limit changes nothing of what is built");
    assert_ne!(tag(&spec, "other/Dockerfile"), plain);
    assert_ne!(
        tag(&ImageBuildSpec { target: "a".to_owned(), ..spec.clone() }, "Dockerfile"),
        plain
    );
    let args = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    assert_ne!(tag(&ImageBuildSpec { args, ..spec }, "Dockerfile"), plain);
}

#[tokio::test]
async fn the_ancestors_build_takes_a_directory_and_heeds_its_dockerignore() {
    let bed = TestBed::new().await;
    let dockerfile =
        format!("FROM {}\nCOPY . /in/\nRUN test ! -e /in/secret\n", bed.image.reference());
    let directory =
        context(&[("Dockerfile", &dockerfile), (".dockerignore", "secret"), ("secret", "")]);
    let tag = bed.image_name("old");
    docker::DockerClient::image_build(&bed.docker, directory.path(), &tag).await.unwrap();
    assert!(bed.docker.image(&tag).await.unwrap().is_some());
    let nowhere = Path::new("/nowhere/at/all");
    let error = docker::DockerClient::image_build(&bed.docker, nowhere, &tag).await.unwrap_err();
    assert!(error.to_string().contains("cannot read /nowhere/at/all: No such file"), "{error}");
}
