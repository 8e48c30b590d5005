# shellcheck shell=bash
# What the scripts beside this file share; they source it. Works with bash 3.2 (macOS) and later.

# shellcheck disable=SC2034 # used by those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
cache=${TANIST_CACHE:-$HOME/.cache/tanist}

# Progress goes to stderr, so that stdout carries only what a caller may want to read.
say() { printf '%s\n' "$*" >&2; }
section() { printf '\n=== %s\n' "$*" >&2; }
die() {
  say "${0##*/}: $*"
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Waits until process $1 is gone, at most $2 seconds.
gone_within() {
  local pid=$1 ticks=$(($2 * 10))
  while kill -0 "$pid" 2>/dev/null; do
    [ "$ticks" -gt 0 ] || return 1
    ticks=$((ticks - 1))
    sleep 0.1
  done
}
