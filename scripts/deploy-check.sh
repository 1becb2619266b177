#!/usr/bin/env bash
# Checks the Dockerfile, compose.yaml and the Helm chart with the tools of their fields, and runs the image. `make deploy-check` calls it.
# It needs Go and Python (for the tools, which go to .local/deploy) and, for the image, root and Debian's packages buildah and podman.
#
#   chart    helm lint and helm template with each file of deploy/helm/service-center/ci; the rendered objects against the schemas of
#            Kubernetes; kube-linter's rules; and values that must be rejected
#   compose  compose.yaml, read by the library of docker compose
#   image    the Dockerfile built by buildah, and run by podman: read-only, without capabilities, as the user of the image
#
# The base images come from a registry. Without a registry, BASES=local makes them from this machine: a Debian with Rust, and one with the
# C library only. BINARY=path puts this program into the image instead of compiling one in it.
set -euo pipefail
cd "$(dirname "$0")/.."
