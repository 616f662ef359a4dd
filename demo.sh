#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu to a picture: ./demo.sh [PROMPT] [options of `sdvk generate`]
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")" || exit 1
. cmake/packages.sh

need_packages gcc libc6-dev cmake ninja-build pkg-config glslc spirv-tools libvulkan-dev mesa-vulkan-drivers \
    libpng-dev libjpeg-dev libcjson-dev libutf8proc-dev libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev \
    libssl-dev zlib1g-dev
if [[ -f build/build.ninja ]] && grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" build/CMakeCache.txt; then
    options=$(cat build/.options 2>/dev/null) # as it was configured last, perhaps with the tests
else
    options=-DSDVK_TESTS=OFF
fi
# shellcheck disable=SC2086 # options holds no blanks within a word
build build $options -- sdvk

prompt="a red mug on a wooden table"
if (($#)) && [[ $1 != -* ]]; then
    prompt=$1
    shift
fi
mkdir -p out 2>/dev/null && [[ -w out ]] || stop "cannot write to $PWD/out; remove it or run this as its owner"
exec build/sdvk generate "$prompt" --model samples/mockup --steps 20 --cfg-scale 5 --seed 1 \
    --output "out/{model}-{seed}.png" --overwrite "$@"
