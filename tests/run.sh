#!/usr/bin/env bash
# Sets everything up as a user would, then runs the tests.
# Usage: bash tests/run.sh [--all] [--upstream BASE] [options of pytest]
# --all: the slow tests too, which take 20 minutes more.
# BASE: wheel; git, which brings SlowFast's repository too; auto (default), git where it answers.
set -euo pipefail
unset CDPATH

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
base=auto
tests="not slow"
while true; do
  case ${1:-} in
    --all) tests="" && shift ;;
    --upstream)
      base=${2:?"--upstream needs a value: auto, git or wheel"}
      shift 2
      ;;
    *) break ;;
  esac
done

prepare() { bash "$here/prepare_dir_AR.sh" --dev --upstream "$1" --into "$here/.trees/$1"; }
prepare wheel
if [[ $base != wheel ]]; then
  prepare git && status=0 || status=$?
  if [[ $status == 75 && $base == auto ]]; then
    echo "tests: those of the git base are skipped, because it does not answer, see above" >&2
  elif ((status)); then exit "$status"; fi
fi
cd -- "$here"
# Not in /tmp, which may be small; what a test that passed has written goes at once.
# Two at a time, each file in one of them (-n 0: one after the other). One thread a process: tests
# start many, and more threads than cores wait for one another.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec .venv/bin/python -m pytest -m "$tests" -n 2 --dist loadfile --basetemp ".trees/pytest" \
  -o tmp_path_retention_policy=failed "$@"
