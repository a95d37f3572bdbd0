#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two snapshots of a guest compared, against two loop mounts and, if guestfs-tools are
# installed, virt-diff
# TIMEOUT: 1200
# SERIAL
# IMAGES: debian-12
# REQUIRES: root tun fuse jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
. "$SRCDIR/tests/lib/mounts.sh"

mounts_begin
# Two snapshots of the guest, with an installer's work between them
SNAPSHOTS=$M/labs/t/snapshots
labctl start t/w >/dev/null
wait_for "the guest's agent" 300 guest t/w true
labctl stop t/w >/dev/null
mkdir "$SNAPSHOTS/clean"
labctl start t/w >/dev/null
wait_for "the guest's agent" 300 guest t/w true
guest t/w sh -c 'cp -a /usr/lib/python3* /usr/share/perl* /usr/share/doc /opt/ 2>/dev/null
	find /usr/share/doc -name copyright | head -200 | xargs sed -i s/the/THE/; chmod 700 /srv; sync'
labctl stop t/w >/dev/null
mkdir "$SNAPSHOTS/installed"
chain_raw()
{
	qemu-img convert -U -f qcow2 -O raw "$(api GET \
		"/v1/labs/t/snapshots/$1/instances/w/disks/root/chain" | jq -r '.files[0].path')" "$2"
}
kernel_off
chain_raw clean "$RAW"
chain_raw installed "$RAW2"
say "$(labctl diff t/clean installed 2>/dev/null | wc -l) names differ"
peer=$(cold kernels "$PEER_N" diff -rq --no-dereference "$K" "$K2")
nothing_on() { :; }
nothing_off() { kernel_off; }
ours=$(cold nothing "$N" labctl diff t/clean installed)
figure_ratio tree-labctl-diff "$ours" loop-mounts "$peer" 0.3 ms "$N"
figure_ratio tree-diff "$(cold tree "$PEER_N" diff -rq --no-dereference \
	"$M/inspect/labs/t/snapshots/clean/instances/w/root/p0" \
	"$M/inspect/labs/t/snapshots/installed/instances/w/root/p0")" loop-mounts "$peer" 3 ms "$PEER_N"
if command -v virt-diff >/dev/null; then
	virt_diff() { virt-diff -a "$RAW" -A "$RAW2"; }
	figure_faster tree-labctl-diff-virt "$ours" virt-diff "$(cold nothing 1 virt_diff)" 1 ms 1
else
	say "virt-diff is not installed: not compared with it"
fi
mounts_end
