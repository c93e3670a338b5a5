//! `chanop agent-image`: the image that the Claude Code CLI lives in.
//!
//! Either the Dockerfile that this program carries, built by the engine; or, where no registry can be asked, what this host
//! has ([`super::agent_host`]). The image's label says what it was made from: a second call does nothing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::agent_host::{self, HostError};
use super::busybox::{Busybox, BusyboxError};
use super::exit::Exit;
use super::failure::Failure;
use super::layer::ImportError;
use super::printer::Printer;
use super::work_dir::WorkDir;
use crate::container::ImageRef;
use crate::docker::image::{BuildContext, BuildError, ImageBuildSpec, PullError, build, pull};
use crate::docker::{Engine, EngineError};
use crate::resource::merge::DEFAULT_IMAGE;
use crate::resource::text::hex;

/// The label that says whose image it is; its value is `1`.
pub const LABEL: &str = "dev.chanop.agent";
/// The label with the hash of what it was made from.
const CONTENT_LABEL: &str = "dev.chanop.agent-content";

/// The image as it should be.
const DOCKERFILE: &str = include_str!("../../agent/Dockerfile");
/// The line of it that names the image below.
const BASE_LINE: &str = "ARG BASE=";

/// A build is minutes long: a line now and then says that it goes on.
const STILL_AT_IT: Duration = Duration::from_secs(10);

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum AgentImageError {
    /// The image below it is not to be had.
    #[error(
        "the base image {base} is not on the engine and cannot be pulled ({cause}); name another with --base, or make the image of this host's own files: chanop agent-image --from-host --claude FILE (`make claude` fetches one)"
    )]
    NoBase {
        /// The base image.
        base: ImageRef,
        /// Why not.
        cause: PullError,
    },
    /// The build failed; usually, packages could not be fetched.
    #[error(
        "failed to build {reference}; without a network: chanop agent-image --from-host --claude FILE"
    )]
    Build {
        /// The image.
        reference: ImageRef,
        /// Why.
        source: BuildError,
    },
    /// The build's directory could not be made.
    #[error("failed to write the build's directory")]
    Context(#[source] io::Error),
    /// The engine could not be asked.
    #[error("failed to ask the engine about itself and its images")]
    Engine(#[from] EngineError),
    /// No busybox for the image of this host's files.
    #[error(transparent)]
    Busybox(#[from] BusyboxError),
    /// This host lacks something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It was not imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The program stopped half-way.
    #[error("interrupted while reading this host's files")]
    Interrupted,
}

/// What the image is made from.
#[derive(Debug, Clone)]
pub enum Recipe {
    /// The Dockerfile, on this image or on its own choice.
    Dockerfile {
        /// The image below.
        base: Option<ImageRef>,
    },
    /// This host's files.
    Host {
        /// The CLI's program.
        claude: PathBuf,
        /// A static busybox; `None`: whichever can be found.
        busybox: Option<PathBuf>,
    },
}

/// The command's arguments.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AgentImageArgs {
    /// The image's name; channels that name none have the default
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_IMAGE)]
    tag: String,
    /// The image below, one with apt-get [default: debian:bookworm-slim]
    #[arg(long, value_name = "IMAGE", conflicts_with = "from_host")]
    base: Option<String>,
    /// Make it of this host's own files instead, without any registry; no git, ripgrep or ssh is in it
    #[arg(long, requires = "claude")]
    from_host: bool,
    /// The Claude Code CLI, a program for Linux; `make claude` fetches one
    #[arg(long, value_name = "FILE", requires = "from_host")]
    claude: Option<PathBuf>,
    /// A static busybox [default: the host's, or the one of Debian's package busybox-static]
    #[arg(long, value_name = "FILE", requires = "from_host")]
    busybox: Option<PathBuf>,
    /// The engine's socket.
    #[arg(help = super::ENGINE_HELP)]
    #[arg(long, value_name = "URL")]
    pub(super) docker_host: Option<String>,
}

/// Makes the image and says its name.
pub(super) async fn run<E: Engine>(
    printer: Printer,
    engine: &E,
    args: AgentImageArgs,
) -> Result<Exit, Failure> {
    let tag = ImageRef::parse(&args.tag)?;
    let recipe = match args.claude {
        Some(claude) => Recipe::Host { claude, busybox: args.busybox },
        None => Recipe::Dockerfile { base: args.base.as_deref().map(ImageRef::parse).transpose()? },
    };
    build(engine, &tag, recipe, |line| printer.err(line)).await?;
    printer.out(tag);
    Ok(Exit::Ok)
}

/// Makes the image, or answers at once when the engine has the one that this would be.
pub async fn build<E: Engine>(
    engine: &E,
    tag: &ImageRef,
    recipe: Recipe,
    say: impl Fn(String),
) -> Result<(), AgentImageError> {
    match recipe {
        Recipe::Dockerfile { base } => from_dockerfile(engine, tag, base, say).await,
        Recipe::Host { claude, busybox } => from_host(engine, tag, claude, busybox, say).await,
    }
}

