//! From bytes to events, in any chunks.
//!
//! Takes what a pipe or a file gives, as it comes, and answers with the events that became whole. Each byte is looked at once
//! while a line is searched, however small the chunks are. At most one line is held, and at most so much of it as the limit says: of a
//! longer line only the beginning is kept, the event says that it was cut, and the next line counts again.
//!
//! What is no event is counted, not hidden: [`Noise`]. Nothing here fails, and nothing panics.

use super::event::{NotAnEvent, Said, StreamEvent, clip, decode};

/// The longest line that is read: 16 MiB. The longest seen was 5 MB (an answer, repeated in its result); an image that was
/// read has 1.3 MB. Beyond this, a line is somebody's attempt to fill the memory.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is kept of a line that was too long, or of the first that is no event: enough to see what it was.
const HEAD_BYTES_MAX: usize = 256;
/// A buffer larger than this is given back after its line: ordinary lines have 3 kB.
const BUFFER_KEPT_BYTES: usize = 256 * 1024;

/// An event, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Of its line's first byte.
    pub offset: u64,
    /// After its line: where one who has read it goes on.
    pub end: u64,
    /// The event.
    pub event: StreamEvent,
}

/// What was between the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noise {
    /// Lines that are no JSON.
    pub not_json: u64,
    /// Lines that are JSON, but no event.
    pub not_event: u64,
    /// Empty lines.
    pub empty: u64,
    /// Lines that ended in CR LF. Their events count.
    pub crlf: u64,
    /// Lines that are no UTF-8. What is wrong in them was replaced; when they are events then, they count.
    pub invalid_utf8: u64,
    /// Lines that were too long.
    pub cut: u64,
    /// The last line broke off: the process was killed while it wrote.
    pub unfinished: bool,
    /// Something that could not be read may have been the use of a tool.
    pub may_hide_tool_use: bool,
    /// How the first line that is no event began.
    pub first: Option<String>,
}

impl Noise {
    /// Lines that told nothing, though they were not empty.
    pub fn lost_lines(&self) -> u64 {
        [self.not_json, self.not_event, self.cut, u64::from(self.unfinished)].iter().sum()
    }
}

/// The state between two chunks.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    // Where the current line begins.
    start: u64,
    // The current line, as far as it is there: no newline is in it.
    line: Vec<u8>,
    // The current line is longer than the limit.
    cut: Option<CutLine>,
    noise: Noise,
}

#[derive(Debug)]
struct CutLine {
    head: Vec<u8>,
    bytes: u64,
}

impl CutLine {
    fn take(&mut self, piece: &[u8]) {
        let missing = HEAD_BYTES_MAX.saturating_sub(self.head.len());
        self.head.extend(piece.iter().take(missing));
        self.bytes = self.bytes.saturating_add(length(piece));
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// At the beginning of a transcript.
    pub const fn new() -> Self {
        Self::starting_at(0)
    }

    /// In the middle: at the [`Located::end`] of an event that was read before.
    pub const fn starting_at(offset: u64) -> Self {
        let noise = Noise {
            not_json: 0,
            not_event: 0,
            empty: 0,
            crlf: 0,
            invalid_utf8: 0,
            cut: 0,
            unfinished: false,
            may_hide_tool_use: false,
            first: None,
        };
        Self { limit: LINE_BYTES_MAX, start: offset, line: Vec::new(), cut: None, noise }
    }

    /// With another limit for a line's length.
    #[must_use]
    pub const fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The events that these bytes make whole.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Located> {
        let mut events = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => events.extend(self.end_line(rest, 1)),
                None => self.keep(piece),
            }
        }
        events
    }

    /// Nothing more comes: the event of a last line without a newline.
    pub fn finish(&mut self) -> Option<Located> {
        if self.line.is_empty() && self.cut.is_none() {
            return None;
        }
        self.end_line(&[], 0)
    }

    /// What was no event so far.
    pub const fn noise(&self) -> &Noise {
        &self.noise
    }

    /// Is the current line not whole yet?
    pub const fn is_mid_line(&self) -> bool {
        !self.line.is_empty() || self.cut.is_some()
    }

    /// Bytes that are held because their line is not whole yet.
    pub fn held_bytes(&self) -> usize {
        self.line.capacity()
    }

    /// Keeps a piece of a line, or counts it when the line is too long.
    fn keep(&mut self, piece: &[u8]) {
        if let Some(cut) = &mut self.cut {
            cut.take(piece);
            return;
        }
        if self.line.len().saturating_add(piece.len()) <= self.limit {
            self.line.extend_from_slice(piece);
            return;
        }
        let held = std::mem::take(&mut self.line);
        let mut cut = CutLine { head: Vec::new(), bytes: 0 };
        cut.take(&held);
        cut.take(piece);
        self.cut = Some(cut);
    }

    /// The line is whole with `rest`; the next begins after it and its newline.
    fn end_line(&mut self, rest: &[u8], newline: u64) -> Option<Located> {
        let whole = newline == 1;
        let offset = self.start;
        // Most lines are whole within a chunk, and need no copy.
        let copied = !self.line.is_empty() || self.cut.is_some() || rest.len() > self.limit;
        if copied {
            self.keep(rest);
        }
        let (bytes, event) = if let Some(cut) = self.cut.take() {
            (cut.bytes, Some(self.cut_event(&cut)))
        } else if copied {
            let mut line = std::mem::take(&mut self.line);
            let event = self.read(&line, whole);
            let bytes = length(&line);
            line.clear();
            if line.capacity() <= BUFFER_KEPT_BYTES {
                self.line = line;
            }
            (bytes, event)
        } else {
            (length(rest), self.read(rest, whole))
        };
        self.start = offset.saturating_add(bytes).saturating_add(newline);
        event.map(|event| Located { offset, end: self.start, event })
    }

    fn cut_event(&mut self, cut: &CutLine) -> StreamEvent {
        self.noise.cut += 1;
        self.noise.may_hide_tool_use = true;
        let head = String::from_utf8_lossy(&cut.head).into_owned();
        let said = Said::Cut { bytes: cut.bytes, head };
        StreamEvent { session_id: None, parent_tool_use_id: None, odd: Vec::new(), said }
    }

    fn read(&mut self, line: &[u8], whole: bool) -> Option<StreamEvent> {
        let line = match line.strip_suffix(b"\r") {
            Some(line) => {
                self.noise.crlf += 1;
                line
            }
            None => line,
        };
        if line.trim_ascii().is_empty() {
            self.noise.empty += 1;
            return None;
        }
        let text = String::from_utf8_lossy(line);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            self.noise.invalid_utf8 += 1;
        }
        match decode(&text) {
            Ok(event) => Some(event),
            Err(reason) => {
                self.lost(&text, reason, whole);
                None
            }
        }
    }

    fn lost(&mut self, text: &str, reason: NotAnEvent, whole: bool) {
        match reason {
            NotAnEvent::NotJson if !whole => self.noise.unfinished = true,
            NotAnEvent::NotJson => self.noise.not_json += 1,
            NotAnEvent::NoType => self.noise.not_event += 1,
        }
        // A warning between the lines is harmless; what looks like an event, or like the piece of one, might not be.
        if text.trim_start().starts_with('{') || text.contains("tool_use") {
            self.noise.may_hide_tool_use = true;
        }
        if self.noise.first.is_none() {
            self.noise.first = Some(clip(text, HEAD_BYTES_MAX).to_owned());
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
