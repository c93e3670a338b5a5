//! Known secrets in what a run wrote: each of their bytes becomes a `*` before anything reaches the disk.
//!
//! As many bytes go out as came in, so that a place in the transcript is the same place in the container's output: whoever goes
//! on after a restart counts bytes, and counts them alike on both sides.
//!
//! # What is found
//!
//! The value itself, and however a string of JSON may spell it (`\u0068`, `\/`, …), once and twice quoted (a tool's output that is JSON
//! is a string in the line of the transcript): the output is searched as it is, decoded once and decoded twice, and a find is masked
//! with all bytes of its escapes. Of a value of several lines, each of them as well, since files are shown line by line. Not found is
//! what was made of a secret: its base64, its half, its hash. A value shorter than [`SECRET_BYTES_MIN`] is left alone: it would be a word of
//! the language, and hide half of the text.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::noncontiguous::NFA;

use super::unescape::{Spelt, Unescape};

/// Shorter values are not looked for.
pub const SECRET_BYTES_MIN: usize = 8;
/// All that is looked for together: each byte is a state of some dozen bytes. A channel with a few keys and a certificate chain has
/// a twentieth of it.
const PATTERN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What stands for each byte of a secret. In a string of JSON it needs no escape.
const STAR: u8 = b'*';

/// Secrets, made ready to be found. They do not print.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<Automaton>>);

struct Automaton {
    nfa: NFA,
    start: StateID,
    // By state: so many of the last bytes may be the beginning of a secret.
    depths: Vec<u32>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// These values, and the forms in which they may stand in a transcript.
    pub fn new<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut patterns: BTreeSet<Vec<u8>> = BTreeSet::new();
        for value in values {
            forms(value.as_ref(), &mut patterns);
        }
        // The short ones first, should there be too many: those are the keys, and the long ones certificates.
        let mut patterns: Vec<Vec<u8>> = patterns.into_iter().collect();
        patterns.sort_by_key(Vec::len);
        let mut room = PATTERN_BYTES_MAX;
        let all = patterns.len();
        patterns.retain(|pattern| {
            let fits = pattern.len() <= room;
            room = room.saturating_sub(pattern.len());
            fits
        });
        if patterns.len() < all {
            tracing::warn!("secrets of a channel are too long to be masked in transcripts");
        }
        Self(Automaton::new(&patterns).map(Arc::new))
    }

    /// Is there nothing to be found?
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Adds what is looked for because of one value.
fn forms(value: &[u8], patterns: &mut BTreeSet<Vec<u8>>) {
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    // The frame of a key or certificate is no secret.
    let lines = lines.filter(|line| !line.starts_with(b"-----"));
    for text in std::iter::once(value).chain(lines) {
        if text.len() < SECRET_BYTES_MIN {
            continue;
        }
        let mut form = text.to_vec();
        for _ in 0..3 {
            let quoted = quoted(&form);
            patterns.insert(std::mem::replace(&mut form, quoted));
        }
    }
}

/// As the inside of a string of JSON. What is no UTF-8 cannot stand in one as it is.
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let quoted = serde_json::Value::String(text.into_owned()).to_string().into_bytes();
    let inside = quoted.get(1..quoted.len().saturating_sub(1));
    inside.unwrap_or_default().to_vec()
}

impl Automaton {
    fn new(patterns: &[Vec<u8>]) -> Option<Self> {
        if patterns.is_empty() {
            return None;
        }
        // Of bounded patterns; it fails only when state IDs run out.
        let nfa = NFA::new(patterns)
            .inspect_err(|error| tracing::error!(%error, "secrets cannot be masked"))
            .ok()?;
        let start = nfa.start_state(Anchored::No).ok()?;
        let mut depths = Vec::new();
        for pattern in patterns {
            let mut state = start;
            for (depth, byte) in (1_u32..).zip(pattern) {
                state = nfa.next_state(Anchored::No, state, *byte);
                if depths.len() <= state.as_usize() {
                    depths.resize(state.as_usize() + 1, 0);
                }
                if let Some(known) = depths.get_mut(state.as_usize()) {
                    *known = depth;
                }
            }
        }
        Some(Self { nfa, start, depths })
    }

    fn depth(&self, state: StateID) -> usize {
        let depth = self.depths.get(state.as_usize()).copied().unwrap_or_default();
        usize::try_from(depth).unwrap_or(usize::MAX)
    }

    /// The longest secret that ends in this state.
    fn ending(&self, state: StateID) -> usize {
        if !self.nfa.is_match(state) {
            return 0;
        }
        let patterns = (0..self.nfa.match_len(state)).map(|at| self.nfa.match_pattern(state, at));
        patterns.map(|pattern| self.nfa.pattern_len(pattern)).max().unwrap_or_default()
    }
}

/// The state between two chunks of one output.
pub struct Masker {
    secrets: Secrets,
    // As it is, decoded once, decoded twice.
    layers: [Layer; 3],
    decoders: [Unescape; 2],
    // Since the last place where no layer was within a secret, there was an escape: until then all layers are alike, and the
    // first one stands for all.
    is_escaped: bool,
    // What may yet turn out to be a part of a secret: masked already where one ended in it.
    held: Vec<u8>,
    // The place of its first byte in the output.
    held_at: u64,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker(…)")
    }
}

