//! The spec directory: files with text, and everything that keeps one from reading them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::check::HUSH;
use chanop::resource::Now;
use chanop::world::scan::{FileState, ParsedFile, Place, RawScan, Revision, Root, Watch};

mod runs;

pub use runs::{Asks, RunFile, RunText, path_of_run};

/// What a channel's file says, as far as it varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The image.
    pub image: &'static str,
    /// When it is pulled.
    pub pull: &'static str,
    /// Memory limit in Mi.
    pub memory: u32,
    /// The value of an environment variable.
    pub var: u32,
    /// `spec.suspend`.
    pub suspend: bool,
    /// `spec.shell.enabled`.
    pub enabled: bool,
    /// `WhenIdle`, `Recreate`, `OnDelete`.
    pub strategy: &'static str,
    /// `updateStrategy.maxWait`.
    pub max_wait: &'static str,
    /// `deletion.keepStopped`.
    pub keep_stopped: &'static str,
    /// `hostSelector: {zone: …}`.
    pub zone: Option<&'static str>,
    /// `spec.runs`.
    pub runs: RunsOf,
}

/// What a channel's file says of its runs, as far as it varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsOf {
    /// `maxConcurrent`.
    pub at_once: u32,
    /// `activeDeadlineSeconds`.
    pub deadline: u32,
    /// `terminationGracePeriodSeconds`.
    pub grace: u32,
    /// `backoffLimit`.
    pub backoff: u32,
    /// `keepContainer`.
    pub keep: &'static str,
    /// `history.limit`.
    pub history: u32,
    /// `deletion.runs`.
    pub deletion: &'static str,
    /// `queue.maxAge`.
    pub queue_age: &'static str,
}

impl Default for RunsOf {
    fn default() -> Self {
        Self {
            at_once: 1,
            deadline: 600,
            grace: 10,
            backoff: 0,
            keep: "20s",
            history: 100,
            deletion: "Finish",
            queue_age: "24h",
        }
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            image: "img-a:1",
            pull: "IfNotPresent",
            memory: 64,
            var: 0,
            suspend: false,
            enabled: true,
            strategy: "WhenIdle",
            max_wait: "5m",
            keep_stopped: "30s",
            zone: None,
            runs: RunsOf::default(),
        }
    }
}

impl Spec {
    /// What of it a container is made from, beside the memory that changes in place.
    pub const fn container(&self) -> (&str, u32, u32) {
        (self.image, self.memory, self.var)
    }

    /// As a file.
    pub fn yaml(&self, name: &str) -> String {
        let selector =
            self.zone.map_or(String::new(), |zone| format!("  hostSelector: {{zone: {zone}}}\n"));
        format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: {name}}}\nspec:\n{selector}  suspend: {}\n  \
             workspace: {{path: /home/u/{name}}}\n  image: {{ref: \"{}\", pullPolicy: {}}}\n  \
             env: [{{name: VAR, value: \"{HUSH}{}\"}}]\n  resources: {{limits: {{memory: {}Mi}}}}\n  \
             shell: {{enabled: {}}}\n  updateStrategy: {{type: {}, maxWait: {}}}\n  deletion: {{keepStopped: {}, runs: {}}}\n  \
             runs: {{maxConcurrent: {}, activeDeadlineSeconds: {}, terminationGracePeriodSeconds: {}, backoffLimit: {}, \
             keepContainer: {}, history: {{limit: {}}}, queue: {{maxAge: {}}}}}\n",
            self.suspend,
            self.image,
            self.pull,
            self.var,
            self.memory,
            self.enabled,
            self.strategy,
            self.max_wait,
            self.keep_stopped,
            self.runs.deletion,
            self.runs.at_once,
            self.runs.deadline,
            self.runs.grace,
            self.runs.backoff,
            self.runs.keep,
            self.runs.history,
            self.runs.queue_age,
        )
    }
}

/// How a file can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Well.
    Fine,
    /// Not.
    Unreadable,
    /// It changes all the time.
    Unstable,
}

