#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints what a machine is like, one thing a line: files, units, users, network and kernel settings. What comes and goes
# by itself is left out: sessions, caches, leases, and states of units that anybody's reload touches.
{
  find /etc -type f ! -name '*-' ! -name .pwd.lock -exec sha256sum {} + | sed 's/^/content /'
  find /etc /opt /usr/local /var/lib /run ! -path '/run/systemd/*' ! -path '/run/user*' ! -path '/run/udev/*' ! -path '/run/log/*' \
    ! -path '/run/sudo*' ! -path '/var/lib/systemd/timesync*' ! -path '/etc/*-' ! -name '.#*' ! -name .pwd.lock | sed 's/^/file /'
  find /run/systemd/system /run/systemd/transient /run/systemd/generator* ! -name 'session-*.scope' 2>/dev/null | sed 's/^/file /'
  systemctl list-units --all --plain --no-legend --no-pager | awk '{print $1}' |
    grep -vE '^(session-[0-9]+|run-[^ ]*)\.scope$|^user@|^user-|^run-user-|^sys-|^dev-|\.device$|^ssh@' | sed 's/^/unit /'
  systemctl list-unit-files --no-legend --no-pager | grep -vE '^session-' | awk '{print "unit file", $1, $2}'
  getent passwd | sed 's/^/user /'
  getent group | sed 's/^/group /'
  for family in 4 6; do
    ip "-$family" rule show | sed "s/^/rule$family /"
    ip "-$family" route show table all | sed "s/ expires [0-9]*sec//; s/^/route$family /"
  done
  ip -br link | awk '{print "link", $1}'
  tc qdisc show | sed 's/refcnt [0-9]* //; s/^/qdisc /'
  nft -s list ruleset | sed 's/^/nft /'
  sysctl -a 2>/dev/null | grep -E '^net\.(core\.[rw]mem|ipv[46]\.(conf\.(all|default|e|mgmt0)|ip_forward))' | grep -v stable_secret | sed 's/^/setting /'
} | sort -u
