//! Images: pulled from a registry or built from the spec directory, by the operator, when a channel needs them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::engine::TestBed;
use crate::support::operator::Ground;
use crate::support::registry::{Doors, NAME, PASSWORD, Registry};

/// A registry and a ground whose image is only there.
async fn with_registry(doors: Doors) -> (TestBed, Registry, Ground) {
    let bed = TestBed::new().await;
    let registry = Registry::start(doors).await;
    let mut ground = Ground::new();
    let name = format!("{}:1", ground.instance);
    registry.push(&bed, &name, 100_000).await;
    ground.image = registry.reference(&name).to_string();
    (bed, registry, ground)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_only_a_registry_has_is_pulled_once_for_all_and_known_by_its_digest() {
    let (_bed, _registry, mut ground) = with_registry(Doors::Open).await;
    for name in ["a", "b", "c"] {
        ground.channel(&format!("{name}.yaml"), name, "");
    }
    ground.start();
    ground.until_converged(&["a", "b", "c"]);
    assert_eq!(ground.log().matches("engine: pull").count(), 1, "{}", ground.log());
    let container = &ground.shown("a")["status"]["container"];
    let digest = container["imageDigest"].as_str().unwrap();
    let repository = ground.image.rsplit_once(':').unwrap().0;
    assert!(digest.starts_with(&format!("{repository}@sha256:")), "{digest}");
    assert_eq!(container["imageID"], ground.shell("a")["Image"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_is_told_what_dockers_config_file_says_and_a_refusal_says_why() {
    let (_bed, registry, mut ground) = with_registry(Doors::Locked).await;
    ground.channel("a.yaml", "a", "");
    ground.start();
    let why = ground.until_reason("a", "Ready", "ImagePullBackOff");
    assert!(why.contains("the registry refuses access"), "{why}");
    assert!(why.contains("tried again at"), "{why}");
    // People log in while the operator runs.
    let login = STANDARD.encode(format!("{NAME}:{PASSWORD}"));
    let config =
        serde_json::json!({ "auths": { registry.address().to_string(): { "auth": login } } });
    std::fs::create_dir(ground.path("docker")).unwrap();
    std::fs::write(ground.path("docker/config.json"), config.to_string()).unwrap();
    ground.chanop(&["reconcile", "channel/a"]).well();
    ground.until_converged(&["a"]);
    let shown = ground.chanop(&["get", "channels", "-o", "yaml"]).out;
    for text in [ground.log(), shown] {
        assert!(!text.contains(PASSWORD) && !text.contains(&login), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_stays_when_the_image_of_its_new_spec_cannot_be_had() {
    let mut ground = Ground::new();
    let old = ground.image.clone();
    ground.channel("a.yaml", "a", "");
    ground.start();
    ground.until_converged(&["a"]);
    let before = ground.shell("a");
    ground.image = format!("127.0.0.1:1/{}:1", ground.instance);
    ground.channel("a.yaml", "a", "");
    let why = ground.until_reason("a", "UpToDate", "ImagePullBackOff");
    assert!(why.contains("the registry cannot be reached"), "{why}");
    assert_eq!(ground.condition("a", "Ready").0, "True", "the old one is a usable shell");
    assert_eq!(ground.shell("a")["Id"], before["Id"]);
    let (code, plan) = ground.plan();
    assert_eq!((code, plan["lines"][0]["verb"].as_str()), (2, Some("recreate")), "{plan}");
    ground.image = old;
    ground.channel("a.yaml", "a", "");
    ground.until_converged(&["a"]);
    assert_eq!(ground.shell("a")["State"]["StartedAt"], before["State"]["StartedAt"]);
}

#[test]
fn an_image_that_may_not_be_pulled_is_said_to_be_missing_with_the_way_out() {
    let mut ground = Ground::new();
    for (name, image, way_out) in [
        ("mine", "chanop-agent:latest", "chanop agent-image"),
        ("never", "chanop-it-nobody-has-this:1", "pullPolicy is Never"),
    ] {
        ground.workspace(name);
        let text = ground.channel_text(name, "", "");
        let policy = if name == "never" { ", pullPolicy: Never" } else { "" };
        let text = text.replace(&format!("{:?}}}", ground.image), &format!("{image:?}{policy}}}"));
        ground.write(&format!("{name}.yaml"), &text);
        if name == "mine" && ground.try_docker(&["image", "inspect", image]).code == 0 {
            // Somebody made it on this engine: then there is nothing to say.
            continue;
        }
        if ground.channels().is_empty() {
            ground.start();
        }
        let why = ground.until_reason(name, "Ready", "ImageMissing");
        assert!(why.contains(way_out), "{why}");
    }
}

/// A channel whose image is built from `agent/`.
fn building(ground: &Ground) -> String {
    let name = ground.instance.clone();
    ground.workspace(&name);
    let image = format!("image: {{ref: {:?}}}", ground.image);
    let text = ground.channel_text(&name, "", "");
    ground.write("a.yaml", &text.replace(&image, "image: {build: {context: ./agent}}"));
    name
}

#[test]
fn an_image_is_built_from_the_spec_directory_and_anew_when_its_content_changes() {
    let mut ground = Ground::new();
    std::fs::create_dir(ground.path("specs/agent")).unwrap();
    let dockerfile = |ground: &Ground, more: &str| {
        let text = format!("FROM {}\nCOPY word /word\n{more}", ground.image);
        std::fs::write(ground.path("specs/agent/Dockerfile"), text).unwrap();
    };
    dockerfile(&ground, "");
    std::fs::write(ground.path("specs/agent/word"), "first\n").unwrap();
    let name = building(&ground);
    ground.start();
    ground.until_converged(&[&name]);
    assert_eq!(ground.exec(&name, "cat /word").well(), "first\n");
    let image = |ground: &Ground| {
        ground.shell(&name)["Config"]["Image"].as_str().unwrap_or_default().to_owned()
    };
    let first = image(&ground);
    assert!(first.starts_with(&format!("chanop-build/{0}.{name}:", ground.instance)), "{first}");

    // Broken: what runs stays, and the build's own words say why.
    dockerfile(&ground, "RUN echo it breaks here; exit 7\n");
    let why = ground.until_reason(&name, "UpToDate", "ImageBuildFailed");
    assert!(why.contains("code: 7") && why.contains("it breaks here"), "{why}");
    assert_eq!(image(&ground), first);
    assert!(ground.chanop(&["describe", &format!("channel/{name}")]).well().contains("code: 7"));

    // Mended, with another content.
    dockerfile(&ground, "");
    std::fs::write(ground.path("specs/agent/word"), "second\n").unwrap();
    ground
        .until("the new image is used", |ground| image(ground) != first && is_ready(ground, &name));
    assert_eq!(ground.exec(&name, "cat /word").well(), "second\n");
    // And once more: what was built before the last and is used by nobody is gone.
    std::fs::write(ground.path("specs/agent/word"), "third\n").unwrap();
    let second = image(&ground);
    ground.until("the third is used", |ground| image(ground) != second && is_ready(ground, &name));
    let builds = format!("chanop-build/{0}.{name}", ground.instance);
    let tags = ground.docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", &builds]);
    assert!(!tags.contains(&first) && tags.contains(&image(&ground)), "{tags}");
}

#[test]
fn lost_volumes_of_an_image_are_named_before_a_recreate() {
    let mut ground = Ground::new();
    std::fs::create_dir(ground.path("specs/agent")).unwrap();
    let text = format!("FROM {}\nVOLUME [\"/data\", \"/kept\"]\n", ground.image);
    std::fs::write(ground.path("specs/agent/Dockerfile"), text).unwrap();
    let name = building(&ground);
    let spec = std::fs::read_to_string(ground.path("specs/a.yaml")).unwrap();
    let mount = format!("  mounts: [{{type: volume, source: {name}-kept, target: /kept}}]\n");
    let spec = format!("{spec}{mount}  updateStrategy: {{type: OnDelete}}\n");
    ground.write("a.yaml", &spec);
    ground.start();
    ground.until_converged(&[&name]);
    let (_, _, message) = ground.condition(&name, "Ready");
    assert!(message.contains("data in /data (VOLUME of the image"), "{message}");
    let described = ground.chanop(&["describe", &format!("channel/{name}")]).well();
    assert!(described.contains("/data (VOLUME of the image"), "{described}");
    ground.write("a.yaml", &format!("{spec}  env: [{{name: WORD, value: new}}]\n"));
    ground.until("the plan names what is lost", |ground| {
        let plan = ground.chanop(&["plan"]).out;
        plan.contains("/data (VOLUME of the image, not a mount of the spec) is lost")
            && !plan.contains("/kept")
    });
}

#[test]
fn built_images_go_with_their_channel_and_others_stay() {
    let mut ground = Ground::new();
    let text = format!("FROM {}\nCOPY word /word\n", ground.image);
    std::fs::create_dir_all(ground.path("specs/agent")).unwrap();
    std::fs::write(ground.path("specs/agent/Dockerfile"), text).unwrap();
    std::fs::write(ground.path("specs/agent/word"), "first\n").unwrap();
    let name = building(&ground);
    ground.start();
    ground.until_converged(&[&name]);
    let built = ground.shell(&name)["Config"]["Image"].as_str().unwrap().to_owned();
    // Another channel's repository that begins alike, and a person's tag in this one.
    let (person, other) = (
        format!("chanop-{}-mine:1", ground.instance),
        format!("chanop-build/{}.{name}2:1", ground.instance),
    );
    ground.docker(&["tag", &ground.image, &other]);
    let tagged_by_hand = format!("{}:mine", built.rsplit_once(':').unwrap().0);
    ground.docker(&["tag", &ground.image, &tagged_by_hand]);
    // A container of a person uses it: it is waited for, and said.
    let user = format!("chanop-{}-user", ground.instance);
    ground.docker(&["create", "--name", &user, &built, "true"]);
    let file = "a.yaml";
    let spec = std::fs::read_to_string(ground.path("specs").join(file)).unwrap();
    ground.write(file, &format!("{spec}  deletion: {{keepStopped: 0s}}\n"));
    ground.until("the new content counts", |ground| {
        ground.shown(&name)["spec"]["deletion"]["keepStopped"] == "0s"
    });
    ground.unlink(file);
    ground.until("the shell is removed", |ground| ground.containers().is_empty());
    ground.docker(&["image", "inspect", &built]);
    ground.docker(&["tag", &built, &person]);
    ground.docker(&["rm", &user]);
    ground.until("its record is removed", |ground| ground.shown(&name).is_null());
    assert_ne!(ground.try_docker(&["image", "inspect", &built]).code, 0, "{built} is untagged");
    for stays in [&person, &other, &tagged_by_hand] {
        ground.docker(&["image", "inspect", stays]);
        ground.docker(&["image", "rm", stays]);
    }
}

fn is_ready(ground: &Ground, name: &str) -> bool {
    ground.condition(name, "Ready").0 == "True"
}

#[test]
fn a_context_that_is_not_there_or_leads_out_holds_the_channel_and_says_so() {
    let mut ground = Ground::new();
    let name = building(&ground);
    ground.start();
    let why = ground.until_reason(&name, "Ready", "ImageBuildFailed");
    assert!(why.contains("no directory agent"), "{why}");
    std::os::unix::fs::symlink("/etc", ground.path("specs/agent")).unwrap();
    ground.until("the link is refused", |ground| {
        ground.condition(&name, "Ready").2.contains("links are not followed")
    });
    let events: Value =
        serde_json::from_str(&ground.chanop(&["get", "events", "-o", "json"]).well()).unwrap();
    assert!(!events.to_string().contains("root:x:0"), "nothing of it is shown");
}
