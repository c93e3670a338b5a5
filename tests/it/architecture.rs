//! ARCHITECTURE.md's rules, held against the sources: who may use whom, who owns which outside crate, and what every file has.
//!
//! The tables below are the rule; a change of the architecture is a change of a row here, with its reason. Sources are read
//! as text: comments, literals and `#[cfg(test)]` items are blanked first, so that a word in prose is no dependency. What
//! the compiler and clippy hold already (unsafe, banned methods, missing docs) is not repeated.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, the rooms that it may use, and why no others. `resource` may be used by all: it is the vocabulary.
const MAY_USE: &[(&str, &[&str], &str)] = &[
    ("resource", &[], "the words themselves: they lean on nothing"),
    ("clock", &[], "the only reader of the clock, in resource's types"),
    ("config", &[], "the only reader of the environment; handed on as values"),
    ("telemetry", &["clock", "config"], "sets up logging once, with our clock's time"),
    ("supervisor", &[], "knows tasks, not what they do"),
    ("container", &[], "what a container is made from and how it is named"),
    (
        "claude",
        &[],
        "how the CLI is called and what it says: words and rules, whoever reads the bytes",
    ),
    (
        "world",
        &["container", "claude", "init"],
        "state as data; of claude, what became of a run; of init, the layout that both sides know",
    ),
    (
        "planner",
        &["container", "claude", "world", "init"],
        "pure: what should be done, from the world alone; of claude, what a run is told",
    ),
    (
        "controller",
        &["container", "world", "planner"],
        "the core: no I/O, so that it can be simulated",
    ),
    (
        "specs",
        &["world", "clock", "config"],
        "reads files and says what it saw; of config, who may write them",
    ),
    ("docker", &["container", "config"], "speaks with the engine and decides nothing"),
    (
        "host",
        &["claude", "world", "container", "init", "config"],
        "probes and prepares the host; decides nothing; of claude, what its files hold; of config, who may write secrets",
    ),
    (
        "store",
        &["claude", "world", "clock", "container"],
        "writes records and transcripts down; of claude, what a record holds",
    ),
    (
        "follower",
        &["claude", "container", "controller", "docker", "store", "world"],
        "from the engine's output to a transcript and what it says",
    ),
    (
        "executor",
        &[
            "container",
            "claude",
            "world",
            "controller",
            "docker",
            "host",
            "store",
            "specs",
            "clock",
            "init",
        ],
        "an arm for each effect; of claude and init, how a run's agent is called in its container",
    ),
    ("metrics", &["world", "controller"], "fed from the view and the inputs"),
    (
        "http",
        &["container", "claude", "world", "controller", "docker", "metrics", "config", "clock"],
        "a face: reads the view, asks the core; docker for exec streams alone; claude for the turns of a transcript",
    ),
    (
        "runner",
        &["claude", "http"],
        "the library's face to programs: a client of the operator, in its API's words",
    ),
    (
        "wiring",
        &[
            "container",
            "world",
            "planner",
            "controller",
            "specs",
            "docker",
            "host",
            "store",
            "executor",
            "follower",
            "metrics",
            "http",
            "clock",
            "config",
            "telemetry",
            "supervisor",
            "claude",
            "init",
        ],
        "the only place that knows all the parts",
    ),
    (
        "cli",
        &[
            "container",
            "claude",
            "world",
            "planner",
            "controller",
            "specs",
            "docker",
            "http",
            "runner",
            "wiring",
            "config",
            "clock",
            "telemetry",
            "init",
        ],
        "a face: what it needs of store, host and executor it gets through wiring; of init, the path that exec begins with",
    ),
    ("main", &["cli", "telemetry"], "parses, runs, exits"),
    ("init", &[], "the program inside every container, and the layout that both sides know"),
    ("chanop-init", &["init"], "begins it"),
];

/// An outside crate, the only paths below `src/` that may name it, and why.
const OWNED: &[(&str, &[&str], &str)] = &[
    (
        "bollard",
        &["docker/bollard"],
        "its traps are handled in one place, and its types change with each release",
    ),
    ("hyperlocal", &["docker/"], "how a unix socket is reached"),
    ("hyper", &["docker/", "http/"], "connections have owners with timeouts"),
    ("hyper_util", &["docker/", "http/"], "likewise"),
    ("axum", &["http/"], "routes belong to the one server"),
    ("notify", &["specs/watch"], "a doorbell: nobody else hears it"),
    ("rusqlite", &["store/"], "one writer"),
    ("ruzstd", &["store/transcripts/packed"], "one form of packed transcripts"),
    ("aho_corasick", &["store/transcripts/mask"], "how known secrets are found"),
    (
        "prometheus",
        &["metrics/"],
        "every family in one place, so that names and labels can be reviewed",
    ),
    (
        "serde_yaml",
        &["resource/", "specs/", "cli/"],
        "files come in and are shown; the core has no text",
    ),
    ("schemars", &["resource/"], "schemas come from the types"),
    ("croner", &["resource/"], "a cron expression is a word"),
    ("clap", &["cli/", "main.rs"], "the command line"),
    ("clap_complete", &["cli/"], "the command line"),
    ("tracing_subscriber", &["telemetry"], "logging is set up once"),
    ("base64", &["docker/image/credentials"], "how registries' credentials are written"),
    (
        "tar",
        &["docker/image/context", "host/archive", "cli/busybox", "cli/layer"],
        "archives for the engine, and of Debian's package",
    ),
];

