#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The trash: what is destroyed comes back whole, expires, and is nowhere else when labd is killed
# TIMEOUT: 300
# REQUIRES: root tun fuse dnsmasq curl jq sqlite3 qemu-img
. "${SRCDIR:-.}/tests/lib.sh"
export LABD_TRASH_SIZE=2G LABD_TRASH_DAYS=2
need tiny
cd "$TEST_DIR"

cat >lab.yaml <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], disks: { data: { size: 64M } } }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up -q -G lab.yaml

trash() { api GET /v1/trash | jq -r '.[] | "\(.kind) \(.lab)/\(.name)"' | sort | xargs; }
spec() { api GET /v1/labs/lab/instances/a | jq -S '.spec, .nics[0].mac, .id'; }
snapshots() { api GET /v1/labs/lab/snapshots | jq -cS 'map({name, members: (.members | sort), memory, parent})'; }
files() { (cd "$LABD_STATE" && find labs snapshots images -name '*.qcow2' | sort); }

# a snapshot, with memory: gone from the lab, not from the disk; and its memory is good after it
guest a sh -c 'echo one >/root/mark; sync'
labctl snapshot create lab first
labctl snapshot create lab second
guest a sh -c 'echo two >/root/mark; sync'
before=$(snapshots)
labctl snapshot rm lab first
check_eq "in the trash" "snapshot lab/first" "$(trash)"
check_eq "snapshots" '["second"]' "$(api GET /v1/labs/lab/snapshots | jq -c 'map(.name)')"
check_match "labctl trash ls" "snapshot +lab/first .*MiB" "$(labctl trash ls)"
check_eq "expires" 172800 "$(api GET /v1/trash | jq '.[0] | .expires - .since | round')"
labctl snapshot create lab first # its name is free
check_fails 1 "there is a snapshot first already" labctl trash restore lab/first
labctl snapshot rm lab first
check_fails 1 "the trash has several that were called lab/first" labctl trash restore lab/first
labctl trash rm "$(api GET /v1/trash | jq '.[1].id')"
labctl trash restore lab/first
check_eq "snapshots are as before" "$(jq -c 'sort_by(.name) | map({name, members, memory})' <<<"$before")" \
	"$(snapshots | jq -c 'sort_by(.name) | map({name, members, memory})')"
labctl snapshot restore lab first
check_eq "its state" one "$(guest a cat /root/mark)"

# an instance: disks, address, its part of snapshots
labctl stop a
was=$(spec)
members=$(snapshots | jq -c 'map({name, members: (.members | sort)})')
labctl rm lab/a
check_eq "instances" b "$(api GET /v1/labs/lab/instances | jq -r '.[].name')"
check_eq "members without a" '["b"]' "$(api GET /v1/labs/lab/snapshots/first | jq -c '[.instances[].name]')"
check_fails 1 "image tiny is used" labctl image rm tiny
labctl trash restore lab/a
check_eq "the instance is as it was" "$was" "$(spec)"
check_eq "and a member again" "$members" "$(snapshots | jq -c 'map({name, members: (.members | sort)})')"
labctl start a
check_eq "its disk" one "$(guest a cat /root/mark)"
labctl stop a
labctl rm lab/a
labctl trash restore lab/a c # with another name
labctl start c
check_eq "its disk, under another name" one "$(guest c cat /root/mark)"

# up with a file that lacks one
labctl up -q lab.yaml # c is not in it
check_eq "up destroys into the trash too" "instance lab/c" "$(trash)"
labctl trash empty

# from the tree
labctl mount mnt
on_exit labctl umount -l mnt
mkdir -p mnt/labs/t mnt/labs/t/instances/i
rm -r mnt/labs/t/instances/i
rm -r mnt/labs/t
check_eq "rm -r goes into the trash" "instance t/i lab /t" "$(trash)"
labctl trash restore t
labctl trash restore t/i
[ -d mnt/labs/t/instances/i ] || wait_for "the tree to have it" 10 test -d mnt/labs/t/instances/i
labctl rm t
labctl trash empty

