#!/usr/bin/env bash
# Prepares a SlowFast tree for animal action recognition; --help says how. No edit is ever needed.
if [ -z "${BASH_VERSION:-}" ] || ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "prepare_dir_AR: error: this needs bash 4.4 or newer; run: bash prepare_dir_AR.sh" >&2
  exit 2
fi
set -euo pipefail
shopt -s nullglob
# Of a git that calls this, as a hook does: they would turn our calls of git to its repository.
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_PREFIX
IFS=$' \t\n'

readonly WHEEL=slowfast==1.0
readonly WHEEL_SHA256=ed8844b8bebbec438d7c6b55f635121c1585c851933ee070a7a2e661e11fa1a3
readonly STEPS=(environment upstream links check)
# The options that take a value.
readonly VALUED=(--upstream --into --slowfast --data --env --torch --skip)

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly HERE VENV=$HERE/.venv
MODE=prepare UPSTREAM=auto INTO='' SLOWFAST='' DATA='' ENVIRONMENT=venv TORCH=''
DEV=0 DEMO=0 DRY_RUN=0 ANY_COMMIT=0 EXIT_CODE=2 TREE='' WORK='' PY=''
SKIP=() GIVEN=() LOCKS=() # GIVEN: the options as they were given
DATA_LINKS=()             # pairs of a name in data/ak and the folder it leads to

usage() {
  cat <<'END'
Usage: bash prepare_dir_AR.sh [options]
Makes a Python environment, brings SlowFast, links this overlay into it and checks the result.

  --demo             then make sample videos, train and test on them
  --upstream BASE    where SlowFast comes from: git (all of it, from GitHub), wheel (its models,
                     from the package index), or auto (default): git where it answers, else wheel
  --into DIR         where SlowFast goes (default: SlowFast beside this script)
  --slowfast DIR     take a checkout of your own instead (or set DIR_SLOWFAST)
  --any-commit       take it at whatever commit it is, at your own risk
  --data DIR         Animal Kingdom's folder action_recognition, to link into the tree's data/ak
                     (or set DIR_AK_AR to it, DIR_AK to Animal_Kingdom, DIR_ROOT to what holds that)
  --env KIND         venv (default: .venv beside this script) or current (the Python that runs now);
                     PYTHON=/path/to/python chooses the interpreter
  --torch SPEC       the torch for pip to install (default torch==2.13.0; one from 2.10 on is kept)
  --dev              install the tools for tests as well
  --skip STEP        leave out a step: environment, upstream, links or check; may be repeated
  --dry-run          say what would be done, and change nothing
  --check            only check: what is installed, which base, what is missing
  --undo             take the overlay out of the tree and put every original back
  --help             this text
END
}

