#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints what of mpquic.tunnel this host has, one thing a line: its kind, a blank, which. Touches nothing, and needs no
# release that works.

each() { # each KIND: a line for every line of the input
  sed "s|^|$1 |"
}

systemctl list-units --all --plain --no-legend --no-pager 'mpquic*' 'system-mpquic*' | grep -v ' not-found ' |
  grep -oE '(system-)?mpquic[^ ]*' | grep -E '\.(service|socket|timer|path|target|scope|mount|slice)$' | sort -u | each unit

# Rules and routes carry our protocol number, TUN devices our alias, queueing disciplines our major number.
for family in 4 6; do
  # It shows rules of every protocol, whatever it is asked for.
  ip -N "-$family" rule show 2>/dev/null | sed -n 's/\t/ /; s/ \[detached\]//; s/^\([0-9]*\): \(.* proto 109\) *$/priority \1 \2/p' | each "rule$family"
  ip "-$family" route show table all proto 109 2>/dev/null | sed 's/ *$//' | each "route$family"
done
for alias in /sys/class/net/*/ifalias; do
  device=${alias%/ifalias}
  if [ -e "$device/tun_flags" ] && [ "$(cat "$alias")" = mpquic ]; then echo "tun ${device##*/}"; fi
done
if command -v tc >/dev/null; then tc qdisc show | awk '$2 == "htb" && $3 == "6d71:" {print $5}' | each shaper; fi
if command -v nft >/dev/null; then nft list tables 2>/dev/null | awk '$3 ~ /^mpquic/ {print $2, $3}' | each nft; fi

sed -n 's/^-\{0,1\}\(net[^ =]*\).*/\1/p' /etc/mpquic/before*.conf /etc/sysctl.d/60-mpquic*.conf 2>/dev/null |
  sed '/\//!y|.|/|' | sort -u | each setting

for path in /etc/mpquic /etc/sysctl.d/60-mpquic*.conf /etc/systemd/system/mpquic* /etc/systemd/system/*.d/60-mpquic*.conf \
  /etc/systemd/system/*.wants/mpquic* /etc/systemd/system/*.requires/mpquic* /opt/mpquic /usr/local/bin/mpquic \
  /usr/local/share/man/man1/mpquic.1 /usr/local/share/bash-completion/completions/mpquic /usr/local/share/zsh/site-functions/_mpquic \
  /var/lib/mpquic* /var/lib/private/mpquic* /run/mpquic*; do
  if [ -e "$path" ] || [ -h "$path" ]; then echo "file $path"; fi
done

getent passwd mpquic | cut -d: -f1 | each user
getent group mpquic | cut -d: -f1 | each group
