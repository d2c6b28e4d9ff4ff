# shellcheck shell=bash
# The step `links` of prepare_dir_AR.sh, and --undo. code_new/ is a stow package: its root is the
# root of the tree. The links and the originals beside them are the only record of what was done, so
# a run that was cut short anywhere is completed, or undone, by the next.

# The only files of SlowFast whose place the overlay takes.
readonly REPLACED=(slowfast/__init__.py slowfast/config/custom_config.py slowfast/models/losses.py
  tools/run_net.py)
# Stands in the text of each link of --data, between the folder given and what was found below it:
# '/path/././dataset/image'. It leads nowhere else, and no link made by hand has it.
readonly MARK=/./.
PLAN=() CONFLICTS=() # PLAN: triples of an action, a path in TREE, and what it is linked or moved to

original_of() { printf '%s' "${1%.py}_original.py"; }
is_replaced() { [[ " ${REPLACED[*]} " == *" $1 "* ]]; }

# Whether $1 is an overlay's folder, or was one that the tree's other links still lead to: actionrec
# is the one to ask, so it is moved after losses and configs, and taken out last.
is_overlay() {
  [[ $1 == /* ]] || return 1
  [[ -d $1/code_new || $(readlink -- "$TREE/actionrec") == "$1/code_new/actionrec" ]]
}

# Whether the path $1 of TREE is a link of this overlay, from here or from where it lay before.
is_ours() {
  local text
  [[ -L $TREE/$1 ]] || return 1
  text=$(readlink -- "$TREE/$1")
  case $1 in
    losses | configs/*) [[ $text == */"$1" ]] && is_overlay "${text%"/$1"}" ;;
    data/ak/image | data/ak/video | data/ak/annot) [[ $text == *"$MARK"/* ]] ;;
    data/*) return 1 ;;
    *) [[ $text == */code_new/"$1" ]] ;;
  esac
}

# Whether the user has changed the file $1 of TREE, as far as its origin can tell.
is_modified() {
  local changes
  if [[ -e $TREE/.git ]]; then
    changes=$(git -C "$TREE" status --porcelain -- "$1" 2>&1) ||
      die "git status fails in '$TREE': ${changes##*$'\n'}"
    [[ -n $changes ]]
  elif is_from_wheel; then
    "$PY" -c '
import base64, hashlib, pathlib, sys
tree, name = pathlib.Path(sys.argv[1]), sys.argv[2]
digest = base64.urlsafe_b64encode(hashlib.sha256((tree / name).read_bytes()).digest()).decode()
record = (tree / "slowfast-1.0.dist-info/RECORD").read_text().splitlines()
start = f"{name},sha256={digest.rstrip(chr(61))},"
sys.exit(any(line.startswith(start) for line in record))' "$TREE" "$1"
  else return 1; fi
}

leaves_tree() {
  EXIT_CODE=4
  CONFLICTS+=("$1 leads out of the tree, to $(readlink -- "$TREE/$1"); put a folder in its place")
}

