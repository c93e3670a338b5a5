//! The schemas: up to date, sound, and of one mind with the decoder.

use chanop::resource::node::Node;
use chanop::resource::{Kind, decode_object, schema};
use expect_test::expect_file;
use serde_json::{Value as Json, json};

#[test]
fn the_files_are_what_the_types_say() {
    // To write them: chanop schema --write schemas
    for kind in Kind::ALL {
        let path = format!("{}/schemas/{}", env!("CARGO_MANIFEST_DIR"), schema::file_name(kind));
        expect_file![path].assert_eq(&schema::text(kind));
    }
}

fn validator(kind: Kind) -> jsonschema::Validator {
    let schema = schema::of(kind);
    jsonschema::draft7::meta::validate(&schema).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

fn object(kind: Kind, spec: &Json) -> Json {
    json!({ "apiVersion": "chanop.dev/v1alpha1", "kind": kind.as_str(), "metadata": { "name": "x" }, "spec": spec })
}

fn decodes(document: &Json) -> Result<(), String> {
    let (resource, violations) = decode_object("x.yaml", &Node::from(document));
    match resource {
        Some(_) => Ok(()),
        None => {
            Err(violations.iter().map(|v| format!("{} {v}", v.path)).collect::<Vec<_>>().join("; "))
        }
    }
}

/// A spec that has every field, of the types that files write.
fn full() -> Json {
    json!({
        "className": "default", "suspend": false, "hostSelector": {"site": "office", "blank": null},
        "workspace": {"path": "~/src/x", "create": false},
        "home": {"type": "Channel"},
        "image": {"ref": "a/b:c", "pullPolicy": "Always", "build": {"context": "agent", "dockerfile": "Dockerfile", "args": {"A": "b"}, "target": "t"}},
        "user": "1000:1000",
        "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}, {"name": "C", "$patch": "delete"}],
        "mounts": [
            {"type": "bind", "source": "~/a", "target": "~/a", "readOnly": false, "optional": true},
            {"type": "volume", "source": "v", "target": "/v"},
            {"type": "tmpfs", "target": "/t", "size": "1Gi", "exec": true},
            "~/n:~/n:ro", {"target": "/gone", "$patch": "delete"},
        ],
        "files": [{"source": "~/.npmrc", "target": "~/.npmrc", "optional": true}],
        "ports": [{"containerPort": 3000, "hostPort": 3001}],
        "resources": {"limits": {"cpu": "500m", "memory": "4Gi", "pids": 100}, "shmSize": 268_435_456},
        "securityContext": {
            "supplementalGroups": [10], "capabilities": {"drop": ["ALL"], "add": ["CAP_NET_RAW"]},
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        },
        "runtimeClassName": "runsc",
        "network": {"mode": "Named", "name": "lab"},
        "agent": {
            "bin": "claude", "cli": "Inject", "model": "m", "systemPrompt": "s", "permissionMode": "plan",
            "credentials": {"secret": "anthropic"},
            "mcpServers": {"a": {"command": "c", "args": ["d"], "env": {"E": "f", "G": {"valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}}}, "b": {"url": "https://b"}, "c": {"$patch": "delete"}},
            "workspaceSettings": "Full", "projectFile": true, "args": ["--x"],
        },
        "shell": {"enabled": true, "command": ["sleep", "1"]},
        "runs": {
            "maxConcurrent": 2, "queue": {"maxLength": 1, "maxAge": "24h"}, "activeDeadlineSeconds": 1,
            "terminationGracePeriodSeconds": 1, "backoffLimit": 1, "maxTurns": 1, "maxBudgetUSD": 1.5,
            "keepContainer": 0, "history": {"limit": 1, "maxAge": "90d"},
        },
        "updateStrategy": {"type": "OnDelete", "maxWait": "1h30m"},
        "deletion": {"runs": "Cancel", "keepStopped": "1h"},
    })
}

fn run(session: &Json) -> Json {
    json!({
        "channelName": "x", "prompt": "p", "systemPrompt": "s", "author": "a", "session": session, "fork": false,
        "rerun": 1, "cancel": true, "startingDeadlineSeconds": 1, "activeDeadlineSeconds": 1,
        "terminationGracePeriodSeconds": 1, "backoffLimit": 1, "maxTurns": 1, "maxBudgetUSD": 0, "keepContainer": "5m",
    })
}

fn schedule(when: (&str, &str)) -> Json {
    let mut spec = json!({
        "channelName": "x", "timeZone": "Europe/Berlin", "startingDeadlineSeconds": 1, "missedRunPolicy": "Skip",
        "concurrencyPolicy": "Queue", "suspend": true, "successfulRunsHistoryLimit": 1, "failedRunsHistoryLimit": 1,
        "runTemplate": {"metadata": {"labels": {"a": "b"}, "annotations": {}}, "spec": {"messages": [{"role": "user", "content": "hi"}]}},
    });
    spec[when.0] = when.1.into();
    spec
}

fn good() -> Vec<(Kind, Json)> {
    let mut all = vec![
        (Kind::Channel, full()),
        (Kind::Channel, json!({"workspace": {"path": "/x"}})),
        (Kind::ChannelClass, json!({"workspace": {"create": true}, "env": null})),
        (Kind::ChannelClass, Json::Null),
        (Kind::Run, json!({"channelName": "x", "promptFrom": {"file": "a/b.md"}})),
    ];
    for session in [
        json!(null),
        json!("Fresh"),
        json!("Latest"),
        json!({"key": "slack-C1"}),
        json!({"id": "6f1c2b1e-0d8e-4b55-9a0e-0d6b7f2f4a11"}),
    ] {
        all.push((Kind::Run, run(&session)));
    }
    for when in [
        ("schedule", "0 3 * * 1-5"),
        ("schedule", "@daily"),
        ("every", "30m"),
        ("at", "2026-12-01T14:00:00Z"),
    ] {
        all.push((Kind::Schedule, schedule(when)));
    }
    all
}

#[test]
fn both_take_what_is_good() {
    for (kind, spec) in good() {
        let document = object(kind, &spec);
        assert_eq!(decodes(&document), Ok(()), "{document}");
        let errors: Vec<_> = validator(kind)
            .iter_errors(&document)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{document}");
    }
}

/// Every place of a document, by its JSON pointer.
fn pointers(value: &Json, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Json::Object(map) => map.iter().for_each(|(key, value)| {
            pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
        }),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, value)| pointers(value, &format!("{at}/{i}"), all)),
        _ => {}
    }
}

#[test]
fn what_the_schema_refuses_the_decoder_refuses_and_blank_is_absent_to_both() {
    let others = [
        json!(null),
        json!(true),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(5_000_000_000_u64),
        json!("x"),
        json!(""),
        json!("~"),
        json!("500m"),
        json!([]),
        json!([1]),
        json!([null]),
        json!({}),
        json!({"unknown": 1}),
    ];
    let (mut refused, mut taken, mut only_decoder) = (0, 0, 0);
    for (kind, spec) in good() {
        let document = object(kind, &spec);
        let validator = validator(kind);
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        for (place, other) in
            places.iter().flat_map(|place| others.iter().map(move |other| (place, other)))
        {
            let mut changed = document.clone();
            *changed.pointer_mut(place).unwrap() = other.clone();
            if place.is_empty() && matches!(other, Json::Null | Json::Array(_)) {
                continue;
            }
            match (validator.is_valid(&changed), decodes(&changed)) {
                (true, Ok(())) => taken += 1,
                (false, Err(_)) => refused += 1,
                (true, Err(_)) => only_decoder += 1,
                (false, Ok(())) => panic!(
                    "{place} = {other}: only the schema refuses it\n{:?}",
                    validator.validate(&changed).map_err(|e| e.to_string())
                ),
            }
        }
    }
    assert!(taken > 500 && refused > 4000, "{taken} taken, {refused} refused");
    assert!(only_decoder * 8 < refused, "{only_decoder} of {refused} are news to an editor");
}

#[test]
fn the_decoder_knows_the_fields_of_the_schema_and_no_others() {
    fn fields(schema: &Json, at: &str, all: &mut Vec<String>) {
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
        for (name, child) in properties {
            let place = format!("{at}/{name}");
            all.push(place.clone());
            fields(child, &place, all);
        }
    }
    for kind in Kind::ALL {
        let mut all = Vec::new();
        fields(&schema::of(kind), "", &mut all);
        let specs: Vec<Json> = good()
            .into_iter()
            .filter(|(k, _)| *k == kind)
            .map(|(k, spec)| object(k, &spec))
            .collect();
        for place in all {
            let leaf = place.rsplit('/').next().unwrap();
            for document in &specs {
                // A list where no list belongs, or a map: whatever it is, it must not be called unknown.
                let mut document = document.clone();
                let parent = &place[..place.rfind('/').unwrap()];
                let Some(Json::Object(map)) = document.pointer_mut(parent) else { continue };
                map.insert(leaf.to_owned(), json!([[]]));
                let (_, violations) = decode_object("x.yaml", &Node::from(&document));
                assert!(
                    !violations.iter().any(|v| v.code.as_str() == "E0103"),
                    "{place}: {violations:?}"
                );
            }
        }
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_that_count() {
    use chanop::resource::{Owner, Resource, merge};
    fn defaults(schema: &Json) -> Option<Json> {
        if let Some(default) = schema.get("default") {
            return Some(default.clone());
        }
        let properties = schema.get("properties")?.as_object()?;
        if schema.get("required").is_some() {
            return None;
        }
        Some(
            properties
                .iter()
                .filter_map(|(name, child)| Some((name.clone(), defaults(child)?)))
                .collect(),
        )
    }
    let schema = schema::of(Kind::Channel);
    let properties = schema["properties"]["spec"]["properties"].as_object().unwrap();
    let mut spec: Json = properties
        .iter()
        .filter_map(|(name, child)| Some((name.clone(), defaults(child)?)))
        .collect();
    spec["workspace"] =
        json!({"path": "/x", "create": properties["workspace"]["properties"]["create"]["default"]});
    let effective = |spec: &Json| {
        let (resource, violations) =
            decode_object("x.yaml", &Node::from(&object(Kind::Channel, spec)));
        let Some(Resource::Channel(channel)) = resource else { panic!("{violations:?}") };
        let owner = Owner { user: "a".into(), uid: 1, gid: 1, home: "/h".into() };
        merge::effective(&channel, None, &owner).unwrap().effective
    };
    assert!(spec.as_object().unwrap().len() > 15, "{spec}");
    assert_eq!(effective(&spec), effective(&json!({"workspace": {"path": "/x"}})));
}
