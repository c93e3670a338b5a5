//! `chanop validate`: everything that is wrong with a directory of specs, without an engine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic;
use super::exit::Exit;
use super::printer::Printer;
use crate::resource::merge;
use crate::resource::validate::{Code, Violation, across};
use crate::resource::{ChannelClass, Owner, Resource};
use crate::specs::parse::{locate, parse_bytes};

/// Check spec files and say everything that is wrong with them
#[derive(Debug, Clone, clap::Args)]
pub struct ValidateArgs {
    /// A directory of specs, or one file
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// How to say it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// The home that `~` stands for
    #[arg(long, env = "HOME", hide = true, hide_env = true, default_value = "/home/agent")]
    pub owner_home: String,
}

/// How violations are said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// One array, for programs
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Every violation, by file and line.
    pub violations: Vec<Violation>,
    /// How many files were looked at.
    pub files: usize,
    /// The files' texts, for the lines that are shown.
    texts: BTreeMap<String, String>,
}

/// Runs the command.
pub fn run(args: &ValidateArgs, printer: Printer) -> Exit {
    let found = match check(&args.path, &args.owner_home) {
        Ok(found) => found,
        Err(error) => {
            printer.err(format_args!("failed to read {}: {error}", args.path.display()));
            return Exit::Error;
        }
    };
    match args.output {
        Output::Text => {
            for line in found.lines(printer.colour()) {
                printer.out(line);
            }
        }
        Output::Json => printer.out(found.json()),
        Output::Github => {
            for violation in &found.violations {
                printer.out(diagnostic::github(violation));
            }
            printer.err(found.summary());
        }
    }
    if found.violations.iter().any(Violation::is_error) { Exit::Error } else { Exit::Ok }
}

/// Reads and judges a directory or a file.
///
/// # Errors
/// When `path` itself cannot be read; a file beneath it that cannot is a violation.
pub fn check(path: &Path, owner_home: &str) -> io::Result<Found> {
    let mut found = Found::default();
    let mut resources = Vec::new();
    for (file, bytes) in files(path)? {
        found.files += 1;
        match bytes {
            Ok(bytes) => {
                let parsed = parse_bytes(&file, &bytes);
                resources.extend(parsed.resources);
                found.violations.extend(parsed.violations);
                if let Ok(text) = String::from_utf8(bytes) {
                    found.texts.insert(file, text);
                }
            }
            Err(error) => {
                let message = format!("the file could not be read: {error}");
                found.violations.push(Violation::of_file(Code::Unreadable, &file, message));
            }
        }
    }
    found.judge_together(&resources, owner_home);
    let by_place = |v: &Violation| (v.file.clone(), v.line, v.column, v.code);
    found.violations.sort_by_key(by_place);
    Ok(found)
}

impl Found {
    /// What only shows in all of the objects, each at the field it is about.
    fn judge_together(&mut self, resources: &[Resource], owner_home: &str) {
        let mut all = across::duplicates(resources);
        all.extend(across::references(resources));
        all.extend(merged(resources, owner_home));
        for violation in &mut all {
            let text = self.texts.get(&violation.file);
            let place = text.and_then(|text| locate(text, violation.line, &violation.path));
            if let Some(place) = place {
                (violation.line, violation.column) = (place.line, place.column);
                violation.length = place.length;
            }
        }
        self.violations.extend(all);
    }

    /// The text form, line by line, the summary last.
    pub fn lines(&self, colour: bool) -> Vec<String> {
        let shown = |violation: &Violation| {
            let source = self.texts.get(&violation.file).map(String::as_str);
            diagnostic::text(violation, source, colour)
        };
        let mut lines: Vec<String> = self.violations.iter().map(shown).collect();
        lines.push(self.summary());
        lines
    }

    /// The violations as one array.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.violations).unwrap_or_default()
    }

    /// `1 error, 0 warnings in 1 of 12 files; Docker not asked; policy not asked`
    pub fn summary(&self) -> String {
        let errors = self.violations.iter().filter(|violation| violation.is_error()).count();
        let warnings = self.violations.len() - errors;
        let mut bad: Vec<&str> = self.violations.iter().map(|v| v.file.as_str()).collect();
        bad.dedup();
        let count = |number: usize, what: &str| {
            format!("{number} {what}{}", if number == 1 { "" } else { "s" })
        };
        let whole = count(self.files, "file");
        let whole = if bad.is_empty() { whole } else { format!("{} of {whole}", bad.len()) };
        let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
        format!("{errors}, {warnings} in {whole}; Docker not asked; policy not asked")
    }
}

/// What each channel and its class do wrong together.
fn merged(resources: &[Resource], owner_home: &str) -> Vec<Violation> {
    let classes: Vec<&ChannelClass> = resources
        .iter()
        .filter_map(|resource| match resource {
            Resource::Class(class) => Some(class),
            _ => None,
        })
        .collect();
    // Only the home counts for merging; who it is does not.
    let owner =
        Owner { user: "agent".to_owned(), uid: 1000, gid: 1000, home: owner_home.to_owned() };
    let mut all = Vec::new();
    for resource in resources {
        let Resource::Channel(channel) = resource else { continue };
        let name =
            channel.spec.class_name.as_ref().map_or(merge::DEFAULT_CLASS, |name| name.as_str());
        let class = classes.iter().find(|class| class.meta.name.as_str() == name).copied();
        all.extend(merge::effective(channel, class, &owner).err().unwrap_or_default());
    }
    all
}

type Bytes = Result<Vec<u8>, io::Error>;

/// Every spec file at or beneath `path`, by its name relative to it, in order.
fn files(path: &Path) -> io::Result<Vec<(String, Bytes)>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![(path.display().to_string(), read(path))]);
    }
    let mut all = Vec::new();
    let mut left = vec![(path.to_path_buf(), String::new())];
    while let Some((directory, prefix)) = left.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if prefix.is_empty() => return Err(error),
            Err(error) => {
                all.push((prefix.trim_end_matches('/').to_owned(), Err(error)));
                continue;
            }
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push((entry.path(), format!("{prefix}{name}/")));
            } else if is_spec(&name) && entry.path().is_file() {
                all.push((format!("{prefix}{name}"), read(&entry.path())));
            }
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}

fn is_spec(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// One byte more than is parsed, so that a larger file is known for one and never held as a whole.
fn read(path: &Path) -> Bytes {
    use std::io::Read as _;
    let limit = u64::try_from(crate::specs::parse::FILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
