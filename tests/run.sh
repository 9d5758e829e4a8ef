#!/usr/bin/env bash
# The whole test suite, from a clean clone: makes .venv if missing, installs, runs.
# Arguments go to pytest: bash tests/run.sh -m "not slow". Without any, the slow tests run beside
# the fast ones, on another core; their report comes last.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/venv.sh
install_adgan '[test]'
[ $# -eq 0 ] || exec .venv/bin/python -m pytest "$@"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
.venv/bin/python -m pytest -q -m slow -p no:cacheprovider >"$report" 2>&1 &
slow=$! status=0
.venv/bin/python -m pytest -m "not slow" || status=$?
wait "$slow" || status=$?
cat "$report"
exit "$status"
