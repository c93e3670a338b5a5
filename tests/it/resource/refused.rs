//! What is refused and how that is said: whole files and the text that `chanop validate` prints for them.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use chanop::cli::validate::check;
use chanop::cli::{diagnostic, validate::Found};
use expect_test::{Expect, expect};

fn found(files: &[(&str, &str)]) -> Found {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    check(directory.path(), "/home/ann").unwrap()
}

fn said(files: &[(&str, &str)], expected: &Expect) {
    expected.assert_eq(&found(files).lines(false).join("\n"));
}

/// A channel whose spec goes on with `spec`.
fn channel(spec: &str) -> String {
    format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: payments}}\nspec:\n  workspace: {{path: ~/src/payments}}\n{spec}"
    )
}

fn says(spec: &str, expected: &Expect) {
    said(&[("a.yaml", &channel(spec))], expected);
}

fn run(kind: &str, spec: &str, expected: &Expect) {
    let text = format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n{spec}"
    );
    said(&[("a.yaml", &text), ("b.yaml", &channel(""))], expected);
}

#[test]
fn the_slip_of_the_manual() {
    let text = "# payments\napiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {name: payments}\nspec:\n  workspace: {path: ~/src/payments}\n  resources:\n    limits:\n        memmory: 4Gi\n";
    said(
        &[("team/payments.yaml", text), ("team/ok.yaml", &channel("").replace("payments", "ok"))],
        &expect![[r#"
            error[E0103]: unknown field `memmory`
             --> team/payments.yaml:9:9     Channel/payments spec.resources.limits
            9 |         memmory: 4Gi
              |         ^^^^^^^ did you mean `memory`?  (allowed: cpu, memory, pids)
            1 error, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn everything_that_is_wrong_with_a_channel_in_one_go() {
    says(
        r#"  suspend: yes
  home: {type: channel}
  image: {ref: "Node:22", pullPolicy: Sometimes}
  user: 1000
  env:
    - {name: 1ST, value: x}
    - {name: PORT, value: 3000}
    - {name: BOTH, value: x, valueFrom: {secretKeyRef: {name: a, key: b}}}
    - {name: NONE}
    - {name: PORT, value: again}
  mounts:
    - {type: bind, source: data, target: ~/../data, size: 1Gi}
    - {type: tmpfs, target: /scratch, source: x}
    - "~/notes:~/notes:rx"
    - {target: /x}
  ports: [{containerPort: 0}, {containerPort: 70000}, {containerPort: 80}, {containerPort: 80}]
  resources: {limits: {cpu: 1mm, memory: 512MB, pids: -1}, shmSize: 64}
  network: {mode: Bridge, name: lab}
  agent:
    permissionMode: bypass
    args: [--verbose, --model=opus, "--", --fine]
    mcpServers: {db: {command: npx, url: "https://x"}}
  runs: {maxConcurrent: 0, activeDeadlineSeconds: 1h, maxBudgetUSD: -1, keepContainer: 30}
  updateStrategy: {maxWait: 1month}
  deletion:
    runs: Finish
    runs: Cancel
  colour: blue
"#,
        &expect![[r#"
            error[E0105]: expected true or false, found the string `yes`
             --> a.yaml:6:12     Channel/payments spec.suspend
            6 |   suspend: yes
              |            ^^^ did you mean `true`?
            error[E0110]: unknown value `channel`
             --> a.yaml:7:16     Channel/payments spec.home.type
            7 |   home: {type: channel}
              |                ^^^^^^^ did you mean `Channel`?  (allowed: Channel, Tmpfs, Image)
            error[E0129]: `Node:22` is no image reference: a repository has lower-case letters, digits, `.`, `_`, `-` and `/`
             --> a.yaml:8:16     Channel/payments spec.image.ref
            8 |   image: {ref: "Node:22", pullPolicy: Sometimes}
              |                ^^^^^^^^^ not an image
            error[E0110]: unknown value `Sometimes`
             --> a.yaml:8:39     Channel/payments spec.image.pullPolicy
            8 |   image: {ref: "Node:22", pullPolicy: Sometimes}
              |                                       ^^^^^^^^^ not one of the allowed values  (allowed: Always, IfNotPresent, Never)
            error[E0105]: a user is `Owner`, `Image` or "uid:gid"
             --> a.yaml:9:9     Channel/payments spec.user
            9 |   user: 1000
              |         ^^^^ did you mean `"1000:1000"`?
            error[E0109]: `1ST` is no variable's name: letters, digits and `_`, no digit first
              --> a.yaml:11:14     Channel/payments spec.env[0].name
            11 |     - {name: 1ST, value: x}
               |              ^^^ not a name
            error[E0105]: expected a string, found the number `3000`
              --> a.yaml:12:27     Channel/payments spec.env[1].value
            12 |     - {name: PORT, value: 3000}
               |                           ^^^^ did you mean `"3000"`?
               = put it into quotes
            error[E0118]: exactly one of `value`, `valueFrom` may be set
              --> a.yaml:13:30     Channel/payments spec.env[2]
            13 |     - {name: BOTH, value: x, valueFrom: {secretKeyRef: {name: a, key: b}}}
               |                              ^^^^^^^^^ `value` is set already
            error[E0118]: exactly one of `value`, `valueFrom` must be set, and none is
              --> a.yaml:14:8     Channel/payments spec.env[3]
            14 |     - {name: NONE}
               |        ^^^^ none of them is set
            error[E0120]: `PORT` stands twice in `env`
              --> a.yaml:15:8     Channel/payments spec.env[4]
            15 |     - {name: PORT, value: again}
               |        ^^^^ already in line 12
            error[E0117]: the path `data` is relative; start it with `/` or `~/`
              --> a.yaml:17:28     Channel/payments spec.mounts[0].source
            17 |     - {type: bind, source: data, target: ~/../data, size: 1Gi}
               |                            ^^^^ not such a path
            error[E0117]: the path `~/../data` has `..`; write where it leads to
              --> a.yaml:17:42     Channel/payments spec.mounts[0].target
            17 |     - {type: bind, source: data, target: ~/../data, size: 1Gi}
               |                                          ^^^^^^^^^ not such a path
            error[E0119]: `size` does not go with a bind mount
              --> a.yaml:17:53     Channel/payments spec.mounts[0].size
            17 |     - {type: bind, source: data, target: ~/../data, size: 1Gi}
               |                                                     ^^^^ not for type bind
            error[E0119]: `source` does not go with a tmpfs mount
              --> a.yaml:18:39     Channel/payments spec.mounts[1].source
            18 |     - {type: tmpfs, target: /scratch, source: x}
               |                                       ^^^^^^ not for type tmpfs
            error[E0110]: `rx` is no mode of a mount: ro or rw
              --> a.yaml:19:7     Channel/payments spec.mounts[2]
            19 |     - "~/notes:~/notes:rx"
               |       ^^^^^^^^^^^^^^^^^^^^ not source:target[:ro|rw]
            error[E0106]: `type` is missing
              --> a.yaml:20:8     Channel/payments spec.mounts[3]
            20 |     - {target: /x}
               |        ^^^^^^ needs `type`  (allowed: bind, volume, tmpfs)
            error[E0111]: 0 is out of range
              --> a.yaml:21:27     Channel/payments spec.ports[0].containerPort
            21 |   ports: [{containerPort: 0}, {containerPort: 70000}, {containerPort: 80}, {containerPort: 80}]
               |                           ^ from 1 to 65535
            error[E0111]: 70000 is out of range
              --> a.yaml:21:47     Channel/payments spec.ports[1].containerPort
            21 |   ports: [{containerPort: 0}, {containerPort: 70000}, {containerPort: 80}, {containerPort: 80}]
               |                                               ^^^^^ from 1 to 65535
            error[E0120]: `80` stands twice in `ports`
              --> a.yaml:21:77     Channel/payments spec.ports[3]
            21 |   ports: [{containerPort: 0}, {containerPort: 70000}, {containerPort: 80}, {containerPort: 80}]
               |                                                                             ^^^^^^^^^^^^^ already in line 21
            error[E0112]: invalid quantity: `mm` is not a unit
              --> a.yaml:22:29     Channel/payments spec.resources.limits.cpu
            22 |   resources: {limits: {cpu: 1mm, memory: 512MB, pids: -1}, shmSize: 64}
               |                             ^^^ not a quantity
               = a number and a unit: m, k, M, G, T or Ki, Mi, Gi, Ti; 512Mi, 1.5Gi, 500m
            error[E0112]: invalid quantity: `MB` is not a unit
              --> a.yaml:22:42     Channel/payments spec.resources.limits.memory
            22 |   resources: {limits: {cpu: 1mm, memory: 512MB, pids: -1}, shmSize: 64}
               |                                          ^^^^^ did you mean `512M`?
               = a number and a unit: m, k, M, G, T or Ki, Mi, Gi, Ti; 512Mi, 1.5Gi, 500m
            error[E0111]: -1 is out of range
              --> a.yaml:22:55     Channel/payments spec.resources.limits.pids
            22 |   resources: {limits: {cpu: 1mm, memory: 512MB, pids: -1}, shmSize: 64}
               |                                                       ^^ from 0 to 4294967295
            error[E0119]: `name` goes with `mode: Named` only
              --> a.yaml:23:33     Channel/payments spec.network.name
            23 |   network: {mode: Bridge, name: lab}
               |                                 ^^^ not with this mode
            warning[W0203]: `bypass` is no permission mode that chanop has seen
              --> a.yaml:25:21     Channel/payments spec.agent.permissionMode
            25 |     permissionMode: bypass
               |                     ^^^^^^ the CLI may refuse it
               = known: acceptEdits, auto, bypassPermissions, default, dontAsk, manual, plan
            error[E0122]: chanop sets `--verbose` itself
              --> a.yaml:26:12     Channel/payments spec.agent.args[0]
            26 |     args: [--verbose, --model=opus, "--", --fine]
               |            ^^^^^^^^^ not here
               = leave it out: chanop reads the agent's output and needs it as it is
            error[E0122]: chanop sets `--model` itself
              --> a.yaml:26:23     Channel/payments spec.agent.args[1]
            26 |     args: [--verbose, --model=opus, "--", --fine]
               |                       ^^^^^^^^^^^^ not here
               = use agent.model
            error[E0122]: chanop sets `--` itself
              --> a.yaml:26:37     Channel/payments spec.agent.args[2]
            26 |     args: [--verbose, --model=opus, "--", --fine]
               |                                     ^^^^ not here
               = leave it out: chanop reads the agent's output and needs it as it is
            error[E0118]: exactly one of `command`, `url` may be set
              --> a.yaml:27:37     Channel/payments spec.agent.mcpServers.db
            27 |     mcpServers: {db: {command: npx, url: "https://x"}}
               |                                     ^^^ `command` is set already
            error[E0111]: 0 runs at once would never run any
              --> a.yaml:28:25     Channel/payments spec.runs.maxConcurrent
            28 |   runs: {maxConcurrent: 0, activeDeadlineSeconds: 1h, maxBudgetUSD: -1, keepContainer: 30}
               |                         ^ at least 1
               = to start no runs set spec.suspend: true
            error[E0105]: expected a whole number, found the string `1h`
              --> a.yaml:28:51     Channel/payments spec.runs.activeDeadlineSeconds
            28 |   runs: {maxConcurrent: 0, activeDeadlineSeconds: 1h, maxBudgetUSD: -1, keepContainer: 30}
               |                                                   ^^ expected a whole number
            error[E0111]: -1 is out of range
              --> a.yaml:28:69     Channel/payments spec.runs.maxBudgetUSD
            28 |   runs: {maxConcurrent: 0, activeDeadlineSeconds: 1h, maxBudgetUSD: -1, keepContainer: 30}
               |                                                                     ^^ 0 or more dollars
            error[E0113]: invalid duration: `30` needs a unit
              --> a.yaml:28:88     Channel/payments spec.runs.keepContainer
            28 |   runs: {maxConcurrent: 0, activeDeadlineSeconds: 1h, maxBudgetUSD: -1, keepContainer: 30}
               |                                                                                        ^^ did you mean `30s`?
               = numbers with units d, h, m, s, ms; 30m, 1h30m, 90d
            error[E0113]: invalid duration: `month` is not a unit of time
              --> a.yaml:29:29     Channel/payments spec.updateStrategy.maxWait
            29 |   updateStrategy: {maxWait: 1month}
               |                             ^^^^^^ not a duration
               = numbers with units d, h, m, s, ms; 30m, 1h30m, 90d
            error[E0104]: duplicate key `runs`
              --> a.yaml:32:5     Channel/payments spec.deletion
            32 |     runs: Cancel
               |     ^^^^ already set in line 31
               = keep one of the two; which one counts would be a matter of luck
            error[E0103]: unknown field `colour`
              --> a.yaml:33:3     Channel/payments spec
            33 |   colour: blue
               |   ^^^^^^ not a field here
               = allowed: className, suspend, hostSelector, workspace, home, image, user, env, mounts, files, ports, resources, securityContext, runtimeClassName, network, agent, shell, runs, updateStrategy, deletion
            34 errors, 1 warning in 1 of 1 file; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn a_document_that_is_hardly_one() {
    said(
        &[
            ("a.yaml", "kind: Chanel\nmetadata: {name: My_Project}\n"),
            ("b.yaml", "apiVersion: chanop.dev/v1\nkind: Channel\nmetadata:\nspec: 7\n"),
            ("c.yaml", "just text\n"),
            (
                "d.yaml",
                "kind: OperatorPolicy\napiVersion: chanop.dev/v1alpha1\nmetadata: {name: x}\nspec: {}\n",
            ),
            ("e.yaml", ""),
            ("f.yaml", &channel("").replace("payments}", &format!("{}}}", "x".repeat(41)))),
            ("g.yaml", "a:\n\tb: c\n"),
            ("h.yaml", "a: [1, 2\nb: 3\n"),
            ("i.yaml", "a: b: c\n"),
            ("j.yaml", "defaults: &d {a: 1}\nx: {<<: *d}\nkind: Channel\n"),
        ],
        &expect![[r#"
            error[E0106]: `apiVersion` is missing
             --> a.yaml:1:1
            1 | kind: Chanel
              | ^^^^ needs `apiVersion`
            error[E0106]: `spec` is missing
             --> a.yaml:1:1
            1 | kind: Chanel
              | ^^^^ needs `spec`
            error[E0107]: unknown kind `Chanel`
             --> a.yaml:1:7     kind
            1 | kind: Chanel
              |       ^^^^^^ did you mean `Channel`?  (allowed: Channel, Run, Schedule, ChannelClass)
            error[E0109]: invalid name `My_Project`
             --> a.yaml:2:18     metadata.name
            2 | metadata: {name: My_Project}
              |                  ^^^^^^^^^^ did you mean `my-project`?
              = lower-case letters, digits and `-`, a letter or digit first and last
            error[E0108]: unknown apiVersion `chanop.dev/v1`
             --> b.yaml:1:13     apiVersion
            1 | apiVersion: chanop.dev/v1
              |             ^^^^^^^^^^^^^ did you mean `chanop.dev/v1alpha1`?
            error[E0106]: `metadata` is blank, and it must be set
             --> b.yaml:3:1
            3 | metadata:
              | ^^^^^^^^ needs `metadata`
            error[E0105]: expected a map, found the number `7`
             --> b.yaml:4:7     spec
            4 | spec: 7
              |       ^ expected a map
            error[E0105]: expected an object, found the string `just text`
             --> c.yaml:1:1
            1 | just text
              | ^^^^^^^^^ not an object
              = a document is a map with apiVersion, kind, metadata and spec
            error[E0107]: unknown kind `OperatorPolicy`
             --> d.yaml:1:7     kind
            1 | kind: OperatorPolicy
              |       ^^^^^^^^^^^^^^ not a kind
              = a policy is no spec: give it to the operator with --policy FILE
            error[E0102]: the file is empty, as a half-written one would be
             --> e.yaml
              = delete it, or write a comment or `[]` into it when it is to hold nothing
            error[E0109]: a name has at most 40 characters, this one has 41
             --> f.yaml:3:18     metadata.name
            3 | metadata: {name: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}
              |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ too long
            error[E0101]: not YAML: tabs disallowed within this context (block indentation)
             --> g.yaml:2:2
            2 |  b: c
              |  ^ a tab
              = indent with spaces: YAML forbids tabs there
            error[E0101]: not YAML: illegal placement of ':' indicator
             --> h.yaml:2:2
            2 | b: 3
              |  ^ here, or before
              = is a bracket, a brace or a quote still open above?
            error[E0101]: not YAML: mapping values are not allowed in this context
             --> i.yaml:1:5
            1 | a: b: c
              |     ^ a second `:`
              = put a text that has `: ` in it into quotes, or check the indentation
            error[E0103]: unknown field `defaults`
             --> j.yaml:1:1
            1 | defaults: &d {a: 1}
              | ^^^^^^^^ not a field here  (allowed: apiVersion, kind, metadata, spec)
            error[E0106]: `apiVersion` is missing
             --> j.yaml:1:1
            1 | defaults: &d {a: 1}
              | ^^^^^^^^ needs `apiVersion`
            error[E0106]: `metadata` is missing
             --> j.yaml:1:1
            1 | defaults: &d {a: 1}
              | ^^^^^^^^ needs `metadata`
            error[E0106]: `spec` is missing
             --> j.yaml:1:1
            1 | defaults: &d {a: 1}
              | ^^^^^^^^ needs `spec`
            error[E0103]: unknown field `x`
             --> j.yaml:2:1
            2 | x: {<<: *d}
              | ^ not a field here  (allowed: apiVersion, kind, metadata, spec)
            19 errors, 0 warnings in 10 of 10 files; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn schedules_and_runs() {
    run(
        "Schedule",
        "  channelName: payments\n  schedule: 0 0 3 * * 1\n  timeZone: Berlin\n  missedRunPolicy: None\n  runTemplate: {spec: {channelName: x, prompt: hi}}\n",
        &expect![[r#"
            error[E0114]: a schedule has 5 fields, this one has 6: a further field means seconds to some programs and a year to others
             --> a.yaml:6:13     Schedule/x spec.schedule
            6 |   schedule: 0 0 3 * * 1
              |             ^^^^^^^^^^^ did you mean `0 3 * * 1`?
              = if the first field is seconds, leave it out
            error[E0115]: no time zone is called `Berlin`
             --> a.yaml:7:13     Schedule/x spec.timeZone
            7 |   timeZone: Berlin
              |             ^^^^^^ did you mean `Europe/Berlin`?
              = a name of the IANA database: Europe/Berlin, America/New_York, Etc/UTC
            error[E0110]: unknown value `None`
             --> a.yaml:8:20     Schedule/x spec.missedRunPolicy
            8 |   missedRunPolicy: None
              |                    ^^^^ not one of the allowed values  (allowed: Latest, Skip)
            error[E0103]: unknown field `channelName`
             --> a.yaml:9:24     Schedule/x spec.runTemplate.spec
            9 |   runTemplate: {spec: {channelName: x, prompt: hi}}
              |                        ^^^^^^^^^^^ not a field here
              = allowed: prompt, promptFrom, messages, systemPrompt, author, session, fork, startingDeadlineSeconds, activeDeadlineSeconds, terminationGracePeriodSeconds, backoffLimit, maxTurns, maxBudgetUSD, keepContainer
            4 errors, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
    run(
        "Schedule",
        "  channelName: paymets\n  every: 5\n  at: 2026-12-01T14:00:00\n  runTemplate: {spec: {prompt: \"\", session: {key: a, id: b}}}\n",
        &expect![[r#"
            error[E0113]: invalid duration: `5` needs a unit
             --> a.yaml:6:10     Schedule/x spec.every
            6 |   every: 5
              |          ^ did you mean `5s`?
              = numbers with units d, h, m, s, ms; 30m, 1h30m, 90d
            error[E0118]: exactly one of `schedule`, `every`, `at` may be set
             --> a.yaml:7:3     Schedule/x spec
            7 |   at: 2026-12-01T14:00:00
              |   ^^ `every` is set already
            error[E0116]: invalid time `2026-12-01T14:00:00`
             --> a.yaml:7:7     Schedule/x spec.at
            7 |   at: 2026-12-01T14:00:00
              |       ^^^^^^^^^^^^^^^^^^^ did you mean `2026-12-01T14:00:00Z`?
              = RFC 3339, with Z or an offset: 2026-12-01T14:00:00Z, 2026-12-01T15:00:00+01:00
            error[E0129]: the prompt is empty
             --> a.yaml:8:32     Schedule/x spec.runTemplate.spec.prompt
            8 |   runTemplate: {spec: {prompt: "", session: {key: a, id: b}}}
              |                                ^^ empty
            error[E0118]: exactly one of `id`, `key` may be set
             --> a.yaml:8:46     Schedule/x spec.runTemplate.spec.session
            8 |   runTemplate: {spec: {prompt: "", session: {key: a, id: b}}}
              |                                              ^^^ `id` is set already
            error[E0129]: `b` is no ID of a session
             --> a.yaml:8:58     Schedule/x spec.runTemplate.spec.session.id
            8 |   runTemplate: {spec: {prompt: "", session: {key: a, id: b}}}
              |                                                          ^ not a UUID
            6 errors, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
    run(
        "Schedule",
        "  channelName: payments\n  schedule: 0 0 31 2 *\n  runTemplate: {}\n",
        &expect![[r#"
            error[E0114]: the schedule never fires
             --> a.yaml:6:13     Schedule/x spec.schedule
            6 |   schedule: 0 0 31 2 *
              |             ^^^^^^^^^^ no such day
              = no month has all of these days
            error[E0106]: `spec` is missing
             --> a.yaml:7:16     Schedule/x spec.runTemplate
            7 |   runTemplate: {}
              |                ^ needs `spec`
            2 errors, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
    run(
        "Run",
        "  channelName: payments\n  fork: true\n  promptFrom: {file: ../x}\n  messages: [{role: system, content: x}]\n",
        &expect![[r#"
            error[E0119]: a fresh session has nothing to fork
             --> a.yaml:6:9     Run/x spec.fork
            6 |   fork: true
              |         ^^^^ needs a session
              = set session to Latest, {id: …} or {key: …}
            error[E0117]: the path `../x` has `..`; write where it leads to
             --> a.yaml:7:22     Run/x spec.promptFrom.file
            7 |   promptFrom: {file: ../x}
              |                      ^^^^ not such a path
            error[E0118]: exactly one of `prompt`, `promptFrom`, `messages` may be set
             --> a.yaml:8:3     Run/x spec
            8 |   messages: [{role: system, content: x}]
              |   ^^^^^^^^ `promptFrom` is set already
            error[E0110]: unknown value `system`
             --> a.yaml:8:21     Run/x spec.messages[0].role
            8 |   messages: [{role: system, content: x}]
              |                     ^^^^^^ not one of the allowed values  (allowed: user, assistant)
            4 errors, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
    run(
        "Run",
        "  channelName: payments\n  messages: [{role: user, content: x}, {role: assistant, content: y}]\n",
        &expect![[r#"
            error[E0129]: the last message is the agent's: there is nothing to answer
             --> a.yaml:6:47     Run/x spec.messages[1].role
            6 |   messages: [{role: user, content: x}, {role: assistant, content: y}]
              |                                               ^^^^^^^^^ must be the user's
            1 error, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
    run(
        "ChannelClass",
        "  className: other\n  workspace: {path: ~/x, create: true}\n",
        &expect![[r#"
            error[E0128]: `className` has no place in a ChannelClass
             --> a.yaml:5:3     ChannelClass/x spec
            5 |   className: other
              |   ^^^^^^^^^ not in a class
              = classes do not inherit from classes
            error[E0128]: `workspace.path` has no place in a ChannelClass
             --> a.yaml:6:15     ChannelClass/x spec
            6 |   workspace: {path: ~/x, create: true}
              |               ^^^^ not in a class
              = each channel has a workspace of its own
            2 errors, 0 warnings in 1 of 2 files; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn what_shows_only_when_all_files_are_seen() {
    said(
        &[
            ("a.yaml", &channel("  className: locket\n  network: {mode: Named}\n")),
            ("b/c.yaml", &channel("")),
            (
                "b/d.yaml",
                "apiVersion: chanop.dev/v1alpha1\nkind: ChannelClass\nmetadata: {name: locked}\n",
            ),
            ("b/.hidden.yaml", "not: [looked at"),
            ("b/notes.txt", "not: [looked at"),
        ],
        &expect![[r#"
            warning[W0202]: no file has the ChannelClass `locket`
             --> a.yaml:6:3     Channel/payments spec.className
            6 |   className: locket
              |   ^^^^^^^^^ did you mean `locked`?
              = the channel is held until the class is there
            error[E0106]: `mode: Named` needs `name`
             --> a.yaml:7:3     Channel/payments spec.network.name
            7 |   network: {mode: Named}
              |   ^^^^^^^
            error[E0126]: Channel `payments` is written twice
             --> b/c.yaml:3:12     Channel/payments metadata.name
            3 | metadata: {name: payments}
              |            ^^^^ already in a.yaml:1
              = names are unique in all files: rename one of the two
            2 errors, 1 warning in 2 of 3 files; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn what_a_channel_may_not_say_to_the_agents_program() {
    says(
        r#"  env: [{name: DISABLE_TELEMETRY, value: "0"}, {name: CHANOP_X, value: x}, {name: ANTHROPIC_BASE_URL, value: "http://p"}]
  agent:
    args: [-pc, do this, --effort, low, --cloud=x, --help, --agent]
"#,
        &expect![[r#"
            warning[W0203]: chanop decides `DISABLE_TELEMETRY` itself
             --> a.yaml:6:16     Channel/payments spec.env[0].name
            6 |   env: [{name: DISABLE_TELEMETRY, value: "0"}, {name: CHANOP_X, value: x}, {name: ANTHROPIC_BASE_URL, value: "…
              |                ^^^^^^^^^^^^^^^^^ this value does not count
            warning[W0203]: chanop decides `CHANOP_X` itself
             --> a.yaml:6:55     Channel/payments spec.env[1].name
            6 |   env: [{name: DISABLE_TELEMETRY, value: "0"}, {name: CHANOP_X, value: x}, {name: ANTHROPIC_BASE_URL, value: "…
              |                                                       ^^^^^^^^ this value does not count
            error[E0122]: chanop sets `--print` itself
             --> a.yaml:8:12     Channel/payments spec.agent.args[0]
            8 |     args: [-pc, do this, --effort, low, --cloud=x, --help, --agent]
              |            ^^^ not here
              = leave it out: chanop reads the agent's output and needs it as it is
            error[E0122]: with `--cloud` the work would leave the container
             --> a.yaml:8:41     Channel/payments spec.agent.args[4]
            8 |     args: [-pc, do this, --effort, low, --cloud=x, --help, --agent]
              |                                         ^^^^^^^^^ not here
              = leave it out: chanop looks after what runs in its container
            error[E0122]: with `--help` the agent does no work
             --> a.yaml:8:52     Channel/payments spec.agent.args[5]
            8 |     args: [-pc, do this, --effort, low, --cloud=x, --help, --agent]
              |                                                    ^^^^^^ not here
              = leave it out
            error[E0129]: `--agent` needs a value, and would take chanop's next option for it
             --> a.yaml:8:60     Channel/payments spec.agent.args[6]
            8 |     args: [-pc, do this, --effort, low, --cloud=x, --help, --agent]
              |                                                            ^^^^^^^ a value that begins with `-`, or none
              = write a value together with its option: --option=value
            4 errors, 2 warnings in 1 of 1 file; Docker not asked; policy: built-in"#]],
    );
}

/// Put together here, so that no scanner takes this file for a leak.
fn secrets() -> [String; 5] {
    let body = "Zq9".repeat(14);
    [
        format!("sk-ant-api03-{body}"),
        format!("ghp_{body}"),
        format!("xoxb-{body}"),
        format!("eyJ{body}.eyJ{body}.{body}"),
        format!("https://me:{body}@host/"),
    ]
}

#[test]
fn a_secret_is_an_error_and_is_never_repeated() {
    let [anthropic, github, slack, token, url] = secrets();
    let pem = format!("-----BEGIN OPENSSH {} KEY-----\n      {}\n", "PRIVATE", "Zq9+".repeat(16));
    let text = channel(&format!(
        "  env:\n    - {{name: A, value: {anthropic}}}\n    - {{name: B, value: \"{github}\", valeu: {github}}}\n    - {{name: C, value: [{slack}]}}\n  user: {token}\n  agent:\n    systemPrompt: |\n      {pem}    model: {url}\n    {github}: x\n    args: [--model={slack}]\n"
    ));
    let broken = format!("a: {github}: {slack}\nb: [{token}\n");
    let found = found(&[("a.yaml", &text), ("b.yaml", &broken)]);
    let outputs = [
        found.lines(false).join("\n"),
        found.json(),
        found.violations.iter().map(diagnostic::github).collect::<Vec<_>>().join("\n"),
    ];
    for output in &outputs {
        assert!(!output.contains("Zq9"), "{output}");
    }
    expect![[r#"
        error[E0121]: the value looks like an Anthropic key
         --> a.yaml:7:24     Channel/payments spec.env[0].value
        7 |     - {name: A, value: «redacted»}
          |                        ^^^^^^^^^^^ not shown
          = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0121]: the value looks like a GitHub token
         --> a.yaml:8:24     Channel/payments spec.env[1].value
        8 |     - {name: B, value: "«redacted»", valeu: «redacted»}
          |                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ not shown
          = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0103]: unknown field `valeu`
         --> a.yaml:8:74     Channel/payments spec.env[1]
        8 |     - {name: B, value: "«redacted»", valeu: «redacted»}
          |                                      ^^^^^ did you mean `value`?  (allowed: name, value, valueFrom, $patch)
        error[E0121]: the value looks like a GitHub token
         --> a.yaml:8:81     Channel/payments spec.env[1].valeu
        8 |     - {name: B, value: "«redacted»", valeu: «redacted»}
          |                                             ^^^^^^^^^^^ not shown
          = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0105]: expected a string, found a list
         --> a.yaml:9:24     Channel/payments spec.env[2].value
        9 |     - {name: C, value: [«redacted»]}
          |                        ^ expected a string
        error[E0121]: the value looks like a Slack token
         --> a.yaml:9:25     Channel/payments spec.env[2].value[0]
        9 |     - {name: C, value: [«redacted»]}
          |                         ^^^^^^^^^^^^ not shown
          = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0110]: unknown value `«redacted»`
          --> a.yaml:10:9     Channel/payments spec.user
        10 |   user: «redacted»
           |         ^^^^^^^^^^ not one of the allowed values  (allowed: Owner, Image)
        error[E0121]: the value looks like a JSON web token
          --> a.yaml:10:9     Channel/payments spec.user
        10 |   user: «redacted»
           |         ^^^^^^^^^^ not shown
           = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0121]: the value looks like a private key
          --> a.yaml:13:7     Channel/payments spec.agent.systemPrompt
        13 |       «redacted»
           |       ^^^^^^^^^^ not shown
           = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0121]: the value looks like a password within a URL
          --> a.yaml:15:12     Channel/payments spec.agent.model
        15 |     model: https://me:«redacted»@host/
           |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^ not shown
           = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0103]: unknown field `«redacted»`
          --> a.yaml:16:5     Channel/payments spec.agent
        16 |     «redacted»: x
           |     ^^^^^^^^^^^^^ not a field here
           = allowed: bin, cli, model, systemPrompt, permissionMode, credentials, mcpServers, workspaceSettings, projectFile, args
        error[E0121]: the key looks like a GitHub token
          --> a.yaml:16:5     Channel/payments spec.agent
        16 |     «redacted»: x
           |     ^^^^^^^^^^^^^ not shown
        error[E0121]: the value looks like a Slack token
          --> a.yaml:17:12     Channel/payments spec.agent.args[0]
        17 |     args: [--model=«redacted»]
           |            ^^^^^^^^^^^^^^^^^^^ not shown
           = specs lie in Git: put it into the secrets directory and name it, with valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed
        error[E0122]: chanop sets `--model` itself
          --> a.yaml:17:12     Channel/payments spec.agent.args[0]
        17 |     args: [--model=«redacted»]
           |            ^^^^^^^^^^^^^^^^^^^ not here
           = use agent.model
        error[E0101]: not YAML: mapping values are not allowed in this context
         --> b.yaml:1:50
        1 | a: «redacted»: «redacted»
          |              ^ a second `:`
          = put a text that has `: ` in it into quotes, or check the indentation
        15 errors, 0 warnings in 2 of 2 files; Docker not asked; policy: built-in"#]].assert_eq(&outputs[0]);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let text = channel("  user: \"\\e[2J\"\n  \u{1b}[31mred: 1\n");
    for line in found(&[("a\u{1b}.yaml", &text)]).lines(false) {
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn a_long_line_is_shown_around_the_caret_and_a_short_one_whole() {
    says(
        "  hostSelector: {a: a,  b: [] }\n",
        &expect![[r#"
            error[E0105]: expected a string, found a list
             --> a.yaml:6:28     Channel/payments spec.hostSelector.b
            6 |   hostSelector: {a: a,  b: [] }
              |                            ^ expected a string
            1 error, 0 warnings in 1 of 1 file; Docker not asked; policy: built-in"#]],
    );
    says(
        &format!("  env: [{{name: A, value: \"{}\", valeu: x}}]\n", "long ".repeat(60)),
        &expect![[r#"
            error[E0103]: unknown field `valeu`
             --> a.yaml:6:330     Channel/payments spec.env[0]
            6 | …g long long long long long long long ", valeu: x}]
              |                                          ^^^^^ did you mean `value`?  (allowed: name, value, valueFrom, $patch)
            1 error, 0 warnings in 1 of 1 file; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn programs_read_the_same() {
    let found = found(&[("a,b.yaml", &channel("  home: {tipe: x}\n"))]);
    expect![[r#"
        [
          {
            "code": "E0103",
            "severity": "error",
            "file": "a,b.yaml",
            "line": 6,
            "column": 10,
            "length": 4,
            "path": "spec.home",
            "object": "channel/payments",
            "message": "unknown field `tipe`",
            "label": "not a field here",
            "suggestion": "type",
            "help": "allowed: type"
          }
        ]"#]]
    .assert_eq(&found.json());
    expect!["::error file=a%2Cb.yaml,line=6,col=10,title=E0103 Channel/payments spec.home::unknown field `tipe`; did you mean `type`? (allowed: type)"].assert_eq(&diagnostic::github(&found.violations[0]));
}

#[test]
fn what_the_policy_forbids_without_a_look_at_the_host() {
    says(
        "  network: {mode: Host}\n  mounts: ['/etc:/host/etc', '~/.ssh:~/.ssh']\n  user: \"0:0\"\n  securityContext: {capabilities: {add: [SYS_ADMIN]}}\n",
        &expect![[r#"
            error[E0130]: the host's network is not allowed
             --> a.yaml:6:13     Channel/payments spec.network.mode
            6 |   network: {mode: Host}
              |             ^^^^ forbidden by NoHostNetwork
            error[E0130]: /etc is not below the owner's home /home/ann
             --> a.yaml:7:3     Channel/payments spec.mounts[0].source
            7 |   mounts: ['/etc:/host/etc', '~/.ssh:~/.ssh']
              |   ^^^^^^ forbidden by BelowHome
            error[E0130]: /home/ann/.ssh lies at a dot-name of /home/ann, where the host's own settings are
             --> a.yaml:7:3     Channel/payments spec.mounts[1].source
            7 |   mounts: ['/etc:/host/etc', '~/.ssh:~/.ssh']
              |   ^^^^^^ forbidden by NoDotPath
            error[E0130]: containers do not run as uid 0
             --> a.yaml:8:3     Channel/payments spec.user
            8 |   user: "0:0"
              |   ^^^^ forbidden by NoRoot
            error[E0130]: containers do not run with gid 0, the group of root
             --> a.yaml:8:3     Channel/payments spec.user
            8 |   user: "0:0"
              |   ^^^^ forbidden by NoRootGroup
            error[E0130]: capability SYS_ADMIN is not allowed
             --> a.yaml:9:36     Channel/payments spec.securityContext.capabilities.add[0]
            9 |   securityContext: {capabilities: {add: [SYS_ADMIN]}}
              |                                    ^^^ forbidden by NoAddedCapability
            6 errors, 0 warnings in 1 of 1 file; Docker not asked; policy: built-in"#]],
    );
}

#[test]
fn a_link_out_of_the_directory_is_refused_and_nothing_of_it_shown() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "hunter2: [").unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), directory.path().join("a.yaml"))
        .unwrap();
    let found = check(directory.path(), "/home/ann").unwrap();
    assert_eq!(found.violations.len(), 1);
    assert_eq!(found.violations[0].code.as_str(), "E0127");
    assert!(!found.lines(false).join("\n").contains("hunter2"));
}

#[test]
fn a_directory_that_is_not_there_is_no_empty_one() {
    assert!(check(std::path::Path::new("/no/such/directory"), "/home/ann").is_err());
}

#[test]
fn one_file_is_judged_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("draft.txt");
    std::fs::write(&path, channel("")).unwrap();
    let found = check(&path, "/home/ann").unwrap();
    assert_eq!((found.violations.len(), found.files), (0, 1));
}