impl Masker {
    /// At the beginning of an output.
    pub fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            layers: Default::default(),
            decoders: Default::default(),
            is_escaped: false,
            held: Vec::new(),
            held_at: 0,
        }
    }

    /// Are bytes held back that may begin a secret?
    pub const fn holds_bytes(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is sure now that these bytes have come: all but an end that may be the beginning of a secret.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        let Some(automaton) = self.secrets.0.clone() else { return chunk.to_vec() };
        let mut bytes = std::mem::take(&mut self.held);
        let fresh = bytes.len();
        bytes.extend_from_slice(chunk);
        let first = self.held_at;
        let mut mask = |found: Option<(u64, u64)>| {
            let Some((begin, end)) = found else { return };
            let at =
                |place: u64| usize::try_from(place.saturating_sub(first)).unwrap_or(usize::MAX);
            if let Some(secret) = bytes.get_mut(at(begin)..at(end)) {
                secret.fill(STAR);
            }
        };
        let [plain, once, twice] = &mut self.layers;
        let [decode_once, decode_twice] = &mut self.decoders;
        let next = first.saturating_add(u64::try_from(fresh).unwrap_or(u64::MAX));
        for (begin, byte) in (next..).zip(chunk) {
            let spelt = Spelt { byte: *byte, begin, end: begin.saturating_add(1) };
            if !self.is_escaped && *byte == b'\\' {
                once.clone_from(plain);
                twice.clone_from(plain);
                self.is_escaped = true;
            }
            mask(plain.step(&automaton, spelt));
            if !self.is_escaped {
                continue;
            }
            decode_once.push(spelt, &mut |spelt| {
                mask(once.step(&automaton, spelt));
                decode_twice.push(spelt, &mut |spelt| mask(twice.step(&automaton, spelt)));
            });
            let within = [&*plain, &*once, &*twice].into_iter().any(|it| it.begun().is_some());
            let decodes = decode_once.begun().or(decode_twice.begun()).is_some();
            self.is_escaped = within || decodes;
        }
        // Layers that the first one stands for are from an earlier place.
        let layers = if self.is_escaped { self.layers.len() } else { 1 };
        let begun = self.layers.iter().take(layers).filter_map(Layer::begun);
        let begun = begun.chain(self.decoders.iter().filter_map(Unescape::begun)).min();
        let sure = begun.and_then(|place| usize::try_from(place.saturating_sub(first)).ok());
        let sure = sure.unwrap_or(bytes.len()).min(bytes.len());
        self.held = bytes.split_off(sure);
        self.held_at = first.saturating_add(u64::try_from(sure).unwrap_or(u64::MAX));
        bytes
    }

    /// Nothing more comes. The beginning of a secret at the very end is one as well, when it is long enough.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        self.held_at = self.held_at.saturating_add(u64::try_from(held.len()).unwrap_or(u64::MAX));
        self.layers = Default::default();
        self.decoders = Default::default();
        self.is_escaped = false;
        if held.len() >= SECRET_BYTES_MIN {
            held.fill(STAR);
        }
        held
    }
}

/// The search in the output as it is, or as it is when decoded.
#[derive(Clone, Default)]
struct Layer {
    state: Option<StateID>,
    // Where the bytes begin that may be the beginning of a secret.
    begins: VecDeque<u64>,
}

impl Layer {
    /// Takes a byte; answers where the secret lies that ends with it.
    fn step(&mut self, automaton: &Automaton, spelt: Spelt) -> Option<(u64, u64)> {
        let state = self.state.unwrap_or(automaton.start);
        let state = automaton.nfa.next_state(Anchored::No, state, spelt.byte);
        self.state = Some(state);
        let depth = automaton.depth(state);
        if depth == 0 {
            // The usual case: no secret begins here.
            self.begins.clear();
            return None;
        }
        self.begins.push_back(spelt.begin);
        let secret = automaton.ending(state);
        let begin = (secret > 0).then(|| self.begins.len().checked_sub(secret)).flatten();
        let found = begin.and_then(|at| Some((*self.begins.get(at)?, spelt.end)));
        let known = self.begins.len().saturating_sub(depth);
        self.begins.drain(..known);
        found
    }

