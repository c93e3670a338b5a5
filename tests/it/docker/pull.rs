//! Pulls from a real registry: progress, credentials, and each way to fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use chanop::container::ImageRef;
use chanop::docker::image::pull::finish;
use chanop::docker::image::{
    CredentialSources, PullError, PullPhase, PullProgress, PullStream, RegistryAuth,
    no_progress_for,
};
use chanop::docker::{self, Engine as _};
use futures_util::StreamExt as _;

use crate::support::engine::TestBed;
use crate::support::registry::{Doors, NAME, PASSWORD, Registry, Stalling, reference_at, refusing};

/// Longer than any pull from loopback takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const MIB: usize = 1 << 20;

/// Everything that a pull said until it was there.
async fn seen(pull: PullStream) -> Vec<PullProgress> {
    no_progress_for(pull, PATIENCE).map(|progress| progress.unwrap()).collect().await
}

async fn failure(pull: PullStream) -> PullError {
    finish(no_progress_for(pull, PATIENCE)).await.unwrap_err()
}

#[tokio::test]
async fn an_image_is_pulled_with_its_progress_and_known_by_its_digest() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Open).await;
    let id = registry.push(&bed, "app:1", 8 * MIB).await;
    let reference = registry.reference("app:1");
    bed.will_have(&reference);
    assert_eq!(bed.docker.image(&reference).await.unwrap(), None);
    let seen = seen(bed.docker.image_pull(&reference, None)).await;
    let last = seen.last().unwrap();
    assert_eq!((last.phase, last.layers_done, last.layers_total), (PullPhase::Done, 1, 1));
    assert_eq!(seen[0].phase, PullPhase::Resolving);
    let downloaded = seen.iter().map(|at| at.bytes_current).max().unwrap();
    assert!(downloaded > 8 * MIB as u64, "{seen:?}");
    assert!(seen.iter().any(|at| at.phase == PullPhase::Extracting && at.bytes_extracted > 0));
    let image = bed.docker.image(&reference).await.unwrap().unwrap();
    assert_eq!(image.id, id);
    let digest = last.digest.clone().unwrap();
    assert_eq!(image.digest_of(&reference.normal().unwrap()), Some(digest.as_str()));
    // Once more: nothing to do, and no error.
    assert_eq!(finish(bed.docker.image_pull(&reference, None)).await.unwrap().digest, Some(digest));
    docker::DockerClient::image_pull(&bed.docker, &reference).await.unwrap();
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_not_found() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Open).await;
    registry.push(&bed, "app:1", MIB).await;
    for name in ["nothing:1", "app:2", &format!("app@sha256:{}", "a".repeat(64))] {
        let error = failure(bed.docker.image_pull(&registry.reference(name), None)).await;
        assert!(matches!(error, PullError::NotFound(_)), "{name}: {error}");
    }
    let id = ImageRef::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    let error = failure(bed.docker.image_pull(&id, None)).await;
    assert!(matches!(error, PullError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_locked_registry_lets_in_who_has_the_password() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Locked).await;
    registry.push(&bed, "app:1", MIB).await;
    let reference = registry.reference("app:1");
    bed.will_have(&reference);
    let server = registry.address().to_string();
    let wrong = RegistryAuth::password(&server, NAME, "wrong");
    for auth in [None, Some(&wrong)] {
        let error = failure(bed.docker.image_pull(&reference, auth)).await;
        assert!(matches!(error, PullError::Denied(_)), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    let right = RegistryAuth::password(&server, NAME, PASSWORD);
    seen(bed.docker.image_pull(&reference, Some(&right))).await;
    assert!(bed.docker.image(&reference).await.unwrap().is_some());
}

#[tokio::test]
async fn the_credentials_of_a_helper_open_a_registry() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Locked).await;
    registry.push(&bed, "app:1", MIB).await;
    let reference = registry.reference("app:1");
    bed.will_have(&reference);
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\n[ \"$(cat)\" = {} ] && echo '{{\"Username\":\"{NAME}\",\"Secret\":\"{PASSWORD}\"}}'\n",
        registry.address()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let config_file = directory.path().join("config.json");
    let config = format!(r#"{{"credHelpers":{{"{}":"test"}}}}"#, registry.address());
    fs::write(&config_file, config).unwrap();
    let search_path = vec![directory.path().to_owned()];
    let sources = CredentialSources { config_file: Some(config_file), search_path };
    let auth = sources.find(&reference).await.unwrap();
    seen(bed.docker.image_pull(&reference, auth.as_ref())).await;
    assert!(bed.docker.image(&reference).await.unwrap().is_some());
}

#[tokio::test]
async fn where_nothing_listens_the_registry_cannot_be_reached() {
    let bed = TestBed::new().await;
    let reference = ImageRef::parse("localhost:1/chanop-test/nothing").unwrap();
    let error = failure(bed.docker.image_pull(&reference, None)).await;
    assert!(matches!(error, PullError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("localhost:1"), "{error}");
}

#[tokio::test]
async fn a_registry_that_stops_in_mid_layer_is_given_up_and_pulled_from_later() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Open).await;
    registry.push(&bed, "app:1", 8 * MIB).await;
    let proxy = Stalling::before(&registry, 4 * MIB as u64).await;
    let reference = reference_at(proxy.address, "app:1");
    bed.will_have(&reference);
    let pull = bed.docker.image_pull(&reference, None);
    let mut pull = no_progress_for(pull, Duration::from_secs(3));
    let mut last = PullProgress::default();
    let error = loop {
        match pull.next().await.expect("it does not end well") {
            Ok(progress) => last = progress,
            Err(error) => break error,
        }
    };
    assert!(pull.next().await.is_none());
    assert_eq!(last.phase, PullPhase::Downloading);
    assert!(last.bytes_current > 0 && last.bytes_current < 8 * MIB as u64, "{last:?}");
    assert!(matches!(error, PullError::Stalled(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("no progress for 3 s (downloading, ") && text.contains(" of 8 MiB"),
        "{text}"
    );
    assert_eq!(bed.docker.image(&reference).await.unwrap(), None);
    // The engine has heard of it: what it still hears from the registry leads to nothing.
    proxy.open();
    proxy.left_alone().await;
    assert_eq!(bed.docker.image(&reference).await.unwrap(), None);
    seen(bed.docker.image_pull(&reference, None)).await;
    assert!(bed.docker.image(&reference).await.unwrap().is_some());
    assert!(proxy.passed() > 8 * MIB as u64);
}

#[tokio::test]
async fn an_image_that_is_removed_while_its_pull_waits_is_an_error_and_no_image() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Open).await;
    registry.push(&bed, "app:1", MIB).await;
    // Nothing of an answer comes through, so the engine still asks what there is.
    let proxy = Stalling::before(&registry, 0).await;
    let reference = reference_at(proxy.address, "app:1");
    bed.will_have(&reference);
    let mut pull = no_progress_for(bed.docker.image_pull(&reference, None), PATIENCE);
    let waiting = tokio::time::timeout(Duration::from_secs(2), pull.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    registry.forget("app");
    proxy.open();
    let error = finish(pull).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound(_)), "{error}");
    assert_eq!(bed.docker.image(&reference).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_registry_refuses_is_told_apart() {
    let bed = TestBed::new().await;
    for (status, body, class) in [
        (
            "429 Too Many Requests",
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#,
            "rate_limited",
        ),
        ("503 Service Unavailable", "", "unreachable"),
        (
            "500 Internal Server Error",
            r#"{"errors":[{"code":"UNKNOWN","message":"oops"}]}"#,
            "unreachable",
        ),
        (
            "403 Forbidden",
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
            "denied",
        ),
        ("404 Not Found", "<html>", "not_found"),
        ("200 OK", "{}", "failed"),
    ] {
        let address = refusing(status, body).await;
        let error = failure(bed.docker.image_pull(&reference_at(address, "app:1"), None)).await;
        assert_eq!(error.class(), class, "{status}: {error}");
    }
}

#[tokio::test]
async fn a_registry_that_lost_a_layer_has_no_such_image() {
    let bed = TestBed::new().await;
    let registry = Registry::start(Doors::Open).await;
    registry.push(&bed, "app:1", MIB).await;
    registry.lose_blobs();
    let error = failure(bed.docker.image_pull(&registry.reference("app:1"), None)).await;
    assert!(matches!(error, PullError::NotFound(_)), "{error}");
}
