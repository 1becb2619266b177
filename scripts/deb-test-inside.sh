#!/usr/bin/env bash
# The part of scripts/deb-test.sh that runs inside the Debian of the test, as root.
set -euo pipefail

api=/v4/default/registry
port=30100
limit_s=90
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "FAILED: $*"
    systemctl status --no-pager --full service-center.service || true
    journalctl --no-pager --lines=50 || true
    exit 1
}

step() {
    echo "- $*"
}

ask() { # METHOD PATH [BODY]: prints the answer, status line first
    timeout 10 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %s\r\n\r\n%s" "$0" "$2" "${#3}" "$3" >&3
        cat <&3' "$1" "$port" "$2" "${3:-}" 2>/dev/null
}

of_unit() { # PROPERTY
    systemctl show --value --property="$1" service-center.service
}

serves() {
    [[ $(ask GET "$api/health/readiness") == "HTTP/1.1 200"* ]]
}

has_orders() {
    [[ $(ask GET "$api/microservices") == *'"serviceName":"orders"'* ]]
}

eventually() { # COMMAND...
    local end=$((SECONDS + limit_s))
    until "$@"; do
        ((SECONDS < end)) || fail "not within $limit_s s: $*"
        sleep 0.2
    done
}

runs_as_other_process() { # PID
    [[ $(of_unit ActiveState) == active && $(of_unit MainPID) != "$1" ]] && serves
}

logged() {
    journalctl --unit=service-center --output=cat | grep --quiet --fixed-strings -- "$1"
}

# The command line is there under both names, with man pages and completions.
command_line_works() {
    local name shown
    for name in scctl "service-center ctl"; do
        $name --addr "http://127.0.0.1:$port" health >/dev/null || fail "$name cannot ask it"
        shown=$($name --addr "http://127.0.0.1:$port" version) || fail "$name has no version"
        [[ $shown == *"$(dpkg-query --show --showformat='${Version}' service-center | sed 's/-[0-9]*$//')"* ]] || fail "$name has the version $shown"
    done
    for name in service-center scctl scctl-get-instance; do
        shown=$(MANWIDTH=80 man "$name") || fail "man $name"
        [[ $shown == *"$name"*SYNOPSIS* ]] || fail "man $name shows: $shown"
    done
    [[ $(bash /test/complete.sh /usr/share/bash-completion/completions "scctl get exp") == expiry ]] || fail "bash completes no scctl"
    [[ $(bash /test/complete.sh /usr/share/bash-completion/completions "service-center check-h") == check-health ]] ||
        fail "bash completes no service-center"
    for name in fish/vendor_completions.d/{scctl,service-center}.fish zsh/vendor-completions/_{scctl,service-center}; do
        [[ -s /usr/share/$name ]] || fail "/usr/share/$name is missing"
    done
}

step "install: it is enabled and serves"
dpkg --install /test/older.deb
[[ $(systemctl is-enabled service-center) == enabled ]] || fail "it is not enabled"
[[ $(of_unit ActiveState) == active ]] || fail "it is not active"
serves || fail "systemd says that it is active, and it does not serve"
[[ $(of_unit StatusText) == "listening on http://127.0.0.1:$port" ]] || fail "its status is $(of_unit StatusText)"
[[ $(of_unit NRestarts) == 0 ]] || fail "it was restarted"
command_line_works

step "its process has no rights"
pid=$(of_unit MainPID)
uid=$(ps --no-headers -o uid "$pid")
# The range of users that systemd makes up.
((uid >= 61184 && uid <= 65519)) || fail "its user is $uid"
grep --quiet '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" || fail "it has capabilities"
grep --quiet '^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status" || fail "it may get privileges"
grep --quiet '^Seccomp:[[:space:]]*2$' "/proc/$pid/status" || fail "its system calls are not filtered"
[[ $(stat -c %a /var/lib/private/service-center) == 700 ]] || fail "others may look at its data"

step "what it stores survives a restart, and an edit of its configuration is used"
[[ $(ask POST "$api/microservices" '{"service":{"serviceName":"orders","version":"1.0.0"}}') == "HTTP/1.1 200"* ]] || fail "no service"
sed -i 's/^# httpport = 30100$/httpport = 30199/' /etc/service-center/app.conf
echo 'LOG_LEVEL=debug' >/etc/service-center/environment
chmod 600 /etc/service-center/environment
systemctl restart service-center
port=30199
serves || fail "it does not serve on the edited port"
has_orders || fail "the service is lost"

step "reload"
pid=$(of_unit MainPID)
systemctl reload service-center
logged 'the log goes on here after SIGHUP' || eventually logged 'the log goes on here after SIGHUP'
[[ $(of_unit MainPID) == "$pid" && $(of_unit ActiveState) == active ]] || fail "a reload restarts it"

step "upgrade: the edit and the data survive"
# Where both have changed the file, dpkg would ask.
dpkg --force-confdef --force-confold --install /test/newer.deb
[[ $(dpkg-query --show --showformat='${Version}' service-center) == *-2 ]] || fail "it is not the newer version"
eventually runs_as_other_process "$pid"
grep --quiet '^httpport = 30199$' /etc/service-center/app.conf || fail "the edit is gone"
has_orders || fail "the service is lost"
[[ $(systemctl is-enabled service-center) == enabled ]] || fail "it is not enabled"
command_line_works

step "a process that is killed is started again"
pid=$(of_unit MainPID)
kill -KILL "$pid"
eventually runs_as_other_process "$pid"

step "a process that is stuck is started again"
pid=$(of_unit MainPID)
kill -STOP "$pid"
eventually runs_as_other_process "$pid"
journalctl --unit=service-center --output=cat | grep --quiet 'Watchdog timeout' || fail "the watchdog has not noticed it"
has_orders || fail "the service is lost"

step "a mistake in the configuration is not tried again"
sed -i 's/^httpport = 30199$/httpport = none/' /etc/service-center/app.conf
restarts=$(of_unit NRestarts)
if systemctl restart service-center; then fail "it starts with a mistake in its configuration"; fi
[[ $(of_unit ActiveState) == failed && $(of_unit ExecMainStatus) == 64 ]] || fail "it does not end with 64"
sleep 4 # longer than RestartSec
[[ $(of_unit NRestarts) == "$restarts" || $(of_unit NRestarts) == 0 ]] || fail "it was started again"
sed -i 's/^httpport = none$/httpport = 30199/' /etc/service-center/app.conf
systemctl restart service-center
serves || fail "it does not serve"

step "stop: it ends by itself"
systemctl stop service-center
[[ $(of_unit Result) == success ]] || fail "the stop ends with $(of_unit Result)"
logged 'stopped' || fail "it did not stop in an orderly way"
systemctl start service-center

step "remove: configuration and data stay"
dpkg --remove service-center
[[ $(systemctl is-active service-center || true) == inactive ]] || fail "it still runs"
if serves; then fail "it still serves"; fi
[[ ! -e /usr/bin/service-center && ! -e /lib/systemd/system/service-center.service ]] || fail "files are left"
left=$(find /usr -name '*scctl*' -o -name '*service-center*')
[[ -z $left ]] || fail "files are left: $left"
[[ -e /etc/service-center/app.conf && -d /var/lib/private/service-center/data ]] || fail "configuration or data are gone"

step "purge: nothing stays"
dpkg --purge service-center
for path in /etc/service-center /var/lib/service-center /var/lib/private/service-center /usr/share/doc/service-center; do
    [[ ! -e $path && ! -L $path ]] || fail "$path is left"
done
[[ -z $(find /etc/systemd/system -name 'service-center*') ]] || fail "links are left"
step "the archive as a service, with the commands of docs/install.md"
mkdir /test/archive
tar --extract --gzip --file=/test/archive.tar.gz --directory=/test/archive --strip-components=1
# The first block of code below this heading.
awk '/^## / { here = ($0 == "## A service of systemd") } here && /^```/ { fences++; next } here && fences == 1' \
    /test/archive/docs/install.md >/test/commands
grep --quiet 'systemctl enable --now' /test/commands || fail "docs/install.md has other commands: $(cat /test/commands)"
(cd /test/archive && bash -e /test/commands) || fail "the commands of docs/install.md"
port=30100
serves || fail "it does not serve"
/usr/bin/service-center check-config --conf /etc/service-center >/dev/null || fail "check-config"
scctl health || fail "scctl cannot ask it"
systemctl disable --now service-center

echo "The package can be installed, upgraded and removed."
