#!/usr/bin/env bash
# Puts a program that the tests need at the path given, out of Debian's or Ubuntu's package, without installing the package:
# both that are fetched so would start a server of their own. The program's name is the path's last part.
set -euo pipefail

target=$1
name=${target##*/}
case $name in
    promtool) package=prometheus from=https://prometheus.io/download/ ;;
    docker-registry) package=docker-registry from=https://distribution.github.io/distribution/ ;;
    *) echo "tool.sh: nobody said which package $name is in" >&2; exit 1 ;;
esac
fail() { echo "$name: $*; install it from $from and put it on PATH" >&2; exit 1; }

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "not found, and this is neither Debian nor Ubuntu"
mkdir -p "$(dirname "$target")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
echo "$name: taking it out of the $package package"
if ! apt-get download -qq "$package" 2>apt.log; then
    # No package lists yet: a fresh machine. Only root may fetch them.
    { apt-get update -qq && apt-get download -qq "$package"; } >>apt.log 2>&1 || fail "apt-get could not download it ($(tail -n1 apt.log))"
fi
dpkg-deb --fsys-tarfile "$package"_*.deb | tar x "./usr/bin/$name"
mv "usr/bin/$name" "$target"
