# shellcheck shell=bash
# The step `environment` of prepare_dir_AR.sh: Python 3.11 to 3.13, torch, the locked packages.

in_range() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Sets PY: the environment's Python where there is one, else the one to make it from.
choose_python() {
  local names=(python3.13 python3.12 python3.11 python3) name
  if [[ $ENVIRONMENT == venv ]] && in_range "$VENV/bin/python"; then
    PY=$VENV/bin/python
    return
  fi
  if [[ $ENVIRONMENT == current ]]; then names=(python python3); fi
  if [[ -n ${PYTHON:-} ]]; then names=("$PYTHON"); fi
  for name in "${names[@]}"; do
    if in_range "$name"; then
      PY=$(command -v -- "$name")
      return
    fi
  done
  die "no Python from 3.11 to 3.13 (tried: ${names[*]}); install one, or set PYTHON=/path/to/python"
}

# pip WHAT ARGUMENTS...: runs pip; WHAT says in words what it brings. Its output goes to a log.
pip() {
  local what=$1 start=$SECONDS log=$VENV/prepare.log
  shift
  if ((DRY_RUN)); then
    say "would install $what"
    return
  fi
  if [[ $ENVIRONMENT == current ]]; then log=$TREE/.prepare_dir_AR.log; fi
  say "  pip: $what (log: $log)"
  if ! TMPDIR=$WORK "$PY" -m pip --disable-pip-version-check --no-input "$@" >"$log" 2>&1; then
    tail -n 12 -- "$log" >&2
    die "pip failed on $what; read the lines above, or the whole log: $log"
  fi
  say "  pip: done in $((SECONDS - start)) s"
}

# Prints the version of torch; false when there is none or when it is too old.
installed_torch() {
  # A dry run asks the Python that .venv would be made from: what that one has does not count.
  if [[ $ENVIRONMENT == venv && $PY != "$VENV/bin/python" ]]; then return 1; fi
  "$PY" -c '
import importlib.metadata, re, sys
version = importlib.metadata.version("torch")
print(version)
sys.exit(tuple(map(int, re.findall(r"\d+", version)[:2])) < (2, 10))' 2>/dev/null
}

# The environment keeps a copy of the lock it was made from; the lock for tests holds the other.
is_installed() {
  local name
  for name in "$1" requirements-dev.lock; do
    if cmp -s -- "$HERE/$name" "$VENV/$name"; then return; fi
  done
  return 1
}

# Prints what is wrong with .venv as far as its own files tell.
venv_problem() {
  if [[ $ENVIRONMENT == venv && -f $VENV/pyvenv.cfg && $(<"$VENV/pyvenv.cfg") != *" $VENV"* ]]; then
    printf '%s' "'$VENV' was made for another place, where its activate leads;" \
      ' run this script again'
  fi
}

make_venv() {
  lock "$VENV"
  # Making it once more completes one that was cut short, and mends one that was moved.
  if [[ -z $(venv_problem) ]] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    return
  fi
  say "environment: makes $VENV with $PY"
  run "$PY" -m venv "$VENV" || die "$PY cannot make .venv; on Debian or Ubuntu install python3-venv"
  if ((!DRY_RUN)); then PY=$VENV/bin/python; fi
}

environment() {
  local name=requirements.lock torch
  if ((DEV)); then name=requirements-dev.lock; fi
  if [[ $ENVIRONMENT == venv ]]; then make_venv; fi
  if [[ -n $TORCH ]] || ! installed_torch >/dev/null; then
    pip "${TORCH:-torch==2.13.0}" install "${TORCH:-torch==2.13.0}"
  fi
  if ((DRY_RUN)); then torch=${TORCH:-2.13.0}; else
    torch=$(installed_torch) || die "torch ${torch:-is not installed}: 2.10 or newer is needed"
  fi
  say "environment: $PY, torch $torch"
  locked "$name"
  if [[ $BASE == git ]]; then
    locked requirements-git.lock
    torchvision "$torch"
  fi
}

# What the lock file $1 names, unless it is there. Without dependencies: torch stays what it is.
locked() {
  if [[ $ENVIRONMENT == venv ]] && is_installed "$1"; then return; fi
  pip "the packages of $1" install --no-deps --require-hashes -r "$HERE/$1"
  if [[ $ENVIRONMENT == venv ]]; then run cp -- "$HERE/$1" "$VENV/$1"; fi
}

# SlowFast's own tools want the torchvision that belongs to the torch $1: 0.28 goes with 2.13.
torchvision() {
  local wanted found
  if [[ ! $1 =~ ^[0-9]+\.([0-9]+) ]]; then # a dry run knows no more than the option --torch
    say "would install the torchvision that belongs to $1"
    return
  fi
  wanted=0.$((BASH_REMATCH[1] + 15))
  found=$("$PY" -c 'import importlib.metadata as m; print(m.version("torchvision"))' 2>/dev/null) ||
    found=none
  if [[ $found == "$wanted".* ]]; then return; fi
  pip "torchvision $wanted" install --no-deps "torchvision==$wanted.*"
}
