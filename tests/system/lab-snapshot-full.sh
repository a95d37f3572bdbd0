#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# no room for a snapshot of a running lab: said so, nothing left, the guests go on
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq
# IMAGES: tiny
. "${SRCDIR:-.}/tests/lib.sh"
mkdir "$LABD_STATE"
mount -t tmpfs -o size=1200m,mode=711 full "$LABD_STATE"
on_exit umount "$LABD_STATE"
# images are linked from the cache, which must be on the same file system
mkdir "$LABD_STATE/cache"
for image in "$LABD_IMAGE_CACHE"/*/; do
	[ "$(jq -r .name "$image/manifest.json")" != tiny ] || cp -a "$image" "$LABD_STATE/cache/"
done
export LABD_IMAGE_CACHE=$LABD_STATE/cache
export LABD_SPARES=no # they would take of the room that is left, at any time
labd_start
on_exit labd_stop # before the unmount
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"
guest a sh -c 'echo ram >/run/mark; echo disk >/root/mark; sync'

# leave RAM KIB: fill the disk but for so much
leave()
{
	local free
	free=$(df --output=avail "$LABD_STATE" | tail -n 1)
	head -c $(((free - $1) * 1024)) /dev/zero >"$LABD_STATE/filler"
}
files() { find "$LABD_STATE/snapshots" "$LABD_STATE/labs" -name '*.qcow2' -o -name ram | sort; }
for room in 4 300 6000; do
	leave $room
	guest a sh -c 'dd if=/dev/urandom of=/run/x bs=1M count=12 2>/dev/null'
	check_fails 1 "[Nn]o space|disk is full" labctl snapshot create lab "with-$room"
	check_fails 1 "[Nn]o space|disk is full" labctl golden lab
	rm "$LABD_STATE/filler"
	# QEMU pauses a guest that wanted to write meanwhile
	for i in a b; do
		[ "$(inst $i state)" != paused ] || labctl resume "lab/$i"
	done
	check_eq "snapshots" golden "$(api GET /v1/labs/lab/snapshots | jq -r '.[].name' | paste -sd' ')"
	check_eq "states" "running running" "$(inst a state) $(inst b state)"
	check_eq "marks" "ram disk" "$(guest a sh -c 'echo 3 >/proc/sys/vm/drop_caches; echo $(cat /run/mark /root/mark)')"
	say "nothing is left of a snapshot in $room KiB"
done
# a disk may have been switched to its overlay already, and is right all the same
labctl snapshot create lab now
labctl reset lab
check_fails 1 "" guest a test -e /run/mark
labctl snapshot restore lab now
check_eq "marks" "ram disk" "$(guest a sh -c 'echo $(cat /run/mark /root/mark)')"
labctl down lab --kill
labctl up lab
check_fails 1 "" guest a test -e /root/mark
labctl down lab --kill
labctl rm -y lab
check_eq "what is left" "" "$(files)"
