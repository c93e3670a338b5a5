//! What clients of Kubernetes ask first: which groups, which kinds, which verbs.

use axum::Json;
use serde_json::{Value, json};

/// `/api`: the core group, of which there is nothing here.
pub(super) async fn core_versions() -> Json<Value> {
    Json(json!({"kind": "APIVersions", "versions": []}))
}

/// `/apis`.
pub(super) async fn groups() -> Json<Value> {
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_object()]}))
}

/// `/apis/chanop.dev`.
pub(super) async fn group() -> Json<Value> {
    Json(group_object())
}

/// `/apis/chanop.dev/v1alpha1`.
pub(super) async fn resources() -> Json<Value> {
    let resource = |name: &str, singular: &str, kind: &str, short: &[&str], verbs: &[&str]| {
        json!({
            "name": name, "singularName": singular, "namespaced": false, "kind": kind,
            "shortNames": short, "verbs": verbs,
        })
    };
    let read = ["get", "list", "watch"];
    Json(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "chanop.dev/v1alpha1",
        "resources": [
            resource("channels", "channel", "Channel", &["ch"], &read),
            resource("channels/ensure", "", "Channel", &[], &["create"]),
            resource("channels/agent", "", "Channel", &[], &["create"]),
            resource("channels/suspend", "", "Channel", &[], &["create"]),
            resource("channels/resume", "", "Channel", &[], &["create"]),
            resource("runs", "run", "Run", &[], &["get", "list", "watch", "create"]),
            resource("runs/log", "", "Run", &[], &["get"]),
            resource("runs/turns", "", "Run", &[], &["get"]),
            resource("runs/cancel", "", "Run", &[], &["create"]),
            resource("runs/release", "", "Run", &[], &["create"]),
            resource("channelclasses", "channelclass", "ChannelClass", &[], &read),
            resource("events", "event", "Event", &["ev"], &read),
        ],
    }))
}

/// `/version`.
pub(super) async fn version() -> Json<Value> {
    let mut parts = env!("CARGO_PKG_VERSION").split('.');
    let mut part = || parts.next().unwrap_or_default();
    Json(json!({
        "major": part(),
        "minor": part(),
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
    }))
}

fn group_object() -> Value {
    let version = json!({"groupVersion": "chanop.dev/v1alpha1", "version": "v1alpha1"});
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "chanop.dev",
        "versions": [version],
        "preferredVersion": version,
    })
}
