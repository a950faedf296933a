#!/usr/bin/env bash
# The main job on real input: the SHA-256 of every module of this Python's standard library, one task each; then every line of
# output and every recorded row is compared with what a plain loop says. Leaves nothing behind.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HYPERSHELL_SITE="$work/site"
slots=$(nproc)
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
check() { # what, expected, found
    if [ "$2" = "$3" ]; then printf '  ok  %s: %s\n' "$1" "$2"; else
        printf '  NOT %s: expected %s, found %s\n' "$1" "$2" "$3"
        exit 1
    fi
}

library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
find "$library" -name '*.py' -not -path '*/site-packages/*' -type f | sort >"$work/files.txt"
files=$(wc -l <"$work/files.txt")
echo "$files files below $library"

say "hs-cluster files.txt -N $slots -t 'sha256sum {q}' > sums.txt"
began=$(date +%s.%N)
hs-cluster "$work/files.txt" -N "$slots" -t 'sha256sum {q}' >"$work/sums.txt"
took=$(echo "$(date +%s.%N) $began" | awk '{printf "%.2f", $1 - $2}')

say "the same in a plain loop"
began=$(date +%s.%N)
while IFS= read -r file; do sha256sum "$file"; done <"$work/files.txt" >"$work/expected.txt"
plain=$(echo "$(date +%s.%N) $began" | awk '{printf "%.2f", $1 - $2}')
echo "hs-cluster $took s, plain loop $plain s"

say "compare"
sort "$work/sums.txt" >"$work/found.sorted"
sort "$work/expected.txt" >"$work/expected.sorted"
cmp "$work/found.sorted" "$work/expected.sorted"
check "lines of output" "$files" "$(wc -l <"$work/sums.txt")"
check "rows recorded" "$files" "$(hs task search -c)"
check "of them with exit status 0" "$files" "$(hs task search -c -w 'exit_status == 0')"

say "(cat some lines; echo false; echo 'exit 3') | hs-cluster -N $slots -f failed.txt"
status=0
{ head -n 50 "$work/files.txt" | sed 's/.*/test -f "&"/'; echo false; echo 'exit 3'; } |
    hs-cluster -N "$slots" -f "$work/failed.txt" || status=$?
check "exit status" 1 "$status"
check "failed tasks, as they can be run again" "exit 3 false" "$(sort "$work/failed.txt" | paste -sd ' ')"
check "rows recorded" 52 "$(hs task search -c)"

say "hs task search args exit_status -w 'exit_status != 0'"
hs task search args exit_status -w 'exit_status != 0'

# A process of the run has its site in its environment; none must be left, so that grep finding nothing is as it should be.
leftover=$(grep -lsF "HYPERSHELL_SITE=$work" /proc/[0-9]*/environ | cut -d/ -f3 | while read -r pid; do
    cat "/proc/$pid/comm" 2>/dev/null || true
done | grep -c '^hs-' || true)
check "processes left" 0 "$leftover"
echo
echo "All as it should be."
