#!/usr/bin/env bash
# Installs, starts, upgrades, removes and purges the Debian package of scripts/dist.sh in a Debian 12 of its own, whose systemd runs as its
# process 1. Then installs the archive there as docs/install.md says. Nothing on this machine changes. Needs root, debootstrap and
# systemd-nspawn.
#
#   scripts/deb-test.sh [FOLDER]
#
# FOLDER holds the packages; without it dist.
# The Debian is made once, in target/deb-test/debian. Each run uses a fresh copy.
set -euo pipefail

cd "$(dirname "$0")/.."
(($(id -u) == 0)) || { echo "this test needs root, because it starts a systemd of its own" >&2; exit 77; }

version=$(sed -n '/^\[package\]/,/^\[dependencies\]/ s/^version = "\(.*\)"$/\1/p' Cargo.toml)
dist=$(realpath "${1:-dist}")
here=$PWD/target/deb-test
limit_s=600

mkdir -p "$here"
if [[ ! -x $here/debian/usr/bin/man ]]; then
    rm -rf "$here/debian" "$here/debian.new"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,procps,man-db bookworm "$here/debian.new"
    mv "$here/debian.new" "$here/debian"
fi

echo "- the same program as a newer version"
DEB_VERSION=$version-2 DIST_DIR=$here/newer scripts/dist.sh deb >/dev/null

machine=$(mktemp -d "$here/machine.XXXXXX")
trap 'rm -rf --one-file-system "$machine"' EXIT
cp -a "$here/debian/." "$machine/"
mkdir "$machine/test"
cp "$dist/service-center_$version-1_amd64.deb" "$machine/test/older.deb"
cp "$dist/service-center-$version-linux-amd64.tar.gz" "$machine/test/archive.tar.gz"
cp "$here/newer/service-center_$version-2_amd64.deb" "$machine/test/newer.deb"
cp scripts/deb-test-inside.sh "$machine/test/inside.sh"
cp scripts/complete.sh "$machine/test/complete.sh"
# The machine runs the script when it has started, and ends with its result.
cat >"$machine/etc/systemd/system/deb-test.service" <<'UNIT'
[Unit]
After=multi-user.target
SuccessAction=exit
FailureAction=exit
SuccessActionExitStatus=0
FailureActionExitStatus=1

[Service]
Type=oneshot
ExecStart=/bin/bash /test/inside.sh
StandardOutput=file:/test/output
StandardError=file:/test/output
UNIT
mkdir -p "$machine/etc/systemd/system/default.target.wants"
ln -s ../deb-test.service "$machine/etc/systemd/system/default.target.wants/deb-test.service"

status=0
timeout --kill-after=30 "$limit_s" systemd-nspawn --quiet --directory="$machine" --boot --register=no --keep-unit \
    --private-network --console=pipe </dev/null >"$here/console.log" 2>&1 || status=$?
cat "$machine/test/output" 2>/dev/null || tail -n 30 "$here/console.log"
((status == 0)) || echo "FAILED; what the machine printed is in $here/console.log" >&2
exit "$status"
