#!/usr/bin/env bash
# Installs what the tests need, builds, and runs every test: the plain build, the sanitizers' builds and the fuzz
# targets. The last line is "N passed, N failed"; the exit code is 0 only when none failed.
# ./check.sh REGEX runs only the tests of the plain build whose names match.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")" || exit 1
. cmake/packages.sh

passed=0 failed=0
# Whatever stops the run early is a failure too, so that the last line is always there.
finish() {
    local code=$?
    ((code == 0)) || failed=$((failed + 1))
    echo "$passed passed, $failed failed"
    ((failed == 0 && passed > 0)) || exit 1
    exit 0
}
trap finish EXIT
trap 'exit 130' INT TERM

# run_tests FOLDER [ctest options]: adds the folder's tests to the counts. What did not run counts as failed. `before`
# is a command that runs ctest, if any.
before=()
run_tests() {
    local folder=$1 report=$PWD/$1/tests.xml all good
    shift
    rm -f "$report"
    "${before[@]}" ctest --test-dir "$folder" -j "$jobs" --output-on-failure --no-tests=error --output-junit "$report" "$@"
    all=$(grep -c '<testcase ' "$report" 2>/dev/null)
    good=$(grep -c '<testcase .* status="run"' "$report" 2>/dev/null)
    ((all > 0)) || { say "no test of $folder ran"; all=1 good=0; }
    passed=$((passed + good)) failed=$((failed + all - good))
}

# The client libraries from PyPI that tests drive the server with; without them those tests fail.
need_clients() {
    local wanted=tests/e2e/requirements.txt venv=build/venv
    cmp -s "$wanted" "$venv/requirements.txt" && return
    say "installing the clients of $wanted"
    rm -rf "$venv"
    if python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r "$wanted" >&2; then
        cp "$wanted" "$venv/requirements.txt"
    fi
}

# stage FOLDER OPTIONS... -- [ctest options]: of `targets`, or everything when there are none
targets=()
stage() {
    local folder=$1 options=()
    shift
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    echo "== $folder"
    if (build "$folder" "${options[@]}" -- "${targets[@]}"); then
        [[ $folder != build ]] || need_clients
        run_tests "$folder" "$@"
    else
        failed=$((failed + 1))
    fi
}

need_packages gcc g++ libc6-dev cmake ninja-build pkg-config glslc spirv-tools libvulkan-dev mesa-vulkan-drivers \
    libpng-dev libjpeg-dev libcjson-dev libutf8proc-dev libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev \
    libssl-dev zlib1g-dev libcmocka-dev clang-14 libclang-rt-14-dev clang-format-14 vulkan-validationlayers \
    python3 python3-venv zsh fish man-db groff chromium curl nginx-light openssl
# SwiftShader comes with Debian's chromium. Ubuntu has no such package: set the CMake variable SDVK_SWIFTSHADER_ICD in
# build/ to a manifest from elsewhere; without one its tests fail.
(need_packages chromium-common) || say "without chromium-common the tests on SwiftShader fail"
jobs=$(nproc)
# Quoted, because sanitizers end a value at a blank.
export LSAN_OPTIONS="suppressions='$PWD/tests/leaks.supp':print_suppressions=0"
export TSAN_OPTIONS="suppressions='$PWD/tests/races.supp'"
export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=1

if (($#)); then
    stage build -DSDVK_TESTS=ON -- -R "$1"
    exit 0
fi
stage build -DSDVK_TESTS=ON --
stage build-asan -DSDVK_TESTS=ON -DSDVK_SANITIZE=address,undefined -- -R '^(base|vk|io|sample|nn|op|clip|unet|vae|lora|sd|server|corpus)\.[a-z_0-9]+$|^e2e\.server_(faults|load)$'
stage build-fuzz -DSDVK_TESTS=ON -DSDVK_FUZZ=ON -DSDVK_SANITIZE=address,undefined -DCMAKE_C_COMPILER=clang-14 -- -R '^fuzz\.'
# ThreadSanitizer of gcc 12 cannot start where addresses are more random than it knows.
setarch "$(uname -m)" -R true 2>/dev/null && before=(setarch "$(uname -m)" -R)
targets=(sdvk sdvk-server)
stage build-tsan -DSDVK_TESTS=ON -DSDVK_SANITIZE=thread -- -R '^e2e\.server_(a1111|guard|jobs|load|openai|webhooks)$'
exit 0
