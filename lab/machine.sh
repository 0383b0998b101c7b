#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The power supply of one machine: boots it, boots it again when it asks for that, ends when it is switched off.
# usage: machine.sh NAME NETNS-PATH BASE DISK TUN POWER-LOSS-COMMAND...
# Runs in the machine's own cgroup, else all machines would share one. SIGTERM is the power button.
# Whatever it mounts is private to it and goes with it.
set -eu
if [ -z "${LAB_PRIVATE:-}" ]; then
  LAB_PRIVATE=1 exec unshare --mount --propagation slave "$0" "$@"
fi
name=$1 netns=$2 base=$3 disk=$4 tun=$5
shift 5

mount -t cgroup2 cgroup2 /sys/fs/cgroup     # the unified hierarchy, also where this machine has a hybrid one
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$base,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"

# Its own /proc/sys/net is writable, the rest of /proc/sys is this machine's. Without nspawn's seccomp filter, as that
# refuses bpf(), and then DeviceAllow= and IPAddressDeny= silently do nothing.
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_SECCOMP=0

off=
power_loss() { nsenter --net="$netns" "$@"; }
trap 'off=1; kill -TERM "$machine" 2>/dev/null || :' TERM
while :; do
  power_loss "$@"
  systemd-nspawn --quiet --boot --directory="$disk/root" --machine="$name" --register=no --keep-unit \
    --network-namespace-path="$netns" --resolv-conf=off --timezone=off --link-journal=no \
    --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK --bind="$tun:/dev/net/tun" --console=read-only &
  machine=$!
  while :; do
    status=0
    wait "$machine" || status=$?
    kill -0 "$machine" 2>/dev/null || break    # else a signal ended the wait, not the machine
  done
  # 133: it asked for a reboot
  if [ "$status" != 133 ] || [ -n "$off" ]; then break; fi
done
power_loss "$@"
exit "$status"
