//! Output as the engine frames it.
//!
//! Without a terminal, each piece has a header of eight bytes: the stream, three zeros, a big-endian length. With one, the
//! bytes are raw. Which it is must be known from the container: a raw stream may begin with a byte that looks like a header.
//! Pieces go out as they come in; a frame's beginning is not kept back until its end is there.

use bytes::{Buf, Bytes, BytesMut};

use super::engine::LogChunk;

/// Takes bytes, gives chunks.
#[derive(Debug)]
pub(super) enum Frames {
    /// A terminal's bytes.
    Raw,
    /// Framed.
    Framed(Demultiplexer),
}

/// A stream that is not framed as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The first byte of a header is none of 0, 1, 2.
    #[error("no frame of output begins with byte {0}")]
    BadHeader(u8),
    /// The end came within a frame.
    #[error("the output broke off within a frame")]
    Truncated,
}

/// The state between two reads.
#[derive(Debug, Default)]
pub(super) struct Demultiplexer {
    // At most 7 bytes: the beginning of a header.
    header: BytesMut,
    stderr: bool,
    // Bytes of the current frame still to come.
    left: usize,
}

impl Frames {
    /// For a container's or session's output, by whether it has a terminal.
    pub(super) fn of(tty: bool) -> Self {
        if tty { Self::Raw } else { Self::Framed(Demultiplexer::default()) }
    }

    /// The chunks in the next bytes.
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<Vec<LogChunk>, FrameError> {
        match self {
            Self::Raw if bytes.is_empty() => Ok(Vec::new()),
            Self::Raw => Ok(vec![LogChunk { stderr: false, bytes }]),
            Self::Framed(demultiplexer) => demultiplexer.push(bytes),
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Result<(), FrameError> {
        match self {
            Self::Framed(state) if state.left > 0 || !state.header.is_empty() => {
                Err(FrameError::Truncated)
            }
            Self::Framed(_) | Self::Raw => Ok(()),
        }
    }
}

impl Demultiplexer {
    fn push(&mut self, mut bytes: Bytes) -> Result<Vec<LogChunk>, FrameError> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            if self.left == 0 {
                self.read_header(&mut bytes)?;
                continue;
            }
            let piece = bytes.split_to(self.left.min(bytes.len()));
            self.left -= piece.len();
            chunks.push(LogChunk { stderr: self.stderr, bytes: piece });
        }
        Ok(chunks)
    }

    fn read_header(&mut self, bytes: &mut Bytes) -> Result<(), FrameError> {
        let missing = 8 - self.header.len();
        self.header.extend_from_slice(&bytes.split_to(missing.min(bytes.len())));
        if self.header.len() < 8 {
            return Ok(());
        }
        let stream = self.header.get_u8();
        self.header.advance(3);
        self.left = usize::try_from(self.header.get_u32()).unwrap_or(usize::MAX);
        self.stderr = match stream {
            0 | 1 => false,
            2 => true,
            other => return Err(FrameError::BadHeader(other)),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(stderr: bool, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[if stderr { 2 } else { 1 }, 0, 0, 0][..], &length, payload].concat()
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_each_stream_comes_out_whole(
            frames in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cut in 1_usize..30,
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(|(stderr, payload)| frame(*stderr, payload)).collect();
            let mut state = Frames::of(false);
            let mut out = [Vec::new(), Vec::new()];
            for piece in wire.chunks(cut) {
                for chunk in state.push(Bytes::copy_from_slice(piece)).unwrap() {
                    out[usize::from(chunk.stderr)].extend_from_slice(&chunk.bytes);
                }
            }
            state.end().unwrap();
            for stderr in [false, true] {
                let sent: Vec<u8> =
                    frames.iter().filter(|frame| frame.0 == stderr).flat_map(|frame| frame.1.clone()).collect();
                prop_assert_eq!(&out[usize::from(stderr)], &sent);
            }
        }
    }

    #[test]
    fn a_terminals_bytes_are_never_taken_for_a_header() {
        let bytes = Bytes::from_static(b"\x01\x00\x00\x00\x00\x00\x00\x05hello");
        assert_eq!(
            Frames::of(true).push(bytes.clone()).unwrap(),
            vec![LogChunk { stderr: false, bytes }]
        );
    }

    #[test]
    fn an_end_within_a_frame_is_an_error_and_so_is_a_stray_byte() {
        let mut state = Frames::of(false);
        let chunks = state.push(Bytes::from(frame(true, b"abc")[..10].to_vec())).unwrap();
        assert_eq!(chunks, vec![LogChunk { stderr: true, bytes: Bytes::from_static(b"ab") }]);
        assert!(matches!(state.end(), Err(FrameError::Truncated)));
        let stray = Frames::of(false).push(Bytes::from_static(b"warning: x"));
        assert!(matches!(stray, Err(FrameError::BadHeader(b'w'))));
    }
}
