//! The anchor: a volume whose labels say who holds the instance on this engine.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Means;
use super::calls::set_once;
use super::failure::of_engine;
use crate::container::label::Ownership;
use crate::container::{Identity, ObjectName, Snapshot, label};
use crate::controller::effect::Call;
use crate::controller::input::{Answer, Failure};
use crate::docker::{Engine, EngineError};
use crate::resource::ResourceName;
use crate::resource::condition::Reason;
use crate::world::ownership::{Claim, Holder, StatePlace, Verdict};

/// The anchor's labels: which state directory holds the instance, and which process of it.
const STATE_ID: &str = "dev.chanop.state-id";
const PROCESS: &str = "dev.chanop.process";
const BOOT_ID: &str = "dev.chanop.boot-id";
const STATE_INODE: &str = "dev.chanop.state-inode";
const STATE_PATH: &str = "dev.chanop.state-path";

/// What a predecessor sent before its end may arrive between our removal and our creation, and then it is replaced once more.
const TRIES: usize = 4;

pub(super) async fn anchor<E: Engine>(
    means: &Means<E>,
    call: &Call,
    claim: &Claim,
) -> Result<Answer, Failure> {
    let engine = &means.engine;
    let failed = |error| of_engine(call, error);
    let name = ObjectName::anchor_of(&means.instance);
    let mut replaces = claim.takeover || claim.held_before;
    for _ in 0..TRIES {
        let volume = if let Some(volume) = engine.volume(&name).await.map_err(failed)? {
            volume
        } else {
            if !replaces {
                let instance = means.instance.as_str();
                let listed = engine.list(label::INSTANCE, instance).await.map_err(failed)?;
                refuse_to_inherit(&means.instance, &listed)?;
            }
            let labels = labels_of(&means.instance, &claim.ours);
            set_once(engine, &name, &labels).await.map_err(failed)?
        };
        let holder = holder_of(&volume.labels);
        let is_ours =
            volume.labels.get(label::INSTANCE).map(String::as_str) == Some(means.instance.as_str());
        match claim.judge(&holder) {
            Verdict::Succeed | Verdict::TakeOver if is_ours => {
                match engine.volume_remove(&name).await {
                    Ok(()) | Err(EngineError::NotFound(_)) => replaces = true,
                    Err(error) => return Err(failed(error)),
                }
            }
            Verdict::Ours | Verdict::Refused | Verdict::Succeed | Verdict::TakeOver => {
                return Ok(Answer::Anchor(holder));
            }
        }
    }
    Err(Failure::Unknown(format!(
        "volume {name}, which says whose the instance is, changes all the time"
    )))
}

/// An anchor that is gone (`docker volume prune` takes it) says nothing: the containers of the instance say that it has an
/// owner.
pub fn refuse_to_inherit(instance: &ResourceName, listed: &[Snapshot]) -> Result<(), Failure> {
    let ours = |found: &&Snapshot| {
        matches!(Identity::of(instance, &found.labels, &found.name), Ownership::Ours(_))
    };
    match listed.iter().filter(ours).count() {
        0 => Ok(()),
        count => Err(Failure::Refused(
            Reason::Conflict,
            format!(
                "this engine has {count} containers of instance `{instance}`, which this state directory knows nothing of: \
                 use --instance for a second operator, or --takeover if theirs is gone for good"
            ),
        )),
    }
}

fn labels_of(instance: &ResourceName, holder: &Holder) -> BTreeMap<String, String> {
    let Holder { state_id, process, place: StatePlace { boot_id, inode, path } } = holder;
    let process = process.map(|it| it.to_string()).unwrap_or_default();
    [
        (label::INSTANCE, instance.as_str()),
        (STATE_ID, state_id),
        (PROCESS, &process),
        (BOOT_ID, boot_id),
        (STATE_INODE, inode),
        (STATE_PATH, path),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn holder_of(labels: &BTreeMap<String, String>) -> Holder {
    let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
    Holder {
        state_id: text(STATE_ID),
        process: Uuid::parse_str(&text(PROCESS)).ok(),
        place: StatePlace {
            boot_id: text(BOOT_ID),
            inode: text(STATE_INODE),
            path: text(STATE_PATH),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_survives_its_labels() {
        let holder = Holder {
            state_id: "s".to_owned(),
            process: Some(Uuid::from_u128(7)),
            place: StatePlace {
                boot_id: "b".to_owned(),
                inode: "8:1".to_owned(),
                path: "/var/lib/chanop".to_owned(),
            },
        };
        let instance = ResourceName::parse("default").unwrap();
        let labels = labels_of(&instance, &holder);
        assert_eq!(holder_of(&labels), holder);
        assert_eq!(labels.get(label::INSTANCE).map(String::as_str), Some("default"));
        // One of an earlier version has the state's ID alone.
        let old = BTreeMap::from([(STATE_ID.to_owned(), "s".to_owned())]);
        let found = holder_of(&old);
        assert_eq!((found.state_id.as_str(), found.process), ("s", None));
    }
}