# Adds to the plan what makes the path $2 of TREE a link to $1, or says what stands against it.
plan_link() {
  local target=$1 name=$2 path=$TREE/$2 original
  original=$(original_of "$path")
  if is_ours "$name"; then
    if [[ $(readlink -- "$path") != "$target" ]]; then PLAN+=(relink "$path" "$target"); fi
  elif [[ -L $path && $path -ef $target ]]; then
    return # yours, and leads there as well
  elif [[ -L $path && -d $path && -d $target && $target == "$HERE"/code_new/* ]]; then
    leaves_tree "$name"
  elif [[ -L $path ]]; then
    CONFLICTS+=("$name is a link of yours, to $(readlink -- "$path"), not to $target; remove it")
  elif [[ ! -e $path ]]; then
    PLAN+=(link "$path" "$target")
  elif [[ ! -f $path ]] || ! is_replaced "$name"; then
    CONFLICTS+=("$name is in the way; rename it")
  elif [[ -e $original ]] && ! cmp -s -- "$path" "$original"; then
    CONFLICTS+=("$name and ${original#"$TREE/"} are both there and differ; keep one of them")
  elif [[ ! -e $original ]] && is_modified "$name"; then
    CONFLICTS+=("$name has changes of yours; put them elsewhere and restore the original")
  else
    PLAN+=(aside "$path" "$original" link "$path" "$target")
  fi
}

# A folder that SlowFast lacks is linked as a whole, so that a new file in it needs no second run.
plan_package() {
  local entry name
  for entry in "$HERE/code_new/$1"*; do
    name=${entry#"$HERE/code_new/"}
    if [[ $name == *__pycache__ || $name == *.pyc ]]; then continue; fi
    if [[ -d $entry && -d $TREE/$name && ! -L $TREE/$name ]]; then plan_package "$name/"; else
      plan_link "$entry" "$name"
    fi
  done
}

plan_folder() {
  if [[ -L $TREE/$1 ]]; then leaves_tree "$1"; elif [[ ! -e $TREE/$1 ]]; then
    PLAN+=(folder "$TREE/$1" '')
  elif [[ ! -d $TREE/$1 ]]; then
    CONFLICTS+=("$1 is in the way; rename it")
  fi
}

plan() {
  local entry i
  PLAN=() CONFLICTS=()
  plan_link "$HERE/losses" losses
  plan_folder configs
  for entry in "$HERE"/configs/*; do plan_link "$entry" "configs/${entry##*/}"; done
  if [[ -L $TREE/slowfast ]]; then leaves_tree slowfast; else plan_package ''; fi
  if ((${#DATA_LINKS[@]})); then
    plan_folder data
    plan_folder data/ak
  fi
  # A new --data replaces all of the last one: frames of one and labels of another would be wrong.
  for entry in image video annot; do
    if ((${#DATA_LINKS[@]})) && is_ours "data/ak/$entry" &&
      [[ " ${DATA_LINKS[*]} " != *" $entry /"* ]]; then
      PLAN+=(drop "$TREE/data/ak/$entry" '')
    fi
  done
  for ((i = 0; i < ${#DATA_LINKS[@]}; i += 2)); do
    plan_link "${DATA_LINKS[i + 1]}" "data/ak/${DATA_LINKS[i]}"
  done
}

refuse_conflicts() {
  local line
  if ((!${#CONFLICTS[@]})); then return; fi
  for line in "${CONFLICTS[@]}"; do warn "conflict in '$TREE': $line"; done
  die "${#CONFLICTS[@]} conflict(s), see above; no link was made"
}

links() {
  local i path to
  if [[ $(base_kind) == none ]]; then
    if ((!DRY_RUN)); then die "no SlowFast in '$TREE'; run this without --skip upstream"; fi
    say "would link the overlay into $TREE"
    return
  fi
  plan
  refuse_conflicts
  for ((i = 0; i < ${#PLAN[@]}; i += 3)); do
    path=${PLAN[i + 1]} to=${PLAN[i + 2]}
    case ${PLAN[i]} in
      folder) run mkdir -- "$path" ;;
      aside) run mv -f -- "$path" "$to" ;;
      drop) run rm -- "$path" ;;
      link) run ln -s -- "$to" "$path" ;;
      *) run ln -sfn -- "$to" "$path" ;;
    esac
  done
  if ((!${#PLAN[@]})); then say "links: up to date"; elif ((DRY_RUN)); then
    say "would link $TREE to $HERE"
  else say "links: $TREE leads to $HERE"; fi
}

find_links() {
  local name
  for name in slowfast tools configs data/ak; do
    if [[ -d $TREE/$name && ! -L $TREE/$name ]]; then find "$TREE/$name" -type l -print0; fi
  done
  find -H "$TREE" -maxdepth 1 -type l ! -name actionrec -print0
  find -H "$TREE" -maxdepth 1 -type l -name actionrec -print0
}

# Takes out every link of ours and puts every original back; what is not ours stays.
undo() {
  local path name original edits taken=0 took='took'
  [[ -d $TREE ]] || die "no folder '$TREE'; name the tree with --into or --slowfast"
  lock "$TREE"
  while IFS= read -r -d '' path; do
    if ! is_ours "${path#"$TREE/"}"; then continue; fi
    original=$(original_of "$path")
    if [[ -f $original ]]; then run mv -f -- "$original" "$path"; else run rm -- "$path"; fi
    taken=$((taken + 1))
  done < <(find_links)
  # An original without its link: a run was cut short, or something put a file in the link's place.
  for name in "${REPLACED[@]}"; do
    path=$TREE/$name
    original=$(original_of "$path")
    if [[ ! -f $original || -L $path ]]; then continue; fi
    if [[ ! -e $path ]] || cmp -s -- "$path" "$original"; then
      run mv -f -- "$original" "$path"
    else
      warn "left alone: '$path' is no link of ours, and its original is beside it; keep one of them"
    fi
  done
  for name in data/ak data configs; do
    if [[ -d $TREE/$name && ! -L $TREE/$name ]] && ((!DRY_RUN)); then
      rmdir -- "$TREE/$name" 2>/dev/null || true # yours, when there is something in it
    fi
  done
  if ((DRY_RUN)); then took='would take'; else
    rm -rf -- "$TREE/.prepare_dir_AR.work" "$TREE/.prepare_dir_AR.log"
  fi
  say "undo: $took $taken links of the overlay out of $TREE"
  # Not worth waiting for, where git is slow.
  edits=$(timeout 10 git -C "$HERE" status -s -- code_new losses configs 2>/dev/null) || true
  if [[ -n $edits ]]; then
    say "edits made through the links stay in $HERE, see: git status"
  fi
}
