//! The engine itself, networks and volumes.

use chanop::container::ObjectName;
use chanop::docker::{Engine, EngineError};

use crate::support::engine::{TEST_LABEL, TestBed, engine};

#[tokio::test]
async fn the_engine_says_who_it_is() {
    let docker = engine().await;
    docker.ping().await.unwrap();
    let info = docker.info().await.unwrap();
    assert!(
        !info.id.is_empty() && !info.version.is_empty() && info.cpus > 0 && info.memory_bytes > 0,
        "{info:?}"
    );
    assert!(info.api_version.starts_with("1.") && info.os == "linux", "{info:?}");
    assert_eq!(docker.info().await.unwrap().id, info.id);
}

#[tokio::test]
async fn a_network_keeps_its_containers_apart_and_has_its_name_alone() {
    let bed = TestBed::new().await;
    let name = bed.network_name("net");
    let labels = [(TEST_LABEL.to_owned(), bed.mark().to_owned())].into();
    assert_eq!(bed.docker.networks(&name).await.unwrap(), vec![]);
    let id = bed.docker.network_create(&name, &labels).await.unwrap();
    let longer = bed.network_name("net-and-more");
    bed.docker.network_create(&longer, &labels).await.unwrap();
    let found = bed.docker.networks(&name).await.unwrap();
    assert_eq!(found.len(), 1, "a name that contains ours is not ours");
    assert_eq!((&found[0].id, &found[0].labels), (&id, &labels));
    let apart = found[0].options.get("com.docker.network.bridge.enable_icc").map(String::as_str);
    assert_eq!(apart, Some("false"));
    let again = bed.docker.network_create(&name, &labels).await.unwrap_err();
    assert!(matches!(again, EngineError::NameTaken(_)), "{again}");
    let id = ObjectName::parse(&id).unwrap();
    bed.docker.network_remove(&id).await.unwrap();
    assert_eq!(bed.docker.network_remove(&id).await.unwrap_err().class(), "not_found");
}

#[tokio::test]
async fn a_volume_keeps_the_labels_that_it_was_made_with() {
    let bed = TestBed::new().await;
    let name = bed.volume_name("vol");
    assert_eq!(bed.docker.volume(&name).await.unwrap(), None);
    let labels = [(TEST_LABEL.to_owned(), bed.mark().to_owned())].into();
    let made = bed.docker.volume_create(&name, &labels).await.unwrap();
    assert_eq!((made.name.as_str(), &made.labels), (name.as_str(), &labels));
    let others = [(TEST_LABEL.to_owned(), "another".to_owned())].into();
    assert_eq!(
        bed.docker.volume_create(&name, &others).await.unwrap().labels,
        labels,
        "the first one's labels stay"
    );
    assert_eq!(bed.docker.volume(&name).await.unwrap(), Some(made));
    bed.docker.volume_remove(&name).await.unwrap();
    assert_eq!(bed.docker.volume_remove(&name).await.unwrap_err().class(), "not_found");
}

#[tokio::test]
async fn a_volume_in_use_is_not_removed() {
    use chanop::container::config::MountConfig;
    let bed = TestBed::new().await;
    let name = bed.volume_name("vol");
    let mut config = bed.config("true");
    config.mounts = vec![MountConfig::Volume {
        source: name.to_string(),
        target: "/v".to_owned(),
        read_only: true,
    }];
    bed.docker.create(&bed.name("user"), &config).await.unwrap();
    assert_eq!(bed.docker.volume_remove(&name).await.unwrap_err().class(), "conflict");
}
