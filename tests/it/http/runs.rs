//! Runs over HTTP: ordered, listed, followed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chanop::controller::view::View;
use chanop::http::{BASE, Limits};
use chanop::specs::parse::parse_file;
use chanop::world::run::{Phase, RunProgress, TotalKey, total};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{Response, WAIT, Watch, event, get, on_socket, on_tcp, post, request};
use crate::faces::runs::{
    attempt_ended, change, ended, put, queued, running, succeeded, transcript,
};
use crate::faces::{Served, view};

async fn served_with(change: impl FnOnce(&mut View)) -> Served {
    let mut view = view();
    change(&mut view);
    Served::new(view, Limits::default()).await
}

fn order(metadata: Value, spec: Value) -> String {
    let mut object = json!({ "apiVersion": "chanop.dev/v1alpha1", "kind": "Run" });
    object["metadata"] = metadata;
    object["spec"] = spec;
    object.to_string()
}

fn small() -> Value {
    json!({ "channelName": "web", "prompt": "What is new?" })
}

#[tokio::test]
async fn an_order_makes_a_run_that_is_there_to_be_read_at_once() {
    let served = served_with(|_| {}).await;
    let body = order(
        json!({ "name": "mine", "labels": { "team": "a" } }),
        json!({
            "channelName": "web", "prompt": "What is new?", "session": { "key": "chat" }, "fork": true,
            "maxTurns": 3, "maxBudgetUSD": 0.5,
        }),
    );
    let made = post(&served, "/runs", &body).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let made = made.json();
    assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("Run"), &json!("mine")));
    assert_eq!(made["spec"]["session"], json!({ "key": "chat" }));
    assert_eq!(made["spec"]["maxBudgetUSD"], 0.5);
    assert_eq!(made["status"]["phase"], "Queued");
    assert_eq!(made["status"]["trigger"], "api");
    let read = get(&served, "/runs/mine").await.json();
    assert_eq!(read["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(read["metadata"]["labels"], json!({ "team": "a" }));
    assert_eq!(read["spec"], made["spec"]);
}

/// Two looks at the snapshot at once stop whoever publishes the next, and then everyone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_go_on_while_snapshots_come_without_a_pause() {
    let served = served_with(|view| put(view, queued("mine", "web"))).await;
    let view = served.view.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&stop);
    let storm = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            view.send_modify(|_| {});
        }
    });
    let body = order(json!({ "name": "mine" }), small());
    for _ in 0..300 {
        assert_eq!(post(&served, "/runs", &body).await.code, 409);
    }
    stop.store(true, Ordering::Relaxed);
    storm.join().unwrap();
}

#[tokio::test]
async fn what_is_shown_as_ordered_can_be_ordered_again() {
    let served = served_with(|view| put(view, queued("old", "web"))).await;
    let old = get(&served, "/runs/old").await.json();
    let again = post(&served, "/runs", &order(json!({ "name": "new" }), old["spec"].clone())).await;
    assert_eq!(again.code, 201, "{}", again.body);
    assert_eq!(again.json()["spec"], old["spec"]);
}

#[tokio::test]
async fn a_name_that_is_taken_answers_with_the_run_that_has_it() {
    let served = served_with(|_| {}).await;
    let body = order(json!({ "name": "mine" }), small());
    let first = post(&served, "/runs", &body).await.json();
    let second = post(&served, "/runs", &body).await;
    assert_eq!(second.code, 409);
    let status = second.json();
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("AlreadyExists")));
    assert_eq!(status["details"]["name"], "mine");
    assert_eq!(status["details"]["object"]["metadata"]["uid"], first["metadata"]["uid"]);
    let buried = post(&served, "/runs", &order(json!({ "name": "buried" }), small())).await;
    assert_eq!((buried.code, &buried.json()["details"].get("object")), (409, &None));
}

