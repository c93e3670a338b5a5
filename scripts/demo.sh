#!/usr/bin/env bash
# `make demo`: chanop's main job, shown on this machine's Docker engine, in a directory of its own.
#
# What it makes carries the instance `demo` and goes away at the end, however that comes: containers, network, anchor
# volume, the directory, and the demo image unless it was there before. BIN is where chanop and chanop-init lie; `make`
# hands over development builds, because an optimised build takes minutes and shows nothing more.
set -euo pipefail
cd "$(dirname "$0")/.."

BIN=$(realpath "${BIN:?run it as: make demo}")
instance=demo
patience=120 # seconds that any one step may take; the whole is over in one minute on an idle machine

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s    %s%s\n' "$dim" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }
fail() {
    printf '\ndemo: %s\n' "$*" >&2
    if [[ -s $work/operator.log ]]; then printf 'the operator'\''s last lines:\n' >&2; tail -n 20 "$work/operator.log" >&2; fi
    exit 1
}
chanop() { "$BIN/chanop" "$@"; }

# --- what is made, and its end --------------------------------------------------------------------------------------

exec 9>"${XDG_RUNTIME_DIR:-/tmp}/chanop-demo-$UID.lock"
flock -n 9 || { echo 'demo: another demo runs; wait for it to end' >&2; exit 1; }

# The engine mounts directories from here, so it must be a place that both see: not a private /tmp, not a RAM disk.
work=$(mktemp -d /var/tmp/chanop-demo.XXXXXX)
operator=''
# Where the operator puts containers' secrets, if that is in memory.
if [[ $EUID -eq 0 ]]; then secrets=/run/chanop/$instance; else secrets=${XDG_RUNTIME_DIR:-$work}/chanop/$instance; fi
had_image=$(docker image ls -q chanop-demo:latest)

remove_containers() {
    local ids
    ids=$(docker ps -aq --filter "label=dev.chanop.instance=$instance")
    # shellcheck disable=SC2086 # a list of IDs
    if [[ -n $ids ]]; then docker rm -fv $ids; fi
    docker network rm "chanop_$instance" || true
    docker volume rm "chanop_anchor_$instance" || true
}

# The program itself and not the function above, whose process would be a shell's: signals must reach it.
start_operator() {
    "$BIN/chanop" operator --specs "$work/specs" --instance "$instance" --owner "$owner:$work/home" \
        --state-dir "$work/state" --secrets-dir "$work/secrets" --socket "$CHANOP_SOCKET" --listen "127.0.0.1:$port" \
        >>"$work/operator.log" 2>&1 9>&- &
    operator=$!
}

stop_operator() {
    if [[ -z $operator ]]; then return 0; fi
    kill -TERM "$operator" 2>/dev/null || true
    wait "$operator" 2>/dev/null || true
    operator=''
}

tidy() {
    local code=$?
    trap - EXIT INT TERM
    stop_operator
    remove_containers >/dev/null 2>&1
    if [[ -z $had_image ]]; then docker image rm chanop-demo:latest >/dev/null 2>&1 || true; fi
    # Secrets lie in directories that even their owner cannot write by mistake.
    chmod -R u+w "$work" "$secrets" 2>/dev/null || true
    rm -rf "$work" "$secrets"
    rmdir "${secrets%/*}" 2>/dev/null || true
    exit "$code"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
remove_containers >/dev/null 2>&1 # of a demo that was killed

# --- helpers that look ----------------------------------------------------------------------------------------------

# until_true WHAT COMMAND…: again and again until it succeeds; one line of progress whenever the answer changes.
until_true() {
    local what=$1 began=$SECONDS
    shift
    until "$@"; do
        if [[ -n $operator ]] && ! kill -0 "$operator" 2>/dev/null; then fail "the operator ended by itself"; fi
        if ((SECONDS - began > patience)); then fail "$what did not come about within $patience s"; fi
        sleep 0.2
    done
}
ready_count() { chanop get channels 2>/dev/null | awk '$2 == "True"' | wc -l; }
last_ready=-1
all_ready() {
    local now
    now=$(ready_count)
    if [[ $now != "$last_ready" ]]; then note "$now of $total channels ready"; last_ready=$now; fi
    [[ $now == "$total" ]]
}
container() { docker inspect --format "$2" "chanop_${instance}_$1" 2>/dev/null; }
is() { [[ "$(container "$1" "$2")" == "$3" ]]; }
is_not() { local now; now=$(container "$1" "$2") && [[ -n $now && $now != "$3" ]]; }

metrics() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
    tr -d '\r' <&3 | grep -E '^chanop_(actions_total|reconciles_total|events_total|relists_total|channels_running|channels\{|runs_ended_total|cost_dollars_total|tokens_total|engine_calls_total\{[^}]*code="ok")' | sort
    exec 3>&-
}
# phase RUN PHASE: is it that far?
phase() { chanop get "run/$1" -o json 2>/dev/null | grep -q "\"phase\": *\"$2\""; }
answers() { chanop get all >/dev/null 2>&1; }

