#!/bin/sh
# Stops the service-center that start.sh has started in this folder, and returns when it has ended. It unregisters itself and
# finishes running requests first, which takes 12 s at most. STOP_LIMIT_S is how many seconds to wait (30).
#
# exit codes
#   0    it has ended, or it did not run
#   75   it has not ended yet. Or another start or stop is at work
#   77   its process belongs to another user
set -u
here=$(cd -P "$(dirname "$0")" && pwd) || exit 69
program=$here/service-center
pid_file=$here/service-center.pid
limit_s=${STOP_LIMIT_S:-30}

runs() { # PID: whether it is this program, also after the file was replaced
    exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
    [ "${exe% (deleted)}" = "$program" ]
}

if [ ! -e "$pid_file" ]; then
    echo "service-center does not run"
    exit 0
fi
exec 9>>"$pid_file" || exit 77
flock -n 9 || { echo "another start or stop is at work in $here" >&2; exit 75; }
pid=$(cat "$pid_file")
if [ -z "$pid" ] || ! runs "$pid"; then
    : >"$pid_file"
    echo "service-center does not run"
    exit 0
fi
kill -TERM "$pid" || exit 77
tenths=$((limit_s * 10))
while runs "$pid"; do
    if [ "$tenths" -le 0 ]; then
        echo "process $pid still runs after $limit_s s; to end it at once: kill -KILL $pid" >&2
        exit 75
    fi
    tenths=$((tenths - 1))
    sleep 0.1
done
: >"$pid_file"
echo "service-center has ended"