#[tokio::test]
async fn a_name_is_made_from_a_prefix() {
    let served = served_with(|_| {}).await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let body = order(json!({ "generateName": "web-" }), small());
        let made = post(&served, "/runs", &body).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let name = made.json()["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 3);
    let body = order(json!({ "generateName": "web-", "name": "mine" }), small());
    assert_eq!(post(&served, "/runs", &body).await.json()["metadata"]["name"], "mine");
}

#[tokio::test]
async fn all_that_is_wrong_with_an_order_is_said_with_its_fields() {
    let served = served_with(|_| {}).await;
    let causes = async |body: &str| {
        let response = post(&served, "/runs", body).await;
        assert_eq!(response.code, 422, "{}", response.body);
        let status = response.json();
        assert_eq!(status["reason"], "Invalid");
        let causes = status["details"]["causes"].as_array().unwrap().clone();
        causes.iter().map(|it| it["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let wrong = order(
        json!({ "name": "Mine" }),
        json!({ "channelName": "web", "promt": "x", "session": "Newest", "maxTurns": -1 }),
    );
    let mut fields = causes(&wrong).await;
    fields.sort();
    assert_eq!(fields, ["metadata.name", "spec", "spec", "spec.maxTurns", "spec.session"]);
    for (body, field) in [
        (order(json!({}), small()), "metadata"),
        (order(json!({ "generateName": "Web-" }), small()), "metadata.generateName"),
        (order(json!({ "generateName": "a".repeat(60) }), small()), "metadata.generateName"),
        (order(json!({ "name": "x", "annotations": { "a": "b" } }), small()), "metadata.annotations"),
        (order(json!({ "name": "x" }), json!({ "channelName": "web", "prompt": "x", "rerun": 1 })), "spec.rerun"),
        (order(json!({ "name": "x" }), json!({ "channelName": "web", "prompt": "x", "cancel": true })), "spec.cancel"),
        (order(json!({ "name": "x" }), json!({ "channelName": "web", "promptFrom": { "file": "../x" } })), "spec.promptFrom.file"),
        (
            r#"{"apiVersion":"chanop.dev/v1alpha1","kind":"Run","metadata":{"name":"x"},"spec":{"channelName":"web","prompt":"a","prompt":"b"}}"#.to_owned(),
            "spec",
        ),
        (
            r#"{"apiVersion":"chanop.dev/v1alpha1","kind":"Channel","metadata":{"name":"x"},"spec":{"workspace":{"path":"~/x"}}}"#.to_owned(),
            "kind",
        ),
    ] {
        assert_eq!(causes(&body).await, [field], "{body}");
    }
    let secret = order(
        json!({ "name": "x" }),
        json!({ "channelName": "web", "prompt": "sk-ant-oat01-abcdefghijklmnopqrstuvwxyz0123456789" }),
    );
    let response = post(&served, "/runs", &secret).await;
    assert_eq!(response.code, 422);
    assert!(!response.body.contains("abcdefghijklmnop"), "{}", response.body);
    assert!(served.view.borrow().runs.is_empty());
}

#[tokio::test]
async fn an_order_is_judged_as_its_file_would_be() {
    let served = served_with(|_| {}).await;
    for spec in [
        r#"{"channelName": "Web", "prompt": "x", "messages": []}"#,
        r#"{"channelName": "web", "promptFrom": {"file": "/etc/passwd", "fil": 1}}"#,
        r#"{"channelName": "web", "messages": [{"role": "assistant", "content": "x"}]}"#,
        r#"{"channelName": "web", "prompt": "x", "session": {"id": "1"}, "maxBudgetUSD": -1}"#,
        r#"{"channelName": "web", "prompt": "x", "keepContainer": "5 minutes", "backoffLimit": 1.5}"#,
        r#"{"prompt": "x", "startingDeadlineSeconds": "60"}"#,
        r#"{"channelName": ["web"], "prompt": {"text": "x"}}"#,
    ] {
        let text = format!(
            r#"{{"apiVersion": "chanop.dev/v1alpha1", "kind": "Run", "metadata": {{"name": "x"}}, "spec": {spec}}}"#
        );
        let in_a_file = parse_file("x.yaml", &text).violations;
        let mut expected: Vec<_> = in_a_file
            .iter()
            .map(|it| (it.path.clone(), it.code.to_string(), it.message.clone()))
            .collect();
        assert!(!expected.is_empty(), "{spec}");
        let status = post(&served, "/runs", &text).await.json();
        let causes = status["details"]["causes"].as_array().unwrap().iter();
        let field = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let mut said: Vec<_> = causes
            .map(|it| (field(it, "field"), field(it, "reason"), field(it, "message")))
            .collect();
        expected.sort();
        said.sort();
        assert_eq!(said.len(), expected.len(), "{said:?} {expected:?}");
        for (said, expected) in said.iter().zip(&expected) {
            assert_eq!((&said.0, &said.1), (&expected.0, &expected.1));
            // What was meant, and what is allowed, comes behind.
            assert!(said.2.starts_with(&expected.2), "{said:?} {expected:?}");
        }
    }
}

#[tokio::test]
async fn an_order_may_be_long_but_not_without_end_and_is_json() {
    let served = served_with(|_| {}).await;
    let of = |bytes: usize| {
        let spec = json!({ "channelName": "web", "prompt": "x".repeat(bytes) });
        order(json!({ "generateName": "web-" }), spec)
    };
    assert_eq!(post(&served, "/runs", &of(4 << 20)).await.code, 201);
    assert_eq!(post(&served, "/runs", &of(12 << 20)).await.code, 413);
    assert_eq!(post(&served, "/runs", "").await.code, 400);
    assert_eq!(post(&served, "/runs", "{").await.code, 400);
    let path = format!("{BASE}/runs");
    assert_eq!(
        on_socket(&served, "POST", &path, "content-type: text/plain\r\n", "{}").await.code,
        415
    );
    let nowhere = order(json!({ "name": "x" }), json!({ "channelName": "nope", "prompt": "x" }));
    assert_eq!(post(&served, "/runs", &nowhere).await.code, 404);

    // A list does not carry what only one reader wants.
    let listed = get(&served, "/runs").await;
    assert!(listed.body.len() < 10_000, "{}", listed.body.len());
    let run = &listed.json()["items"][0];
    assert_eq!(run["metadata"]["annotations"]["chanop.dev/shortened"], "spec.prompt");
    let name = run["metadata"]["name"].as_str().unwrap();
    let whole = get(&served, &format!("/runs/{name}")).await.json();
    assert_eq!(whole["spec"]["prompt"].as_str().unwrap().len(), 4 << 20);
    assert_eq!(whole["metadata"].get("annotations"), None);
}

#[tokio::test]
async fn a_run_says_what_became_of_it() {
    let served = served_with(|view| {
        let failed = attempt_ended(running(queued("twice", "web"), 1), b"oops\n", 1);
        let run = attempt_ended(running(failed, 2), &transcript(), 0);
        put(view, ended(run, Phase::Succeeded, "Succeeded", ""));
    })
    .await;
    let run = get(&served, "/runs/twice").await.json();
    let status = &run["status"];
    assert_eq!(status["attempts"][0]["end"]["class"], "BadInvocation");
    assert_eq!(status["attempts"][1]["kind"], "Retry");
    assert_eq!(status["attempts"][1]["end"]["exitCode"], 0);
    assert_eq!(status["attempts"][1]["end"]["evidence"], "Init");
    assert_eq!(status["attempts"][1]["end"]["transcript"]["bytes"], transcript().len());
    assert_eq!(status["outcome"]["class"]["name"], "Succeeded");
    assert_eq!(status["outcome"]["text"], "Two files: é.");
    assert_eq!((&status["turns"], &status["tools"]), (&json!(2), &json!(2)));
    assert_eq!(status["cost"], json!({ "dollars": 0.42, "basis": "atLeast" }));
    assert_eq!(status["tokens"]["input"], 10);
    assert_eq!(status["durationSeconds"], 490);
    assert_eq!(status["sessionId"], "9930b0c9-6cf2-46f0-b70a-99d9b442a594");
    let listed = get(&served, "/runs").await.json();
    assert_eq!(listed["items"][0]["status"].get("outcome"), None);
    assert_eq!(listed["items"][0]["status"]["cost"], status["cost"]);
}

#[tokio::test]
async fn runs_have_the_documented_columns_and_are_selected_by_channel_and_label() {
    let served = served_with(|view| {
        let mut first = succeeded("first", "web", &transcript());
        first.labels = [("team".to_owned(), "a".to_owned())].into();
        put(view, first);
        let mut second = queued("a-second", "ledger");
        change(&mut second, |record| record.turn = 2);
        second.ahead = Some(1);
        put(view, second);
    })
    .await;
    let accept = "accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n";
    let table = on_socket(&served, "GET", &format!("{BASE}/runs"), accept, "").await.json();
    let headings = |priority: u8| {
        let columns = table["columnDefinitions"].as_array().unwrap().iter();
        let columns = columns.filter(|it| it["priority"] == priority);
        columns.map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let expected = "NAME CHANNEL STATUS REASON TURNS TOOLS COST DURATION AGE FROM";
    assert_eq!(headings(0), expected);
    assert_eq!(headings(1), "ATTEMPT SESSION MODEL TOKENS EXIT REVISION SOURCE");
    let first = &table["rows"][0]["cells"];
    assert_eq!(
        first,
        &json!([
            "first",
            "web",
            "Succeeded",
            "Succeeded",
            "2",
            "2",
            "0.42",
            "3m",
            "2h",
            "api",
            "1",
            "9930b0c9-6cf2-46f0-b70a-99d9b442a594",
            "claude-x",
            "15",
            "0",
            "4f1c2aa",
            "-"
        ])
    );
    assert_eq!(table["rows"][1]["cells"][0], "a-second", "as they were admitted, not by name");
    assert_eq!(table["rows"][1]["cells"][4], "-", "nought would be a claim");
    for (query, expected) in [
        ("labelSelector=team%3Da", "first"),
        ("fieldSelector=spec.channelName%3Dledger", "a-second"),
        ("fieldSelector=spec.channelName%3Dweb,metadata.name%3Dfirst", "first"),
    ] {
        let list = get(&served, &format!("/runs?{query}")).await.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!((items.len(), &items[0]["metadata"]["name"]), (1, &json!(expected)), "{query}");
    }
    assert_eq!(get(&served, "/channels?fieldSelector=spec.channelName%3Dweb").await.code, 400);

    let channels = on_socket(&served, "GET", &format!("{BASE}/channels/web"), accept, "").await;
    let cells = &channels.json()["rows"][0]["cells"];
    assert_eq!((&cells[3], &cells[5]), (&json!("0/1"), &json!("0.42")));
    assert!(cells[4].as_str().unwrap().starts_with("Succeeded "), "{cells}");
}

#[tokio::test]
async fn a_channel_changes_when_its_runs_do() {
    let served = served_with(|_| {}).await;
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let path = "/channels?watch=true&fieldSelector=metadata.name%3Dweb";
    let mut watch = Watch::open(stream, path, "").await;
    assert_eq!(watch.event().await.unwrap(), event("ADDED", "web"));
    served.publish(|view| put(view, queued("x", "web")));
    assert_eq!(watch.event().await.unwrap(), event("MODIFIED", "web"));
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let mut watch = Watch::open(stream, "/runs?watch=true", "").await;
    assert_eq!(watch.event().await.unwrap(), event("ADDED", "x"));
    served.publish(|view| {
        let mut run = running(queued("x", "web"), 1);
        run.progress = Some(RunProgress { turns: 1, ..RunProgress::default() });
        put(view, run);
    });
    assert_eq!(watch.event().await.unwrap(), event("MODIFIED", "x"));
}

#[tokio::test]
async fn a_run_is_ended_and_let_go_over_the_api_and_nothing_else() {
    let served = served_with(|view| put(view, queued("x", "web"))).await;
    let said = post(&served, "/runs/x/cancel", r#"{"reason": "enough"}"#).await.json();
    assert_eq!(said["message"], "run/x is ended: enough");
    let cancel = get(&served, "/runs/x").await.json()["status"]["cancel"].clone();
    assert_eq!(cancel["why"], "enough");
    let said = post(&served, "/runs/x/cancel", "").await.json();
    assert_eq!(said["message"], "run/x is ended: asked for by socket");
    assert_eq!(post(&served, "/runs/nope/cancel", "").await.code, 404);
    assert_eq!(post(&served, "/runs/No_Name/cancel", "").await.code, 404);
    let said = post(&served, "/runs/x/release", "").await.json();
    assert_eq!(said["message"], "run/x is let go");
    let said = post(&served, "/operator/release", "").await.json();
    assert_eq!(said["message"], "all runs are let go");
    for method in ["DELETE", "PUT", "PATCH"] {
        let refused = on_socket(&served, method, &format!("{BASE}/runs/x"), "", "").await;
        assert_eq!(refused.code, 405);
        assert!(refused.body.contains("/runs/x/cancel"), "{}", refused.body);
    }
}

#[tokio::test]
async fn over_tcp_a_viewer_reads_runs_and_a_runner_orders_and_ends_them() {
    let served = served_with(|view| put(view, succeeded("x", "web", &transcript()))).await;
    served.transcripts.append("x", 1, &transcript());
    served.transcripts.end("x", 1);
    for (method, path, token, code) in [
        ("GET", "/runs/x", "viewer", 200),
        ("GET", "/runs/x/log", "viewer", 200),
        ("GET", "/runs/x/turns", "viewer", 200),
        ("POST", "/runs", "viewer", 403),
        ("POST", "/runs/x/cancel", "viewer", 403),
        // What is refused for its body was not refused for its role.
        ("POST", "/runs", "runner", 400),
        ("POST", "/runs/x/cancel", "runner", 200),
        ("POST", "/runs/x/release", "runner", 403),
        ("POST", "/operator/release", "runner", 403),
        ("POST", "/runs/x/release", "admin", 200),
    ] {
        let headers = format!("authorization: Bearer {token}\r\n");
        let response = on_tcp(&served, method, &format!("{BASE}{path}"), &headers).await;
        assert_eq!(response.code, code, "{method} {path} {token}: {}", response.body);
    }
    assert_eq!(on_tcp(&served, "GET", &format!("{BASE}/runs/x/turns"), "").await.code, 401);
}

#[tokio::test]
async fn the_log_is_the_transcripts_bytes() {
    let served = served_with(|view| put(view, running(queued("x", "web"), 1))).await;
    served.transcripts.append("x", 1, &transcript());
    let whole = String::from_utf8(transcript()).unwrap();
    // It is not over, and who does not follow gets what is there.
    assert_eq!(get(&served, "/runs/x/log").await.body, whole);
    assert_eq!(get(&served, "/runs/x/log?attempt=1").await.body, whole);
    assert_eq!(get(&served, "/runs/x/log?attempt=2").await.code, 404);

    let following = get(&served, "/runs/x/log?follow=true");
    let more = async {
        tokio::task::yield_now().await;
        served.transcripts.append("x", 1, b"more\n");
        served.transcripts.end("x", 1);
        served.publish(|view| {
            let run = attempt_ended(running(queued("x", "web"), 1), &transcript(), 0);
            put(view, run);
        });
    };
    let (followed, ()) = tokio::join!(following, more);
    assert_eq!(followed.body, format!("{whole}more\n"));
    served.publish(|view| put(view, queued("waits", "web")));
    assert_eq!(get(&served, "/runs/waits/log").await.code, 404);
}

/// One event of a stream: its ID, its word, its data.
type Told = (Option<String>, String, Value);

/// The events that are whole in `text`.
fn events(text: &str) -> Vec<Told> {
    let (whole, _broken) = text.rsplit_once("\n\n").unwrap_or_default();
    let blocks = whole.split("\n\n").filter(|block| block.contains("event: "));
    blocks
        .map(|block| {
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
            };
            let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
            (field("id: "), field("event: ").unwrap(), data)
        })
        .collect()
}

async fn turns(served: &Served, last: Option<&str>) -> Response {
    let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    on_socket(served, "GET", &format!("{BASE}/runs/x/turns"), &last, "").await
}

/// A run of two attempts, the first of which broke off in the middle of a line.
async fn two_attempts() -> Served {
    let whole = transcript();
    let first = &whole[..whole.len() * 2 / 3];
    let served = served_with(|view| {
        let run = attempt_ended(running(queued("x", "web"), 3), first, 137);
        let run = attempt_ended(running(run, 4), &whole, 0);
        put(view, ended(run, Phase::Succeeded, "Succeeded", ""));
    })
    .await;
    served.transcripts.append("x", 3, first);
    served.transcripts.append("x", 4, &whole);
    served.transcripts.end("x", 3);
    served.transcripts.end("x", 4);
    served
}

#[tokio::test]
async fn a_stream_tells_each_turn_of_each_attempt_and_the_end() {
    let served = two_attempts().await;
    let response = turns(&served, None).await;
    assert!(response.head.contains("content-type: text/event-stream"), "{}", response.head);
    let told = events(&response.body);
    let words: Vec<_> = told.iter().map(|(_, word, _)| word.as_str()).collect();
    let once = ["attempt", "text", "toolUse", "toolUse", "toolResult", "toolResult"];
    let twice = [&once[..], &once, &["apiRetry", "text", "result", "end"]].concat();
    assert_eq!(words, twice);
    assert_eq!(told[0].2["number"], 3);
    assert_eq!(told[1].2["text"], "Let me \u{1b}[2J look.");
    assert!(!response.body.contains('\u{1b}'), "JSON has no control characters");
    assert_eq!(told[2].2["input"], r#"{"command":"ls"}"#);
    assert_eq!(told[5].2["isError"], true);
    assert_eq!(told[6].2["kind"], "Retry");
    let end = told.last().unwrap();
    assert_eq!((&end.0, &end.2["phase"]), (&None, &json!("Succeeded")));
}

#[tokio::test]
async fn wherever_a_stream_breaks_whoever_comes_back_has_every_turn_once() {
    let served = two_attempts().await;
    let whole = turns(&served, None).await.body;
    let expected = events(&whole);
    // Every byte at which what was heard differs: each end of an event, and the byte before.
    let ends: Vec<usize> = whole.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    let cuts: Vec<usize> = ends.iter().flat_map(|end| [end - 1, *end]).chain([0]).collect();
    for cut in cuts {
        let mut heard = events(&whole[..cut]);
        let last = heard.iter().rev().find_map(|(id, _, _)| id.clone());
        if heard.last().is_some_and(|(_, word, _)| word == "end") {
            heard.pop();
        }
        let rest = turns(&served, last.as_deref()).await.body;
        heard.extend(events(&rest));
        assert_eq!(heard, expected, "cut at {cut}, came back with {last:?}");
    }
}

#[tokio::test]
async fn a_place_that_the_run_has_not_is_refused() {
    let served = two_attempts().await;
    for id in ["x", "5:0", "99999999999:0"] {
        assert_eq!(turns(&served, Some(id)).await.code, 400, "{id}");
    }
    // One of an earlier order under the same name: all of this one is new.
    assert_eq!(events(&turns(&served, Some("1:77")).await.body)[0].2["number"], 3);
}

#[tokio::test]
async fn a_stream_goes_with_the_run_from_its_queue_to_its_end() {
    let served = served_with(|view| put(view, queued("x", "web"))).await;
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let mut stream = BufReader::new(stream);
    let asked = request("GET", &format!("{BASE}/runs/x/turns"), "", "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut until = async |what: &str| {
        while !heard.ends_with(what) {
            let mut line = String::new();
            let read = stream.read_line(&mut line);
            assert!(tokio::time::timeout(WAIT, read).await.unwrap().unwrap() > 0, "{heard}");
            heard.push_str(&line);
        }
        heard.clear();
    };
    until("HTTP/1.1 200 OK\r\n").await;
    // The permit is known before there is a transcript.
    served.publish(|view| put(view, running(queued("x", "web"), 1)));
    until("event: attempt\n").await;
    let whole = transcript();
    let (first, rest) = whole.split_at(400);
    served.transcripts.append("x", 1, first);
    served.transcripts.append("x", 1, rest);
    until("event: result\n").await;
    // The follower ended before the record says so.
    served.transcripts.end("x", 1);
    let attempt = attempt_ended(running(queued("x", "web"), 1), &whole, 0);
    served.publish(|view| put(view, attempt.clone()));
    served
        .publish(|view| put(view, ended(attempt, Phase::Failed, "Deadline", "its time was over")));
    until("event: end\n").await;
}

#[tokio::test]
async fn an_attempt_whose_transcript_is_gone_is_passed_over() {
    let served = served_with(|view| put(view, succeeded("x", "web", &transcript()))).await;
    let told = events(&turns(&served, None).await.body);
    let words: Vec<_> = told.iter().map(|(_, word, _)| word.as_str()).collect();
    assert_eq!(words, ["attempt", "end"]);
}

#[tokio::test]
async fn streams_of_runs_have_a_watchs_quota_and_end_with_the_operator() {
    let limits = Limits { requests: 3, streams: 1, ..Limits::default() };
    let mut view = view();
    put(&mut view, queued("x", "web"));
    let served = Served::new(view, limits).await;
    let open = async || {
        let mut stream = UnixStream::connect(&served.socket).await.unwrap();
        let asked = request("GET", &format!("{BASE}/runs/x/turns"), "", "");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        (stream, line)
    };
    let (kept, first) = open().await;
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    let (_, second) = open().await;
    assert!(second.starts_with("HTTP/1.1 429"), "{second}");
    assert_eq!(on_socket(&served, "GET", "/metrics", "", "").await.code, 200);
    assert!(served.stop().await, "open streams keep the server from ending");
    drop(kept);
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives() {
    let limits = Limits { silence: Duration::from_millis(20), ..Limits::default() };
    let mut view = view();
    put(&mut view, queued("x", "web"));
    let served = Served::new(view, limits).await;
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let mut stream = BufReader::new(stream);
    let asked = request("GET", &format!("{BASE}/runs/x/turns"), "", "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with(": ") {
        line.clear();
        let read = tokio::time::timeout(WAIT, stream.read_line(&mut line)).await.unwrap();
        assert!(read.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_costs_nothing() {
    let served = served_with(|view| put(view, queued("x", "web"))).await;
    let before = served.view.receiver_count();
    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    let asked = request("GET", &format!("{BASE}/runs/x/turns"), "", "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert!(served.view.receiver_count() > before);
    drop(stream);
    let gone = async {
        while served.view.receiver_count() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, gone).await.unwrap();
}

#[tokio::test]
async fn runs_are_counted_as_their_records_are_and_timed_as_they_end() {
    let key = |family: &'static str, labels: &[&str]| TotalKey {
        family,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
    };
    let totals: BTreeMap<TotalKey, f64> = [
        (key(total::ENDED, &["web", "api", "Failed", "MaxTurns"]), 3.0),
        (key(total::TOKENS, &["web", "claude-x", "output"]), 5.0),
        (key(total::DOLLARS, &["web", "claude-x"]), 0.42),
        (key(total::RETRIES, &["web", "Retry"]), 1.0),
    ]
    .into();
    let served = served_with(|view| {
        view.totals = totals.into();
        put(view, succeeded("before", "web", &transcript()));
        put(view, queued("waits", "web"));
        put(view, running(queued("works", "web"), 1));
        let mut held = queued("held", "ledger");
        held.phase = Phase::Pending;
        change(&mut held, |record| record.held = true);
        put(view, held);
    })
    .await;
    let has = async |samples: &[&str]| {
        let text = on_socket(&served, "GET", "/metrics", "", "").await.body;
        for sample in samples {
            assert!(text.lines().any(|line| line == *sample), "{sample}\n{text}");
        }
    };
    has(&[
        r#"chanop_runs_ended_total{channel="web",phase="Failed",reason="MaxTurns",trigger="api"} 3"#,
        r#"chanop_tokens_total{channel="web",kind="output",model="other"} 5"#,
        r#"chanop_cost_dollars_total{channel="web",model="other"} 0.42"#,
        r#"chanop_run_attempts_again_total{channel="web",kind="Retry"} 1"#,
        r#"chanop_runs{channel="web",phase="Queued"} 1"#,
        r#"chanop_runs{channel="web",phase="Running"} 1"#,
        r#"chanop_run_queue_depth{channel="web"} 1"#,
        r#"chanop_run_queue_depth{channel="ledger"} 1"#,
        "chanop_runs_held 1",
        "chanop_run_queue_wait_seconds_count 0",
    ])
    .await;
    let text = on_socket(&served, "GET", "/metrics", "", "").await.body;
    let oldest = r#"chanop_run_queue_oldest_seconds{channel="web"} 7"#;
    assert!(text.contains(oldest), "two hours are 7200 and a little: {text}");
    served.publish(|view| {
        put(view, succeeded("works", "web", &transcript()));
        view.runs.retain(|name, _| !matches!(name.as_str(), "waits" | "held"));
    });
    let seen_once = [
        r#"chanop_run_duration_seconds_count{phase="Succeeded"} 1"#,
        r#"chanop_run_duration_seconds_sum{phase="Succeeded"} 190"#,
        "chanop_run_queue_wait_seconds_count 1",
        r#"chanop_run_queue_depth{channel="web"} 0"#,
        "chanop_runs_held 0",
        r#"chanop_runs_ended_total{channel="web",phase="Failed",reason="MaxTurns",trigger="api"} 3"#,
    ];
    has(&seen_once).await;
    has(&seen_once).await;
    // Who was put into channels' names beyond the bound is counted, and has none of its own.
    served.publish(|view| {
        for index in 0..300 {
            put(view, queued(&format!("r{index}"), &format!("c{index}")));
        }
    });
    let text = on_socket(&served, "GET", "/metrics", "", "").await.body;
    let series = text.lines().filter(|line| line.starts_with("chanop_runs{")).count();
    assert!(series <= 101, "{series}");
    assert!(text.contains(r#"chanop_runs{channel="other",phase="Queued"} 202"#), "{text}");
}