/// Rooms that are pure, so that the same code runs under the simulator.
const PURE: &[&str] = &["resource", "container", "claude", "world", "planner", "controller"];
/// What has no place in them.
const IMPURE: &[&str] = &[
    "tokio",
    "async",
    "await",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::process",
    "std::thread",
    "tracing",
    "new_v4",
    "SystemTime",
    "Instant",
];

/// A file with more lines has more than one idea; its tests are not counted.
/// Most have a third of this; only a long table comes near.
const MAX_LINES: usize = 700;

/// A source file: its path below `src/`, its text, and the text with everything blanked that is not code of the product.
struct Source {
    path: String,
    text: String,
    code: String,
    /// Lines without those of `#[cfg(test)]` items.
    lines: usize,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (code, test_lines) = without_tests(&without_prose(text));
        let lines = text.lines().count() - test_lines;
        Self { path: path.to_owned(), text: text.to_owned(), code, lines }
    }

    /// The module path: `docker/bollard/mod.rs` is `[docker, bollard]`.
    fn modules(&self) -> Vec<&str> {
        let stem = self.path.trim_end_matches(".rs");
        let stem = stem.strip_prefix("bin/").unwrap_or(stem);
        stem.split('/').filter(|part| *part != "mod" && *part != "lib").collect()
    }

    fn room(&self) -> &str {
        self.modules().first().copied().unwrap_or("lib")
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Every room that the code names, with the byte where it does.
    fn rooms_used(&self) -> Vec<(String, usize)> {
        let mut used = Vec::new();
        for root in ["crate", "chanop"] {
            for at in words(&self.code, root) {
                used.extend(heads(&self.code, at + root.len()));
            }
        }
        let depth = self.modules().len();
        for at in words(&self.code, "super") {
            // Only a chain's first `super`, and only one that climbs out of the room.
            if self.code[..at].trim_end().ends_with("::") {
                continue;
            }
            let mut end = at + "super".len();
            let mut climbed = 1;
            while self.code[end..].starts_with("::super") {
                end += "::super".len();
                climbed += 1;
            }
            if climbed >= depth {
                used.extend(heads(&self.code, end));
            }
        }
        used
    }
}

/// Where `word` stands in `code` as a whole identifier.
fn words(code: &str, word: &str) -> Vec<usize> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| !code[..*at].ends_with(part_of_name))
        .filter(|at| !code[at + word.len()..].starts_with(part_of_name))
        .collect()
}

