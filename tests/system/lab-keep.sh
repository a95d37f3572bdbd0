#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Automatic snapshots: of what runs when it is destroyed, of disks that a changed file takes away;
# they expire
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq sqlite3 qemu-img
. "${SRCDIR:-.}/tests/lib.sh"
export LABD_TRASH_SIZE=2G
need tiny
cd "$TEST_DIR"

lab_file()
{
	cat <<-YAML >lab.yaml
		lab: lab
		networks: { mgmt: { cidr: 10.20.0.0/24 } }
		instances:
		  a: { image: tiny, memory: 128M, networks: [mgmt] }
		  b: { image: $1, memory: 128M, networks: [mgmt] }
	YAML
}
autos() { api GET /v1/labs/lab/snapshots | jq -r '.[] | select(.kind == "auto").name'; }
# back with everything, and its one automatic snapshot in $auto
back()
{
	labctl trash restore lab
	auto=$(autos)
	check_match "the automatic snapshot" '^auto-removal-[0-9-]+$' "$auto"
}

lab_file tiny
labctl up -q -G lab.yaml
say "a lab is destroyed while it runs: memory and what no disk has yet come back too"
guest a sh -c 'echo memory >/run/mark; echo disk >/root/mark'
check_match "labctl rm" "kept as snapshot auto-removal" "$(labctl rm -y lab 2>&1)"
check_eq "labs" "" "$(labctl -q ls)"
back
check_eq "members, memory" '["a","b"] true' \
	"$(api GET /v1/labs/lab/snapshots | jq -r '.[0] | "\(.members | sort) \(.memory)"')"
labctl snapshot restore lab "$auto"
check_eq "marks" "memory disk" "$(guest a cat /run/mark /root/mark | xargs)"

say "not where it is not wanted, or nothing runs"
labctl rm -y --no-memory lab
labctl trash restore lab
before=$(autos) # that from before
labctl rm -y lab
labctl trash restore lab
check_eq "snapshots" "$before" "$(autos)"

say "one that cannot be made keeps nobody from destroying: its file is there already"
labctl up -q -G lab.yaml
for auto in $before; do labctl snapshot rm -y lab "$auto"; done
kill -STOP "$(inst a pid)"
check_match "labctl rm" "memory is not kept" "$(labctl rm -y lab 2>&1)"
labctl trash restore lab
check_eq "snapshots" "" "$(autos)"
check_eq "what is half made" 0 "$(sqlite3 "$LABD_STATE/labd.db" "SELECT count(*) FROM snapshots WHERE state = 'creating'")"

say "an up with a file that takes the disks away"
labctl up -q -G lab.yaml
guest b sh -c 'echo precious >/root/mark; sync'
qemu-img create -q -f qcow2 disk.qcow2 8M
labctl image import disk.qcow2 blank
lab_file blank
labctl up -q -G --detach lab.yaml
kept() { [ "$(autos)" ]; }
wait_for "b's disk to be kept" 60 kept
job=$(api GET /v1/jobs | jq '[.[] | select(.kind == "up")] | .[0].id')
wait_state lab/b running 60
labctl cancel "$job" >/dev/null # nothing in there will ever be ready
labctl wait "$job" >/dev/null 2>&1 || true
auto=$(autos)
check_match "the automatic snapshot" '^auto-change-' "$auto"
check_eq "its members" '["b"]' "$(api GET /v1/labs/lab/snapshots | jq -c '.[-1].members')"
labctl snapshot restore lab "$auto"
check_eq "its image again" tiny "$(api GET /v1/labs/lab/instances/b | jq -r .spec.image)"
labctl start lab/b
check_eq "its disk" precious "$(guest b cat /root/mark)"

say "they expire, also where nothing is done any more"
[ "$(autos | wc -l)" -ge 2 ] || fail "there are no automatic snapshots"
labctl snapshot create lab mine
labd_stop
sqlite3 "$LABD_STATE/labd.db" "UPDATE snapshots SET created = created - 8 * 86400"
labd_start
expired() { [ "$(api GET /v1/labs/lab/snapshots | jq -r '.[].name')" = mine ]; }
wait_for "the old ones to go, a minute after the start" 120 expired
check_eq "what expired it" expire "$(api GET /v1/jobs | jq -r '.[0].kind')"
labctl down -k lab
labctl rm -y lab
labctl trash empty -y
labctl image rm -y blank
check_eq "what is left" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
