//! The collections that the API serves, read out of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::table::{self, ColumnSpec, Row};
use super::views::{self, Channel, ChannelClass, Event, Metadata};
use crate::controller::view::{ChannelView, View};
use crate::world::record::EventRecord;

/// Objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Channels,
    Classes,
    Events,
}

/// One object of a snapshot.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Channel(Arc<ChannelView>),
    Class { name: String, channels: usize },
    Event(EventRecord),
}

/// One object, in its JSON shape.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Object {
    Channel(Box<Channel>),
    Class(Box<ChannelClass>),
    Event(Box<Event>),
}

impl Collection {
    /// By the word of the path.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Channels, Self::Classes, Self::Events].into_iter().find(|it| it.as_str() == word)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Classes => "channelclasses",
            Self::Events => "events",
        }
    }

    pub(super) const fn list_kind(self) -> &'static str {
        match self {
            Self::Channels => "ChannelList",
            Self::Classes => "ChannelClassList",
            Self::Events => "EventList",
        }
    }

    pub(super) const fn columns(self) -> &'static [ColumnSpec] {
        match self {
            Self::Channels => table::CHANNELS,
            Self::Classes => table::CLASSES,
            Self::Events => table::EVENTS,
        }
    }

    /// Everything, by name. Events come by name too; whoever lists them wants [`Self::order`].
    pub(super) fn items(self, view: &View) -> BTreeMap<String, Item> {
        match self {
            Self::Channels => view
                .channels
                .iter()
                .map(|(name, channel)| (name.to_string(), Item::Channel(Arc::clone(channel))))
                .collect(),
            Self::Classes => classes(view),
            Self::Events => view
                .events
                .iter()
                .map(|event| (views::event_name(event), Item::Event(event.clone())))
                .collect(),
        }
    }

    /// In the order of a list: by name, but events as they happened.
    pub(super) fn order(self, items: BTreeMap<String, Item>) -> Vec<Item> {
        let mut items: Vec<_> = items.into_values().collect();
        if self == Self::Events {
            items.sort_by_key(|item| match item {
                Item::Event(event) => Some(event.last),
                Item::Channel(_) | Item::Class { .. } => None,
            });
        }
        items
    }
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
            Self::Channel(channel) => &channel.labels,
            Self::Class { .. } | Self::Event(_) => &NONE,
        }
    }

    pub(super) fn object(&self, version: &str, with_origins: bool) -> Object {
        match self {
            Self::Channel(it) => {
                Object::Channel(Box::new(views::channel(it, version, with_origins)))
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
            Self::Channel(it) => Row::new(table::channel_cells(it, now), metadata),
            Self::Class { name, channels } => {
                Row::new(vec![name.clone(), channels.to_string()], metadata)
            }
            Self::Event(it) => Row::new(table::event_cells(it, &metadata.name, now), metadata),
        }
    }

    fn metadata(&self, version: &str) -> Metadata {
        match self {
            Self::Channel(it) => views::channel_metadata(it, version),
            Self::Class { name, channels } => views::class(name, *channels, version).metadata,
            Self::Event(it) => views::event(it, version).metadata,
        }
    }

    /// Would both look the same? Unchanged channels are shared between snapshots, so this is mostly one comparison.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Channel(one), Self::Channel(other)) => Arc::ptr_eq(one, other) || one == other,
            (
                Self::Class { name, channels },
                Self::Class { name: other_name, channels: other_channels },
            ) => name == other_name && channels == other_channels,
            (Self::Event(one), Self::Event(other)) => one == other,
            _ => false,
        }
    }
}