say() { printf '%s\n' "$*"; }
warn() { printf 'prepare_dir_AR: %s\n' "$*" >&2; }
die() {
  warn "error: $*"
  exit "$EXIT_CODE"
}
run() { if ((DRY_RUN)); then say "would $*"; else "$@"; fi; }
skipped() { [[ " ${SKIP[*]-} " == *" $1 "* ]]; }
takes_value() { [[ " ${VALUED[*]} " == *" $1 "* ]]; }
absolute() { if [[ $1 == /* ]]; then printf '%s' "$1"; else printf '%s' "$PWD/$1"; fi; }

# Holds the folder $1 until unlock, or until this process dies: the kernel then lets go of it.
lock() {
  local file=$1/.prepare_dir_AR.lock fd
  if ((DRY_RUN)); then return; fi
  if ! mkdir -p -- "$1" 2>/dev/null || ! : 2>/dev/null >>"$file"; then
    die "cannot write in '$1'"
  fi
  exec {fd}>>"$file"
  # The holder removes the file at its end: then what was opened here is not the file of that name.
  if ! hold "$fd" || [[ ! $file -ef /dev/fd/$fd ]]; then
    die "lock held: another prepare_dir_AR.sh is at work in '$1'; run this again when it is done"
  fi
  LOCKS+=("$file")
}
hold() {
  if command -v flock >/dev/null; then flock -n "$1"; else
    "${PY:-python3}" -c 'import fcntl, sys; fcntl.flock(int(sys.argv[1]), 6)' "$1" 2>/dev/null
  fi
}
unlock() {
  local file
  for file in "${LOCKS[@]}"; do rm -f -- "$file"; done
  LOCKS=()
}
cleanup() {
  if [[ -n $WORK ]]; then rm -rf -- "$WORK"; fi
  WORK=''
  unlock
}

# shellcheck source=setup/environment.sh
source "$HERE/setup/environment.sh"
# shellcheck source=setup/upstream.sh
source "$HERE/setup/upstream.sh"
# shellcheck source=setup/links.sh
source "$HERE/setup/links.sh"

# Sets DATA_LINKS, for AK's own layout (dataset/image, annotation) and a flat one (image, annot).
find_data() {
  local given=${DATA:-${DIR_AK_AR:-${DIR_AK:-${DIR_ROOT:-}}}} root name folder
  if [[ -z $given ]]; then return; fi
  given=$(absolute "$given")
  [[ -d $given ]] || die "no folder '$given'; correct --data, DIR_AK_AR, DIR_AK or DIR_ROOT"
  for root in "$given" "$given/action_recognition" "$given/Animal_Kingdom/action_recognition"; do
    for name in image video; do
      for folder in "$root$MARK/dataset/$name" "$root$MARK/$name"; do
        if [[ -d $folder ]]; then DATA_LINKS+=("$name" "$folder") && break; fi
      done
    done
    if ((!${#DATA_LINKS[@]})); then continue; fi
    for folder in "$root$MARK/annotation" "$root$MARK/annot"; do
      if [[ -d $folder ]]; then DATA_LINKS+=(annot "$folder") && return; fi
    done
    say "data: no folder annotation in $root; tools/make_annotations.py makes one from the workbook"
    return
  done
  die "no Animal Kingdom in '$given': dataset/image, dataset/video, image, video: none is there;" \
    "correct --data, DIR_AK_AR, DIR_AK or DIR_ROOT"
}

check() {
  local problems=() problem name kind origin='a tree of yours' i
  kind=$(base_kind)
  if [[ $kind == none ]]; then die "no SlowFast in '$TREE'; run: bash prepare_dir_AR.sh"; fi
  if is_from_wheel; then origin=$WHEEL; elif [[ $kind == git && -e $TREE/.git ]]; then
    origin="commit $(commit_of "$TREE" || printf unknown)"
  fi
  say "check: $TREE, base $kind ($origin)"
  problem=$(commit_problem)
  if [[ -n $problem ]]; then problems+=("$problem"); fi
  problem=$(venv_problem)
  if [[ -n $problem ]]; then problems+=("$problem"); fi
  plan
  for ((i = 0; i < ${#PLAN[@]}; i += 3)); do
    if [[ ${PLAN[i]} == *link ]]; then
      problems+=("not installed: ${PLAN[i + 1]#"$TREE/"}; run this script again")
    fi
  done
  problems+=("${CONFLICTS[@]}")
  for name in "${REPLACED[@]}"; do
    # Two of the files that the overlay replaces are not in the package.
    if [[ $kind == wheel && ($name == *custom_config.py || $name == tools/*) ]]; then continue; fi
    if [[ -L $TREE/$name && ! -f $(original_of "$TREE/$name") ]]; then
      problems+=("the original of $name is gone; delete '$TREE' and run this script again")
    fi
  done
  if ! (cd -- "$TREE" && PYTHONDONTWRITEBYTECODE=1 "$PY" "$HERE/setup/imports.py" "$HERE"); then
    problems+=("the packages do not import, see above")
  fi
  if [[ $kind == wheel ]]; then
    say "  not on this base: $LACKS"
  fi
  for name in "${problems[@]}"; do warn "problem: $name"; done
  if ((${#problems[@]})); then die "${#problems[@]} problem(s) in '$TREE', see above"; fi
  if ((ANY_COMMIT)) && [[ $kind == git && $origin != "commit $GIT_COMMIT" ]]; then
    say "check: all imports; whether it runs on this commit, nobody has tried"
  else say "check: all is well"; fi
}

demo() {
  if ((DRY_RUN)); then
    say "would train and test on sample videos in $TREE"
    return
  fi
  cd -- "$TREE"
  "$PY" -m actionrec.data.demo --out data/demo
  say "demo: cd '$TREE' && '$PY' tools/run_net.py --cfg configs/AK/DEMO.yaml"
  "$PY" tools/run_net.py --cfg configs/AK/DEMO.yaml
  say 'Try next, at the end of that command: MODEL.LOSS_FUNC LDAM OUTPUT_DIR results/demo_ldam'
}

# What to type next, with the options of this run.
closing() {
  local again='' ak=$TREE/data/ak
  if [[ $ENVIRONMENT == current && -n ${PYTHON:-} ]]; then
    again="PYTHON=$(printf %q "$PYTHON") "
  fi
  again+="bash $(printf '%q ' "$0" "${GIVEN[@]}")"
  say "Next: $again--demo"
  if [[ ! -d $ak/image && ! -d $ak/video ]]; then
    say "Your data: $again--data DIR, with Animal Kingdom's folder action_recognition as DIR"
  elif [[ ! -d $ak/annot ]]; then
    say "Your data: no annotation in '$ak/annot'; docs/datasets.md says how to make one"
  else
    say "Your data: cd '$TREE' && '$PY' tools/run_net.py --cfg configs/AK/SLOWFAST_8x8_R50.yaml"
  fi
}

parse() {
  local option
  while (($#)); do
    option=$1
    shift
    if takes_value "${option%%=*}"; then
      if [[ $option == *=* ]]; then set -- "${option#*=}" "$@"; fi
      option=${option%%=*}
      if [[ -z ${1:-} || $1 == --* ]]; then die "$option needs a value; see --help"; fi
      GIVEN+=("$option" "$1")
    else GIVEN+=("$option"); fi
    case $option in
      --upstream) UPSTREAM=$1 && shift ;;
      --into) INTO=$1 && shift ;;
      --slowfast) SLOWFAST=$1 && shift ;;
      --data) DATA=$1 && shift ;;
      --env) ENVIRONMENT=$1 && shift ;;
      --torch) TORCH=$1 && shift ;;
      --skip) SKIP+=("$1") && shift ;;
      --dev) DEV=1 ;;
      --demo) DEMO=1 ;;
      --any-commit) ANY_COMMIT=1 ;;
      --dry-run) DRY_RUN=1 ;;
      --check | --undo)
        if [[ $MODE != prepare && $MODE != "${option#--}" ]]; then die "use --check or --undo"; fi
        MODE=${option#--}
        ;;
      --help | -h) usage && exit 0 ;;
      *) die "unknown option '$option'; see --help" ;;
    esac
  done
}

validate() {
  local name
  [[ $UPSTREAM =~ ^(auto|git|wheel)$ ]] || die "--upstream '$UPSTREAM': use auto, git or wheel"
  [[ $ENVIRONMENT =~ ^(venv|current)$ ]] || die "--env '$ENVIRONMENT': use venv or current"
  for name in "${SKIP[@]}"; do
    [[ " ${STEPS[*]} " == *" $name "* ]] || die "--skip '$name': use one of: ${STEPS[*]}"
  done
  if [[ -n $INTO && -n $SLOWFAST ]]; then die "use --into or --slowfast, not both"; fi
  if [[ $MODE != prepare && (-n $DATA || $DEMO == 1) ]]; then
    die "--data and --demo do nothing with --$MODE; leave them out"
  fi
  if [[ -z $INTO && -z $SLOWFAST && -n ${DIR_SLOWFAST:-} ]]; then
    SLOWFAST=$DIR_SLOWFAST
    GIVEN+=(--slowfast "$SLOWFAST")
  fi
  TREE=$(absolute "${SLOWFAST:-${INTO:-$HERE/SlowFast}}")
  while [[ $TREE == */ && $TREE != / ]]; do TREE=${TREE%/}; done
  for name in DIR_ANACONDA_ENV DIR_PYTORCHVIDEO_DIST; do
    if [[ -n ${!name:-} ]]; then say "$name is set; it is not needed any more"; fi
  done
}

prepare() {
  local step
  check_upstream
  find_data
  lock "$TREE"
  if ((!DRY_RUN)); then
    WORK=$TREE/.prepare_dir_AR.work # not in /tmp, which is too small for torch on some machines
    rm -rf -- "$WORK"               # of a run that was cut short
    mkdir -- "$WORK"
  fi
  # Conflicts are told before the long steps.
  if [[ $(base_kind) != none ]] && ! skipped links; then
    plan
    refuse_conflicts
  fi
  for step in "${STEPS[@]}"; do
    if skipped "$step" || { ((DRY_RUN)) && [[ $step == check ]]; }; then continue; fi
    "$step"
  done
  cleanup
  if ((DEMO)); then demo; elif ((!DRY_RUN)); then closing; fi
}

main() {
  parse "$@"
  validate
  trap cleanup EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [[ $MODE != undo ]]; then choose_python; fi
  "$MODE"
}
main "$@"
