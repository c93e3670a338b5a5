//! The ancestor's names, each once.

use bytes::Bytes;
use chanop::container::{ContainerName, Identity, ImageRef};
use chanop::docker::DockerClient;
use tokio::io::AsyncReadExt;

use crate::support::engine::{TEST_LABEL, TestBed};
use crate::support::image;

#[tokio::test]
async fn a_container_lives_its_life_by_the_ancestors_names() {
    let bed = TestBed::new().await;
    let client = bed.docker.clone();
    let config = bed.config(
        "echo begin; cat /tmp/etc/passwd; while test ! -e /tmp/bin/go; do sleep 0.1; done; exit 6",
    );
    let id = client.container_create(&config, &bed.name("life")).await.unwrap();
    client.copy_to_container(&id, "/tmp", image::root()).await.unwrap();
    client.container_start(&id).await.unwrap();
    let mut follow = client.container_logs_follow(&id);
    let mut first = [0; 6];
    follow.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"begin\n");
    assert_eq!(
        client.container_list(TEST_LABEL, bed.mark()).await.unwrap(),
        std::slice::from_ref(&id)
    );
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut tar::Header::new_gnu(), "go", std::io::empty()).unwrap();
    client
        .copy_to_container(&id, "/tmp/bin", Bytes::from(archive.into_inner().unwrap()))
        .await
        .unwrap();
    assert_eq!(client.container_wait(&id).await.unwrap().status_code, 6);
    let mut rest = String::new();
    follow.read_to_string(&mut rest).await.unwrap();
    let mut all = String::new();
    client.container_logs(&id).read_to_string(&mut all).await.unwrap();
    assert_eq!(all, format!("begin\n{rest}"));
    assert!(rest.contains("root:x:0:0"));
    assert_eq!(client.container_list(TEST_LABEL, bed.mark()).await.unwrap(), []);
    client.container_remove(&id).await.unwrap();
    client.container_remove(&id).await.unwrap();
    client.close();
}

#[tokio::test]
async fn images_are_listed_pulled_and_built_by_the_ancestors_names() {
    let bed = TestBed::new().await;
    let client = bed.docker.clone();
    let base = bed.image.reference();
    assert_eq!(client.image_list(base).await.unwrap().len(), 1);
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), format!("FROM {base}\nENV BUILT=1\n"))
        .unwrap();
    let tag = bed.image_name("client");
    client.image_build(context.path(), &tag).await.unwrap();
    assert_eq!(client.image_list(&tag).await.unwrap().len(), 1);
    let missing = client.image_build(&context.path().join("missing"), &tag).await.unwrap_err();
    assert!(missing.to_string().contains("missing"), "{missing}");
    assert!(client.image_pull(&ImageRef::parse("localhost:1/x").unwrap()).await.is_err());
}

#[tokio::test]
async fn running_channels_are_those_whose_name_and_labels_agree() {
    let bed = TestBed::new().await;
    let instance = bed.mark().to_owned();
    let labels = |channel: &str| {
        let pairs = [
            ("dev.chanop.instance", instance.as_str()),
            ("dev.chanop.kind", "shell"),
            ("dev.chanop.channel", channel),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    for (name, channel, runs) in [
        (format!("chanop_{instance}_web"), "web", true),
        (format!("chanop_{instance}_idle"), "idle", false),
        (format!("chanop_{instance}_web-copy"), "web", true),
    ] {
        let mut config = bed.config("sleep 1000");
        config.labels.extend(labels(channel));
        let id = bed
            .docker
            .container_create(&config, &ContainerName::parse(&name).unwrap())
            .await
            .unwrap();
        if runs {
            bed.docker.container_start(&id).await.unwrap();
        }
    }
    let running = bed.docker.running_channel_ids(&instance).await.unwrap();
    assert_eq!(running, ["web".to_owned()].into());
    let none = std::collections::BTreeMap::new();
    assert_eq!(Identity::channel_of("No Name", &none, &bed.name("x")), None);
}
