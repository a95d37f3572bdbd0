#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# ls -l of 1000 instances that do not run, in four labs, against virsh list --all of as many
# TIMEOUT: 600
# REQUIRES: root fuse jq libvirtd virtlogd virsh qemu-system-x86_64
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
. "$SRCDIR/tests/lib/virsh.sh"
N=${BENCH_RUNS:-10} M=$TEST_DIR/mnt LABS=4 MEMBERS=250

make_lab()
{
	{
		echo "lab: $1"
		echo "networks: { mgmt: { cidr: 10.20.0.0/22, uplink: none } }"
		echo "instances:"
		seq -f '  i%03.0f: { image: tiny, memory: 96M, networks: [mgmt] }' 1 $MEMBERS
	} | jq -Rs '{ text: . }' >"$TEST_DIR/lab.json"
	api POST /v1/labs @"$TEST_DIR/lab.json" >/dev/null
}

list_tree()
{
	ls -l "$M"/labs/*/instances
}

list_virsh()
{
	virsh list --all
}

# A labfs that nobody has asked for anything yet
fresh_tree()
{
	[ "$1" = list_tree ] || return 0
	umount -l "$M" 2>/dev/null || true
	labfs "$M"
}

labd_start
for ((i = 1; i <= LABS; i++)); do make_lab "t$i"; done
mount_tree "$M"
check_eq "instances in the tree" $((LABS * MEMBERS)) "$(list_tree | grep -c ' i[0-9]*$')"
virsh_start
# shellcheck disable=SC2046 # names
virsh_define $(seq -f 'w%04.0f' $((LABS * MEMBERS)))

in_turns "$N" fresh_tree list_tree list_virsh
figure tree-list-first "${TOOK[list_tree]}" 50 ms "$N"
figure_ratio tree-list-first-virsh "${TOOK[list_tree]}" virsh-list "${TOOK[list_virsh]}" 1 ms "$N"
in_turns "$N" : list_tree list_virsh
figure tree-list "${TOOK[list_tree]}" 20 ms "$N"
figure_ratio tree-list-virsh "${TOOK[list_tree]}" virsh-list "${TOOK[list_virsh]}" 1 ms "$N"
say "qemu:///system"
