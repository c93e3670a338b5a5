//! A root file system of one layer, made from nothing and imported as an image.
//!
//! The same content gives the same bytes: no times, owners by number, entries in the order in which they were added. An
//! image's label says which bytes those were, so what is there already is not made again. A large file stays on the disk
//! until it is sent, and is sent in pieces: memory is bounded whatever the image's size is.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use sha2::{Digest, Sha256};

use crate::container::ImageRef;
use crate::docker::{Engine, EngineError};
use crate::resource::text::hex;

/// A piece of the archive on its way to the engine; a few of them are all that is held of it.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait for the engine to take them.
const PIECES_MAX: usize = 4;

/// What takes more than a second to hash.
const LARGE_BYTES: u64 = 50_000_000;

/// Why an image was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Its files could not be read.
    #[error("failed to archive the root file system")]
    Archive(#[source] io::Error),
    /// The engine did not take it.
    #[error("failed to import {reference}")]
    Engine {
        /// The image.
        reference: ImageRef,
        /// Why.
        source: EngineError,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Layer(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    path: String,
    mode: u32,
    /// User and group.
    owner: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Directory,
    Link(String),
    Bytes(Vec<u8>),
    /// An open file, so that nobody can put another one in its place between hashing and sending.
    File(File, u64),
}

impl Layer {
    pub(super) fn directory(&mut self, path: &str, mode: u32, owner: u64) {
        self.add(path, mode, owner, Content::Directory);
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.add(path, 0o777, 0, Content::Link(target.to_owned()));
    }

    pub(super) fn bytes(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.add(path, mode, 0, Content::Bytes(bytes.into()));
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, file: File) -> io::Result<()> {
        let bytes = file.metadata()?.len();
        self.add(path, mode, 0, Content::File(file, bytes));
        Ok(())
    }

    fn add(&mut self, path: &str, mode: u32, owner: u64, content: Content) {
        self.0.push(Entry { path: path.to_owned(), mode, owner, content });
    }

    /// Bytes of its files.
    pub(super) fn size_bytes(&self) -> u64 {
        let sizes = self.0.iter().map(|entry| match &entry.content {
            Content::Directory | Content::Link(_) => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_, bytes) => *bytes,
        });
        sizes.sum()
    }

    /// Writes the archive. Blocks.
    pub(super) fn write(&self, to: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        for entry in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner);
            header.set_gid(entry.owner);
            header.set_mtime(0);
            header.set_size(0);
            let path = &entry.path;
            match &entry.content {
                Content::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, path, io::empty())?;
                }
                Content::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, path, target)?;
                }
                Content::Bytes(bytes) => {
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())?;
                }
                Content::File(file, bytes) => {
                    header.set_size(*bytes);
                    let mut file = file;
                    file.rewind()?;
                    archive.append_data(&mut header, path, Exactly { file, left: *bytes })?;
                }
            }
        }
        archive.into_inner()?.flush()
    }

    /// The hash of the archive and of what the image says beside its files. Blocks.
    fn content(&self, changes: &[String]) -> io::Result<String> {
        let mut hasher = Hasher(Sha256::new());
        for change in changes {
            hasher.0.update(format!("{change}\n"));
        }
        self.write(io::BufWriter::with_capacity(PIECE_BYTES, &mut hasher))?;
        Ok(hex(&hasher.0.finalize()))
    }

    /// The archive in pieces, written by a thread of its own that waits for the engine.
    fn into_stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        let (tx, pieces) = tokio::sync::mpsc::channel(PIECES_MAX);
        let writer = tokio::task::spawn_blocking(move || {
            self.write(io::BufWriter::with_capacity(PIECE_BYTES, Pieces(tx)))
        });
        // A failure must reach the engine as a broken request: an archive that merely ends early would become an image.
        stream::unfold((pieces, Some(writer)), |(mut pieces, mut writer)| async move {
            if let Some(piece) = pieces.recv().await {
                return Some((Ok(piece), (pieces, writer)));
            }
            match writer.take()?.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((Err(error), (pieces, None))),
                Err(gone) => Some((Err(io::Error::other(gone)), (pieces, None))),
            }
        })
        .boxed()
    }

    /// Makes the image, or answers at once when the engine has it; `label` tells which content it has.
    pub(super) async fn import<E: Engine>(
        self,
        engine: &E,
        reference: &ImageRef,
        label: &str,
        mut changes: Vec<String>,
        say: impl Fn(String),
    ) -> Result<(), ImportError> {
        let failed = |source| ImportError::Engine { reference: reference.clone(), source };
        if self.size_bytes() > LARGE_BYTES {
            say(format!("reading {}", size(self.size_bytes())));
        }
        // Some hundred megabytes are hashed: nothing for the threads that drive the sockets.
        let (layer, content) = {
            let changes = changes.clone();
            let hashed = tokio::task::spawn_blocking(move || {
                let content = self.content(&changes);
                (self, content)
            });
            hashed.await.map_err(|gone| ImportError::Archive(io::Error::other(gone)))?
        };
        let content = content.map_err(ImportError::Archive)?;
        let have = engine.image(reference).await.map_err(failed)?;
        if have.is_some_and(|image| image.labels.get(label) == Some(&content)) {
            say(format!("{reference} is there already"));
            return Ok(());
        }
        say(format!("importing {reference}, {}", size(layer.size_bytes())));
        changes.push(format!("LABEL {label}={content}"));
        let archive = layer.into_stream();
        engine.image_import_stream(archive, reference, &changes).await.map_err(failed)?;
        Ok(())
    }
}