/// The first names after a path's root: one for `::a::b`, several for `::{a::b, c}`.
fn heads(code: &str, at: usize) -> Vec<(String, usize)> {
    let Some(rest) = code[at..].strip_prefix("::") else { return Vec::new() };
    let begin = at + 2;
    let ident = |from: usize| {
        let name: String =
            code[from..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (name, from)
    };
    if !rest.starts_with('{') {
        return vec![ident(begin)];
    }
    let (mut depth, mut found, mut fresh) = (0, Vec::new(), false);
    for (offset, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            _ if c.is_whitespace() => continue,
            _ if fresh => {
                found.push(ident(begin + offset));
                fresh = false;
            }
            _ => {}
        }
        if c == '{' && depth == 1 {
            fresh = true;
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// `text` with comments and the insides of literals as blanks; every line stays where it was.
fn without_prose(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let starts = |at: usize, what: &str| {
        what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let mut at = 0;
    while at < chars.len() {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            let mut depth = 0;
            let mut i = at;
            loop {
                if starts(i, "/*") {
                    depth += 1;
                    i += 2;
                } else if starts(i, "*/") {
                    depth -= 1;
                    i += 2;
                } else {
                    i += 1;
                }
                if depth == 0 || i >= chars.len() {
                    break i.min(chars.len());
                }
            }
        } else if let Some(end) = raw_string_end(&chars, at) {
            end
        } else if chars[at] == '"' {
            let mut i = at + 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            (i + 1).min(chars.len())
        } else if chars[at] == '\'' && starts(at + 1, "\\") {
            (at + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1)
        } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
            at + 3
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        out.extend(chars[at..end].iter().map(|c| blank(*c)));
        at = end;
    }
    out
}

/// Where the raw string that begins at `at` ends; `None` when none begins there.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let begins = chars[at] == 'r'
        && !at.checked_sub(1).is_some_and(|i| chars[i].is_alphanumeric() && chars[i] != 'b');
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if !begins || chars.get(at + 1 + hashes) != Some(&'"') {
        return None;
    }
    let body = at + 2 + hashes;
    let closes = |i: &usize| {
        chars[*i] == '"' && (1..=hashes).all(|offset| chars.get(i + offset) == Some(&'#'))
    };
    Some((body..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes))
}

/// `code` with every `#[cfg(test)]` item as blanks, and how many lines those have: tests may reach further than what
/// they test.
fn without_tests(code: &str) -> (String, usize) {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut code = code.to_owned();
    let mut lines = 0;
    while let Some(start) = code.find(ATTRIBUTE) {
        let mut depth = 0_u32;
        let mut end = code.len();
        for (offset, c) in code[start + ATTRIBUTE.len()..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = start + ATTRIBUTE.len() + offset + 1;
                break;
            }
        }
        let blanks: String =
            code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        lines += blanks.lines().count();
        code.replace_range(start..end, &blanks);
    }
    (code, lines)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources are where they are looked for");
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
            Source::new(path, &fs::read_to_string(file).unwrap())
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|x| x == "rs") {
            files.push(path);
        }
    }
}

/// Fails with everything that is wrong, a line each.
fn report(wrong: &[String]) {
    let mut text = String::new();
    for line in wrong {
        let _never_fails = writeln!(text, "{line}");
    }
    assert!(wrong.is_empty(), "\n{text}");
}

fn wrong_uses(source: &Source) -> Vec<String> {
    let room = source.room();
    // lib.rs declares the rooms; a tests.rs is there under #[cfg(test)] alone.
    if room == "lib" || source.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let Some((_, allowed, reason)) = MAY_USE.iter().find(|(name, ..)| *name == room) else {
        return vec![format!(
            "src/{}:1: the room `{room}` has no row; add one to MAY_USE in tests/it/architecture.rs and to ARCHITECTURE.md, with its reason",
            source.path
        )];
    };
    let is_room = |name: &str| MAY_USE.iter().any(|(room, ..)| *room == name);
    source
        .rooms_used()
        .iter()
        .filter(|(used, _)| is_room(used) && used != room && used != "resource")
        .filter(|(used, _)| !allowed.contains(&used.as_str()))
        .map(|(used, at)| {
            format!(
                "src/{}:{}: `{room}` may not use `{used}` ({reason}); move the code, or pass what is needed as a value of `resource` or `world`",
                source.path,
                source.line(*at)
            )
        })
        .collect()
}

fn wrong_crates(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, owners, reason) in OWNED {
        let test = source.path.ends_with("/tests.rs");
        if test || owners.iter().any(|owner| source.path.starts_with(owner)) {
            continue;
        }
        for at in words(&source.code, name) {
            let before = source.code[..at].trim_end();
            let outside = !before.ends_with("::") || before.ends_with(" ::");
            let path = source.code[at + name.len()..].starts_with("::");
            let import = before.ends_with("use")
                && source.code[at + name.len()..].trim_start().starts_with([';', 'a']);
            if outside && (path || import) {
                wrong.push(format!(
                    "src/{}:{}: `{name}` belongs to {} ({reason}); ask that room for what you need, in our own types",
                    source.path,
                    source.line(at),
                    owners.join(", ")
                ));
            }
        }
    }
    wrong
}

fn wrong_in_pure_rooms(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.room()) {
        return Vec::new();
    }
    IMPURE
        .iter()
        .flat_map(|word| words(&source.code, word).into_iter().map(move |at| (word, at)))
        .map(|(word, at)| {
            format!(
                "src/{}:{}: `{word}` in `{}`, which is pure; return data or an effect, and let an adapter do it",
                source.path,
                source.line(at),
                source.room()
            )
        })
        .collect()
}

#[test]
fn a_room_uses_only_the_rooms_that_its_row_names() {
    report(&sources().iter().flat_map(wrong_uses).collect::<Vec<_>>());
}

#[test]
fn an_outside_crate_is_named_only_by_the_room_that_owns_it() {
    report(&sources().iter().flat_map(wrong_crates).collect::<Vec<_>>());
}

