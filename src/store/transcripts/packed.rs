//! Reading a transcript that is plain or packed, from any place on; and the form of packed ones.
//!
//! A packed transcript is zstd's: `zstd -d` and `zstdcat` read it. It consists of frames of [`FRAME_BYTES`] each, and before each stands a
//! *skippable* frame that says how long the next one is, packed and plain: so a reader who begins in the middle skips what lies
//! before, and nothing is ever held but one frame.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::Place;
use crate::resource::ResourceName;

/// Of the transcript in each frame: larger ones are hardly smaller, and cost a reader memory.
pub(super) const FRAME_BYTES: usize = 1024 * 1024;
/// What cannot be made smaller grows by a few bytes a block.
const PACKED_BYTES_MAX: u32 = 1024 * 1024 + 64 * 1024;
/// One of the sixteen that zstd's format has for frames to be skipped.
const SKIPPABLE: u32 = 0x184D_2A5C;
/// Magic, length of what follows, packed length, plain length: four numbers, little-endian.
const HEAD_BYTES: usize = 16;

/// An open transcript.
#[derive(Debug)]
pub(super) enum Source {
    /// As it was written.
    Plain(File),
    /// Packed.
    Packed(Packed),
}

impl Source {
    /// Plain where it is, else packed: in this order, since one becomes the other.
    pub(super) fn open(place: &Place, run: &ResourceName, attempt: u32) -> io::Result<Self> {
        match File::open(place.plain(run, attempt)) {
            Ok(file) => Ok(Self::Plain(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                File::open(place.packed(run, attempt)).map(|file| Self::Packed(Packed::new(file)))
            }
            Err(error) => Err(error),
        }
    }

    /// Up to so many bytes from there on; none at the end. Places only grow.
    pub(super) fn read(&mut self, place: u64, bytes: usize) -> io::Result<Bytes> {
        match self {
            Self::Plain(file) => read_at(file, place, bytes),
            Self::Packed(packed) => packed.read(place, bytes),
        }
    }
}

pub(super) fn read_at(file: &File, place: u64, bytes: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; bytes];
    let mut filled = 0;
    while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place + u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(piece.into())
}

/// A packed transcript that is read from front to back.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    // Where the next frame's head lies in the file, and where its bytes begin in the transcript.
    at: u64,
    plain_at: u64,
    // The frame that was unpacked last, and where it begins in the transcript.
    frame: Bytes,
    frame_at: u64,
}

impl Packed {
    pub(super) const fn new(file: File) -> Self {
        Self { file, at: 0, plain_at: 0, frame: Bytes::new(), frame_at: 0 }
    }

    fn read(&mut self, place: u64, bytes: usize) -> io::Result<Bytes> {
        while place >= self.plain_at {
            if !self.next_frame(place)? {
                return Ok(Bytes::new());
            }
        }
        let from = usize::try_from(place - self.frame_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(bytes).min(self.frame.len());
        Ok(if from < to { self.frame.slice(from..to) } else { Bytes::new() })
    }

    /// Goes past the next frame, unpacking it when `place` lies in it. False at the end.
    fn next_frame(&mut self, place: u64) -> io::Result<bool> {
        let head = read_at(&self.file, self.at, HEAD_BYTES)?;
        if head.is_empty() {
            return Ok(false);
        }
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, "a packed transcript is damaged");
        let mut numbers = head.chunks_exact(4).filter_map(|four| four.try_into().ok());
        let mut number = || numbers.next().map(u32::from_le_bytes).ok_or_else(damaged);
        let (magic, rest, packed, plain) = (number()?, number()?, number()?, number()?);
        let fits = packed <= PACKED_BYTES_MAX
            && usize::try_from(plain).is_ok_and(|plain| plain <= FRAME_BYTES);
        if magic != SKIPPABLE || rest != 8 || !fits {
            return Err(damaged());
        }
        let begin = self.at + 16;
        let plain_end = self.plain_at + u64::from(plain);
        if place < plain_end {
            let packed = read_at(&self.file, begin, usize::try_from(packed).unwrap_or_default())?;
            let mut frame =
                Vec::with_capacity(FRAME_BYTES.min(usize::try_from(plain).unwrap_or_default()));
            let mut decoder = StreamingDecoder::new(&*packed).map_err(io::Error::other)?;
            decoder.by_ref().take(u64::from(plain) + 1).read_to_end(&mut frame)?;
            if frame.len() != usize::try_from(plain).unwrap_or(usize::MAX) {
                return Err(damaged());
            }
            self.frame = frame.into();
            self.frame_at = self.plain_at;
        }
        self.at = begin + u64::from(packed);
        self.plain_at = plain_end;
        Ok(true)
    }
}

/// Packs all of `file` into `out`.
///
/// The encoder is given memory and not files: it panics when it cannot read or write.
pub(super) fn pack(
    file: &File,
    mut out: impl Write,
    go_on: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut place = 0;
    loop {
        go_on()?;
        let piece = read_at(file, place, FRAME_BYTES)?;
        if piece.is_empty() {
            return Ok(());
        }
        let packed = compress_to_vec(&*piece, CompressionLevel::Fastest);
        let too_long = |_| io::Error::other("a frame is longer than was thought possible");
        let lengths = [packed.len(), piece.len()].map(|it| u32::try_from(it).map_err(too_long));
        let [packed_bytes, plain_bytes] = lengths;
        for number in [SKIPPABLE, 8, packed_bytes?, plain_bytes?] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&packed)?;
        place += u64::try_from(piece.len()).unwrap_or(u64::MAX);
    }
}
