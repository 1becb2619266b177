#!/usr/bin/env bash
# Prints how bash completes the last word of a command line, with the file of its command in a folder of completions.
#
#   scripts/complete.sh FOLDER "scctl get exp"
set -euo pipefail

read -ra COMP_WORDS <<<"$2"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMPREPLY=()
# shellcheck source=/dev/null
source "$1/${COMP_WORDS[0]}"
# As bash calls it: the command, the word, the word before it.
set +u
"$(complete -p "${COMP_WORDS[0]}" | sed 's/.* -F \([^ ]*\) .*/\1/')" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
