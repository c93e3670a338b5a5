//! The collections that the API serves, read out of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::table::{self, ColumnSpec, Row};
use super::views::run::{self, Activity, Detail, Run};
use super::views::{self, Channel, ChannelClass, Event, Metadata};
use crate::controller::view::{ChannelView, RunView, View};
use crate::resource::ResourceName;
use crate::world::record::EventRecord;

/// Objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Channels,
    Classes,
    Events,
    Runs,
}

/// One object of a snapshot.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Channel(Arc<ChannelView>, Activity),
    Class { name: String, channels: usize },
    Event(EventRecord),
    Run(Arc<RunView>),
}

/// One object, in its JSON shape.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Object {
    Channel(Box<Channel>),
    Class(Box<ChannelClass>),
    Event(Box<Event>),
    Run(Box<Run>),
}

/// How much of an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One of many.
    Listed,
    /// Alone.
    Whole,
    /// Alone, and with where its fields came from.
    WithOrigins,
}

impl Collection {
    /// By the word of the path.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let all = [Self::Channels, Self::Classes, Self::Events, Self::Runs];
        all.into_iter().find(|it| it.as_str() == word)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Classes => "channelclasses",
            Self::Events => "events",
            Self::Runs => "runs",
        }
    }

    pub(super) const fn list_kind(self) -> &'static str {
        match self {
            Self::Channels => "ChannelList",
            Self::Classes => "ChannelClassList",
            Self::Events => "EventList",
            Self::Runs => "RunList",
        }
    }

    pub(super) const fn columns(self) -> &'static [ColumnSpec] {
        match self {
            Self::Channels => table::CHANNELS,
            Self::Classes => table::CLASSES,
            Self::Events => table::EVENTS,
            Self::Runs => table::RUNS,
        }
    }

    /// Everything, by name. Events come by name too; whoever lists them wants [`Self::order`].
    pub(super) fn items(self, view: &View, now: Timestamp) -> BTreeMap<String, Item> {
        match self {
            Self::Channels => channels(view, now),
            Self::Classes => classes(view),
            Self::Events => view
                .events
                .iter()
                .map(|event| (views::event_name(event), Item::Event(event.clone())))
                .collect(),
            Self::Runs => view
                .runs
                .iter()
                .map(|(name, run)| (name.to_string(), Item::Run(Arc::clone(run))))
                .collect(),
        }
    }

    /// In the order of a list: by name, but events as they happened, and runs as they were admitted, the others last.
    pub(super) fn order(self, items: BTreeMap<String, Item>) -> Vec<Item> {
        let mut items: Vec<_> = items.into_values().collect();
        match self {
            Self::Events => items.sort_by_key(|item| match item {
                Item::Event(event) => Some(event.last),
                Item::Channel(..) | Item::Class { .. } | Item::Run(_) => None,
            }),
            Self::Runs => items.sort_by_key(|item| match item {
                Item::Run(run) => run.record.as_ref().map_or(u64::MAX, |record| record.turn),
                Item::Channel(..) | Item::Class { .. } | Item::Event(_) => u64::MAX,
            }),
            Self::Channels | Self::Classes => {}
        }
        items
    }
}

fn channels(view: &View, now: Timestamp) -> BTreeMap<String, Item> {
    let mut activities: BTreeMap<&ResourceName, Activity> = BTreeMap::new();
    for run in view.runs.values() {
        activities.entry(&run.channel).or_default().add(run, now);
    }
    let item = |(name, channel): (&ResourceName, &Arc<ChannelView>)| {
        let activity = activities.get(name).cloned().unwrap_or_default();
        (name.to_string(), Item::Channel(Arc::clone(channel), activity))
    };
    view.channels.iter().map(item).collect()
}

fn classes(view: &View) -> BTreeMap<String, Item> {
    let names: BTreeSet<&String> = view.specs.classes.iter().collect();
    let users = |class: &str| {
        let used = |channel: &&Arc<ChannelView>| {
            let effective = channel.effective.as_ref();
            effective
                .and_then(|effective| effective.class_name.as_ref())
                .is_some_and(|name| name.as_str() == class)
        };
        view.channels.values().filter(used).count()
    };
    names
        .into_iter()
        .map(|name| (name.clone(), Item::Class { name: name.clone(), channels: users(name) }))
        .collect()
}

impl Item {
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match self {
            Self::Channel(channel, _) => &channel.labels,
            Self::Run(run) => &run.labels,
            Self::Class { .. } | Self::Event(_) => &NONE,
        }
    }

    /// The channel of a run.
    pub(super) fn channel(&self) -> Option<&ResourceName> {
        match self {
            Self::Run(run) => Some(&run.channel),
            Self::Channel(..) | Self::Class { .. } | Self::Event(_) => None,
        }
    }

    pub(super) fn object(&self, version: &str, shape: Shape) -> Object {
        match self {
            Self::Channel(it, activity) => {
                let with_origins = shape == Shape::WithOrigins;
                Object::Channel(Box::new(views::channel(it, activity, version, with_origins)))
            }
            Self::Run(it) => {
                let detail = if shape == Shape::Listed { Detail::Listed } else { Detail::Whole };
                Object::Run(Box::new(run::run(it, version, detail)))
            }
            Self::Class { name, channels } => {
                Object::Class(Box::new(views::class(name, *channels, version)))
            }
            Self::Event(it) => Object::Event(Box::new(views::event(it, version))),
        }
    }

    pub(super) fn row(&self, version: &str, now: Timestamp) -> Row {
        let metadata = self.metadata(version);
        match self {
            Self::Channel(it, activity) => {
                Row::new(table::channel_cells(it, activity, now), metadata)
            }
            Self::Run(it) => Row::new(table::run_cells(it, now), metadata),
            Self::Class { name, channels } => {
                Row::new(vec![name.clone(), channels.to_string()], metadata)
            }
            Self::Event(it) => Row::new(table::event_cells(it, &metadata.name, now), metadata),
        }
    }

    fn metadata(&self, version: &str) -> Metadata {
        match self {
            Self::Channel(it, _) => views::channel_metadata(it, version),
            Self::Run(it) => run::run_metadata(it, version),
            Self::Class { name, channels } => views::class(name, *channels, version).metadata,
            Self::Event(it) => views::event(it, version).metadata,
        }
    }

    /// Would both look the same? Unchanged channels are shared between snapshots, so this is mostly one comparison.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Channel(one, runs), Self::Channel(other, other_runs)) => {
                (Arc::ptr_eq(one, other) || one == other) && runs == other_runs
            }
            (Self::Run(one), Self::Run(other)) => Arc::ptr_eq(one, other) || one == other,
            (
                Self::Class { name, channels },
                Self::Class { name: other_name, channels: other_channels },
            ) => name == other_name && channels == other_channels,
            (Self::Event(one), Self::Event(other)) => one == other,
            _ => false,
        }
    }
}