free_port() {
    local candidate
    for candidate in $(seq 19841 19940); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; then echo "$candidate"; return 0; fi
    done
    fail "no free port between 19841 and 19940"
}

# --- the demo -------------------------------------------------------------------------------------------------------

chmod 755 "$work"
mkdir "$work/home"
cp -r examples/quickstart "$work/specs"
chmod -R go-w "$work/specs"
if [[ $EUID -eq 0 ]]; then owner=1000:1000; else owner=$(id -u):$(id -g); fi
chown "$owner" "$work/home"
total=$(grep -rh '^kind: Channel$' "$work/specs" | wc -l)
port=$(free_port)
export CHANOP_SOCKET=$work/run/chanop.sock

step "The image of the quickstart, made from nothing"
show chanop demo-image
chanop demo-image

step "The operator, on a copy of examples/quickstart"
show "chanop operator --specs specs --instance $instance --owner $owner:…/home"
start_operator
until_true "every channel ready" all_ready
metrics >"$work/before"
show chanop get channels
chanop get channels

step "A command in a shell: it runs as the owner, in the workspace"
show "chanop exec web -- sh -c 'id; pwd; touch hello; ls -l'"
chanop exec web -- sh -c 'id; pwd; touch hello; ls -l'

step "A file changes: the class gives more memory, and Docker can do that to running containers"
id=$(container notes '{{.Id}}')
show "sed -i 's/memory: 128Mi/memory: 192Mi/' class.yaml"
sed -i 's/memory: 128Mi/memory: 192Mi/' "$work/specs/class.yaml"
until_true "the new limit" is notes '{{.HostConfig.Memory}}' $((192 * 1024 * 1024))
is notes '{{.Id}}' "$id" || fail "notes was made anew for a change that Docker makes in place"
note "notes has $(container notes '{{.HostConfig.Memory}}') bytes now, in the same container ${id:0:12}"

step "A file changes: web gets another environment, which needs a new container, while somebody is in the old one"
chanop exec web -- sh -c 'until [ -e /tmp/leave ]; do sleep 0.2; done' >/dev/null 2>&1 9>&- &
visitor=$!
visited() { is_not web '{{len .ExecIDs}}' 0; }
until_true "the visitor's session" visited
id=$(container web '{{.Id}}')
show "sed -i 's/hello from the channel/hello again/' web.yaml"
sed -i 's/hello from the channel/hello again/' "$work/specs/web.yaml"
planned() { { chanop plan 2>/dev/null || true; } | grep -q 'recreate.*web\|web.*recreate'; }
until_true "the plan" planned
show chanop plan
chanop plan || [[ $? -eq 2 ]] || fail "chanop plan ended with neither 0 nor 2"
is web '{{.Id}}' "$id" || fail "web was taken away while somebody was in it"
note "nobody's work is yanked away: it waits. Now the visitor leaves."
chanop exec web -- touch /tmp/leave
wait "$visitor" || fail "the visitor's session did not end well"
until_true "the new container" is_not web '{{.Id}}' "$id"
last_ready=-1
until_true "every channel ready" all_ready
show "chanop exec web -- sh -c 'echo \$GREETING'"
chanop exec web -- sh -c 'echo "$GREETING"'

