#!/usr/bin/env bash
# Sees to it that a Docker engine answers, and that the `docker` command is there.
#
# An engine that answers is left as it is. Without one, root on Debian or Ubuntu gets docker.io installed and dockerd
# started; everybody else gets one line that says what to do.
set -euo pipefail

log=/var/log/chanop-dockerd.log
say() { echo "docker: $*"; }
fail() { echo "docker: $*" >&2; exit 1; }

version() { timeout 20 docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})' 2>/dev/null; }
answers() { command -v docker >/dev/null && [[ -n "$(version)" ]]; }

install_packages() {
    say "installing docker.io and iptables"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # From Debian 13 on, the command is a package of its own.
    local packages=(docker.io iptables ca-certificates)
    if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
    apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null >"$log.apt" 2>&1 \
        || fail "apt-get could not install docker.io; see $log.apt"
}

wait_until_it_answers() {
    local pid=$1
    for _ in $(seq 60); do
        if answers; then return 0; fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 1
    done
    return 1
}

# A killed engine leaves files with process numbers behind, which may be somebody else's by now; dockerd believes them.
forget_the_dead() {
    local file program pid
    for file in docker.pid:dockerd docker/containerd/containerd.pid:containerd; do
        program=${file#*:} file=/var/run/${file%%:*}
        pid=$(cat "$file" 2>/dev/null || true)
        if [[ -n "$pid" && "$(cat "/proc/$pid/comm" 2>/dev/null || true)" != "$program" ]]; then rm -f "$file"; fi
    done
}

start_dockerd() {
    forget_the_dead
    if [[ -d /run/systemd/system ]]; then
        say "starting it with systemctl"
        systemctl start docker && wait_until_it_answers 1 && return 0
        fail "systemctl started docker, but it does not answer; see: journalctl -u docker"
    fi
    # Where nftables cannot be used (some kernels and containers), the older tables often can.
    local tables
    for tables in "" iptables-legacy; do
        if [[ -n "$tables" ]]; then
            [[ -x /usr/sbin/$tables ]] || continue
            say "trying again with $tables"
            update-alternatives --set iptables "/usr/sbin/$tables" >/dev/null
        fi
        say "starting dockerd in the background; its log is $log"
        setsid dockerd </dev/null >>"$log" 2>&1 &
        if wait_until_it_answers $!; then return 0; fi
    done
    fail "dockerd does not come up: $(grep -E 'failed to start|level=fatal|^panic' "$log" | tail -n1) (all of it: $log)"
}

if answers; then
    say "engine $(version) answers"
    exit 0
fi

if [[ -n "${DOCKER_HOST:-}" ]]; then
    fail "DOCKER_HOST is $DOCKER_HOST, and no engine answers there (or the docker command is missing); start it, or unset DOCKER_HOST"
fi
if [[ $EUID -ne 0 ]]; then
    if [[ -S /var/run/docker.sock && ! -w /var/run/docker.sock ]]; then
        fail "an engine is there, but you may not use it: sudo usermod -aG docker $(id -un), then log in again"
    fi
    fail "no engine answers; start Docker, or run as root on Debian or Ubuntu: sudo make docker"
fi
command -v apt-get >/dev/null || fail "no engine answers; install Docker (https://docs.docker.com/engine/install/) and start it"

command -v dockerd >/dev/null && command -v docker >/dev/null || install_packages
answers || start_dockerd
say "engine $(version) answers now"
