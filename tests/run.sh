#!/usr/bin/env bash
# The whole test suite, from a clean clone: makes .venv if missing, installs, runs.
# Arguments go to pytest: bash tests/run.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/venv.sh
install_adgan '[test]'
exec .venv/bin/python -m pytest "$@"
