#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl status of 20 running instances, from process start to exit
# TIMEOUT: 900
# IMAGES: tiny
# REQUIRES: root tun dnsmasq curl jq perl
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
running 20
labctl status many
# perl, because starting a process from bash alone costs a millisecond
mapfile -t times < <(perl -MTime::HiRes=time -e 'for (1 .. 31) { my $t = time;
	open my $old, ">&", \*STDOUT; open STDOUT, ">", "/dev/null";
	system("labctl", "status", "many") == 0 or exit 1;
	open STDOUT, ">&", $old; printf "%.2f\n", 1000 * (time - $t); }')
figure status-20 "$(median "${times[@]}")" 20 ms ${#times[@]}
labctl down many
