#!/bin/sh
# What the real servers need: a JRE and Maven. Installed where this may be done, else named in one line.
# --or-docker: an engine will do.
set -eu
have() { command -v "$1" >/dev/null 2>&1; }
if have java && have mvn; then exit 0; fi
or=
if [ "${1:-}" = --or-docker ]; then
    if have docker; then exit 0; fi
    or=", or Docker"
fi
if [ "$(id -u)" = 0 ] && have apt-get; then
    echo "installing a JRE and Maven"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless maven >/dev/null
    exit 0
fi
echo "the real servers need a Java 17 runtime and Maven$or; on Debian and Ubuntu: apt-get install openjdk-17-jre-headless maven" >&2
exit 2
