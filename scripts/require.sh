#!/usr/bin/env bash
# Installs what is missing of the tools named: cc, make, protoc, etcd, etcd-3.5, etcd-3.6, etcdctl, prometheus, wrk, chromium, curl,
# openssl, python3, venv, objcopy, dpkg-deb, debootstrap, systemd-analyze, systemd-nspawn, shellcheck, rustfmt, clippy, cargo-deb. Says
# nothing and changes nothing where all are there. Needs rustup for rustfmt and clippy, and Debian's package manager for most others.
# cargo-deb, etcd-3.5 and etcd-3.6 are built from source: target/tools/bin/cargo-deb, target/tools/etcd-3.6/etcd. The two etcds need Go
# 1.21 or newer, in /usr/local/go or in PATH. Go is not installed here, because the Go of Debian 12 is too old.
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where Debian keeps what installs; not in an ordinary user's PATH
PATH=/usr/local/go/bin:$PATH              # where Go is unpacked; before an older Go of Debian

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# protoc alone is not enough: etcd's protocol imports files that belong to another package.
have_protoc() {
    have protoc || return 1
    local dir status=0
    dir=$(mktemp -d)
    printf 'syntax = "proto3"; import "google/protobuf/descriptor.proto"; import "google/protobuf/struct.proto";\n' \
        >"$dir/probe.proto"
    protoc -I "$dir" --descriptor_set_out="$dir/out" "$dir/probe.proto" >/dev/null 2>&1 || status=1
    rm -rf "$dir"
    return "$status"
}

# From 1.21 on, Go downloads the newer Go that etcd asks for, unless it is told to use only itself.
have_go() {
    have go || return 1
    local least=1.21 version
    [[ $(go env GOTOOLCHAIN) == local ]] && least=1.24
    version=$(go env GOVERSION)
    printf '%s\n' "$least" "${version#go}" | sort -V -C
}

# Built by cargo and by Go, always in these versions.
cargo_deb=3.8.0
declare -A etcd_version=([etcd-3.5]=3.5.21 [etcd-3.6]=3.6.5)
tools=$(realpath -m "$(dirname "$0")/../target/tools")

packages=()
components=()
crates=()
etcds=()
for tool in "$@"; do
    case $tool in
        cc) have cc || packages+=(gcc libc6-dev) ;;
        make) have make || packages+=(make) ;;
        protoc) have_protoc || packages+=(protobuf-compiler libprotobuf-dev) ;;
        etcd) have etcd || packages+=(etcd-server) ;;
        etcd-3.5 | etcd-3.6)
            [[ $("$tools/$tool/etcd" --version 2>/dev/null) == "etcd Version: ${etcd_version[$tool]}"$'\n'* ]] && continue
            have_go || fail "$tool is built with Go 1.21 or newer (1.24 if GOTOOLCHAIN is local): install it in /usr/local/go or in PATH (https://go.dev/dl), then try again."
            etcds+=("$tool")
            ;;
        etcdctl) have etcdctl || packages+=(etcd-client) ;;
        prometheus) have prometheus && have promtool || packages+=(prometheus) ;;
        curl) have curl || packages+=(curl ca-certificates) ;;
        openssl) have openssl || packages+=(openssl) ;;
        venv) python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv) ;;
        wrk) have wrk || packages+=(wrk) ;;
        # Chromium does not run without any font.
        chromium) { have chromium && have chromedriver; } || packages+=(chromium chromium-driver fonts-dejavu-core) ;;
        python3) have python3 || packages+=(python3) ;;
        objcopy) have objcopy || packages+=(binutils) ;;
        dpkg-deb) have dpkg-deb || packages+=(dpkg) ;;
        debootstrap) have debootstrap || packages+=(debootstrap) ;;
        systemd-analyze) have systemd-analyze || packages+=(systemd) ;;
        systemd-nspawn) have systemd-nspawn || packages+=(systemd-container) ;;
        shellcheck) have shellcheck || packages+=(shellcheck) ;;
        cargo-deb) [[ $("$tools/bin/cargo-deb" --version 2>/dev/null) == "cargo-deb $cargo_deb" ]] || crates+=("cargo-deb@$cargo_deb") ;;
        rustfmt) cargo fmt --version >/dev/null 2>&1 || components+=(rustfmt) ;;
        clippy) cargo clippy --version >/dev/null 2>&1 || components+=(clippy) ;;
        *) fail "$0: unknown tool: $tool" ;;
    esac
done

have cargo || fail "cargo is not there: install Rust 1.89 or newer (https://rustup.rs), then try again."

if ((${#components[@]})); then
    have rustup || fail "missing: ${components[*]}. Without rustup they have to be installed the way Rust was."
    rustup component add "${components[@]}"
fi

build() {
    if ((${#crates[@]})); then
        echo "building: ${crates[*]}"
        cargo install --locked --root "$tools" "${crates[@]}"
    fi
    local etcd
    for etcd in "${etcds[@]}"; do
        build_etcd "$etcd" || fail "$etcd was not built. It needs the modules of Go (GOPROXY). A Go below 1.24 gets the newer Go from there too."
    done
}

# The versions of all modules follow from etcd's version, and Go compares them with its database of checksums.
build_etcd() ( # etcd-3.6
    module=go.etcd.io/etcd/server/v3
    echo "building: etcd ${etcd_version[$1]}"
    work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work" || return
    said=$(go mod init etcd 2>&1 && go get "$module@v${etcd_version[$1]}" 2>&1) || { printf '%s\n' "$said" >&2 && return 1; }
    go build -o "$tools/$1/etcd" "$module"
)

if ! ((${#packages[@]})); then
    build
    exit
fi

by_hand="Install these packages, or put their programs into PATH by other means: ${packages[*]}"
have apt-get || fail "No apt-get on this machine." "$by_hand"

as_root=()
if (($(id -u) != 0)); then
    have sudo || fail "Neither root nor sudo." "$by_hand"
    as_root=(sudo)
    [[ -t 0 ]] || as_root+=(-n) # nobody is there to type a password
    "${as_root[@]}" true || fail "sudo refuses." "$by_hand"
fi

# The packages of etcd and Prometheus start services on 127.0.0.1:2379 and on port 9090. Only the programs are wanted here, so for the
# length of the installation a policy forbids the start of services, unless the machine has a policy of its own.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    [[ -e $policy ]] && return
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
}

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}" </dev/null
}

echo "installing: ${packages[*]}"
services=()
[[ " ${packages[*]} " == *" etcd-server "* ]] && services+=(etcd)
[[ " ${packages[*]} " == *" prometheus "* ]] && services+=(prometheus)
((${#services[@]})) && forbid_services
# The package lists may be missing or old: then once more with new ones.
install || { "${as_root[@]}" apt-get update </dev/null && install; } || fail "The installation failed." "$by_hand"

for service in "${services[@]}"; do
    # Not at the next boot either.
    if [[ -d /run/systemd/system ]]; then
        "${as_root[@]}" systemctl disable --now "$service.service" || true
    elif have update-rc.d; then
        "${as_root[@]}" update-rc.d "$service" disable || true
    fi
done

build
