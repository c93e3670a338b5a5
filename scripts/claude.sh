#!/usr/bin/env bash
# `make claude`: the Claude Code CLI for this machine, out of the wheel of a Python package, and where it is on standard output.
#
# It is not ours to pass on, so it lies outside the tree, in a directory with its version. What is there was checked before it
# was put there: nothing is fetched or read again. The pins stand in agent/Dockerfile, for here and for the image.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "claude: $*" >&2; exit 1; }
pin() { sed -n "s/^ARG $1=//p" agent/Dockerfile; }

[[ $(uname -s) == Linux ]] || fail "the agent's image is for Linux; this is $(uname -s)"
machine=$(uname -m)
case $machine in
    x86_64 | aarch64) ;;
    *) fail "there is no CLI for $machine; x86_64 and aarch64 have one" ;;
esac
wheel_hash=$(pin "WHEEL_${machine^^}")
cli_hash=$(pin "CLI_${machine^^}")
directory=${XDG_CACHE_HOME:-$HOME/.cache}/chanop/claude-$(pin VERSION)
claude=$directory/claude

if [[ -x $claude ]]; then
    echo "$claude"
    exit 0
fi
python=$(command -v python3) || fail "python3 is missing (the CLI comes in a Python package); on Debian or Ubuntu: apt-get install python3 python3-pip"
"$python" -m pip --version >/dev/null 2>&1 || fail "python3 has no pip; on Debian or Ubuntu: apt-get install python3-pip"

# Two at once would fetch it twice. What an interrupted one left is used: a wheel only if it is whole, anything else not.
mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
if [[ ! -x $claude ]]; then
    work=$directory/partial
    mkdir -p "$work"
    wheel() { find "$work" -name '*.whl' -print -quit; }
    holds() { [[ -n $1 ]] && echo "$2  $1" | sha256sum --check --status -; }
    if ! holds "$(wheel)" "$wheel_hash"; then
        rm -rf "${work:?}"/*
        echo "claude: fetching $(pin PACKAGE), 170 MB" >&2
        echo "$(pin PACKAGE) --hash=sha256:$wheel_hash" >"$work/pins"
        # --isolated would forget the index that this machine is set up to use; the hash is what we trust.
        "$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
            --platform "manylinux_2_17_$machine" --require-hashes -r "$work/pins" -d "$work" >&2 \
            || fail "pip could not fetch $(pin PACKAGE)"
    fi
    echo "claude: unpacking, 380 MB" >&2
    rm -rf "$work/unpacked"
    "$python" -m zipfile -e "$(wheel)" "$work/unpacked"
    unpacked=$work/unpacked/claude_agent_sdk/_bundled/claude
    holds "$unpacked" "$cli_hash" || fail "the CLI in the package is not the one that was pinned; remove $work"
    chmod 755 "$unpacked"
    mv "$unpacked" "$claude"
    rm -rf "$work"
fi
echo "$claude"
