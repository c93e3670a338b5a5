//! The agent's image of this host's files on a real engine, with a bash in the CLI's place: it too is a program with a
//! loader and libraries, and a hundredth as large. The CLI itself is in the tests of `agent`.

use std::cell::RefCell;
use std::path::PathBuf;

use chanop::cli::agent_image::{self, AgentImageError, LABEL, Recipe};
use chanop::container::ImageRef;
use chanop::docker::Engine;

use crate::support::engine::TestBed;

#[tokio::test]
async fn the_image_of_this_hosts_files_is_made_once_and_runs_for_anybody() {
    let bed = TestBed::new().await;
    let tag = bed.image_name("agent");
    let recipe = Recipe::Host { claude: PathBuf::from("/bin/bash"), busybox: None };
    let said = RefCell::new(Vec::new());
    let say = |line| said.borrow_mut().push(line);
    agent_image::build(&bed.docker, &tag, recipe.clone(), say).await.unwrap();
    let first = bed.docker.image(&tag).await.unwrap().unwrap();
    assert_eq!(first.labels.get(LABEL).map(String::as_str), Some("1"));
    assert_eq!(first.user, "1000:1000");
    agent_image::build(&bed.docker, &tag, recipe, say).await.unwrap();
    assert_eq!(bed.docker.image(&tag).await.unwrap().unwrap().id, first.id, "it was made again");
    let last = said.borrow().last().cloned();
    assert_eq!(last, Some(format!("{tag} is there already")));

    // A user that the image has never heard of, on a file system that cannot be written.
    let mut config =
        bed.config("set -e; claude -c 'echo $BASH_VERSINFO'; id -u; ls -d /tmp; ls / | wc -l");
    config.image = tag.to_string();
    config.user = "4321:4321".to_owned();
    config.read_only_rootfs = true;
    config.cap_drop = vec!["ALL".to_owned()];
    config.no_new_privileges = true;
    let id = bed.docker.create(&bed.name("agent"), &config).await.unwrap();
    bed.docker.start(&id).await.unwrap();
    bed.docker.wait(&id).await.unwrap();
    let (stdout, stderr) = bed.output(&id).await;
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.get(1..3), Some(&["4321", "/tmp"][..]), "{stdout}{stderr}");
    assert!(lines[0].parse::<u32>().is_ok_and(|version| version >= 4), "{stdout}{stderr}");
    bed.docker.remove(&id, true).await.unwrap();
}

#[tokio::test]
async fn without_a_base_image_the_way_out_is_said() {
    let bed = TestBed::new().await;
    let base = ImageRef::parse("localhost:1/chanop-test/no-base:latest").unwrap();
    let recipe = Recipe::Dockerfile { base: Some(base) };
    let error = agent_image::build(&bed.docker, &bed.image_name("agent"), recipe, |_line| ())
        .await
        .unwrap_err();
    assert!(matches!(error, AgentImageError::NoBase { .. }), "{error:?}");
    let text = error.to_string();
    for word in ["localhost:1/chanop-test/no-base:latest", "--from-host", "make claude"] {
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn a_dockerfile_is_built_on_the_base_that_was_named() {
    // No package can be fetched into a busybox: the build fails, but after its base was found.
    let bed = TestBed::new().await;
    let recipe = Recipe::Dockerfile { base: Some(bed.image.reference().clone()) };
    let tag = bed.image_name("agent");
    let error = agent_image::build(&bed.docker, &tag, recipe, |_line| ()).await.unwrap_err();
    let AgentImageError::Build { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("apt-get"), "{source}");
    assert_eq!(bed.docker.image(&tag).await.unwrap(), None);
}
