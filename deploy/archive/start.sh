#!/bin/sh
# Starts service-center in the background, in the folder of this script, and returns when its port is open.
# Arguments go to the program: ./start.sh --httpaddr=10.12.0.1
# Without a configured log.file, the log is service-center.log. START_LIMIT_S is how many seconds to wait (60).
#
# exit codes
#   0        it serves, or it already runs
#   64       a mistake in the configuration; nothing was started
#   69, 70   it has ended: see docs/operations.md
#   75       its port is not open yet, for example because etcd is away; it goes on. Or another start or stop is at work
set -u
here=$(cd -P "$(dirname "$0")" && pwd) || exit 69
cd "$here" || exit 69
program=$here/service-center
pid_file=$here/service-center.pid
output=$here/service-center.out
limit_s=${START_LIMIT_S:-60}

runs() { # PID: whether it is this program, also after the file was replaced
    exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
    [ "${exe% (deleted)}" = "$program" ]
}

has_ended() { # PID of a child
    [ ! -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

listens() { # PID
    sockets=$(ls -l "/proc/$1/fd" 2>/dev/null) || return 1
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v sockets="$sockets" '
        $4 == "0A" && index(sockets, "socket:[" $10 "]") { found = 1 }
        END { exit !found }'
}

# One at a time. The file is kept, because it is the lock too.
exec 9>>"$pid_file" || exit 69
flock -n 9 || { echo "another start or stop is at work in $here" >&2; exit 75; }

pid=$(cat "$pid_file")
if [ -n "$pid" ] && runs "$pid"; then
    echo "service-center already runs as process $pid"
    exit 0
fi

settings=$("$program" check-config "$@" 2>&1)
code=$?
if [ "$code" -ne 0 ]; then
    printf '%s\n' "$settings" | grep -v '  # ' >&2
    exit "$code"
fi
if printf '%s\n' "$settings" | grep -q '^log\.file = *# default'; then
    LOG_FILE=$here/service-center.log
    export LOG_FILE
fi

setsid "$program" "$@" >"$output" 2>&1 </dev/null 9>&- &
pid=$!
echo "$pid" >"$pid_file"
tenths=$((limit_s * 10))
until listens "$pid"; do
    if has_ended "$pid"; then
        wait "$pid"
        code=$?
        : >"$pid_file"
        echo "service-center has ended with exit code $code:" >&2
        tail -n 20 "${LOG_FILE:-$output}" "$output" >&2
        exit "$code"
    fi
    if [ "$tenths" -le 0 ]; then
        echo "service-center runs as process $pid, but its port is not open after $limit_s s:" >&2
        tail -n 5 "${LOG_FILE:-$output}" "$output" >&2
        exit 75
    fi
    tenths=$((tenths - 1))
    sleep 0.1
done
echo "service-center serves as process $pid"
