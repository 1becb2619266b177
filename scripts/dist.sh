#!/usr/bin/env bash
# Builds dist/service-center-VERSION-linux-amd64.tar.gz, its debug symbols, the Debian package, and SHA256SUMS. Two runs for the same
# commit and toolchain give the same bytes, also in different folders.
#
#   scripts/dist.sh archive | deb | all
#
# SERVICE_CENTER names a program that is packed as it is, instead of a release build. DIST_DIR is another folder than dist.
# SOURCE_DATE_EPOCH is the time of all packed files; without it the time of the commit.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
shopt -s nullglob

what=${1:-all}
[[ $what =~ ^(archive|deb|all)$ ]] || { echo "usage: $0 archive|deb|all" >&2; exit 64; }
root=$PWD
dist=${DIST_DIR:-dist}
version=$(sed -n '/^\[package\]/,/^\[dependencies\]/ s/^version = "\(.*\)"$/\1/p' Cargo.toml)
name=service-center-$version-linux-amd64
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export LC_ALL=C TZ=UTC

mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
# The packages are laid out here. Cargo.toml names this place for the Debian package. Archives that tests pack at once have their own.
stage=$root/target/package
if [[ $what == archive ]]; then
    stage=$(mktemp -d "$dist/stage.XXXXXX")
    trap 'rm -rf "$stage"' EXIT
fi
if [[ -n ${SERVICE_CENTER:-} ]]; then
    program=$(realpath "$SERVICE_CENTER")
else
    # The paths of this machine are in the messages of panics and in debug symbols. They are replaced.
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    for path in "$root" "$cargo_home"; do
        [[ $path != *[[:space:]]* ]] || { echo "the folder '$path' has a space in its name; build in another folder" >&2; exit 64; }
    done
    separator=$'\x1f'
    flags=("--remap-path-prefix=$cargo_home=/cargo" "--remap-path-prefix=$root=/build")
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$separator; echo "${flags[*]}") \
        CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$root=/build" \
        CARGO_INCREMENTAL=0 \
        cargo build --locked --release --bin service-center --target-dir target/dist
    program=$root/target/dist/release/service-center
    if grep --quiet --fixed-strings --text -e "$root/" -e "$cargo_home/" "$program"; then
        echo "$program names a folder of this machine, so another folder gives other bytes" >&2
        exit 70
    fi
fi

rm -rf "$stage"
tree=$stage/$name
mkdir -p "$tree"/completions/{bash,fish,zsh} "$tree/conf" "$tree/deploy" "$tree/docs" "$tree/man" "$tree/systemd"
objcopy --strip-all "$program" "$tree/service-center"
if [[ -z ${SERVICE_CENTER:-} ]]; then
    objcopy --only-keep-debug --compress-debug-sections "$program" "$stage/service-center.debug"
    (cd "$stage" && objcopy --add-gnu-debuglink=service-center.debug "$tree/service-center")
fi
chmod 755 "$tree/service-center"
# The name of the original's tool. The man pages and the completions come from the program that is packed.
ln -s service-center "$tree/scctl"
"$program" ctl man "$tree/man"
for called in ctl scctl; do
    command=${called/#ctl/service-center}
    "$program" "$called" completion bash >"$tree/completions/bash/$command"
    "$program" "$called" completion fish >"$tree/completions/fish/$command.fish"
    "$program" "$called" completion zsh >"$tree/completions/zsh/_$command"
done
cp conf/app.conf "$tree/conf/"
cp deploy/archive/{README.md,start.sh,stop.sh} "$tree/"
# The names of the original's release.
ln -s start.sh "$tree/start-service-center.sh"
ln -s stop.sh "$tree/stop-service-center.sh"
cp CHANGELOG.md LICENSE "$tree/"
cp -r docs/. "$tree/docs/"
# docs/monitoring.md names these files so.
cp -r deploy/prometheus deploy/grafana "$tree/deploy/"
cp deploy/systemd/service-center.service "$tree/systemd/"
scripts/licenses.py >"$tree/THIRD-PARTY-LICENSES.txt"

pack() { # ARCHIVE FOLDER NAME...
    local archive=$1 folder=$2
    shift 2
    tar --create --directory="$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX --format=gnu "$@" | gzip --no-name -9 >"$archive"
}

if [[ $what != deb ]]; then
    pack "$dist/$name.tar.gz" "$stage" "$name"
    [[ -n ${SERVICE_CENTER:-} ]] || pack "$dist/$name-debug.tar.gz" "$stage" service-center.debug
fi
if [[ $what != archive ]]; then
    # Cargo.toml names this folder, without the version.
    ln -s "$name" "$stage/tree"
    deb_version=${DEB_VERSION:-$version-1}
    PATH=$root/target/tools/bin:$PATH cargo deb --locked --no-build --no-strip --deb-version "$deb_version" \
        --output "$dist/service-center_${deb_version}_amd64.deb"
fi
cd "$dist"
sha256sum -- *.tar.gz *.deb >SHA256SUMS
ls -l
