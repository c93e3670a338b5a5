//! A registry of the test's own: Debian's `docker-registry` on a port of loopback, where an engine speaks plain HTTP
//! without being told. Its storage and its process go away with it, also when the test panics.
//!
//! Images get there by the engine's own push, so what is pulled is what an engine made.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chanop::container::ImageRef;
use chanop::docker::Engine as _;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::engine::{TEST_LABEL, TestBed, endpoint};
use super::operator::program;

/// Whom a registry that asks lets in.
pub(crate) const NAME: &str = "ann";
pub(crate) const PASSWORD: &str = "hunter2";
/// Their line in its password file: bcrypt, since it takes nothing else.
const HTPASSWD: &str = "ann:$2b$05$IRKjCsvGKG/N2uaa2f.LOeKQ.7hqs2Q3B2cPZ42PlD8uKQPNSIHqm\n";
/// How long it may take to listen; it takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom it lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doors {
    Open,
    Locked,
}

/// A registry that runs.
pub(crate) struct Registry {
    address: SocketAddr,
    doors: Doors,
    storage: TempDir,
    process: Child,
}

impl Registry {
    /// Starts one.
    pub(crate) async fn start(doors: Doors) -> Self {
        let storage = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = storage.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let auth = match doors {
            Doors::Open => String::new(),
            Doors::Locked => {
                let passwords = file("htpasswd", HTPASSWD);
                format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display())
            }
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n{auth}",
            storage.path().join("data").display()
        );
        let mut process = program("docker-registry")
            .arg("serve")
            .arg(file("config.yaml", &config))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("docker-registry: {error}; `make test` fetches it, else put target/tools on PATH")
            });
        // It says where it listens; from then on its words are read and forgotten, so that it is never kept waiting.
        let log = BufReader::new(process.stderr.take().unwrap());
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ")
                    && let Some(tell) = tell.take()
                {
                    let address = rest.split([',', '"', ' ']).next().unwrap_or_default();
                    let _ = tell.send(address.parse::<SocketAddr>());
                }
            }
        });
        let told = tokio::time::timeout(PATIENCE, told).await;
        let address = match told {
            Ok(Ok(Ok(address))) => address,
            other => {
                let _ = process.kill();
                panic!("docker-registry does not listen: {other:?}");
            }
        };
        Self { address, doors, storage, process }
    }

    /// A reference to a repository here.
    pub(crate) fn reference(&self, name: &str) -> ImageRef {
        reference_at(self.address, name)
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes an image with one file of so many bytes that no compression makes smaller, pushes it as `name`, and takes it off
    /// the engine. Answers its ID.
    pub(crate) async fn push(&self, bed: &TestBed, name: &str, bytes: usize) -> String {
        let reference = self.reference(name);
        let changes = [format!("LABEL {TEST_LABEL}={}", bed.mark())];
        let id = bed.docker.image_import(noise(bytes), &reference, &changes).await.unwrap();
        let socket = endpoint().socket().to_str().unwrap().to_owned();
        let api =
            bollard::Docker::connect_with_unix(&socket, 120, bollard::API_DEFAULT_VERSION).unwrap();
        let credentials = (self.doors == Doors::Locked).then(|| bollard::auth::DockerCredentials {
            username: Some(NAME.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..Default::default()
        });
        let (repository, tag) = reference.as_str().rsplit_once(':').unwrap();
        let options =
            bollard::query_parameters::PushImageOptionsBuilder::default().tag(tag).build();
        api.push_image(repository, Some(options), credentials)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await
            .unwrap();
        bed.docker.image_remove(&reference).await.unwrap();
        id
    }

    /// Where it keeps what was pushed.
    fn data(&self) -> PathBuf {
        self.storage.path().join("data/docker/registry/v2")
    }

    /// Loses all that its repositories are made of.
    pub(crate) fn lose_blobs(&self) {
        std::fs::remove_dir_all(self.data().join("blobs")).unwrap();
    }

    /// Forgets a repository, as a person who deletes it would.
    pub(crate) fn forget(&self, repository: &str) {
        std::fs::remove_dir_all(self.data().join("repositories").join(repository)).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A reference to a repository at a registry's address, or at that of a proxy before it.
pub(crate) fn reference_at(address: SocketAddr, name: &str) -> ImageRef {
    ImageRef::parse(&format!("{address}/{name}")).unwrap()
}

/// An archive with a file that cannot be compressed, another one each time.
fn noise(bytes: usize) -> Bytes {
    // xorshift: what matters is that gzip finds nothing in it.
    let mut state = uuid::Uuid::new_v4().as_u64_pair().0 | 1;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "noise", content.as_slice()).unwrap();
    Bytes::from(archive.into_inner().unwrap())
}

/// A way to a registry that hands on so many bytes of its answers, and then stands still until it is opened again.
pub(crate) struct Stalling {
    pub(crate) address: SocketAddr,
    passed: Arc<AtomicU64>,
    /// Each connection has one beside ours.
    connections: Arc<()>,
    limit: tokio::sync::watch::Sender<u64>,
}

impl Stalling {
    /// A new one in front of `registry`.
    pub(crate) async fn before(registry: &Registry, limit: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = registry.address();
        let passed = Arc::new(AtomicU64::new(0));
        let (open, limit) = tokio::sync::watch::channel(limit);
        let counted = Arc::clone(&passed);
        let connections = Arc::new(());
        let weak = Arc::downgrade(&connections);
        spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (limit, counted) = (limit.clone(), Arc::clone(&counted));
                let connection = weak.upgrade();
                spawn(async move {
                    let Ok(server) = TcpStream::connect(upstream).await else { return };
                    let (mut from_client, to_client) = client.into_split();
                    let (from_server, mut to_server) = server.into_split();
                    let asked = tokio::io::copy(&mut from_client, &mut to_server);
                    let answered = hand_on(from_server, to_client, limit, counted);
                    tokio::select! { _ = asked => {}, () = answered => {} }
                    drop(connection);
                });
            }
        });
        Self { address, passed, connections, limit: open }
    }

    /// Bytes of answers that were handed on, over all connections.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Waits until nobody is connected any more.
    pub(crate) async fn left_alone(&self) {
        let left = async {
            while Arc::strong_count(&self.connections) > 1 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, left).await.expect("the engine hangs up");
    }

    /// Hands on everything from now on.
    pub(crate) fn open(&self) {
        self.limit.send_replace(u64::MAX);
    }
}

async fn hand_on(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut limit: tokio::sync::watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let so_far = passed.fetch_add(count as u64, Ordering::Relaxed);
        if limit.wait_for(|limit| so_far < *limit).await.is_err() {
            return;
        }
        if to.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

/// A registry that answers every manifest with this status and text.
pub(crate) async fn refusing(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    // What is no HTTP is the engine's attempt at TLS.
                    if !matches!(client.read_buf(&mut request).await, Ok(1..))
                        || !request.first().is_some_and(u8::is_ascii_uppercase)
                    {
                        return;
                    }
                }
                let manifest = String::from_utf8_lossy(&request).contains("/manifests/");
                let (status, body) = if manifest { (status, body) } else { ("200 OK", "{}") };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\
                     Docker-Distribution-Api-Version: registry/2.0\r\n\r\n{body}",
                    body.len()
                );
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "a test's server ends with the test's runtime")]
    tokio::spawn(future);
}