async fn from_dockerfile<E: Engine>(
    engine: &E,
    tag: &ImageRef,
    base: Option<ImageRef>,
    say: impl Fn(String),
) -> Result<(), AgentImageError> {
    let (base, dockerfile) = dockerfile(base)?;
    let content = hex(&Sha256::digest(&dockerfile));
    let have = engine.image(tag).await?;
    if have.is_some_and(|image| image.labels.get(CONTENT_LABEL) == Some(&content)) {
        say(format!("{tag} is there already"));
        return Ok(());
    }
    if engine.image(&base).await?.is_none() {
        say(format!("pulling {base}"));
        let pull = patiently(pull::finish(engine.image_pull(&base, None)), "pulling", &say);
        match pull.await {
            Ok(_) => {}
            Err(PullError::Engine(cause @ EngineError::Unreachable(_))) => return Err(cause.into()),
            Err(cause) => return Err(AgentImageError::NoBase { base, cause }),
        }
    }
    say(format!("building {tag} on {base}: Debian's packages and the CLI, 250 MB to fetch"));
    let text = format!("{dockerfile}LABEL {CONTENT_LABEL}={content}\n");
    let work = WorkDir::new("agent-image").map_err(AgentImageError::Context)?;
    std::fs::write(work.path().join("Dockerfile"), text).map_err(AgentImageError::Context)?;
    let failed = |source| AgentImageError::Build { reference: tag.clone(), source };
    let context = BuildContext::read(work.path(), "Dockerfile")
        .map_err(|error| failed(BuildError::Context(error)))?;
    let spec = ImageBuildSpec::default();
    let building = build::finish(engine.image_build(&spec, &context, tag));
    patiently(building, "building", &say).await.map_err(failed)?;
    Ok(())
}

/// The base image and the Dockerfile with its name in it.
fn dockerfile(base: Option<ImageRef>) -> Result<(ImageRef, String), EngineError> {
    let own = DOCKERFILE.lines().find_map(|line| line.strip_prefix(BASE_LINE)).unwrap_or_default();
    let base = match base {
        Some(base) => base,
        None => ImageRef::parse(own).map_err(|error| EngineError::Refused(error.to_string()))?,
    };
    let named =
        DOCKERFILE.replacen(&format!("{BASE_LINE}{own}\n"), &format!("{BASE_LINE}{base}\n"), 1);
    Ok((base, named))
}

/// Waits, and says so now and then. No timeout: how long it takes is the network's affair, and the person can see and stop it.
async fn patiently<T>(work: impl Future<Output = T>, doing: &str, say: impl Fn(String)) -> T {
    let mut work = std::pin::pin!(work);
    let mut waited = Duration::ZERO;
    loop {
        if let Ok(done) = tokio::time::timeout(STILL_AT_IT, &mut work).await {
            return done;
        }
        waited += STILL_AT_IT;
        say(format!("still {doing}, {} s", waited.as_secs()));
    }
}

async fn from_host<E: Engine>(
    engine: &E,
    tag: &ImageRef,
    claude: PathBuf,
    busybox: Option<PathBuf>,
    say: impl Fn(String),
) -> Result<(), AgentImageError> {
    let architecture = engine.info().await?.architecture;
    let busybox = Busybox::find(busybox, &architecture).await?;
    say(format!("CLI: {}; busybox: {}", claude.display(), busybox.origin));
    let made = tokio::task::spawn_blocking(move || {
        agent_host::root_file_system("/".as_ref(), &claude, &busybox, &architecture)
    });
    let layer = made.await.map_err(|_cancelled| AgentImageError::Interrupted)??;
    layer.import(engine, tag, CONTENT_LABEL, changes(), say).await?;
    Ok(())
}

/// What the image of this host's files says beside them: what the Dockerfile says too.
fn changes() -> Vec<String> {
    vec![
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "ENV DISABLE_AUTOUPDATER=1".to_owned(),
        "USER 1000:1000".to_owned(),
        "WORKDIR /home/agent".to_owned(),
        "CMD [\"/bin/bash\"]".to_owned(),
        format!("LABEL {LABEL}=1"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_names_its_base_once_and_takes_another() {
        let (base, own) = dockerfile(None).unwrap();
        assert_eq!((base.as_str(), own.as_str()), ("debian:bookworm-slim", DOCKERFILE));
        let (_, other) = dockerfile(Some(ImageRef::parse("localhost/debian:12").unwrap())).unwrap();
        assert_eq!(other.matches("ARG BASE=localhost/debian:12\n").count(), 1);
        assert!(!other.contains("bookworm"), "{other}");
    }

    #[test]
    fn both_recipes_say_the_same_of_user_and_directory() {
        for line in changes().iter().filter(|line| !line.starts_with("ENV PATH")) {
            let said = line.strip_prefix("ENV ").unwrap_or(line);
            assert!(DOCKERFILE.contains(said), "{line}");
        }
    }

    #[test]
    fn no_registry_is_named_and_every_hash_is_whole() {
        let pins: Vec<&str> = DOCKERFILE
            .lines()
            .filter_map(|line| {
                line.strip_prefix("ARG ")?.split_once("_X86_64=").or(line.split_once("_AARCH64="))
            })
            .map(|(_, hash)| hash)
            .collect();
        assert_eq!(pins.len(), 4);
        for pin in pins {
            assert!(pin.len() == 64 && pin.bytes().all(|b| b.is_ascii_hexdigit()), "{pin}");
        }
        assert!(!DOCKERFILE.contains("://"));
    }
}
