#!/usr/bin/env bash
# Unpacks an archive of scripts/dist.sh and follows docs/cluster.md with two nodes on one etcd, on this machine.
#
#   scripts/dist-test.sh [ARCHIVE]
#
# The nodes are on 127.0.0.2:30100 and 127.0.0.3:30100, etcd on 127.0.0.4. DIST_NET is the first three bytes of other addresses.
set -euo pipefail
export LC_ALL=C

root=$(realpath "$(dirname "$0")/..")
version=$(sed -n '/^\[package\]/,/^\[dependencies\]/ s/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
archive=$(realpath "${1:-$root/dist/service-center-$version-linux-amd64.tar.gz}")
net=${DIST_NET:-127.0.0}
nodes=("$net.2" "$net.3")
etcd_address=$net.4
port=30100
api=/v4/default/registry
limit_s=60
# What a system with glibc of this version brings. docs/install.md names both.
lowest_glibc=2.34
libraries='^(linux-vdso|libgcc_s|libm|libc|ld-linux-x86-64)\.so'

here=$(mktemp -d)
etcd_pid=
clean_up() {
    trap - EXIT
    local node
    for node in "$here"/node-*/*/; do
        [[ ! -x $node/stop.sh ]] || "$node/stop.sh" >/dev/null || true
    done
    [[ -z $etcd_pid ]] || kill -TERM "$etcd_pid" 2>/dev/null || true
    wait
    rm -rf "$here"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$here"/*.log "$here"/node-*/*/service-center.log "$here"/node-*/*/service-center.out 2>/dev/null >&2 || true
    exit 1
}

step() {
    echo "- $*"
}

# ask METHOD ADDRESS PATH [BODY]: prints the answer, status line first
ask() {
    timeout 10 bash -c '
        exec 3<>"/dev/tcp/$1/$2" || exit 1
        printf "%s %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\nContent-Length: %s\r\n\r\n%s" \
            "$0" "$3" "$1" "$2" "${#4}" "$4" >&3
        cat <&3' "$1" "$2" "$port" "$3" "${4:-}" 2>/dev/null
}

# returns CODE COMMAND...: the command exits with this code
returns() {
    local expected=$1 code=0
    shift
    "$@" >"$here/output" 2>&1 || code=$?
    ((code == expected)) || fail "$* exits with $code instead of $expected: $(cat "$here/output")"
}

says() { # TEXT: the last command said so
    grep --quiet --fixed-strings -- "$1" "$here/output" || fail "'$1' is missing in: $(cat "$here/output")"
}

eventually() { # COMMAND...
    local end=$((SECONDS + limit_s))
    until "$@"; do
        ((SECONDS < end)) || fail "not within $limit_s s: $*"
        sleep 0.1
    done
}

lists() { # NODE COUNT: /health lists so many nodes
    local answer
    answer=$(ask GET "$1" "$api/health") || return 1
    [[ $answer == "HTTP/1.1 200"* && $(grep -o '"instanceId"' <<<"$answer" | wc -l) == "$2" ]]
}

finds() { # NODE INSTANCE
    [[ $(ask GET "$1" "$api/instances?appId=default&serviceName=orders") == *"\"instanceId\":\"$2\""* ]]
}

# unpack NAME: prints the folder of the archive
unpack() {
    mkdir "$here/$1"
    tar --extract --gzip --file="$archive" --directory="$here/$1"
    echo "$here/$1"/*
}

edit() { # FOLDER ADDRESS: the two edits of docs/cluster.md
    sed -i -e "s/^# httpaddr = 10\.12\.0\.1\$/httpaddr = $2/" \
        -e "s/^# manager_cluster = \"10\..*/manager_cluster = \"$etcd_address:2379\"/" "$1/conf/app.conf"
    [[ $(grep -c '^[^#]' "$1/conf/app.conf") == 2 ]] || fail "conf/app.conf has other lines than the two edits"
    returns 0 "$1/service-center" --version
    (cd "$1" && returns 0 ./service-center check-config)
    says "server.host = $2"
    says '0 warning(s)'
}

step "the checksums are right"
sums=$(dirname "$archive")/SHA256SUMS
(cd "$(dirname "$archive")" && sha256sum --check --strict --quiet "$sums") || fail "SHA256SUMS"

step "the archive has the files, and nobody's traces"
list=$(tar --list --verbose --gzip --numeric-owner --full-time --file="$archive")
for file in service-center conf/app.conf start.sh stop.sh start-service-center.sh stop-service-center.sh README.md CHANGELOG.md \
    LICENSE THIRD-PARTY-LICENSES.txt docs/cluster.md docs/install.md systemd/service-center.service deploy/prometheus/alerts.yml \
    deploy/grafana/service-center.json scctl man/scctl.1 man/service-center.1 completions/bash/scctl completions/fish/scctl.fish \
    completions/zsh/_scctl; do
    grep --quiet -E "/${file//./\\.}( -> .*)?\$" <<<"$list" || fail "$file is missing"
done
[[ $(awk '{ print $2 }' <<<"$list" | sort -u) == 0/0 ]] || fail "files belong to somebody"
[[ $(awk '{ print $4, $5 }' <<<"$list" | sort -u | wc -l) == 1 ]] || fail "files have different times"
[[ $(awk '{ print $1 }' <<<"$list" | sort -u | tr '\n' ' ') == "-rw-r--r-- -rwxr-xr-x drwxr-xr-x lrwxr-xr-x " ]] || fail "files have other rights"

first=$(unpack node-1)
second=$(unpack node-2)

step "the links of its pages lead to files of it"
while IFS=: read -r page link; do
    [[ -e $(dirname "$page")/$link ]] || fail "$page links to $link"
done < <(cd "$first" && grep --recursive --only-matching --perl-regexp --include='*.md' '\]\(\K[^)#:]+(?=[)#])' "$PWD")

step "the program needs glibc $lowest_glibc and nothing else"
needed=$(ldd "$first/service-center" | awk '{ print $1 }' | sed 's,.*/,,' | grep -vE "$libraries" || true)
[[ -z $needed ]] || fail "it needs $needed"
newest=$(objdump -T "$first/service-center" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
[[ $(printf '%s\n' "$newest" "GLIBC_$lowest_glibc" | sort -V | tail -n 1) == "GLIBC_$lowest_glibc" ]] || fail "it needs $newest"

step "etcd starts, with the options that docs/cluster.md prescribes"
options=(--backend-batch-interval=10ms --quota-backend-bytes=8589934592)
grep --quiet --fixed-strings -- "${options[*]}" "$first/docs/cluster.md" || fail "docs/cluster.md no longer shows '${options[*]}'"
etcd --name local --data-dir "$here/etcd" "${options[@]}" \
    --listen-client-urls "http://$etcd_address:2379" --advertise-client-urls "http://$etcd_address:2379" \
    --listen-peer-urls "http://$etcd_address:2380" --initial-advertise-peer-urls "http://$etcd_address:2380" \
    --initial-cluster "local=http://$etcd_address:2380" >"$here/etcd.log" 2>&1 &
etcd_pid=$!

step "two edits on each node"
for line in 'httpaddr = 10.12.0.1' 'manager_cluster = "10.12.0.4:2379'; do
    grep --quiet "^$line" "$first/docs/cluster.md" || fail "docs/cluster.md no longer shows '$line'"
done
edit "$first" "${nodes[0]}"
edit "$second" "${nodes[1]}"

step "both nodes start, once"
returns 0 "$first/start.sh"
says 'serves as process'
returns 0 "$second/start-service-center.sh"
returns 0 "$second/start.sh"
says 'already runs'

step "each lists both"
for node in "${nodes[@]}"; do eventually lists "$node" 2; done

step "what is registered on one is found on the other"
answer=$(ask POST "${nodes[0]}" "$api/microservices" '{"service":{"serviceName":"orders","version":"1.0.0"}}')
service=$(sed -n 's/.*"serviceId":"\([^"]*\)".*/\1/p' <<<"$answer")
[[ -n $service ]] || fail "no service was registered: $answer"
instance='{"instance":{"instanceId":"orders-1","hostName":"host1","endpoints":["rest://10.0.0.7:8080"]}}'
answer=$(ask POST "${nodes[0]}" "$api/microservices/$service/instances" "$instance")
[[ $answer == "HTTP/1.1 200"* ]] || fail "no instance was registered: $answer"
eventually finds "${nodes[1]}" orders-1

step "scctl and service-center ctl ask both"
for node in "${nodes[@]}"; do
    returns 0 "$first/scctl" --addr "http://$node:$port" get instance orders --output name
    says "$service/orders-1"
    returns 0 "$second/service-center" ctl --addr "http://$node:$port" health
    returns 0 "$second/scctl" --addr "http://$node:$port" version
    says "$version"
done

step "man pages and completions are those of the program"
for page in scctl scctl-get-instance service-center; do
    [[ $(head -n 3 "$first/man/$page.1") == *".TH $page 1"* ]] || fail "man/$page.1 is no man page"
done
for line in 'scctl get exp' 'service-center ctl get exp' 'service-center check-h'; do
    returns 0 bash "$root/scripts/complete.sh" "$first/completions/bash" "$line"
    says "$(sed 's/.*exp$/expiry/; s/.*check-h$/check-health/' <<<"$line")"
done

step "a node that stops leaves the list"
returns 0 "$second/stop.sh"
says 'has ended'
eventually lists "${nodes[0]}" 1
returns 0 "$second/stop-service-center.sh"
says 'does not run'

step "the scripts touch no other process"
sleep 1000 &
other=$!
echo "$other" >"$second/service-center.pid"
returns 0 "$second/stop.sh"
says 'does not run'
kill "$other" || fail "stop.sh has ended another process"

step "the codes of start.sh"
returns 64 "$second/start.sh" --server.port=none
says 'server.port'
returns 69 "$second/start.sh" "--httpaddr=${nodes[0]}"
says 'cannot listen'
START_LIMIT_S=1 returns 75 "$second/start.sh" "--manager_cluster=$etcd_address:9"
says 'port is not open'
returns 0 "$second/stop.sh"
says 'has ended'

step "it starts again"
returns 0 "$second/start.sh"
eventually finds "${nodes[1]}" orders-1
returns 0 "$second/stop.sh"
returns 0 "$first/stop.sh"
[[ -s $first/service-center.log ]] || fail "there is no log"
echo "The archive does what docs/cluster.md says."
