#!/usr/bin/env bash
# The whole test suite, from a clean clone: makes .venv if missing, installs, runs.
# Arguments go to pytest: bash tests/run.sh -m "not slow". Without any, the slow tests and a few of the
# others run beside the rest, on another core; their reports come last.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/venv.sh
install_adgan '[test]'
[ $# -eq 0 ] || exec .venv/bin/python -m pytest "$@"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
beside=(tests/test_[ab]*.py tests/test_cli_[a-e]*.py) # about as many as make both take equally long
{
    status=0
    .venv/bin/python -m pytest -q -m slow -p no:cacheprovider || status=$?
    .venv/bin/python -m pytest -q -m "not slow" -p no:cacheprovider "${beside[@]}" || status=$?
    exit "$status"
} >"$report" 2>&1 &
others=$! status=0
.venv/bin/python -m pytest -m "not slow" "${beside[@]/#/--ignore=}" || status=$?
wait "$others" || status=$?
cat "$report"
exit "$status"
