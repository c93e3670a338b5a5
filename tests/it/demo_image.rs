//! The demo image on a real engine: made once, used as it is, and enough of a system for a shell.

use std::time::Duration;

use chanop::cli::demo_image;
use chanop::config::Environment;
use chanop::container::{ContainerConfig, ContainerName};
use chanop::docker::{Docker, Endpoint, EndpointSources, Engine};
use futures_util::StreamExt;

async fn engine() -> Docker {
    let environment = Environment::read();
    let sources = EndpointSources {
        docker_host: environment.docker_host,
        docker_context: environment.docker_context,
        home: environment.home.map(Into::into),
        xdg_runtime_dir: environment.xdg_runtime_dir.map(Into::into),
        ..EndpointSources::default()
    };
    let endpoint = Endpoint::find(&sources).unwrap();
    Docker::connect(&endpoint).await.expect("these tests need a Docker engine: make docker")
}

#[tokio::test]
async fn the_image_is_made_once_and_has_a_shell_with_its_tools() {
    let docker = engine().await;
    let image = demo_image::build(&docker, None).await.unwrap();
    let first = docker.image(&image).await.unwrap().unwrap();
    assert_eq!(first.labels.get(demo_image::LABEL).map(String::as_str), Some("1"));
    demo_image::build(&docker, None).await.unwrap();
    assert_eq!(
        docker.image(&image).await.unwrap().unwrap().id,
        first.id,
        "the second made nothing"
    );

    let name = ContainerName::parse(&format!("chanop-test-demo-{}", std::process::id())).unwrap();
    let script = "set -e; cd /tmp; /usr/bin/env printf 'a b\\n' | tr a-z A-Z | tee x; id -u; test -k /tmp; ps >/dev/null";
    let config = ContainerConfig {
        image: image.as_str().to_owned(),
        cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
        user: "1000:1000".to_owned(),
        ..ContainerConfig::default()
    };
    let id = docker.create(&name, &config).await.unwrap();
    let started = docker.start(&id).await;
    let ended = tokio::time::timeout(Duration::from_mins(1), docker.wait(&id)).await;
    let chunks: Vec<_> = docker.logs(&id, false).collect().await;
    docker.remove(&id, true).await.unwrap();
    started.unwrap();
    let said: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().bytes).collect();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(ended.unwrap().unwrap().status_code, 0, "{said}");
    assert_eq!(said, "A B\n1000\n");
}