# the whole lab; another lab of that name meanwhile
labctl down -k
labctl snapshot create lab third
before=$(snapshots)
was=$(spec)
labctl rm lab
check_eq "the lab is in the trash" "lab /lab" "$(trash)"
check_eq "labs" "" "$(labctl -q ls)"
printf 'lab: lab\nnetworks: { n: { cidr: 10.1.0.0/24 } }\ninstances: { x: { image: tiny, networks: [n] } }\n' >x.yaml
api POST /v1/labs "$(jq -n --rawfile t x.yaml '{text: $t}')" >/dev/null
check_fails 1 "there is a lab lab already" labctl trash restore lab
labctl rm lab
newest=$(api GET /v1/trash | jq '[.[] | select(.kind == "lab")] | last.id')
labctl trash rm "$newest"
labd_kill
labd_start # what is in the trash is none of recovery's business
labctl trash restore lab
check_eq "the lab is as it was" "$was" "$(spec)"
check_eq "its snapshots" "$before" "$(snapshots)"
[ -d mnt/labs/lab/instances/a ] || wait_for "the tree to have it" 10 test -d mnt/labs/lab/instances/a
labctl up -q -G lab
guest b true
labctl down -k
labctl rm lab
labctl trash restore lab again # addresses of its nics are those of the name it had
check_eq "macs under another name" "$(sed -n 's/^"\(.*:.*\)"$/\1/p' <<<"$was")" \
	"$(api GET /v1/labs/again/instances/a | jq -r '.nics[0].mac')"
labctl rm again

# an image; one that something in the trash stands on stays
check_fails 1 "image tiny is used by something in the trash" labctl image rm tiny
qemu-img create -q -f qcow2 disk.qcow2 8M
labctl image import disk.qcow2 blank
sum=$(sha256sum <"$(api GET /v1/images/blank | jq -r .path)/disk.qcow2")
labctl image rm blank
check_fails 1 "blank" labctl image show blank
labctl image import disk.qcow2 blank
check_fails 1 "there is an image blank already" labctl trash restore blank
labctl trash restore blank other
check_eq "the image" "$sum" "$(sha256sum <"$(api GET /v1/images/other | jq -r .path)/disk.qcow2")"
labctl image rm other blank

# what is wrong
check_fails 1 "the trash has no nosuch" labctl trash restore nosuch
check_fails 1 "the trash has no 999" labctl trash rm 999
check_fails 1 "cannot be a name" labctl trash restore other a/b
check_fails 2 "unknown verb" labctl trash dig
check_fails 2 "is no size" env LABD_TRASH_SIZE=much labd
check_fails 2 "is no number of days" labd --trash-days=-1

# killed anywhere: live or in the trash, and never in both or in neither
printf 'lab: k\nnetworks: { n: { cidr: 10.1.0.0/24 } }\ninstances:\n' >k.yaml
for i in 1 2 3 4 5 6 7 8; do echo "  i$i: { image: tiny, networks: [n] }" >>k.yaml; done
api POST /v1/labs "$(jq -n --rawfile t k.yaml '{text: $t}')" >/dev/null
where()
{
	{
		api GET /v1/labs/k/instances | jq -r '.[].name'
		api GET /v1/trash | jq -r '.[] | select(.kind == "instance" and .lab == "k") | .name'
	} | sort | xargs
}
for i in 1 2 3 4 5 6 7 8; do
	api DELETE /v1/labs/k/instances/i$i >/dev/null 2>&1 &
	pause "0.00$i"
	labd_kill
	wait $! || true
	labd_start
	check_eq "killed while it destroyed i$i" "i1 i2 i3 i4 i5 i6 i7 i8" "$(where)"
done
for id in $(api GET /v1/trash | jq '.[] | select(.kind == "instance" and .lab == "k") | .id'); do
	api POST "/v1/trash/$id/restore" '{}' >/dev/null 2>&1 &
	pause "0.00$((id % 8))"
	labd_kill
	wait $! || true
	labd_start
	check_eq "killed while it restored" "i1 i2 i3 i4 i5 i6 i7 i8" "$(where)"
done
api DELETE /v1/labs/k >/dev/null

# by age
labd_stop
sqlite3 "$LABD_STATE/labd.db" "UPDATE trash SET since = since - 2 * 86400 WHERE name <> 'k'"
labd_start
check_eq "what is too old is gone" "k" "$(api GET /v1/trash | jq -r '.[].name')"

# by size: all, and nothing is left of anything
labd_stop
LABD_TRASH_SIZE=0 labd_start
check_eq "in the trash" "" "$(trash)"
check_eq "files but tiny's" "" "$(files | grep -v "^images/$(api GET /v1/images/tiny | jq .id)/" || true)"
check_eq "rows" "0 0 0 0" "$(labd_stop >&2; sqlite3 -separator ' ' "$LABD_STATE/labd.db" \
	'SELECT (SELECT count(*) FROM labs), (SELECT count(*) FROM instances),
	(SELECT count(*) FROM snapshots), (SELECT count(*) FROM layers)')"
