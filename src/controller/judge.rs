//! From objects and facts to [`Desired`]: class merged in, selected, admitted, and made into a target.
//!
//! Pure, and the same for the operator and for `chanop plan`.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::scan::{Object, Sources};
use crate::planner::template;
use crate::resource::condition::Reason;
use crate::resource::merge::{self, FieldOrigin};
use crate::resource::text::hex;
use crate::resource::{Channel, ChannelClass, Effective, ObjectRef, Resource, ResourceName};
use crate::world::Settings;
use crate::world::admission::{self, Admission, AdmissionContext};
use crate::world::desired::{Desired, DesiredChannel, Verdict};
use crate::world::facts::{Facts, FactsWanted};

/// Everything that the files want, and what must be known of the host to judge it.
pub fn desired(sources: &Sources, facts: &Facts, settings: &Settings) -> (Desired, FactsWanted) {
    let classes: BTreeMap<&str, &ChannelClass> = sources
        .objects()
        .values()
        .filter_map(|object| match object.resource() {
            Some(Resource::Class(class)) => Some((class.meta.name.as_str(), class)),
            _ => None,
        })
        .collect();
    let mut drafts: BTreeMap<ResourceName, Draft<'_>> = BTreeMap::new();
    let mut wanted = FactsWanted::default();
    for object in sources.objects().values() {
        if let Some(Resource::Channel(channel)) = object.resource() {
            let draft = Draft::new(channel, object, &classes, settings);
            if let Ok(effective) = &draft.effective {
                let needs = admission::facts_wanted(effective);
                wanted.paths.extend(needs.paths);
                wanted.secrets.extend(needs.secrets);
                wanted.credentials.extend(needs.credentials);
                wanted.builds.extend(needs.builds);
            }
            drafts.insert(channel.meta.name.clone(), draft);
        }
    }
    let writable = admission::writable_by_path(drafts.iter().filter_map(|(name, draft)| {
        let effective = draft.effective.as_ref().ok()?;
        Some((name, effective.as_ref()))
    }));
    let mut protected = settings.protected.clone();
    protected.extend(sources.real_paths().map(str::to_owned));
    let context = AdmissionContext {
        owner: settings.owner.clone(),
        protected,
        writable,
        has_agent_cli: settings.agent_cli.is_some(),
    };
    let channels = drafts
        .into_iter()
        .map(|(name, draft)| {
            let judged = draft.judge(&name, facts, &context, settings);
            (name, judged)
        })
        .collect();
    let desired = Desired {
        channels,
        classes: classes.values().map(|class| class.meta.name.clone()).collect(),
        unread: sources.unread(),
        unavailable: sources.unavailable().map(str::to_owned),
        ready: sources.complete(),
    };
    (desired, wanted)
}

/// A channel before it is judged.
struct Draft<'a> {
    channel: &'a Channel,
    object: &'a Object,
    effective: Result<Arc<Effective>, (Reason, String)>,
    origins: BTreeMap<String, String>,
}

impl<'a> Draft<'a> {
    fn new(
        channel: &'a Channel,
        object: &'a Object,
        classes: &BTreeMap<&str, &ChannelClass>,
        settings: &Settings,
    ) -> Self {
        let named = channel.spec.class_name.as_ref().map(ResourceName::as_str);
        let class = classes.get(named.unwrap_or(merge::DEFAULT_CLASS)).copied();
        let mut origins = BTreeMap::new();
        let effective = if let (Some(name), None) = (named, class) {
            Err((Reason::ClassNotFound, format!("there is no ChannelClass `{name}`")))
        } else {
            match merge::effective(channel, class, &settings.owner) {
                Ok(merged) => {
                    origins = merged
                        .origins
                        .into_iter()
                        .map(|(path, origin)| (path, origin_text(&origin)))
                        .collect();
                    Ok(Arc::new(merged.effective))
                }
                Err(violations) => {
                    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
                    Err((Reason::InvalidSpec, lines.join("; ")))
                }
            }
        };
        Self { channel, object, effective, origins }
    }

    fn judge(
        self,
        name: &ResourceName,
        facts: &Facts,
        context: &AdmissionContext,
        settings: &Settings,
    ) -> DesiredChannel {
        let source = self.object.source();
        let (verdict, target) = match &self.effective {
            Err((reason, message)) => {
                (Verdict::Held { reason: *reason, message: message.clone() }, None)
            }
            Ok(effective) if !selects(effective, settings) => (Verdict::NotForThisHost, None),
            Ok(effective) => match admission::admit(name, effective, facts, context) {
                Admission::NotProbed => (Verdict::Admitted, None),
                Admission::Denied(denials) => {
                    let reason = denials.first().map_or(Reason::PolicyViolation, |d| d.reason);
                    let lines: Vec<String> = denials
                        .iter()
                        .map(|denial| format!("{}: {}", denial.path, denial.message))
                        .collect();
                    (Verdict::Held { reason, message: lines.join("; ") }, None)
                }
                Admission::Admitted => {
                    let target = template::shell_container(
                        name,
                        effective,
                        facts,
                        settings,
                        &source.file,
                        &self.channel.meta.annotations,
                    );
                    (Verdict::Admitted, Some(Arc::new(target)))
                }
            },
        };
        let fingerprint = fingerprint(self.channel, self.effective.as_deref().ok());
        DesiredChannel {
            source,
            labels: self.channel.meta.labels.clone(),
            annotations: self.channel.meta.annotations.clone(),
            effective: self.effective.ok(),
            origins: Arc::new(self.origins),
            fingerprint,
            verdict,
            target,
            source_trouble: self.object.trouble.clone(),
            removal_held: self.object.held,
        }
    }
}

fn origin_text(origin: &FieldOrigin) -> String {
    match origin {
        FieldOrigin::Default => "default".to_owned(),
        FieldOrigin::Channel => "channel".to_owned(),
        FieldOrigin::Class { name } => format!("class {name}"),
    }
}

/// An operator without host labels takes every channel; one with labels takes those that select it.
fn selects(effective: &Effective, settings: &Settings) -> bool {
    let selector = &effective.host_selector;
    if settings.host_labels.is_empty() && selector.is_empty() {
        return true;
    }
    !selector.is_empty()
        && selector.iter().all(|(key, value)| settings.host_labels.get(key) == Some(value))
}

/// Of all that has meaning: what a new generation is a change of.
fn fingerprint(channel: &Channel, effective: Option<&Effective>) -> String {
    let restart = channel.meta.annotations.get(crate::resource::meta::RESTARTED_AT);
    let canonical = serde_json::json!({ "effective": effective, "restartedAt": restart });
    let digest = Sha256::digest(canonical.to_string().as_bytes());
    hex(digest.get(..8).unwrap_or_default())
}

/// Which file each object was in, for the tracker's restart.
pub fn owners<'a>(
    rows: impl Iterator<Item = (&'a ObjectRef, &'a crate::world::record::InventoryRow)>,
) -> BTreeMap<ObjectRef, String> {
    rows.map(|(object, row)| (object.clone(), row.file.clone())).collect()
}
