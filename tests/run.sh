#!/usr/bin/env bash
# Sets everything up as a user would, then runs the tests.
# Usage: bash tests/run.sh [--upstream BASE] [options of pytest]
set -euo pipefail
unset CDPATH

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
base=wheel
if [[ ${1:-} == --upstream ]]; then
  base=${2:?"--upstream needs a value: auto, git or wheel"}
  shift 2
fi
if [[ $base == auto ]]; then base=wheel; fi

bash "$here/prepare_dir_AR.sh" --dev --upstream "$base" --into "$here/.trees/$base"
cd -- "$here"
# Not in /tmp, which may be small; what a test that passed has written goes at once.
exec .venv/bin/python -m pytest --basetemp ".trees/pytest-$base" \
  -o tmp_path_retention_policy=failed "$@"
