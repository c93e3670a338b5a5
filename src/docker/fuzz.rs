//! What the fuzz targets call: the engine's answers, from bytes.

use bytes::Bytes;

use super::frames::Frames;
use super::image::build::BuildFold;
use super::image::pull::PullFold;
use super::wire;

/// Decodes the bytes as each answer of the engine that is read.
pub fn answers(data: &[u8]) {
    if let Ok(all) = wire::decode::<Vec<wire::container::Listed>>("list", data) {
        assert!(all.len() <= data.len());
        all.into_iter().for_each(|one| drop(one.into_snapshot()));
    }
    if let Ok(one) = wire::decode::<wire::container::Inspected>("inspect", data) {
        drop(one.into_snapshot());
    }
    if let Ok(event) = wire::decode::<wire::event::Event>("event", data) {
        drop(event.into_container_event());
    }
    drop(wire::decode::<wire::object::Info>("info", data));
    drop(wire::decode::<wire::object::Image>("image", data));
    drop(wire::decode::<Vec<wire::object::ListedImage>>("images", data));
    drop(wire::decode::<wire::object::Network>("network", data));
    drop(wire::decode::<wire::object::Volume>("volume", data));
    let (mut pull, mut build) = (PullFold::default(), BuildFold::default());
    for line in data.split(|byte| *byte == b'\n') {
        drop(pull.fold(line));
        drop(build.fold(line));
    }
    drop(build.end());
    for tty in [false, true] {
        let mut frames = Frames::of(tty);
        let mut bytes = 0;
        for piece in data.chunks(7) {
            let Ok(chunks) = frames.push(Bytes::copy_from_slice(piece)) else { break };
            bytes += chunks.len();
        }
        assert!(bytes <= data.len());
        drop(frames.end());
    }
}
