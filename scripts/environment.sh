# Sourced by scripts/demo, scripts/test and friends: `prepare LIST` makes .venv from scripts/requirements/LIST.txt.
# Safe to repeat: what is there already is kept, what the lists have changed is renewed.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$project/.venv"
python="$venv/bin/python"

say() { printf '%s\n' "$*" >&2; }
give_up() { say "" "realbogus: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }

find_python() {
  local candidate
  for candidate in "${REALBOGUS_PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  give_up "no Python 3.11, 3.12 or 3.13 found" "install one, or name it: REALBOGUS_PYTHON=/path/to/python3.12 $0"
}

# Run a command quietly behind one line that counts the seconds; show the end of its output only if it fails.
quietly() {
  local what=$1 log status=0 started=$SECONDS pid
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  trap 'kill "$pid" 2>/dev/null; rm -f "$log"; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    if [ -t 2 ]; then printf '\r%s ... %d s ' "$what" $((SECONDS - started)) >&2; fi
    sleep 0.2
  done
  wait "$pid" || status=$?
  trap - INT TERM
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  if [ "$status" -ne 0 ]; then
    tail -n 25 "$log" >&2
    rm -f "$log"
    return "$status"
  fi
  rm -f "$log"
  say "$what: $((SECONDS - started)) s"
}

prepare() {
  local list="$project/scripts/requirements/$1.txt" done_for
  if [ ! -x "$python" ] || ! "$python" -c 'import pip' 2>/dev/null; then
    local base
    base=$(find_python) || exit 1
    rm -rf "$venv"
    quietly "making an environment with $("$base" --version)" "$base" -m venv "$venv" ||
      give_up "could not make an environment in $venv" "on Debian and Ubuntu: apt-get install python3-venv"
  fi
  done_for="$venv/.installed-$1-$(cat "$list" "$project/pyproject.toml" | cksum | tr ' ' '-')"
  [ -e "$done_for" ] && return
  quietly "installing pinned packages (about a minute, once)" "$python" -m pip install --disable-pip-version-check \
    --require-hashes --only-binary :all: --no-binary comet -r "$list" ||
    give_up "the packages could not be installed" "is a package index reachable? (pip config list shows which one is used)"
  quietly "installing realbogus itself" "$python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e "$project" ||
    give_up "realbogus itself could not be installed" "see the lines above"
  touch "$done_for"
}
