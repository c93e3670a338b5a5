//! What only shows when all objects are seen: doubles, and names that lead nowhere.
//!
//! The places are the documents' first lines; whoever has the text can find the field by its path.

use std::collections::{BTreeMap, BTreeSet};

use super::near::nearest;
use super::{Code, Violation};
use crate::resource::merge::DEFAULT_CLASS;
use crate::resource::{Kind, ObjectRef, Resource, SourceRef};

/// An error for every object after the first of its kind and name, in the order given.
pub fn duplicates<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Vec<Violation> {
    let mut first: BTreeMap<ObjectRef, &SourceRef> = BTreeMap::new();
    let mut all = Vec::new();
    for resource in resources {
        let object = resource.object_ref();
        match first.get(&object) {
            None => {
                first.insert(object, resource.source());
            }
            Some(source) => {
                let named = format!("{} `{}` is written twice", object.kind, object.name);
                let mut violation = at(resource, Code::DuplicateObject, "metadata.name", named);
                violation.label = format!("already in {source}");
                violation.help =
                    Some("names are unique in all files: rename one of the two".to_owned());
                all.push(violation);
            }
        }
    }
    all
}

/// How many names that lead nowhere get a suggestion. The names of a large directory times each other take minutes.
const SUGGESTIONS_MAX: usize = 100;

/// A warning for every channel and class that is named and that no file has.
pub fn references<'a>(resources: impl IntoIterator<Item = &'a Resource> + Clone) -> Vec<Violation> {
    let names: BTreeSet<(Kind, String)> = resources
        .clone()
        .into_iter()
        .map(|resource| (resource.kind(), resource.meta().name.to_string()))
        .collect();
    let mut all = Vec::new();
    // Each suggestion looks at every name of the kind.
    let mut suggestions = SUGGESTIONS_MAX;
    for resource in resources {
        let (kind, path, name) = match resource {
            Resource::Channel(channel) => {
                let class = channel.spec.class_name.as_ref();
                let Some(class) = class.filter(|class| class.as_str() != DEFAULT_CLASS) else {
                    continue;
                };
                (Kind::ChannelClass, "spec.className", class)
            }
            Resource::Run(run) => (Kind::Channel, "spec.channelName", &run.spec.channel_name),
            Resource::Schedule(schedule) => {
                (Kind::Channel, "spec.channelName", &schedule.spec.channel_name)
            }
            Resource::Class(_) => continue,
        };
        if names.contains(&(kind, name.to_string())) {
            continue;
        }
        let known = names.iter().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str());
        let code = if kind == Kind::Channel { Code::UnknownChannel } else { Code::UnknownClass };
        let message = format!("no file has the {kind} `{name}`");
        let mut violation = at(resource, code, path, message);
        if suggestions > 0 {
            suggestions -= 1;
            violation.suggestion = nearest(name.as_str(), known).map(str::to_owned);
        }
        "not among these files".clone_into(&mut violation.label);
        violation.help = match kind {
            Kind::ChannelClass => Some("the channel is held until the class is there".to_owned()),
            _ => None,
        };
        all.push(violation);
    }
    all
}

fn at(resource: &Resource, code: Code, path: &str, message: String) -> Violation {
    let source = resource.source();
    Violation {
        line: source.line,
        column: 1,
        path: path.to_owned(),
        object: Some(resource.object_ref()),
        ..Violation::of_file(code, &source.file, message)
    }
}
