#!/usr/bin/env bash
# Two nodes on one etcd, all on this machine, until Ctrl-C: nodes on 127.0.0.1:30100 and 127.0.0.2:30100, etcd on
# 127.0.0.3:2379. Everything they write lies in .local/cluster, which is made anew each time.
# SERVICE_CENTER names another program than the build of `make run`, CLUSTER_NET the first three bytes of other addresses,
# CLUSTER_DIR another folder, CLUSTER_ETCD_2 another address by which the second node reaches etcd.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(realpath "${SERVICE_CENTER:-${CARGO_TARGET_DIR:-target}/quick/service-center}")
here=${CLUSTER_DIR:-$PWD/.local/cluster}
net=${CLUSTER_NET:-127.0.0}
etcd_address=$net.3
nodes=("$net.1" "$net.2")
declare -A etcd_of=([$net.1]=$etcd_address:2379 [$net.2]=${CLUSTER_ETCD_2:-$etcd_address:2379})
port=30100
start_limit_s=30
stop_limit_s=10
pids=()
declare -A name_of

# SIGTERM, nodes before etcd so that they can unregister; what has not ended in time is killed.
stop_all() {
    trap - EXIT
    # Once it has begun it is not left half done.
    trap '' INT TERM HUP
    echo "Stopping."
    local i pid end
    # Whatever this shell has started, also if a signal came before it was noted.
    mapfile -t pids < <(jobs -p)
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill -TERM "$pid" 2>/dev/null || continue
        end=$((SECONDS + stop_limit_s))
        while kill -0 "$pid" 2>/dev/null && ((SECONDS < end)); do sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
    done
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Another process that listens where one of ours is to: it would answer in our process' place, so nothing is started.
refuse_if_taken() { # ADDRESS PORT
    if timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$@" 2>/dev/null; then
        echo "$1:$2 is taken by another process; nothing was started." >&2
        exit 1
    fi
}

listens() { # PID ADDRESS PORT: whether it is this process that listens there
    local a b c d at inode
    IFS=. read -r a b c d <<<"$2"
    printf -v at '%02X%02X%02X%02X:%04X' "$d" "$c" "$b" "$a" "$3"
    for inode in $(awk -v at="$at" '$2 == at && $4 == "0A" { print $10 }' /proc/net/tcp); do
        [[ -n $(find "/proc/$1/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]] && return
    done
    return 1
}

# launch NAME DIR COMMAND...: in a session of its own, so that Ctrl-C reaches this script only.
launch() {
    local name=$1 dir=$2
    shift 2
    (cd "$dir" && exec setsid "$@" >output.log 2>&1 </dev/null) &
    pids+=("$!")
    name_of[$!]=$name
}

fetch() { # ADDRESS PORT PATH: prints the answer, status line first
    timeout 2 bash -c '
        exec 3<>"/dev/tcp/$0/$1" || exit 1
        printf "GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n" "$2" "$0" "$1" >&3
        cat <&3' "$@" 2>/dev/null
}

await() { # PID DIR ADDRESS PORT PATH
    local pid=$1 dir=$2 end=$((SECONDS + start_limit_s))
    shift 2
    until listens "$pid" "$1" "$2" && [[ $(fetch "$@") == HTTP/1.1\ 200* ]]; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= end)); then
            echo "${name_of[$pid]} does not serve on $1:$2; $dir/output.log ends:" >&2
            tail -n 20 "$dir/output.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

for port_of_etcd in 2379 2380; do refuse_if_taken "$etcd_address" "$port_of_etcd"; done
for node in "${nodes[@]}"; do refuse_if_taken "$node" "$port"; done

health=/v4/default/registry/health
rm -rf "$here"
mkdir -p "$here/etcd"
launch etcd "$here/etcd" etcd --name local --data-dir data \
    --listen-client-urls "http://$etcd_address:2379" --advertise-client-urls "http://$etcd_address:2379" \
    --listen-peer-urls "http://$etcd_address:2380" --initial-advertise-peer-urls "http://$etcd_address:2380" \
    --initial-cluster "local=http://$etcd_address:2380" --backend-batch-interval 10ms --quota-backend-bytes 8589934592
await "${pids[-1]}" "$here/etcd" "$etcd_address" 2379 /health

for node in "${nodes[@]}"; do
    mkdir -p "$here/$node/conf"
    printf 'httpaddr = %s\nmanager_cluster = "%s"\n' "$node" "${etcd_of[$node]}" >"$here/$node/conf/app.conf"
    launch "node $node" "$here/$node" "$program"
    await "${pids[-1]}" "$here/$node" "$node" "$port" "$health"
done

for node in "${nodes[@]}"; do
    echo "http://$node:$port$health:"
    fetch "$node" "$port" "$health" | sed '1,/^\r*$/d'
    echo
done
echo "Running until Ctrl-C. Process ids:"
for pid in "${pids[@]}"; do echo "  $pid  ${name_of[$pid]}"; done
echo "Files and logs: $here"

# A node may be killed to see what the other does.
while ((${#pids[@]})); do
    wait -n "${pids[@]}" || true
    running=()
    for pid in "${pids[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then running+=("$pid"); else echo "${name_of[$pid]} (process $pid) has ended."; fi
    done
    pids=("${running[@]}")
done
