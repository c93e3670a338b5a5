//! The escapes of JSON's strings, decoded byte by byte.
//!
//! It does not know where a string begins or ends: outside of strings JSON has no backslash. What is no escape is passed on as it
//! is, so that a wrong one costs itself alone. At most an escape and the first half of a surrogate pair are held back.

/// A byte, and the bytes of the output that spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spelt {
    pub(super) byte: u8,
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// The state between two bytes.
#[derive(Debug, Default)]
pub(super) struct Unescape {
    /// A backslash and what followed it, as long as that may be an escape.
    escape: Vec<Spelt>,
    /// The first half of a surrogate pair.
    high: Option<(u16, u64, u64)>,
}

impl Unescape {
    /// Takes the next byte, and emits what is known now.
    pub(super) fn push(&mut self, next: Spelt, emit: &mut impl FnMut(Spelt)) {
        if self.escape.is_empty() {
            if next.byte == b'\\' {
                self.escape.push(next);
            } else {
                self.flush_high(emit);
                emit(next);
            }
            return;
        }
        self.escape.push(next);
        let begin = self.escape.first().map_or(next.begin, |it| it.begin);
        let simple = match (self.escape.len(), next.byte) {
            (2, b'u') => return,
            (2, b'"' | b'\\' | b'/') => next.byte,
            (2, b'b') => 0x08,
            (2, b'f') => 0x0c,
            (2, b'n') => b'\n',
            (2, b'r') => b'\r',
            (2, b't') => b'\t',
            (3..=5, digit) if digit.is_ascii_hexdigit() => return,
            (6, digit) if digit.is_ascii_hexdigit() => {
                self.unit(begin, next.end, emit);
                return;
            }
            _ => {
                self.flush_high(emit);
                self.flush_escape(emit);
                return;
            }
        };
        self.flush_high(emit);
        self.escape.clear();
        emit(Spelt { byte: simple, begin, end: next.end });
    }

    /// Where the bytes begin that are held back.
    pub(super) fn begun(&self) -> Option<u64> {
        let high = self.high.map(|(_, begin, _)| begin);
        high.or_else(|| self.escape.first().map(|it| it.begin))
    }

    /// A whole `\uXXXX`.
    fn unit(&mut self, begin: u64, end: u64, emit: &mut impl FnMut(Spelt)) {
        let digits = self.escape.iter().skip(2).filter_map(|it| char::from(it.byte).to_digit(16));
        let unit = digits.fold(0, |unit: u32, digit| unit << 4 | digit);
        let unit = u16::try_from(unit).unwrap_or(u16::MAX);
        self.escape.clear();
        let (units, begin) = match self.high.take() {
            Some((high, first, _)) if (0xdc00..=0xdfff).contains(&unit) => {
                (vec![high, unit], first)
            }
            lone => {
                self.high = lone;
                self.flush_high(emit);
                (vec![unit], begin)
            }
        };
        if (0xd800..=0xdbff).contains(&unit) {
            self.high = Some((unit, begin, end));
            return;
        }
        for character in char::decode_utf16(units) {
            emit_character(character.unwrap_or(char::REPLACEMENT_CHARACTER), begin, end, emit);
        }
    }

    /// The half of a pair whose other half did not come.
    fn flush_high(&mut self, emit: &mut impl FnMut(Spelt)) {
        if let Some((_, begin, end)) = self.high.take() {
            emit_character(char::REPLACEMENT_CHARACTER, begin, end, emit);
        }
    }

    /// It was no escape: its bytes stand for themselves, and the last of them may begin one.
    fn flush_escape(&mut self, emit: &mut impl FnMut(Spelt)) {
        let last = self.escape.pop();
        self.escape.drain(..).for_each(&mut *emit);
        match last {
            Some(last) if last.byte == b'\\' => self.escape.push(last),
            Some(last) => emit(last),
            None => {}
        }
    }
}

fn emit_character(character: char, begin: u64, end: u64, emit: &mut impl FnMut(Spelt)) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        emit(Spelt { byte, begin, end });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        let mut decoder = Unescape::default();
        let mut all = vec![];
        for (at, byte) in (0..).zip(text.bytes()) {
            decoder.push(Spelt { byte, begin: at, end: at + 1 }, &mut |it| all.push(it.byte));
        }
        all
    }

    #[test]
    fn a_wrong_escape_costs_itself_alone() {
        assert_eq!(decoded(r"\q\u12x\u0041"), br"\q\u12xA");
        assert_eq!(decoded(r"\u00\u0041"), br"\u00A");
        assert_eq!(decoded(r"\ud83dx"), "\u{fffd}x".as_bytes());
    }

    proptest! {
        #[test]
        fn what_json_quotes_is_decoded(text in ".{0,40}") {
            let quoted = serde_json::to_string(&text).unwrap();
            let inside = &quoted[1..quoted.len() - 1];
            prop_assert_eq!(decoded(inside), text.as_bytes());
            let units: Vec<String> =
                text.encode_utf16().map(|it| format!("\\u{it:04x}")).collect();
            prop_assert_eq!(decoded(&units.concat()), text.as_bytes());
        }
    }
}
