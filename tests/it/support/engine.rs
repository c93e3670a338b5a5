//! The real engine, and a bed for a test on it that is made again when the test ends, however it ends.
//!
//! Whatever a test makes has the label `dev.chanop.test` with the bed's own value, so tests neither see nor remove each
//! other's things. There is no skipping: without an engine, a test fails and says what to do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use chanop::container::{ContainerConfig, ContainerId, ContainerName, ImageRef, ObjectName};
use chanop::docker::{Docker, Endpoint, EndpointSources, Engine};
use futures_util::StreamExt;

use super::image::BusyboxImage;

/// The label of all that tests make.
pub(crate) const TEST_LABEL: &str = "dev.chanop.test";

/// Where the engine is, as `DOCKER_HOST` or the usual places say.
pub(crate) fn endpoint() -> Endpoint {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own to read")]
    let docker_host = std::env::var("DOCKER_HOST").ok();
    let sources = EndpointSources { docker_host, ..EndpointSources::default() };
    Endpoint::find(&sources).expect("DOCKER_HOST names a unix socket")
}

/// The engine. Fails the test in one line when there is none.
pub(crate) async fn engine() -> Docker {
    match Docker::connect(&endpoint()).await {
        Ok(docker) => docker,
        Err(error) => panic!("this test needs a Docker engine: run `make docker` ({error})"),
    }
}

/// An engine with an image on it, and a mark of its own for what a test makes.
pub(crate) struct TestBed {
    /// The engine.
    pub(crate) docker: Docker,
    /// The image, kept while the bed stands.
    pub(crate) image: BusyboxImage,
    mark: String,
    volumes: Mutex<Vec<ObjectName>>,
    networks: Mutex<Vec<ObjectName>>,
    images: Mutex<Vec<ImageRef>>,
}

impl TestBed {
    /// A new one.
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let docker = engine().await;
        let image = BusyboxImage::get(&docker).await;
        let mark = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            docker,
            image,
            mark,
            volumes: Mutex::default(),
            networks: Mutex::default(),
            images: Mutex::default(),
        }
    }

    /// The value of [`TEST_LABEL`] on all that this bed makes.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// A container's name that no other test has.
    pub(crate) fn name(&self, word: &str) -> ContainerName {
        ContainerName::parse(&format!("chanop_test-{}_{word}", self.mark)).unwrap()
    }

    /// A volume's name that no other test has; the volume is removed in the end.
    pub(crate) fn volume_name(&self, word: &str) -> ObjectName {
        let name = ObjectName::parse(&format!("chanop_test-{}_{word}", self.mark)).unwrap();
        self.volumes.lock().unwrap().push(name.clone());
        name
    }

    /// A network's name that no other test has; the networks of that name are removed in the end.
    pub(crate) fn network_name(&self, word: &str) -> ObjectName {
        let name = ObjectName::parse(&format!("chanop_test-{}_{word}", self.mark)).unwrap();
        self.networks.lock().unwrap().push(name.clone());
        name
    }

    /// An image's reference that no other test has; the image is removed in the end.
    pub(crate) fn image_name(&self, word: &str) -> ImageRef {
        let name = ImageRef::parse(&format!("chanop-test-{}-{word}:latest", self.mark)).unwrap();
        self.images.lock().unwrap().push(name.clone());
        name
    }

    /// An image that the test pulls; it is removed in the end.
    pub(crate) fn will_have(&self, reference: &ImageRef) {
        self.images.lock().unwrap().push(reference.clone());
    }

    /// A container of the test image that runs `cmd` with busybox' shell.
    pub(crate) fn config(&self, script: &str) -> ContainerConfig {
        ContainerConfig {
            image: self.image.reference().to_string(),
            cmd: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            labels: [(TEST_LABEL.to_owned(), self.mark.clone())].into(),
            ..ContainerConfig::default()
        }
    }

    /// Made, not started.
    pub(crate) async fn create(&self, word: &str, script: &str) -> ContainerId {
        self.docker.create(&self.name(word), &self.config(script)).await.unwrap()
    }

    /// Made and started.
    pub(crate) async fn run(&self, word: &str, script: &str) -> ContainerId {
        let id = self.create(word, script).await;
        self.docker.start(&id).await.unwrap();
        id
    }

    /// Made, started, and ended by itself.
    pub(crate) async fn run_to_end(&self, word: &str, script: &str) -> ContainerId {
        let id = self.run(word, script).await;
        self.docker.wait(&id).await.unwrap();
        id
    }

    /// All its output as text: standard output, standard error.
    pub(crate) async fn output(&self, id: &ContainerId) -> (String, String) {
        let mut out = [Vec::new(), Vec::new()];
        let mut chunks = self.docker.logs(id, false);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.unwrap();
            out[usize::from(chunk.stderr)].extend_from_slice(&chunk.bytes);
        }
        let [stdout, stderr] = out.map(|bytes| String::from_utf8(bytes).unwrap());
        (stdout, stderr)
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        let mark = self.mark.clone();
        let take = |names: &Mutex<Vec<ObjectName>>| {
            names.lock().map(|names| names.clone()).unwrap_or_default()
        };
        let (volumes, networks) = (take(&self.volumes), take(&self.networks));
        let images = self.images.lock().map(|names| names.clone()).unwrap_or_default();
        in_own_runtime(async move {
            let docker = engine().await;
            for container in docker.list(TEST_LABEL, &mark).await.unwrap_or_default() {
                let _ = docker.remove(&container.id, true).await;
            }
            for name in networks {
                for network in docker.networks(&name).await.unwrap_or_default() {
                    let _ = docker.network_remove(&ObjectName::parse(&network.id).unwrap()).await;
                }
            }
            for name in volumes {
                let _ = docker.volume_remove(&name).await;
            }
            for name in images {
                let _ = docker.image_remove(&name).await;
            }
        });
    }
}

/// Runs a future to its end from a `drop`, which may be within a runtime, or while a panic unwinds.
pub(crate) fn in_own_runtime(future: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = std::thread::spawn(move || runtime.block_on(future)).join();
}
