# Sourced by demo.sh and check.sh: installs Debian and Ubuntu packages, and builds with one line of progress.

say() { printf '%s\n' "$*" >&2; }
stop() { say "$(basename "$0"): $*"; exit 1; }

# need_packages PACKAGE...: installs those that are missing; calls apt-get only then.
need_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        need_tools "$@"
        return
    fi
    local missing=() known package
    known=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package} ' "$@" 2>/dev/null) "
    for package in "$@"; do
        [[ $known == *" ii $package "* || $known == *"ii $package "* ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    local root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            stop "these packages are missing and there is no sudo; install them as root: apt-get install ${missing[*]}"
        root=(sudo)
        sudo -n true 2>/dev/null || [[ -t 0 ]] ||
            stop "these packages are missing and sudo asks for a password; run: sudo apt-get install ${missing[*]}"
    fi
    say "installing ${#missing[@]} packages: ${missing[*]}"
    local log
    log=$(mktemp)
    if ! apt_quietly "$log" "${root[@]}" apt-get install "${missing[@]}"; then
        # The lists may be absent (a fresh machine) or old.
        apt_quietly "$log" "${root[@]}" apt-get update || true
        if ! apt_quietly "$log" "${root[@]}" apt-get install "${missing[@]}"; then
            grep -E '^(E|W|Err):?' "$log" | tail -n 5 >&2
            rm -f "$log"
            stop "the packages could not be installed (is there a network?): apt-get install ${missing[*]}"
        fi
    fi
    rm -f "$log"
}

apt_quietly() {
    local log=$1
    shift
    local command=("$@")
    # "sudo" drops the environment, so that env comes after it.
    local before=()
    [[ ${command[0]} == sudo ]] && before=(sudo) && command=("${command[@]:1}")
    "${before[@]}" env DEBIAN_FRONTEND=noninteractive "${command[0]}" -y -q --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "${command[@]:1}" >>"$log" 2>&1 </dev/null
}

# Where there is no apt-get: says what to install, if anything is missing.
need_tools() {
    local missing=() tool library
    for tool in cc cmake ninja pkg-config glslc spirv-val; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if command -v pkg-config >/dev/null; then
        for library in vulkan libpng libjpeg libcjson libutf8proc sqlite3 libmicrohttpd libcurl libcrypto zlib; do
            pkg-config --exists "$library" || missing+=("$library")
        done
    fi
    ((${#missing[@]} == 0)) ||
        stop "install these programs and development libraries first (their Debian packages are: $*): ${missing[*]}"
}

# build FOLDER [cmake options] -- TARGETS...: configures if needed, then builds; shows one line of progress.
build() {
    local folder=$1 options=() log shown=0
    shift
    while (($#)) && [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    (($#)) && shift
    # A tree that was moved or copied has a cache of the old place.
    if [[ -f $folder/CMakeCache.txt ]] &&
        ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$folder/CMakeCache.txt"; then
        rm -rf "$folder" || stop "$folder belongs to another place and cannot be removed; remove it"
    fi
    mkdir -p "$folder" 2>/dev/null && [[ -w $folder ]] ||
        stop "cannot write to $PWD/$folder; remove it or run this as its owner"
    log=$folder/build.log
    if ! : >"$log" 2>/dev/null; then
        stop "cannot write to $PWD/$log; remove $folder or run this as its owner"
    fi
    if [[ ! -f $folder/build.ninja || $(cat "$folder/.options" 2>/dev/null) != "${options[*]}" ]]; then
        say "building in $folder"
        cmake -S . -B "$folder" -G Ninja "${options[@]}" >"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            stop "the configuration failed; the whole log is in $log"
        }
        printf '%s' "${options[*]}" >"$folder/.options"
    fi
    if [[ -t 2 ]]; then
        NINJA_STATUS='[%f/%t] ' stdbuf -oL cmake --build "$folder" -j "$(nproc)" --target "${@:-all}" 2>&1 |
            tee "$log" | while IFS= read -r line; do
            [[ $line == \[*/*\]* ]] && printf '\r\033[Kbuilding %s %s' "$folder" "${line%% *}" >&2
        done
        shown=${PIPESTATUS[0]}
        printf '\r\033[K' >&2
    else
        cmake --build "$folder" -j "$(nproc)" --target "${@:-all}" >"$log" 2>&1 || shown=$?
    fi
    ((shown == 0)) || {
        grep -vE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 30 >&2
        stop "the build failed; the whole log is in $log"
    }
}
