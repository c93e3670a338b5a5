#!/usr/bin/env bash
# Puts promtool at the path given, out of Debian's or Ubuntu's package, without installing the package.
set -euo pipefail

target=$1
fail() { echo "promtool: $*; install it from https://prometheus.io/download/ and put it on PATH" >&2; exit 1; }

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "not found, and this is neither Debian nor Ubuntu"
mkdir -p "$(dirname "$target")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
echo "promtool: taking it out of the prometheus package"
if ! apt-get download -qq prometheus 2>apt.log; then
    # No package lists yet: a fresh machine. Only root may fetch them.
    { apt-get update -qq && apt-get download -qq prometheus; } >>apt.log 2>&1 || fail "apt-get could not download it ($(tail -n1 apt.log))"
fi
dpkg-deb --fsys-tarfile prometheus_*.deb | tar x ./usr/bin/promtool
mv usr/bin/promtool "$target"
