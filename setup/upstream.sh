# shellcheck shell=bash
# The step `upstream` of prepare_dir_AR.sh: the SlowFast in TREE, else the package's.

readonly UNSUPPORTED='the git base, which is not supported yet: no run would start on it'

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

# Refuses what cannot work, before anything is made.
check_upstream() {
  local kind
  kind=$(base_kind)
  if [[ $kind == none && -n $SLOWFAST ]]; then
    die "no SlowFast in '$TREE': neither slowfast/models/build.py nor model_builder.py is there;" \
      "correct --slowfast or DIR_SLOWFAST"
  elif [[ -e $TREE && ! -d $TREE ]]; then
    die "'$TREE' is a file; choose a folder with --into"
  elif [[ $kind == none && -e $TREE/slowfast ]]; then
    die "'$TREE/slowfast' is there and is no SlowFast; choose another folder with --into"
  elif [[ $kind == none && $UPSTREAM == git ]]; then
    die "--upstream git is not there yet; use --upstream wheel"
  elif [[ $kind != none && $UPSTREAM != auto && $UPSTREAM != "$kind" ]]; then
    die "'$TREE' holds the $kind base; choose another folder with --into, or --undo and delete it"
  elif grep -rqs --include='*.py' 'vision\.fair' "$TREE/slowfast" "$TREE/tools"; then
    die "'$TREE' is a newer SlowFast, which imports a package internal to its authors;" \
      "take the commit that docs/upstream.md names"
  elif [[ $kind == git ]] && ! skipped check; then
    die "'$TREE' holds $UNSUPPORTED; another folder gets the package (--into DIR)," \
      "or --skip check links this one all the same"
  fi
}

upstream() {
  local kind
  kind=$(base_kind)
  if [[ $kind != none ]]; then
    if [[ $kind == git ]]; then say "upstream: $TREE holds $UNSUPPORTED"; else
      say "upstream: keeps the $kind base in $TREE"
    fi
  elif ((DRY_RUN)); then
    say "would unpack $WHEEL into $TREE"
  else
    if [[ $UPSTREAM == auto ]]; then say "upstream: auto takes the wheel; git is not there yet"; fi
    upstream_wheel
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
