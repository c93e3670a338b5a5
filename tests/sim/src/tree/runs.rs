//! Run files, and the prompts that they name.

use super::{Reading, Tree};

/// What a run's file says, as far as it varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// `spec.channelName`.
    pub channel: String,
    /// What the agent is told.
    pub asks: Asks,
    /// `spec.session`, as YAML.
    pub session: String,
    /// `spec.fork`.
    pub fork: bool,
    /// `spec.rerun`.
    pub rerun: u32,
    /// `spec.cancel`.
    pub cancel: bool,
    /// Further fields of the spec, as YAML: `activeDeadlineSeconds: 5`.
    pub more: &'static str,
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// This.
    Prompt(String),
    /// What stands in this file.
    From(String),
}

impl RunFile {
    /// A run in this channel.
    pub fn of(channel: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            asks: Asks::Prompt("mend it".to_owned()),
            session: "Fresh".to_owned(),
            fork: false,
            rerun: 0,
            cancel: false,
            more: "",
        }
    }

    /// As a file.
    pub fn yaml(&self, name: &str) -> String {
        let asks = match &self.asks {
            Asks::Prompt(text) => format!("prompt: \"{text}\""),
            Asks::From(file) => format!("promptFrom: {{file: {file}}}"),
        };
        let more = if self.more.is_empty() { String::new() } else { format!("  {}\n", self.more) };
        format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: Run\nmetadata: {{name: {name}}}\nspec:\n  channelName: {}\n  {asks}\n  \
             session: {}\n  fork: {}\n  rerun: {}\n  cancel: {}\n{more}",
            self.channel, self.session, self.fork, self.rerun, self.cancel,
        )
    }
}

/// One run's file.
#[derive(Debug, Clone)]
pub struct RunText {
    /// What the author means, once it is whole again.
    pub file: RunFile,
    /// What stands in it.
    pub text: String,
    /// Can it be read?
    pub reading: Reading,
}

impl RunText {
    /// Does it say what its author means, and can that be read?
    pub fn is_whole(&self, run: &str) -> bool {
        self.reading == Reading::Fine && self.text == self.file.yaml(run)
    }
}

/// A run's file: in a folder for every other one, as channels'.
pub fn path_of_run(run: &str) -> String {
    let folder = run.bytes().last().is_some_and(|last| last % 2 == 0);
    if folder { format!("team/run-{run}.yaml") } else { format!("run-{run}.yaml") }
}

impl Tree {
    /// Writes a run's file.
    pub fn write_run(&mut self, run: &str, file: RunFile) {
        let text = file.yaml(run);
        self.runs.insert(run.to_owned(), RunText { file, text, reading: Reading::Fine });
    }

    /// Writes half of it, or nonsense.
    pub fn tear_run(&mut self, run: &str, how: u64) {
        if let Some(file) = self.runs.get_mut(run) {
            file.text = match how % 3 {
                0 => String::new(),
                1 => "kind: [Run".to_owned(),
                _ => file.text.replace("channelName", "chanelName"),
            };
        }
    }

    /// Writes it whole again.
    pub fn mend_run(&mut self, run: &str) {
        if let Some(found) = self.runs.get_mut(run) {
            found.text = found.file.yaml(run);
            found.reading = Reading::Fine;
        }
    }

    /// Is its folder closed?
    pub fn is_run_closed(&self, run: &str) -> bool {
        let path = path_of_run(run);
        self.closed.contains(path.split_once('/').map_or("", |(folder, _)| folder))
    }
}
