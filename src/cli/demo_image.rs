//! `chanop demo-image`: the quickstart's and the tests' image, made from nothing.
//!
//! One layer: a static busybox, a link for each of its applets, and the few files that programs expect. No registry is
//! asked, so it works offline wherever a static busybox can be had. chanop's own init is not in it: the operator mounts that
//! into every container.
//!
//! The same busybox gives the same bytes, and the image's label says which bytes those were: a second call does nothing.

use std::path::Path;

use super::busybox::{Busybox, BusyboxError};
use super::exit::Exit;
use super::failure::Failure;
use super::layer::{ImportError, Layer};
use super::printer::Printer;
use crate::container::ImageRef;
use crate::docker::{Engine, EngineError};

/// The image's reference.
pub const DEMO_IMAGE: &str = "chanop-demo:latest";
/// The label that says whose image it is; its value is `1`.
pub const LABEL: &str = "dev.chanop.demo";
/// The label with the hash of the root file system.
const CONTENT_LABEL: &str = "dev.chanop.demo-content";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum DemoImageError {
    /// There is no busybox for it.
    #[error(transparent)]
    Busybox(#[from] BusyboxError),
    /// The engine could not be asked.
    #[error("failed to ask the engine about itself")]
    Engine(#[from] EngineError),
    /// It was not imported.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Makes the image, or answers at once when the engine has it.
pub async fn run<E: Engine>(
    printer: Printer,
    engine: &E,
    busybox: Option<&Path>,
) -> Result<Exit, Failure> {
    let image = make(engine, busybox, |line| printer.err(line)).await?;
    printer.out(image);
    Ok(Exit::Ok)
}

/// Makes the image without a word.
pub async fn build<E: Engine>(
    engine: &E,
    busybox: Option<&Path>,
) -> Result<ImageRef, DemoImageError> {
    make(engine, busybox, |_line| ()).await
}

async fn make<E: Engine>(
    engine: &E,
    busybox: Option<&Path>,
    say: impl Fn(String),
) -> Result<ImageRef, DemoImageError> {
    let info = engine.info().await?;
    let busybox = Busybox::find(busybox.map(Path::to_path_buf), &info.architecture).await?;
    say(format!("busybox: {} ({} applets)", busybox.origin, busybox.applets.len()));
    let reference =
        ImageRef::parse(DEMO_IMAGE).map_err(|error| EngineError::Refused(error.to_string()))?;
    root_file_system(&busybox).import(engine, &reference, CONTENT_LABEL, changes(), say).await?;
    Ok(reference)
}

/// What the image says beside its files, in Dockerfile's words.
fn changes() -> Vec<String> {
    vec![
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "WORKDIR /".to_owned(),
        "CMD [\"/bin/sh\"]".to_owned(),
        format!("LABEL {LABEL}=1"),
    ]
}

fn root_file_system(busybox: &Busybox) -> Layer {
    let mut layer = Layer::default();
    for (path, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/local", 0o755),
        ("usr/local/bin", 0o755),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ] {
        layer.directory(path, mode, 0);
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/os-release", "ID=chanop-demo\nPRETTY_NAME=\"chanop demo image (busybox)\"\n"),
    ] {
        layer.bytes(path, 0o644, text);
    }
    busybox.put(&mut layer, "bin", |_applet| false);
    // Scripts say /usr/bin/env, and root's PATH has the sbin directories: all are the one directory.
    for (path, target) in [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")] {
        layer.link(path, target);
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::busybox::tests::busybox;

    #[test]
    fn every_applet_is_a_link_to_the_busybox() {
        let mut archive = Vec::new();
        root_file_system(&busybox()).write(&mut archive).unwrap();
        let mut links: Vec<String> = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            if entry.link_name().unwrap().is_some_and(|to| to == Path::new("busybox")) {
                links.push(entry.path().unwrap().display().to_string());
            }
        }
        assert_eq!(links, ["bin/[", "bin/[[", "bin/ash", "bin/cat", "bin/sh"]);
    }
}