#[test]
fn words_rules_and_core_touch_nothing_outside() {
    report(&sources().iter().flat_map(wrong_in_pure_rooms).collect::<Vec<_>>());
}

#[test]
fn no_room_can_reach_itself_by_way_of_others() {
    // Permission runs in one direction; a circle in the table would make the rings a fiction.
    fn visit<'a>(room: &'a str, path: &mut Vec<&'a str>) {
        assert!(!path.contains(&room), "the table goes in a circle: {path:?} and back to {room}");
        path.push(room);
        let row = MAY_USE.iter().find(|(name, ..)| *name == room);
        for next in row.iter().flat_map(|(_, allowed, _)| allowed.iter()) {
            visit(next, path);
        }
        path.pop();
    }
    for (room, ..) in MAY_USE {
        visit(room, &mut Vec::new());
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("src/{}:1: begins without `//!`; say what the file is for, what it leaves to others, and what always holds", source.path))
        .collect::<Vec<_>>();
    report(&silent);
}

#[test]
fn every_file_is_short_enough_to_hold_one_idea() {
    let long = sources()
        .iter()
        .map(|source| (source.path.as_str(), source.lines))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("src/{path}:{lines}: {lines} lines; give each of its ideas a file ({MAX_LINES} is the most)"))
        .collect::<Vec<_>>();
    report(&long);
}

#[test]
fn maps_are_ordered_and_no_path_of_the_building_machine_is_written_down() {
    let here = env!("CARGO_MANIFEST_DIR");
    let mut wrong = Vec::new();
    for source in sources() {
        for word in ["HashMap", "HashSet"] {
            for at in words(&source.code, word) {
                wrong.push(format!("src/{}:{}: `{word}`; take BTreeMap or BTreeSet, so that plans and tests are stable", source.path, source.line(at)));
            }
        }
        if let Some(line) = source.text.lines().position(|line| line.contains(here)) {
            wrong.push(format!(
                "src/{}:{}: names the directory it was built in",
                source.path,
                line + 1
            ));
        }
    }
    report(&wrong);
}

#[test]
fn a_use_in_prose_in_a_literal_or_in_a_test_is_no_use() {
    let text = r##"//! crate::docker
use crate::world::World; // crate::http
const A: &str = "crate::store \" crate::http";
const B: &str = r#"crate::http " crate::http"#;
const C: (char, char) = ('"', '\'');
/* crate::http /* crate::http */ crate::http */
fn lives<'a>(x: &'a str) -> &'a str { x }
#[cfg(test)]
mod tests { use crate::docker::Engine; fn f() { g(); } }
use crate::container;
"##;
    let source = Source::new("planner/mod.rs", text);
    let used: Vec<String> = source.rooms_used().into_iter().map(|(room, _)| room).collect();
    assert_eq!(used, ["world", "container"]);
    assert_eq!(source.text.lines().count(), source.code.lines().count());
    assert_eq!(source.lines, source.text.lines().count() - 2, "the test's two lines");
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    let grouped =
        Source::new("world/mod.rs", "use crate::{\n    docker::{Engine, error},\n    http,\n};\n");
    let wrong = wrong_uses(&grouped);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].starts_with("src/world/mod.rs:2: `world` may not use `docker`"), "{wrong:?}");
    assert!(wrong[1].starts_with("src/world/mod.rs:3: `world` may not use `http`"), "{wrong:?}");

    let climbing =
        Source::new("world/facts.rs", "use super::super::store::Store;\nuse super::desired::X;\n");
    assert_eq!(wrong_uses(&climbing).len(), 1);
    assert_eq!(wrong_uses(&Source::new("main.rs", "fn main() { chanop::store::go() }")).len(), 1);
    assert_eq!(wrong_uses(&Source::new("novel/mod.rs", "")).len(), 1, "a room without a row");
}

#[test]
fn every_way_to_name_an_outside_crate_is_seen() {
    for text in [
        "use bollard::Docker;",
        "use ::bollard::Docker;",
        "use bollard;",
        "fn f(_: bollard::Docker) {}",
    ] {
        let wrong = wrong_crates(&Source::new("executor/mod.rs", text));
        assert_eq!(wrong.len(), 1, "{text}");
    }
    for text in ["use crate::docker::bollard::Docker;", "mod bollard;", "use self::bollard::X;"] {
        assert_eq!(
            wrong_crates(&Source::new("docker/mod.rs", text)),
            Vec::<String>::new(),
            "{text}"
        );
    }
    assert_eq!(
        wrong_in_pure_rooms(&Source::new("world/mod.rs", "use std::fs;\nasync fn f() {}")).len(),
        2
    );
}