    fn begun(&self) -> Option<u64> {
        self.begins.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &Secrets, pieces: &[&[u8]]) -> Vec<u8> {
        let mut masker = Masker::new(secrets.clone());
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| masker.push(piece)).collect();
        out.extend(masker.finish());
        out
    }

    fn text(secrets: &[&str], output: &str) -> String {
        String::from_utf8(masked(&Secrets::new(secrets), &[output.as_bytes()])).unwrap()
    }

    #[test]
    fn a_secret_becomes_as_many_stars_as_it_has_bytes() {
        assert_eq!(text(&["hunter2hunter2"], "key=hunter2hunter2;"), "key=**************;");
        assert_eq!(text(&["päßwörter"], "x päßwörter y"), "x ************ y");
        assert_eq!(text(&["secret-one", "one-secret"], "secret-one-secret"), "*****************");
        assert_eq!(
            text(&["abcdefgh", "abcdefghijkl"], "abcdefghijk abcdefghijkl"),
            "********ijk ************"
        );
        assert_eq!(text(&["aaaaaaaa"], "aaaaaaaaaaab"), "***********b");
    }

    #[test]
    fn it_is_found_as_json_says_it_and_as_json_in_json() {
        let secret = "a\"b\\c\nd\u{1}efgh";
        let once = serde_json::to_string(&[secret]).unwrap();
        let twice = serde_json::to_string(&once).unwrap();
        for said in [secret.to_owned(), once, twice] {
            let shown = text(&[secret], &said);
            assert_eq!(shown.len(), said.len());
            assert!(!shown.contains("efgh") && !shown.contains('c'), "{shown}");
        }
        let line = r#"{"type":"user","text":"a\"b\\c\nd\u0001efgh"}"#;
        assert_eq!(text(&[secret], line), r#"{"type":"user","text":"********************"}"#);
    }

    #[test]
    fn a_secret_is_found_however_json_spells_it() {
        let secret = "hunter2/\"quoted\"\n\u{1f511}end";
        let units: Vec<String> =
            secret.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let every = units.concat();
        let mixed = r#"hunt\u0065r2\/\"quoted\"\n\ud83d\uDD11end"#;
        for once in [every.as_str(), mixed] {
            let twice = serde_json::to_string(once).unwrap();
            for spelt in [once, twice.trim_matches('"')] {
                let line = format!(r#"{{"text":"key {spelt} end"}}"#);
                let stars = "*".repeat(spelt.len());
                assert_eq!(text(&[secret], &line), line.replace(spelt, &stars));
                // Byte by byte as well.
                let pieces: Vec<&[u8]> = line.as_bytes().chunks(1).collect();
                let pieces = masked(&Secrets::new([secret]), &pieces);
                assert_eq!(pieces, line.replace(spelt, &stars).into_bytes());
            }
        }
    }

    #[test]
    fn escapes_that_spell_no_secret_stay() {
        let line = r#"{"a":"\u0068unter\u00","b":"C:\new \ud83d x \q \\"}"#;
        assert_eq!(text(&["hunter2hunter2"], line), line);
    }

    #[test]
    fn the_lines_of_a_key_are_found_one_by_one_and_its_frame_is_left() {
        let key = "-----BEGIN KEY-----\nMIIBVwIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
        assert_eq!(
            text(&[key], "1 -----BEGIN KEY-----\n2 hkiG9w0BAQEFAASC\n"),
            "1 -----BEGIN KEY-----\n2 ****************\n"
        );
    }

    #[test]
    fn a_short_value_is_left_alone() {
        assert_eq!(text(&["1234567", ""], "1234567 and more"), "1234567 and more");
        assert!(Secrets::new(["short"]).is_empty());
    }

    #[test]
    fn only_an_end_that_may_begin_a_secret_is_held_back() {
        let mut masker = Masker::new(Secrets::new(["sesame-open-now"]));
        assert_eq!(masker.push(b"a line\n"), b"a line\n");
        assert_eq!(masker.push(b"ses"), b"");
        assert_eq!(masker.push(b"ses"), b"ses");
        assert_eq!(masker.push(b"ame-open-now!"), b"***************!");
        assert_eq!(masker.push(b"sesame-op"), b"");
        assert_eq!(masker.finish(), b"*********");
    }

    #[test]
    fn secrets_do_not_print() {
        let secrets = Secrets::new(["hunter2hunter2"]);
        let mut masker = Masker::new(secrets.clone());
        masker.push(b"hunter2");
        assert_eq!(format!("{secrets:?} {masker:?}"), "Secrets(…) Masker(…)");
    }

    /// Values and texts of few letters, so that they meet and overlap.
    fn letters(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ab\"\\\n".to_vec()), length)
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_same_bytes_and_no_secret_survives(
            values in prop::collection::vec(letters(8..12), 0..4),
            noise in prop::collection::vec(letters(0..30), 1..6),
            chosen in prop::collection::vec(any::<prop::sample::Index>(), 6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut output = Vec::new();
            for (piece, index) in noise.iter().zip(&chosen) {
                output.extend_from_slice(piece);
                if !values.is_empty() {
                    let value: &Vec<u8> = index.get(&values);
                    output.extend_from_slice(value);
                }
            }
            let secrets = Secrets::new(&values);
            let whole = masked(&secrets, &[&output]);
            prop_assert_eq!(whole.len(), output.len());
            for value in &values {
                prop_assert!(!whole.windows(value.len()).any(|window| window == value.as_slice()));
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(output.len() + 1)).collect();
            cuts.extend([0, output.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &output[cut[0]..cut[1]]).collect();
            prop_assert_eq!(masked(&secrets, &pieces), whole.clone());
            // What is no star is as it was.
            for (masked, was) in whole.iter().zip(&output) {
                prop_assert!(masked == was || *masked == STAR);
            }
        }
    }
}
