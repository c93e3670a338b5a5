//! How a person names objects: `channels`, `channel/web`, `ch web`.

use super::failure::Failure;
use crate::resource::ResourceName;

/// Collections of the API, by their words there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Channels,
    Classes,
    Events,
    Runs,
    Schedules,
}

impl Collection {
    const ALL: [(Self, &'static [&'static str]); 5] = [
        (Self::Channels, &["channels", "channel", "ch"]),
        (Self::Classes, &["classes", "class", "channelclasses", "channelclass"]),
        (Self::Events, &["events", "event", "ev"]),
        (Self::Runs, &["runs", "run"]),
        (Self::Schedules, &["schedules", "schedule"]),
    ];

    pub(super) fn parse(word: &str) -> Result<Self, Failure> {
        Self::ALL
            .into_iter()
            .find(|(_, words)| words.contains(&word.to_ascii_lowercase().as_str()))
            .map(|(collection, _)| collection)
            .ok_or_else(|| {
                Failure::said(format!(
                    "there is no type `{word}`: use channels, runs, classes or events"
                ))
            })
    }

    /// The word in paths of the API.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Classes => "channelclasses",
            Self::Events => "events",
            Self::Runs => "runs",
            Self::Schedules => "schedules",
        }
    }

    /// The word before a name.
    pub(super) const fn singular(self) -> &'static str {
        match self {
            Self::Channels => "channel",
            Self::Classes => "channelclass",
            Self::Events => "event",
            Self::Runs => "run",
            Self::Schedules => "schedule",
        }
    }
}

/// One object: `TYPE/NAME`, or `TYPE NAME`.
pub(super) fn object(word: &str, name: Option<&str>) -> Result<(Collection, String), Failure> {
    let (word, name) = match (word.split_once('/'), name) {
        (Some((word, name)), None) => (word, name),
        (None, Some(name)) => (word, name),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::said(format!(
                "`{word}` names no object: write TYPE/NAME, for instance channel/web"
            )));
        }
    };
    let collection = Collection::parse(word)?;
    // What is no name would be another path of the API.
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(ok) {
        return Err(Failure::said(format!("`{name}` is no name of {}", collection.path())));
    }
    Ok((collection, name.to_owned()))
}

/// A run: its bare name, or `run/NAME`.
pub(super) fn run(text: &str) -> Result<ResourceName, Failure> {
    let name = match text.split_once('/') {
        Some((word, name)) if Collection::parse(word)? == Collection::Runs => name,
        Some(_) => return Err(Failure::said(format!("`{text}` is no run"))),
        None => text,
    };
    ResourceName::parse(name)
        .map_err(|error| Failure::said(format!("`{name}` is no run's name: {error}")))
}

/// A channel: its bare name, or `channel/NAME`.
pub(super) fn channel(text: &str) -> Result<ResourceName, Failure> {
    let name = match text.split_once('/') {
        Some((word, name)) if Collection::parse(word)? == Collection::Channels => name,
        Some(_) => return Err(Failure::said(format!("`{text}` is no channel"))),
        None => text,
    };
    ResourceName::parse(name)
        .map_err(|error| Failure::said(format!("`{name}` is no channel's name: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_in_one_word_or_two() {
        let expected = (Collection::Channels, "web".to_owned());
        assert_eq!(object("channel/web", None).unwrap(), expected);
        assert_eq!(object("CH", Some("web")).unwrap(), expected);
        for (word, name) in [
            ("web", None),
            ("channel/web", Some("x")),
            ("channel/../x", None),
            ("pod/x", None),
            ("channel/a?x", None),
        ] {
            assert!(object(word, name).is_err(), "{word} {name:?}");
        }
    }
}
