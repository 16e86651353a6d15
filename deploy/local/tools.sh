#!/bin/sh
# tools.sh [--or-docker] TOOL…   Programs that are needed: installed where this may be done, else named in one line.
# --or-docker: an engine will do instead.
set -eu
have() { command -v "$1" >/dev/null 2>&1; }
package() {
    case "$1" in
    java) echo openjdk-17-jre-headless ;;
    javac) echo openjdk-17-jdk-headless ;;
    mvn) echo maven ;;
    node) echo nodejs ;;
    *) echo "$1" ;;
    esac
}
or=
if [ "${1:-}" = --or-docker ]; then
    shift
    if have docker; then exit 0; fi
    or=", or Docker"
fi
missing=
packages=
for tool in "$@"; do
    if ! have "$tool"; then
        missing="$missing $tool"
        packages="$packages $(package "$tool")"
    fi
done
if [ -z "$missing" ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && have apt-get; then
    echo "installing$packages"
    apt-get update -qq
    # shellcheck disable=SC2086 # they are words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages >/dev/null
    exit 0
fi
echo "missing:$missing$or; on Debian and Ubuntu: apt-get install$packages" >&2
exit 2