/// For people.
fn size(bytes: u64) -> String {
    if bytes < 10_000_000 {
        format!("{} kB", bytes / 1000)
    } else {
        format!("{} MB", bytes / 1_000_000)
    }
}

/// A file of a known size; one that has shrunk meanwhile is an error, not a shorter entry.
struct Exactly<R> {
    file: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

struct Hasher(Sha256);

impl Write for &mut Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pieces(tokio::sync::mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(piece).map_err(|_gone| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(content: &[u8]) -> (tempfile::NamedTempFile, Layer) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let mut layer = Layer::default();
        layer.directory("tmp", 0o1777, 0);
        layer.link("bin", "usr/bin");
        layer.file("big", 0o755, file.reopen().unwrap()).unwrap();
        layer.bytes("etc/x", 0o644, "x");
        (file, layer)
    }

    #[test]
    fn a_file_and_the_same_bytes_give_the_same_archive() {
        let content = vec![7; 3 * PIECE_BYTES + 5];
        let (_file, layer) = of_file(&content);
        let (_other_file, other) = of_file(&content);
        assert_eq!(layer.content(&[]).unwrap(), other.content(&[]).unwrap());
        assert_ne!(layer.content(&[]).unwrap(), layer.content(&["ENV A=1".to_owned()]).unwrap());
        let (_changed_file, changed) = of_file(&content[1..]);
        assert_ne!(layer.content(&[]).unwrap(), changed.content(&[]).unwrap());
        assert_eq!(layer.size_bytes(), content.len() as u64 + 1);
    }

    #[tokio::test]
    async fn the_pieces_are_the_archive() {
        let (_file, layer) = of_file(&vec![7; 3 * PIECE_BYTES + 5]);
        let mut whole = Vec::new();
        layer.write(&mut whole).unwrap();
        let pieces: Vec<io::Result<Bytes>> = layer.into_stream().collect().await;
        assert!(pieces.len() > 3);
        let pieces: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
        assert!(pieces == whole);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_breaks_the_stream_instead_of_ending_it() {
        let (file, layer) = of_file(&vec![7; 3 * PIECE_BYTES]);
        file.as_file().set_len(9).unwrap();
        let last = layer.into_stream().collect::<Vec<_>>().await.pop().unwrap();
        assert_eq!(last.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