step "A container dies"
show "docker kill chanop_${instance}_notes"
began=$(container "notes" '{{.State.StartedAt}}')
docker kill "chanop_${instance}_notes"
until_true "the shell's return" is_not "notes" '{{.State.StartedAt}}' "$began"
until_true "the shell's return" is "notes" '{{.State.Running}}' true
last_ready=-1
until_true "every channel ready" all_ready
show chanop get channels
chanop get channels

step "A run, dispatched from a file: the agent once, in a container of its own"
note "no real agent is in the demo's image: a script in the workspace, agent.sh, speaks for the Claude Code CLI,"
note "with its flags and its stream of JSON; models are asked nothing, and the dollars are made up"
desk=$work/home/chanop-quickstart/notes
cat >"$desk/agent.sh" <<'AGENT'
#!/bin/sh
# Speaks for the Claude Code CLI: the prompt on standard input, events on standard output.
prompt=$(cat)
session=none
for word in "$@"; do case $word in --session-id=*) session=${word#*=} ;; esac; done
turn() {
    printf '{"type":"assistant","message":{"id":"m%s","type":"message","role":"assistant","model":"a-script","content":[%s],"usage":{"input_tokens":1200,"output_tokens":80}},"session_id":"%s"}\n' "$1" "$2" "$session"
    sleep 1
}
echo "$CHANOP_RUN" >>executions
printf '{"type":"system","subtype":"init","cwd":"%s","session_id":"%s","tools":["Bash"],"model":"a-script"}\n' "$PWD" "$session"
turn 1 "{\"type\":\"text\",\"text\":\"You ask: $prompt\"}"
turn 2 '{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"ls"}}'
printf '{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"%s"}]},"session_id":"%s"}\n' "$(ls | tr '\n' ' ')" "$session"
turn 3 '{"type":"text","text":"I have looked around, and write it down."}'
printf '{"type":"result","subtype":"success","is_error":false,"num_turns":3,"result":"All is in order.","session_id":"%s","total_cost_usd":0.0421,"usage":{"input_tokens":3600,"output_tokens":240},"model_usage_since_last_result":{"a-script":{"inputTokens":3600,"outputTokens":240,"costUSD":0.0421}}}\n' "$session"
AGENT
chmod 755 "$desk/agent.sh"
printf '  agent: {bin: "%s"}\n' "$desk/agent.sh" >>"$work/specs/notes.yaml"
show "cat review.yaml"
tee "$work/specs/review.yaml" <<'RUN'
apiVersion: chanop.dev/v1alpha1
kind: Run
metadata: {name: review}
spec: {channelName: notes, prompt: Is everything in order?}
RUN
chmod go-w "$work/specs/review.yaml"
admitted() { chanop get run/review >/dev/null 2>&1; }
until_true "the run" admitted
show "chanop logs -f run/review"
chanop logs -f run/review
show "chanop get runs"
chanop get runs

step "The metrics that moved"
show "curl http://127.0.0.1:$port/metrics"
metrics >"$work/after"
comm -13 "$work/before" "$work/after"

step "Another run, ordered by hand; the operator is killed with -9 in the middle of it"
show "chanop run notes -p 'And now?' --name night --detach"
chanop run notes -p 'And now?' --name night --detach
until_true "the run's process" phase night Running
id=$(container notes_night_1 '{{.Id}}')
show "kill -9 $operator"
kill -9 "$operator"
wait "$operator" 2>/dev/null || true
operator=''
is notes_night_1 '{{.State.Running}}' true || fail "the run did not survive its operator"
note "it goes on in container ${id:0:12}; the next operator adopts it, and loses no turn"
start_operator
until_true "the operator's return" answers
show "chanop logs -f run/night"
chanop logs -f run/night
is notes_night_1 '{{.Id}}' "$id" || fail "night was given another container"
show "chanop describe run/night"
chanop describe run/night
[[ $(grep -c '^night$' "$desk/executions") == 1 ]] || fail "night was not executed once"

step "The end: the operator stops, and what the demo made is removed"
stop_operator
note "an operator that stops leaves its containers running: $(docker ps -q --filter "label=dev.chanop.instance=$instance" | wc -l) of $total do"
remove_containers >/dev/null 2>&1
left=$(docker ps -aq --filter "label=dev.chanop.instance=$instance")
[[ -z $left ]] || fail "containers are left: $left"
note "done in $SECONDS s"
