//! The engine that a ground is on: a real one, or the simulated one, which needs no sweeping.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chanop::container::{ContainerConfig, ContainerId, ContainerName, ObjectName, Snapshot, label};
use chanop::docker::{Docker, Endpoint, Engine as _};
use chanop::resource::ResourceName;
use tokio::runtime::Runtime;

use crate::Outcome;

/// Which label the containers carry that were made without an operator.
pub(crate) const BENCH_LABEL: &str = "dev.chanop.bench";

/// An engine, asked from threads.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// Docker.
    Real(Real),
    /// Goes with its server.
    Simulated,
}

/// Docker, and what carries its calls out.
#[derive(Debug, Clone)]
pub(crate) struct Real {
    docker: Docker,
    socket: PathBuf,
    runtime: Arc<Runtime>,
}

impl Real {
    /// The one behind this socket.
    pub(crate) fn connect(socket: &Path, runtime: &Arc<Runtime>) -> Outcome<Self> {
        let docker = runtime.block_on(Docker::connect(&Endpoint::unix(socket)))?;
        Ok(Self { docker, socket: socket.to_owned(), runtime: Arc::clone(runtime) })
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// For calls made one after the other.
    pub(crate) const fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Carries it out.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The instance's containers.
    pub(crate) fn containers(&self, instance: &str) -> Outcome<Vec<Snapshot>> {
        Ok(self.run(self.docker.list(label::INSTANCE, instance))?)
    }

    /// What the instance's containers were made from.
    pub(crate) fn configs(&self, instance: &str) -> Outcome<Vec<ContainerConfig>> {
        let mut configs = Vec::new();
        for found in self.containers(instance)? {
            let whole = self.run(self.docker.inspect(&found.id))?;
            configs.push(whole.details.ok_or("an inspect without details")?.config);
        }
        Ok(configs)
    }

    /// A channel's container.
    pub(crate) fn shell(&self, instance: &str, channel: &str) -> Outcome<ContainerId> {
        let name =
            ContainerName::shell(&ResourceName::parse(instance)?, &ResourceName::parse(channel)?);
        Ok(self.run(self.docker.inspect_name(&name))?.id)
    }

    /// Removes all with this label, running or not.
    pub(crate) fn remove(&self, key: &str, value: &str) -> Outcome<()> {
        for found in self.run(self.docker.list(key, value))? {
            self.run(self.docker.remove(&found.id, true))?;
        }
        Ok(())
    }
}

impl Engine {
    /// Takes away everything of the instance, as far as that is possible.
    pub(crate) fn sweep(&self, instance: &str) {
        let Self::Real(real) = self else { return };
        let _ = real.remove(label::INSTANCE, instance);
        let _ = real.remove(BENCH_LABEL, instance);
        let Ok(name) = ResourceName::parse(instance) else { return };
        real.run(async {
            let networks = real.docker.networks(&ObjectName::network_of(&name)).await;
            for network in networks.unwrap_or_default() {
                if let Ok(id) = ObjectName::parse(&network.id) {
                    let _ = real.docker.network_remove(&id).await;
                }
            }
            let _ = real.docker.volume_remove(&ObjectName::anchor_of(&name)).await;
        });
    }
}
