#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reading an attribute, as a program does that has no need to start another, against virsh
# domstate of a guest that does not run either
# TIMEOUT: 300
# REQUIRES: root fuse jq perl libvirtd virtlogd virsh qemu-system-x86_64
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
. "$SRCDIR/tests/lib/virsh.sh"
N=${BENCH_RUNS:-10} READS=1000
STATE=$TEST_DIR/mnt/labs/t/instances/w/state

# Each is opened, read and closed
read_state()
{
	perl -MTime::HiRes=time -e 'for (1 .. $ARGV[1]) { my $t = time;
		open my $f, "<", $ARGV[0] or die; sysread $f, my $text, 100 or die; close $f;
		printf "%.2f\n", 1e6 * (time - $t); }' "$STATE" "$READS"
}

# From the start of virsh to its exit
domstate()
{
	local i
	for ((i = 0; i < N; i++)); do us virsh domstate w; done
}

# In one virsh, which is connected
domstates()
{
	local start=${EPOCHREALTIME/./}
	printf 'domstate w\n%.0s' $(seq "$READS") | virsh -q >/dev/null
	echo $(((${EPOCHREALTIME/./} - start) / READS))
}

labd_start
mount_tree "$TEST_DIR/mnt"
mkdir "${STATE%/instances*}" "${STATE%/*}"
check_eq "state" defined "$(cat "$STATE")"
virsh_start
virsh_define w
check_eq "virsh domstate" "shut off" "$(virsh -q domstate w | head -n 1)"

mapfile -t ours < <(read_state)
mapfile -t peer < <(domstate)
mapfile -t -O "$READS" ours < <(read_state)
figure tree-attr "$(median "${ours[@]}")" 150 us ${#ours[@]}
figure_faster tree-attr-virsh "$(median "${ours[@]}")" virsh-domstate "$(median "${peer[@]}")" 50 us "$N"
say "qemu:///system; within one virsh, a domstate takes $(domstates) us in the mean"
