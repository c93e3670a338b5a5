//! `chanop validate`: everything that is wrong with a directory of specs, without an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic;
use super::exit::Exit;
use super::printer::Printer;
use crate::clock::Clock;
use crate::config::real_home;
use crate::resource::merge::{self, Merged};
use crate::resource::validate::{Code, Violation, Violations, across};
use crate::resource::{Channel, ChannelClass, ObjectRef, Owner, Resource};
use crate::specs::parse::locate;
use crate::specs::scan_once;
use crate::world::admission::{
    Admission, AdmissionContext, Incumbents, PathClaims, Rule, admit, claims_of, conflicts,
};
use crate::world::facts::Facts;
use crate::world::scan::{FileState, RawScan, Root};

/// Check spec files and say everything that is wrong with them
#[derive(Debug, Clone, clap::Args)]
pub struct ValidateArgs {
    /// A directory of specs, or one file
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// How to say it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// The home of the operator's owner, which `~` stands for
    #[arg(
        long,
        value_name = "DIR",
        env = "HOME",
        hide_env = true,
        default_value = "/home/agent",
        hide_default_value = true
    )]
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
    texts: BTreeMap<String, Arc<str>>,
}

/// Runs the command.
pub fn run(args: &ValidateArgs, printer: Printer) -> Exit {
    let found = match check(&args.path, &args.owner_home) {
        Ok(found) => found,
        Err(reason) => {
            printer.err(format_args!("failed to read the specs: {reason}"));
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

/// Reads and judges a directory or a file, by the rules by which the operator reads them.
///
/// # Errors
/// Why `path` itself cannot be read; what cannot be beneath it is a violation.
pub fn check(path: &Path, owner_home: &str) -> Result<Found, String> {
    // As the operator does it, so that both say the same.
    let owner_home = &real_home(owner_home);
    let clock = Clock::start();
    let scan = scan_once(path, &move || clock.now());
    if let Root::Unavailable { reason } = scan.root {
        return Err(reason);
    }
    let mut found = Found { files: scan.files.len(), ..Found::default() };
    found.unread(&scan);
    let mut resources = Vec::new();
    for (file, state) in scan.files {
        let reason = match state {
            FileState::Parsed(parsed) => {
                resources.extend(parsed.resources.iter().cloned());
                found.violations.extend(parsed.violations.iter().cloned());
                found.texts.insert(file, Arc::clone(&parsed.text));
                continue;
            }
            FileState::Unreadable(reason) | FileState::Refused(reason) => reason,
            FileState::Unstable => "it changed while it was read".to_owned(),
        };
        found.unreadable(&file, &format!("the file was not read: {reason}"));
    }
    found.judge_together(&resources, owner_home);
    let is_last = |v: &Violation| v.code == Code::MoreFound;
    found.violations.sort_by_key(|v| (v.file.clone(), is_last(v), v.line, v.column, v.code));
    Ok(found)
}

impl Found {
    fn unread(&mut self, scan: &RawScan) {
        for (directory, reason) in &scan.unreadable {
            self.unreadable(directory, &format!("the directory was not read: {reason}"));
        }
        if let Some(reason) = &scan.incomplete {
            self.unreadable("", &format!("not all files were read: {reason}"));
        }
    }

    fn unreadable(&mut self, file: &str, message: &str) {
        self.violations.push(Violation::of_file(Code::Unreadable, file, message));
    }

    /// What only shows in all of the objects, each at the field it is about.
    fn judge_together(&mut self, resources: &[Resource], owner_home: &str) {
        let mut all = across::duplicates(resources);
        all.extend(across::references(resources));
        all.extend(as_they_count(resources, owner_home));
        let mut all = limited(all);
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
            let source = self.texts.get(&violation.file).map(|text| &**text);
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

    /// `1 error, 0 warnings in 1 of 12 files; Docker not asked; policy: built-in`
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
        format!("{errors}, {warnings} in {whole}; Docker not asked; policy: built-in")
    }
}

/// A limited number of violations per file, before each is looked up in its file.
fn limited(violations: Vec<Violation>) -> Vec<Violation> {
    let mut by_file: BTreeMap<String, Violations> = BTreeMap::new();
    for violation in violations {
        by_file.entry(violation.file.clone()).or_default().push(violation);
    }
    by_file.into_iter().flat_map(|(file, violations)| violations.into_vec(&file)).collect()
}

/// What each channel and its class do wrong together, and what the policy forbids of it without a look at the host.
fn as_they_count(resources: &[Resource], owner_home: &str) -> Vec<Violation> {
    // Only the home counts here; who it is does not.
    let owner =
        Owner { user: "agent".to_owned(), uid: 1000, gid: 1000, home: owner_home.to_owned() };
    let mut all = Vec::new();
    let mut good: Vec<(&Channel, Merged)> = Vec::new();
    for resource in resources {
        let Resource::Channel(channel) = resource else { continue };
        match merge::effective(channel, class_of(channel, resources), &owner) {
            Ok(merged) => good.push((channel, merged)),
            Err(violations) => all.extend(violations),
        }
    }
    let context = AdmissionContext {
        owner,
        protected: Vec::new(),
        // What an operator is started with is not known here.
        has_agent_cli: true,
        runtime_classes: BTreeSet::new(),
        own_ports: BTreeSet::new(),
    };
    good.sort_by(|(a, _), (b, _)| a.meta.name.cmp(&b.meta.name));
    let judged: Vec<(&Channel, PathClaims, Admission)> = good
        .iter()
        .map(|(channel, merged)| {
            let admission = admit(&merged.effective, &Facts::default(), &context);
            (*channel, claims_of(&merged.effective), admission)
        })
        .collect();
    let candidates = judged.iter().filter_map(|(channel, claims, admission)| {
        let denied = matches!(admission, Admission::Denied(_));
        (!denied).then_some((&channel.meta.name, claims))
    });
    let conflicts = conflicts(candidates, &Incumbents::default());
    for (channel, _, admission) in judged {
        let name = &channel.meta.name;
        let conflicts = conflicts.get(name).map_or(&[][..], Vec::as_slice);
        let Admission::Denied(denials) = admission.with_conflicts(conflicts) else { continue };
        // Who the owner is is not known here, only the home.
        let known = denials.into_iter().filter(|denial| denial.rule != Rule::NoForeignUser);
        all.extend(known.map(|denial| Violation {
            line: channel.source.line,
            column: 1,
            path: denial.path,
            object: Some(ObjectRef::channel(name.clone())),
            label: format!("forbidden by {}", denial.rule),
            ..Violation::of_file(Code::PolicyViolation, &channel.source.file, denial.message)
        }));
    }
    all
}

fn class_of<'a>(channel: &Channel, resources: &'a [Resource]) -> Option<&'a ChannelClass> {
    let name = channel.spec.class_name.as_ref().map_or(merge::DEFAULT_CLASS, |name| name.as_str());
    resources.iter().find_map(|resource| match resource {
        Resource::Class(class) if class.meta.name.as_str() == name => Some(class),
        _ => None,
    })
}
