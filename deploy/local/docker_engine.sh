#!/bin/sh
# Makes a Docker engine answer: installs Debian's (or Ubuntu's) and starts dockerd when none does. Needs root.
# It stays up afterwards; its log is .servers/dockerd.log. For CI: machines of people have an engine or want none.
set -eu

if docker version >/dev/null 2>&1; then
    echo "a Docker engine answers already"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "docker_engine.sh: no Docker engine answers, and installing one needs root" >&2
    exit 1
fi
if ! command -v dockerd >/dev/null || ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        docker.io runc containerd iptables debootstrap >/dev/null
fi

log=$(cd "$(dirname "$0")/../.." && pwd)/.servers/dockerd.log
mkdir -p "$(dirname "$log")"
# The package may have started one already.
if ! docker version >/dev/null 2>&1; then
    setsid dockerd --storage-driver="${PRELABEL_STORAGE_DRIVER:-overlay2}" >"$log" 2>&1 </dev/null &
fi
for _ in $(seq 150); do
    if docker version >/dev/null 2>&1; then
        echo "a Docker engine answers"
        exit 0
    fi
    sleep 0.2
done
echo "docker_engine.sh: dockerd did not answer in 30 s; its log: $log" >&2
exit 1
