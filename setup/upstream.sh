# shellcheck shell=bash
# The step `upstream` of prepare_dir_AR.sh: the SlowFast in TREE, else that of the repository or of
# the package.

readonly GIT_URL=https://github.com/facebookresearch/SlowFast
readonly GIT_COMMIT=8f9f87b3553648a989f41eb4e0195303e56225f5
readonly GIT_TREE=bc3d5e54c3ae82b4f530b089a7d6aca922961d3b # the content of that commit
readonly GIT_PATIENCE=10                                    # seconds for the repository to answer
readonly LACKS="SlowFast's own training of Kinetics, AVA, SSv2 and ImageNet, MViT, and pictures"
BASE='' # git or wheel, set by check_upstream

# What lies in TREE, seen from its files: git, wheel or none.
base_kind() {
  if [[ -f $TREE/slowfast/models/build.py ]]; then
    printf git
  elif [[ -f $TREE/slowfast/models/model_builder.py ]]; then
    printf wheel
  else
    printf none
  fi
}
is_from_wheel() { [[ -f $TREE/slowfast-1.0.dist-info/RECORD ]]; }
commit_of() { git -C "$1" rev-parse --verify --quiet HEAD 2>/dev/null; }

# Refuses what cannot work, before anything is made, and sets BASE.
check_upstream() {
  local problem
  BASE=$(base_kind)
  if [[ $BASE == none && -n $SLOWFAST ]]; then
    die "no SlowFast in '$TREE': neither slowfast/models/build.py nor model_builder.py is there;" \
      "correct --slowfast or DIR_SLOWFAST"
  elif [[ -e $TREE && ! -d $TREE ]]; then
    die "'$TREE' is a file; choose a folder with --into"
  elif [[ $BASE == none && -e $TREE/slowfast ]]; then
    die "'$TREE/slowfast' is there and is no SlowFast; choose another folder with --into"
  elif [[ $BASE != none && $UPSTREAM != auto && $UPSTREAM != "$BASE" ]]; then
    die "'$TREE' holds the $BASE base; choose another folder with --into, or --undo and delete it"
  fi
  problem=$(commit_problem)
  if [[ -n $problem ]]; then die "$problem"; fi
  if [[ $BASE == none ]]; then choose_base; fi
}

# Prints what speaks against the checkout in TREE; nothing where it is the commit that is pinned.
commit_problem() {
  local commit newer=''
  if [[ $(base_kind) != git ]] || ((ANY_COMMIT)); then return; fi
  if [[ ! -e $TREE/.git ]]; then
    printf '%s' "'$TREE' is no git checkout, so nothing says which SlowFast it is;" \
      " --any-commit takes it, at your own risk"
  elif ! commit=$(git -C "$TREE" rev-parse --verify HEAD 2>&1); then
    printf '%s' "git does not say at which commit '$TREE' is: ${commit##*$'\n'};" \
      " mend that, or add --any-commit at your own risk"
  elif [[ $commit != "$GIT_COMMIT" ]]; then
    if grep -rqs --include='*.py' 'vision\.fair' "$TREE/slowfast" "$TREE/tools"; then
      newer=', a newer SlowFast that imports a package internal to its authors'
    fi
    printf '%s' "'$TREE' is at commit ${commit:0:7}$newer; the overlay is made for" \
      " ${GIT_COMMIT:0:7}: run git -C '$TREE' checkout $GIT_COMMIT," \
      " or add --any-commit at your own risk"
  fi
}

# Sets BASE for a folder without SlowFast.
choose_base() {
  local problem
  BASE=$UPSTREAM
  if [[ -e $TREE/.git ]] && [[ $UPSTREAM == wheel || -n $(git_problem) ]]; then
    die "'$TREE' holds a clone that was cut short; use --upstream git, or another folder (--into)"
  fi
  if [[ $BASE == wheel ]]; then return; fi
  problem=$(git_problem)
  if [[ -z $problem ]]; then
    BASE=git
  elif [[ $UPSTREAM == git ]]; then
    EXIT_CODE=75 # try again later
    die "--upstream git: $problem; use --upstream wheel, or --slowfast DIR for a checkout of yours"
  else
    take_wheel "$problem"
  fi
}

take_wheel() {
  BASE=wheel
  say "upstream: auto takes the package $WHEEL, because $1; it lacks $LACKS"
}

