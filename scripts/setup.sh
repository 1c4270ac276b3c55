#!/usr/bin/env bash
# Installs the Debian packages that the build, the tests and the benchmarks need, and a newer ffmpeg than Debian's
# into target/tools, for what only that can do (Enhanced RTMP).
#
# Does nothing when all are there. Where it cannot install, it names what is missing and exits 1.
set -euo pipefail

# package:probe, where the probe is the command or the file by which the package is recognised on
# a system without dpkg.
needed=(
    build-essential:cc
    curl:curl                      # asks the API in the tests
    ffmpeg:ffmpeg                  # publishes and plays in the tests
    libc6-dev:/usr/include/stdio.h
    libsrt-openssl-dev:/usr/include/srt/srt.h
    pkgconf:pkg-config
    python3-venv:python3           # brings a newer ffmpeg, below
    libst-dev:/usr/include/st.h    # State Threads, a contender in benches/
    netcat-openbsd:nc              # to talk to the examples by hand
    srt-tools:srt-live-transmit    # SRT peers in the tests
    strace:strace
    valgrind:valgrind              # make sanitize
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

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t packages < <(missing)
if ((${#packages[@]} == 0)); then
    newer_ffmpeg
    exit 0
fi
has apt-get || give_up "there is no apt-get here"
((EUID == 0)) || has sudo || give_up "not root, and there is no sudo"

echo "setup: installing ${packages[*]}"
# A failed update is not the end: what apt already knows may do.
as_root apt-get update -o DPkg::Lock::Timeout=300 || echo "setup: apt-get update failed" >&2
as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${packages[@]}" || give_up "apt-get install failed"

mapfile -t packages < <(missing)
if ((${#packages[@]})); then
    give_up "apt-get reported success, yet packages are missing"
fi
newer_ffmpeg
