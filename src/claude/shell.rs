//! An argv as a person reads it, and as a shell reads it back.
//!
//! For display, and for the one place where the CLI itself wants a shell's text. Nothing here is ever run by chanop.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::resource::text::is_deceptive;

/// Words that mean something to a shell only where a command begins.
const KEYWORDS: [&str; 17] = [
    "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in",
    "select", "then", "time", "until", "while",
];

/// One line that gives bash this very argv. Control characters and what turns the direction of text around are written as
/// numbers, so that the line can be shown on a terminal.
pub fn to_shell(argv: &[impl AsRef<str>]) -> String {
    let mut line = String::new();
    for (index, word) in argv.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 {
            line.push(' ');
        }
        let quoted = quote(word);
        // `A=b` would set a variable, and an `if` would want a `then`.
        let begins = index == 0 && (word.contains('=') || KEYWORDS.contains(&word));
        match quoted {
            Cow::Borrowed(plain) if begins => line.extend(["'", plain, "'"]),
            quoted => line.push_str(&quoted),
        }
    }
    line
}

/// One word, quoted where that is needed.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    if !word.chars().any(is_deceptive) {
        return Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")));
    }
    let mut quoted = "$'".to_owned();
    for c in word.chars() {
        match c {
            '\n' => quoted.push_str(r"\n"),
            '\t' => quoted.push_str(r"\t"),
            '\\' | '\'' => quoted.extend(['\\', c]),
            c if is_deceptive(c) => {
                // By bytes: what `\u` gives depends on the locale.
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(quoted, r"\{byte:03o}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What bash makes of the line, as the arguments of a command.
    fn read_by_bash(words: &[String], locale: &str) -> Vec<String> {
        let line = format!("printf '%s\\0' x {}", to_shell(words).as_str());
        // The first word is a command's place only for what stands alone there.
        let output = bash(&line, locale);
        let mut all: Vec<String> = output.split('\0').map(str::to_owned).collect();
        assert_eq!(all.pop().as_deref(), Some(""));
        all.remove(0);
        all
    }

    #[expect(clippy::disallowed_methods, reason = "bash itself is the judge")]
    fn bash(line: &str, locale: &str) -> String {
        let output = Command::new("/bin/bash")
            .args(["--norc", "-c", line])
            .env_clear()
            .env("LC_ALL", locale)
            .env("PATH", "/nowhere")
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}: {line}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        for (words, line) in [
            (&["claude", "--model=opus", "/a/b.c"][..], "claude --model=opus /a/b.c"),
            (&["claude", "two words", ""], "claude 'two words' ''"),
            (&["a", "it's", "!x", "$HOME", "~"], r"a 'it'\''s' '!x' '$HOME' '~'"),
            (&["a", "é 😀"], "a 'é 😀'"),
            (&["a", "l1\nl2\t\\'"], r"a $'l1\nl2\t\\\''"),
            (&["a", "\u{1b}[31m\u{202e}\u{85}"], r"a $'\033[31m\342\200\256\302\205'"),
            (&["A=b", "A=b"], "'A=b' A=b"),
            (&["a'=b"], r"'a'\''=b'"),
            (&["time", "time"], "'time' time"),
        ] {
            assert_eq!(to_shell(&owned(words)), line);
        }
    }

    #[test]
    fn a_word_in_the_commands_place_is_a_command() {
        for word in KEYWORDS.into_iter().chain(["A=b", "{", "!", "[[", "}", "#x", "~", "a*"]) {
            let words = owned(&[word, "ran"]);
            let line = format!(
                "command_not_found_handle() {{ printf '%s\\0' \"$@\"; }}; {}",
                to_shell(&words)
            );
            assert_eq!(bash(&line, "C"), format!("{word}\0ran\0"), "{line}");
        }
    }

    proptest! {
        // Each case starts a shell.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bash_gives_the_same_words_back(
            words in proptest::collection::vec("([^\0]|[a-z'\"\\\\$`!~#&|;<>(){}\\[\\]*?= \n\t\r\u{1b}\u{7f}\u{202e}é]){0,24}", 0..6),
            utf8: bool,
        ) {
            let locale = if utf8 { "C.UTF-8" } else { "C" };
            prop_assert_eq!(read_by_bash(&words, locale), words);
        }

        #[test]
        fn a_line_is_one_line_and_safe_on_a_terminal(word in "[^\0]{0,40}") {
            prop_assert!(!quote(&word).chars().any(is_deceptive));
        }
    }
}
