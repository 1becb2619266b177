#!/usr/bin/env bash
# Checks the files for containers and Kubernetes with the tools of their fields: `make deploy-check`, or one part of it:
#
#   scripts/deploy-check.sh chart     helm lint and helm template with each file of deploy/helm/service-center/ci. The objects are checked
#                                     against the schemas of Kubernetes and the rules of kube-score, and the configuration by the daemon
#                                     itself. Values that must be rejected are.
#   scripts/deploy-check.sh compose   compose.yaml, read by the library of docker compose
#   scripts/deploy-check.sh image     the last stage of the Dockerfile, built by buildah and run by podman (scripts/image-check.sh)
#
# BINARY names the built daemon (target/release/service-center). chart and compose need Go and Python; their tools go to .local/deploy.
# image needs root, buildah, podman and etcd.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${BINARY:-target/release/service-center}")
chart=deploy/helm/service-center
tools=$PWD/.local/deploy
helm=helm.sh/helm/v3/cmd/helm@v3.22.0
score=github.com/zegl/kube-score/cmd/kube-score@v1.20.0
compose=github.com/compose-spec/compose-go/v2/cmd@v2.16.2
# The oldest version that the chart takes, and the newest whose schemas the validator has.
kubernetes=(1.30 1.37)

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

need() { # PROGRAM…
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "$program is not there, and this check needs it."
    done
}

# go_tool NAME MODULE: builds it once.
go_tool() {
    [[ -x $tools/$1 ]] && return
    need go
    mkdir -p "$tools/build"
    echo "building $2"
    GOBIN=$tools/build go install "$2"
    mv "$tools/build/$(basename "${2%%@*}")" "$tools/$1"
}

python_tools() {
    [[ -x $tools/python/bin/kubernetes-validate ]] && return
    need python3
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet kubernetes-validate==1.37.0
}

check_chart() {
    go_tool helm "$helm"
    go_tool kube-score "$score"
    python_tools
    local values name rendered=$tools/rendered version output
    rm -rf "$rendered"
    mkdir -p "$rendered"
    for values in "$chart"/ci/*.yaml; do
        name=$(basename "$values" .yaml)
        "$tools/helm" lint --strict --quiet "$chart" --values "$values"
        "$tools/helm" template registry "$chart" --namespace registry --values "$values" --kube-version "${kubernetes[0]}" \
            >"$rendered/$name.yaml"
        for version in "${kubernetes[@]}"; do
            output=$("$tools/python/bin/kubernetes-validate" --strict --quiet -k "$version" "$rendered/$name.yaml") || fail "$output"
            # The schema of this object belongs to the Prometheus operator.
            output=$(grep -v "kind ServiceMonitor " <<<"$output") || true
            [[ -z $output ]] || fail "$output"
        done
        "$tools/kube-score" score "$rendered/$name.yaml" --output-format ci --ignore-container-cpu-limit \
            --enable-optional-test container-seccomp-profile --ignore-test "$(not_wanted "$name")" >"$rendered/$name.score" ||
            { grep -v '^\[\(OK\|SKIPPED\)' "$rendered/$name.score" >&2; exit 1; }
        "$tools/python/bin/python" scripts/chart_config.py "$rendered/$name.yaml" "$binary"
        echo "$values: lints, renders, meets the schemas of Kubernetes ${kubernetes[*]} and the rules of kube-score; the daemon takes it"
    done
    rejected "store.etcd.endpoints is empty"
    rejected "needs store.etcd.tls.secret" --set 'store.etcd.endpoints={https://a:1}'
    rejected "the embedded store has one node" --set store.kind=embedded
    rejected "replica" --set replica=1 --set store.kind=embedded
    rejected "kind" --set store.kind=mongo
    rejected "tls.enabled needs tls.secret" --set 'store.etcd.endpoints={a:1}' --set tls.enabled=true
    rejected "accounts.enabled needs accounts.keysSecret" --set 'store.etcd.endpoints={a:1}' --set accounts.enabled=true
    rejected "drain.gracePeriodSeconds is too short" --set 'store.etcd.endpoints={a:1}' --set drain.seconds=20
    rejected "endpoints" --set 'store.etcd.endpoints={http://user:secret@a:1}'
    rejected "kubeVersion" --set 'store.etcd.endpoints={a:1}' --kube-version 1.29
    echo "values that must be rejected: rejected"
}

# The rules of kube-score that the chart does not follow, with the reason.
not_wanted() { # NAME
    # Always pulling an image makes a start depend on the registry of images. Constraints on the spread replaced anti-affinity.
    local rules=container-image-pull-policy,deployment-has-host-podantiaffinity
    # The policy is a choice; the values "secured" make it.
    [[ $1 == secured ]] || rules+=,pod-networkpolicy
    # Without a certificate, both probes can only see that the node answers.
    [[ $1 != verified-clients ]] || rules+=,pod-probes-identical
    echo "$rules"
}

rejected() { # WORDS OPTION…
    local words=$1 output
    shift
    if output=$("$tools/helm" template registry "$chart" --kube-version "${kubernetes[0]}" "$@" 2>&1); then
        fail "helm template $*: not rejected"
    fi
    [[ $output == *"$words"* ]] || fail "helm template $*: no word of '$words' in" "$output"
}

check_compose() {
    go_tool compose "$compose"
    "$tools/compose" compose.yaml >"$tools/compose.yaml"
    echo "compose.yaml: the library of docker compose reads it"
}

case ${1:-all} in
    all)
        check_chart
        check_compose
        ;;
    chart) check_chart ;;
    compose) check_compose ;;
    image) BINARY=$binary exec scripts/image-check.sh ;;
    *) fail "usage: $0 [chart | compose | image]" ;;
esac
