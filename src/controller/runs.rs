//! Runs: a placeholder for now.
use super::Controller;
use super::effect::Call;
use super::input::{Answer, Doorbell, Seq};
use crate::resource::{Now, ObjectRef, ResourceName};
impl Controller {
    pub(super) fn step_run(&mut self, _now: Now, _object: &ObjectRef) {}
    pub(super) fn run_answered(
        &mut self,
        _now: Now,
        _object: &ObjectRef,
        _sent: Seq,
        _done: Seq,
        _call: Call,
        _answer: Answer,
        _cause: &str,
    ) {
    }
    pub(super) fn run_rang(&mut self, _object: &ObjectRef, _doorbell: &Doorbell) {}
    pub(super) fn publish_run(&mut self, _now: Now, _name: ResourceName) {}
}