# Prints why the repository cannot be had; nothing where it answers.
git_problem() {
  local answer
  if ! command -v git >/dev/null; then
    printf 'git is not installed'
  elif ! answer=$(quiet_git timeout "$GIT_PATIENCE" git ls-remote "$GIT_URL" HEAD 2>&1); then
    printf '%s' "$GIT_URL does not answer (${answer:-not within $GIT_PATIENCE s})" |
      tr '\n' ' '
  fi
}

# Runs a command that may call git: it never asks for a password.
quiet_git() { GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=true "$@"; }

upstream() {
  if [[ $(base_kind) != none ]]; then
    say "upstream: keeps the $BASE base in $TREE"
  elif ((DRY_RUN)); then
    if [[ $BASE == git ]]; then say "would clone $GIT_URL at $GIT_COMMIT into $TREE"; else
      say "would unpack $WHEEL into $TREE"
    fi
  elif [[ $BASE == wheel ]]; then
    upstream_wheel
  elif ! clone "$WORK/clone"; then
    tail -n 3 -- "$WORK/git.log" >&2
    if [[ $UPSTREAM == git ]]; then
      EXIT_CODE=75
      die "git cannot bring $GIT_URL, see above; try again later"
    fi
    take_wheel "git cannot bring $GIT_URL, see above"
    upstream_wheel
  else
    move_clone "$WORK/clone"
  fi
}

# The pinned commit into the new folder $1, a few MB: without its history's files, without the demo
# images. User settings that would change the files, and hooks, are left out.
clone() {
  say "upstream: $GIT_URL, commit ${GIT_COMMIT:0:7}, into $TREE"
  {
    quiet_git git clone --quiet --no-checkout --filter=blob:none --template= \
      -c core.autocrlf=false -c core.attributesFile=/dev/null -c core.hooksPath=/dev/null \
      -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=30 -- "$GIT_URL" "$1" &&
      git -C "$1" sparse-checkout set --no-cone '/*' '!/demo' &&
      quiet_git git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$GIT_COMMIT"
  } 2>"$WORK/git.log"
}

# From the clone $1 into TREE; slowfast last, by one rename: where it lies, all is complete.
move_clone() {
  local entry name names=()
  if [[ $(git -C "$1" rev-parse HEAD 'HEAD^{tree}') != "$GIT_COMMIT"$'\n'"$GIT_TREE" ||
    -n $(git -C "$1" status --porcelain) ]]; then
    EXIT_CODE=4
    die "what $GIT_URL gave is not commit $GIT_COMMIT with content $GIT_TREE; nothing was kept"
  fi
  for entry in "$1"/* "$1"/.[!.]*; do
    if [[ ${entry##*/} != slowfast ]]; then names+=("${entry##*/}"); fi
  done
  for name in "${names[@]}"; do
    if is_in_the_way "$1/$name" "$TREE/$name"; then
      die "'$TREE/$name' is in the way; choose another folder with --into"
    fi
  done
  for name in "${names[@]}" slowfast; do
    if [[ ! -e $TREE/$name ]]; then mv -- "$1/$name" "$TREE/"; fi
  done
}

# Whether $2 is there and is not what a run that was cut short has moved there, which $1 says.
is_in_the_way() {
  if [[ ! -e $2 && ! -L $2 ]]; then return 1; fi
  if [[ ${1##*/} == .git ]]; then [[ $(commit_of "${2%/.git}") != "$GIT_COMMIT" ]]; else
    ! diff -rq -- "$1" "$2" &>/dev/null
  fi
}

# The package of the index, checked against its hash; no index has all of its dependencies.
upstream_wheel() {
  local parts=$WORK/unpacked
  say "upstream: $WHEEL into $TREE"
  printf '%s --hash=sha256:%s\n' "$WHEEL" "$WHEEL_SHA256" >"$WORK/wheel.txt"
  pip "$WHEEL" download --no-deps --require-hashes --dest "$WORK/wheel" -r "$WORK/wheel.txt"
  rm -rf -- "$TREE/slowfast-1.0.dist-info"
  "$PY" -m zipfile -e "$WORK"/wheel/*.whl "$parts"
  # slowfast last and by one rename: where it lies, it is complete.
  mv -- "$parts/slowfast-1.0.dist-info" "$TREE/"
  mv -- "$parts/slowfast" "$TREE/"
}
