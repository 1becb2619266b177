#!/usr/bin/env bash
# Builds the last stage of the Dockerfile with buildah and runs it with podman: scripts/deploy-check.sh image. Needs root, and BINARY, a built
# program, which takes the place of the first stage. No image is pulled: the base image is made of Debian's packages, under the name that
# the Dockerfile has, and holds what the real one holds: C library, libgcc, time zones, and the user nonroot.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-target/release/service-center}
base=gcr.io/distroless/cc-debian12:nonroot
image=service-center:check
work=$(mktemp -d)
started=()
etcd=

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

tidy_up() {
    local name
    for name in "${started[@]}"; do podman rm --force --time 0 "$name" >/dev/null 2>&1 || true; done
    [[ -z $etcd ]] || kill "$etcd" 2>/dev/null || true
    podman volume rm --force service-center-check >/dev/null 2>&1 || true
    podman image rm --all --force >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap tidy_up EXIT

for program in buildah podman crun curl dpkg-deb etcd python3; do
    command -v "$program" >/dev/null || fail "$program is not there, and this check needs it. The first three are Debian packages."
done
(($(id -u) == 0)) || fail "The check of the image needs root."
# crun refuses a machine with both kinds of cgroups. In a mount namespace of its own, it sees the new kind only.
if [[ ${1:-} != apart ]]; then
    rm -rf "$work"
    exec unshare --mount --propagation private bash -c 'mount -t cgroup2 none /sys/fs/cgroup && exec "$0" apart' "$0"
fi
[[ -x $binary ]] || fail "$binary is not there: build it, or name another program by BINARY=…"

# Images and containers of this check only, because the base image has the name of another one.
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/images"\nrunroot = "%s/run"\n' "$work" "$work" >"$work/storage.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf

make_base() {
    local container root package
    mkdir "$work/packages"
    (cd "$work/packages" && apt-get download --quiet --quiet --option APT::Sandbox::User=root libc6 libgcc-s1 tzdata)
    container=$(buildah from scratch)
    root=$(buildah mount "$container")
    for package in "$work"/packages/*.deb; do dpkg-deb --extract "$package" "$root"; done
    mkdir -p "$root/tmp" "$root/etc" "$root/home/nonroot"
    chmod 1777 "$root/tmp"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
    buildah unmount "$container" >/dev/null
    buildah config --user 65532 --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$base" >/dev/null
}

build() {
    mkdir -p "$work/built/image/bin" "$work/built/image/data"
    install "$binary" "$work/built/image/bin/service-center"
    ln -s service-center "$work/built/image/bin/scctl"
    sed -n "\|^FROM $base|,\$p" Dockerfile >"$work/Dockerfile"
    # Only the format of Docker has health checks.
    buildah build --quiet --format docker --pull-never --build-context build="$work/built" --ignorefile .dockerignore \
        --file "$work/Dockerfile" --tag "$image" . >/dev/null
}

# start NAME OPTION…: a container as a careful operator runs it. Without systemd, podman cannot run the health check by itself.
start() {
    local name=$1
    shift
    started+=("$name")
    podman run --detach --name "$name" --hostname "$name" --read-only --read-only-tmpfs=false --cap-drop all \
        --security-opt no-new-privileges --no-healthcheck --cgroups disabled --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
        "$@" "$image" >/dev/null
}

wait_healthy() { # NAME: by the command of the image's health check
    local end=$((SECONDS + 60))
    until podman exec "$1" "${health[@]}" >/dev/null 2>&1; do
        if ((SECONDS > end)) || [[ $(podman inspect --format '{{.State.Running}}' "$1") != true ]]; then
            podman logs "$1" >&2 || true
            fail "$1 is not healthy."
        fi
        sleep 0.5
    done
}

stop() { # NAME: in order, with exit code 0
    podman stop --time 30 "$1" >/dev/null
    [[ $(podman inspect --format '{{.State.ExitCode}}' "$1") == 0 ]] || fail "$1 has not stopped with 0."
}

url() { # NAME: of its registry
    printf 'http://%s:30100/v4/default/registry' "$(podman inspect --format '{{.NetworkSettings.IPAddress}}' "$1")"
}

says() { # FILE NAME VALUE: a line of /proc/…/status
    grep -Eq "^$2:[[:space:]]+$3([[:space:]]|$)" "$1" || fail "$2 is not $3:" "$(grep "^$2:" "$1")"
}

make_base
build
echo "the last stage of the Dockerfile is built, of $(podman image inspect --format '{{.Size}}' "$image") bytes"
mapfile -t health < <(podman image inspect "$image" | python3 -c '
import json, sys
config = json.load(sys.stdin)[0]
test = config["Healthcheck"]["Test"]
assert test[0] == "CMD" and config["Config"]["User"] == "65532:65532", config
assert {"title", "version", "licenses"} <= {name.rsplit(".", 1)[1] for name in config["Labels"]}, config["Labels"]
print("\n".join(test[1:]))')

# The embedded store: a volume, and nothing else that can be written.
podman volume create service-center-check >/dev/null
volume=(--volume service-center-check:/var/lib/service-center)
start embedded "${volume[@]}"
wait_healthy embedded
status=/proc/$(podman inspect --format '{{.State.Pid}}' embedded)/status
says "$status" Uid 65532
says "$status" Gid 65532
says "$status" CapEff 0000000000000000
says "$status" NoNewPrivs 1
if podman exec embedded sh -c true 2>/dev/null; then fail "The image has a shell."; fi
podman exec embedded scctl --addr http://embedded:30100 health >/dev/null || fail "scctl cannot ask the node."
[[ $(podman exec embedded scctl --addr http://embedded:30100 version) == *"$("$binary" --version | cut -d ' ' -f 2)"* ]] ||
    fail "scctl has another version."
[[ $(podman export embedded | tar --list --verbose usr/local/bin/scctl) == *"scctl -> service-center" ]] || fail "scctl is no link."
id=$(curl -s -f "$(url embedded)/microservices" -d '{"service": {"serviceName": "kept", "version": "1.0.0"}}')
[[ $(curl -s "$(url embedded)/health") == *rest://embedded:30100* ]] || fail "The node is not registered under the name of its container."
[[ $(podman logs embedded 2>&1) == *"listening on"* ]] || fail "The log does not go to standard output."
stop embedded
if podman start embedded >/dev/null && wait_healthy embedded; then
    [[ $(curl -s -f "$(url embedded)/existence?type=microservice&appId=default&serviceName=kept&version=1.0.0") == *"${id:14:40}"* ]] ||
        fail "The service is gone after a restart."
fi
stop embedded
echo "embedded store: healthy, as user 65532 without capabilities, on a read-only root; kept over a restart; stopped with 0"

# etcd, by the variable of the original's image, and with a configuration of the original mounted.
mkdir -p "$work/conf" "$work/etcd"
printf 'server:\n  host: 127.0.0.1\nregistry:\n  kind: embedded_etcd\nlog:\n  file: ./service-center.log\n' >"$work/conf/app.yaml"
chmod -R go+rX "$work"
gateway=$(podman network inspect podman --format '{{range .Subnets}}{{.Gateway}}{{end}}')
etcd --data-dir "$work/etcd" --listen-client-urls "http://$gateway:23790" --advertise-client-urls "http://$gateway:23790" \
    --listen-peer-urls http://127.0.0.1:23800 --initial-advertise-peer-urls http://127.0.0.1:23800 \
    --initial-cluster default=http://127.0.0.1:23800 >"$work/etcd.log" 2>&1 &
etcd=$!
for node in node1 node2; do
    start "$node" --env BACKEND_ADDRESS="$gateway:23790" --volume "$work/conf:/opt/service-center/conf:ro"
done
for node in node1 node2; do wait_healthy "$node"; done
curl -s -f "$(url node1)/health" >"$work/health"
grep -q 'rest://node1:30100' "$work/health" && grep -q 'rest://node2:30100' "$work/health" ||
    fail "The nodes do not see each other:" "$(cat "$work/health")"
for node in node1 node2; do stop "$node"; done
kill "$etcd"
wait "$etcd" || true
etcd=
echo "etcd: two nodes by BACKEND_ADDRESS, with nothing that can be written; stopped with 0"
