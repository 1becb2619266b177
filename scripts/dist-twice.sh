#!/usr/bin/env bash
# Builds the archive of HEAD once more, in another folder, and compares its bytes with those in dist.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ -z $(git status --porcelain) ]] || { echo "commit your changes first: HEAD is compared with what is in dist" >&2; exit 64; }
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
git clone --quiet . "$there/elsewhere"
"$there/elsewhere/scripts/dist.sh" archive
status=0
for archive in "$there"/elsewhere/dist/*.tar.gz; do
    if cmp "$archive" "dist/$(basename "$archive")"; then
        echo "the same bytes: $(basename "$archive")"
    else
        status=1
    fi
done
exit "$status"
