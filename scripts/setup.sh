#!/usr/bin/env bash
# Installs the Debian packages that are needed `for` something, and for tests a few tools in target/tools: a newer
# ffmpeg than Debian's, for what only that can do (Enhanced RTMP), and players for the browser.
#
# Does nothing when all are there. Where it cannot install, it names what is missing and exits 1.
#
# usage: setup.sh [run|test|bench]
set -euo pipefail

# package:probe, where the probe is the command or the file by which the package is recognised where it
# has another name or there is no dpkg.
needed=(
    build-essential:cc
    cmake:cmake                    # builds libopus
    libc6-dev:/usr/include/stdio.h
    libsrt-openssl-dev:/usr/include/srt/srt.h
    pkgconf:pkg-config
)
to_test=(
    chromium:chromium              # what viewers have
    curl:curl                      # asks the API
    e2fsprogs:mkfs.ext4            # disks that fill and hang
    ffmpeg:ffmpeg                  # publishes and plays
    iproute2:ip                    # makes hosts with several addresses
    netcat-openbsd:nc              # to talk to the examples by hand
    nodejs:node                    # drives the browser
    npm:npm
    mount:mount                    # the same
    libst-dev:/usr/include/st.h    # State Threads; benches/ are linked with it
    openssl:openssl                # looks at TLS from outside
    python3-venv:python3           # brings a newer ffmpeg and a checker of the API
    srt-tools:srt-live-transmit    # SRT peers
    strace:strace
    systemd:systemd-analyze        # checks the unit
    valgrind:valgrind              # make sanitize
)
to_bench=(
    nginx-light:nginx              # serves HLS, a contender
)

has() { command -v "$1" >/dev/null 2>&1; }

# Prints the packages that are needed and not installed.
missing() {
    local pair package probe installed=
    if has dpkg-query; then
        installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' \
            "${needed[@]%%:*}" 2>/dev/null || true)
    fi
    for pair in "${needed[@]}"; do
        package=${pair%%:*} probe=${pair#*:}
        if has dpkg-query; then
            # The package nodejs of NodeSource holds npm, and Debian's npm cannot be beside it.
            [[ $package == npm ]] && has npm && continue
            grep -qxF "installed $package" <<<"$installed" || echo "$package"
        elif [[ $probe == /* ]]; then
            [[ -e $probe ]] || echo "$package"
        else
            has "$probe" || echo "$package"
        fi
    done
}

# Says what is missing and how to install it, then gives up.
give_up() {
    {
        echo "setup: $1"
        echo "setup: missing: ${packages[*]}"
        echo "setup: on Debian or Ubuntu, as root: apt-get update && apt-get install ${packages[*]}"
        echo "setup: elsewhere: install what these packages hold, by the names used there"
    } >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -- "$@"; fi
}

if ! has cargo; then
    echo "setup: missing: cargo; install Rust with rustup (rust-toolchain.toml names the version)" >&2
    exit 1
fi

# A static ffmpeg 9, from the package that carries it on PyPI.
newer_ffmpeg() {
    local tools=target/tools version=0.8.1
    [[ -x $tools/ffmpeg-$version ]] && return
    echo "setup: installing ffmpeg 9 into $tools"
    mkdir -p "$tools"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "imageio-ffmpeg==$version"
    cp "$("$tools/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" \
        "$tools/ffmpeg-$version"
    ln -sf "ffmpeg-$version" "$tools/ffmpeg"
}

# What pages in the tests play with, and what drives the browser.
players() {
    local tools=target/tools/web versions=(playwright-core@1.65.1 hls.js@1.7.4 mpegts.js@1.8.2)
    [[ $(cat "$tools/versions" 2>/dev/null) == "${versions[*]}" ]] && return
    echo "setup: installing ${versions[*]} into $tools"
    mkdir -p "$tools"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools" "${versions[@]}"
    echo "${versions[*]}" >"$tools/versions"
}

# What asks the API whatever its description allows.
api_checker() {
    local tools=target/tools version=4.32.5
    [[ -e $tools/schemathesis-$version ]] && return
    echo "setup: installing schemathesis into $tools"
    mkdir -p "$tools"
    python3 -m venv "$tools/schemathesis"
    "$tools/schemathesis/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
    touch "$tools/schemathesis-$version"
}

tools() {
    [[ $scope == run ]] && return
    newer_ffmpeg
    players
    api_checker
}

scope=${1:-test}
case $scope in
run) ;;
test) needed+=("${to_test[@]}") ;;
bench) needed+=("${to_test[@]}" "${to_bench[@]}") ;;
*) echo "usage: setup.sh [run|test|bench]" >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t packages < <(missing)
if ((${#packages[@]} == 0)); then
    tools
    exit 0
fi
has apt-get || give_up "there is no apt-get here"
((EUID == 0)) || has sudo || give_up "not root, and there is no sudo"

echo "setup: installing ${packages[*]}"
# A failed update is not the end: what apt already knows may do.
as_root apt-get update -o DPkg::Lock::Timeout=300 || echo "setup: apt-get update failed" >&2
# RUNLEVEL=1: what is installed is not to run as a service.
as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${packages[@]}" || give_up "apt-get install failed"

mapfile -t packages < <(missing)
if ((${#packages[@]})); then
    give_up "apt-get reported success, yet packages are missing"
fi
tools