/// One file.
#[derive(Debug, Clone)]
pub struct File {
    /// What the author means, once it is whole again.
    pub spec: Spec,
    /// What stands in it.
    pub text: String,
    /// Can it be read?
    pub reading: Reading,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Tree {
    /// By channel; the file is `<channel>.yaml`, in a folder for every other one.
    pub files: BTreeMap<String, File>,
    /// By run.
    pub runs: BTreeMap<String, RunText>,
    /// Prompts, by their path.
    pub prompts: BTreeMap<String, String>,
    /// Why the root cannot be read.
    pub away: Option<&'static str>,
    /// The root's inode.
    pub inode: u64,
    /// Folders that cannot be read.
    pub closed: BTreeSet<String>,
    /// Why a scan proves nothing.
    pub incomplete: Option<&'static str>,
    /// The revision shown.
    pub revision: Option<String>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            runs: BTreeMap::new(),
            prompts: BTreeMap::new(),
            away: None,
            inode: 1,
            closed: BTreeSet::new(),
            incomplete: None,
            revision: None,
        }
    }
}

/// A channel's file.
pub fn path_of(channel: &str) -> String {
    let folder = channel.bytes().last().is_some_and(|last| last % 2 == 0);
    if folder { format!("team/{channel}.yaml") } else { format!("{channel}.yaml") }
}

impl Tree {
    /// Writes a channel's file.
    pub fn write(&mut self, channel: &str, spec: Spec) {
        let text = spec.yaml(channel);
        self.files.insert(channel.to_owned(), File { spec, text, reading: Reading::Fine });
    }

    /// Deletes it.
    pub fn delete(&mut self, channel: &str) {
        self.files.remove(channel);
    }

    /// Writes half of it, or nonsense.
    pub fn tear(&mut self, channel: &str, how: u64) {
        if let Some(file) = self.files.get_mut(channel) {
            file.text = match how % 4 {
                0 => String::new(),
                1 => "kind: [Channel".to_owned(),
                2 => file.text.replace("suspend", "suspendd"),
                _ => file.text.replace("kind: Channel\n", "kind: Chanel\n"),
            };
        }
    }

    /// Writes it whole again.
    pub fn mend(&mut self, channel: &str) {
        if let Some(file) = self.files.get_mut(channel) {
            file.text = file.spec.yaml(channel);
            file.reading = Reading::Fine;
        }
    }

    /// Everything can be read again.
    pub fn heal(&mut self) {
        self.away = None;
        self.incomplete = None;
        self.closed.clear();
        let names: Vec<String> = self.files.keys().cloned().collect();
        for name in names {
            self.mend(&name);
        }
        let runs: Vec<String> = self.runs.keys().cloned().collect();
        for run in runs {
            self.mend_run(&run);
        }
    }

    /// Looks at all of it.
    pub fn scan(&self, started: Now) -> RawScan {
        let mut scan = RawScan {
            started,
            took: Duration::from_millis(1),
            root: Root::Present(Place {
                identity: (1, self.inode),
                real: "/home/u/specs".to_owned(),
                links: Vec::new(),
            }),
            files: BTreeMap::new(),
            directories: BTreeMap::from([(String::new(), (1, self.inode))]),
            unreadable: BTreeMap::new(),
            incomplete: self.incomplete.map(str::to_owned),
            revision: self.revision.clone().map(|text| Revision { text }),
            watch: Watch::Active,
            parsed: 0,
        };
        if let Some(reason) = self.away {
            scan.root = Root::Unavailable { reason: reason.to_owned() };
            return scan;
        }
        for folder in &self.closed {
            scan.unreadable.insert(folder.clone(), "permission denied".to_owned());
        }
        let channels = self.files.iter().map(|(it, file)| (path_of(it), &file.text, file.reading));
        let runs = self.runs.iter().map(|(it, file)| (path_of_run(it), &file.text, file.reading));
        for (path, text, reading) in channels.chain(runs) {
            let folder = path.split_once('/').map_or("", |(folder, _)| folder);
            if self.closed.contains(folder) {
                continue;
            }
            let state = match reading {
                Reading::Fine => FileState::Parsed(parse(&path, text)),
                Reading::Unreadable => FileState::Unreadable("permission denied".to_owned()),
                Reading::Unstable => FileState::Unstable,
            };
            scan.files.insert(path, state);
        }
        scan
    }
}

thread_local! {
    // Parsing is the dearest thing here, and the same texts come again and again.
    static PARSED: RefCell<BTreeMap<(String, String), Arc<ParsedFile>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Parses a text as production does.
pub fn parse(path: &str, text: &str) -> Arc<ParsedFile> {
    PARSED.with_borrow_mut(|parsed| {
        let key = (path.to_owned(), text.to_owned());
        let make = || {
            let file = chanop::specs::parse::parse_file(path, text);
            Arc::new(ParsedFile {
                text: Arc::from(text),
                resources: file.resources,
                violations: file.violations,
            })
        };
        Arc::clone(parsed.entry(key).or_insert_with(make))
    })
}
