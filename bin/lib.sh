# shellcheck shell=bash
# What the scripts beside this file share; they source it. Works with bash 3.2 (macOS) and later.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for those who source this
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

# Becomes the command $2..., which (on Linux) receives signal $1 when the script that started it ends, however it ends.
# For background use: `tied TERM server &`.
tied() {
  local signal=$1
  shift
  if setpriv --pdeathsig "$signal" true 2>/dev/null; then
    exec setpriv --pdeathsig "$signal" "$@"
  fi
  exec "$@"
}

# Installs packages where that needs no question (Debian or Ubuntu, as root or with sudo without a password);
# elsewhere ends with the command to type. Arguments: what is missing, packages for apt, for dnf, command for macOS.
need_packages() {
  local what=$1 apt=$2 dnf=$3 macos=$4 sudo=''
  if has apt-get; then
    if [ "$(id -u)" -ne 0 ]; then sudo='sudo -n'; fi
    # shellcheck disable=SC2086 # lists of words
    if $sudo true 2>/dev/null; then
      say "installing $what: apt-get install -y $apt"
      if $sudo apt-get install -y $apt >/dev/null 2>&1; then return; fi
      # A list of packages that is old, or was never fetched, is the usual reason.
      if $sudo apt-get update >/dev/null 2>&1 && $sudo apt-get install -y $apt >/dev/null; then return; fi
    fi
  fi
  die "needs $what. Debian, Ubuntu: sudo apt-get install -y $apt
  Fedora: sudo dnf install -y $dnf
  macOS: $macos"
}

has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  local pattern
  for pattern in '/usr/lib/llvm-*/lib/libclang*.so*' '/usr/lib/*/libclang*.so*' '/usr/lib64/libclang.so*' '/usr/lib/libclang.so*' \
    '/usr/lib64/llvm*/lib/libclang.so*' '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib' \
    '/Applications/Xcode*.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang.dylib' \
    '/opt/homebrew/opt/llvm/lib/libclang.dylib' '/usr/local/opt/llvm/lib/libclang.dylib'; do
    if compgen -G "$pattern" >/dev/null; then return; fi
  done
  return 1
}

# Everything that a build needs, and where its results go: outside of the checkout, so that RocksDB is compiled once a machine.
setup() {
  if ! has cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
  has cargo || die "needs Rust: install it as https://rustup.rs says, then run this again"
  if ! has cc || ! has c++ || ! has make; then
    need_packages "a C++ compiler and make" "build-essential" "gcc-c++ make" "xcode-select --install"
  fi
  if ! has clang || ! has_libclang; then
    need_packages "clang and libclang, for RocksDB's bindings" "clang libclang-dev" "clang clang-devel" "xcode-select --install"
  fi
  export CARGO_TARGET_DIR=${TANIST_TARGET_DIR:-${CARGO_TARGET_DIR:-$cache/target}}
  cd "$root" || exit 1
}

# Says what a first build in profile folder $1 (debug, release) will take, since RocksDB takes most of it in silence.
announce_build() {
  if ! compgen -G "$CARGO_TARGET_DIR/$1/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null; then
    say "First $1 build: compiles RocksDB (8 minutes on two cores), librdkafka (2) and the other dependencies, once."
    say "The result is kept in $CARGO_TARGET_DIR; later builds take seconds."
  fi
}
