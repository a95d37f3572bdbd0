#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# snapshots of running instances: a tree, restored in any order, with the specification
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

lab_file()
{
	cat >"$TEST_DIR/lab.yaml" <<YAML
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], disks: { data: 64M }, forward: { $1: 80 } }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
}
snap() { api GET /v1/labs/lab/snapshots | jq -r ".[] | select(.name == \"$1\") | .$2"; }
sums() { guest a sh -c 'echo 3 >/proc/sys/vm/drop_caches; md5sum /root/x /run/x | cut -c1-32; dd if=/dev/vdb bs=1M count=4 2>/dev/null | md5sum'; }

lab_file 18080
labctl up "$TEST_DIR/lab.yaml"
for n in 1 2 3; do
	guest a sh -c "dd if=/dev/urandom of=/root/x bs=1M count=4 2>/dev/null
		dd if=/dev/urandom of=/run/x bs=1M count=4 2>/dev/null
		dd if=/dev/urandom of=/dev/vdb bs=1M count=4 2>/dev/null; sync"
	labctl snapshot create lab "s$n"
	sums >"$TEST_DIR/s$n.sums"
done
check_eq "parents" "golden s1 s2" "$(snap s1 parent) $(snap s2 parent) $(snap s3 parent)"
check_eq "members" '["a","b"]' "$(api GET /v1/labs/lab/snapshots | jq -c '.[1].members')"
# 12 MiB were written: memory twice (a file in it, and the page cache), disks once
[ "$(snap s2 size)" -lt $((60 << 20)) ] || fail "s2 takes $(snap s2 size) bytes"

say "in another order"
for n in 2 1 3 1; do
	labctl snapshot restore lab "s$n"
	sums | cmp - "$TEST_DIR/s$n.sums" || fail "a is not what it was in s$n"
done
# nothing to be forced without KVM: it is taken, and that is all
labctl snapshot create --force lab branch
check_eq "guests of its own" false "$(jq .nested "$LABD_STATE"/snapshots/"$(snap branch id)"/*/manifest.json | sort -u)"
check_eq "parent of a branch" s1 "$(snap branch parent)"

say "shown and compared"
check_eq "memory of a in s2" $((128 << 20)) \
	"$(api GET /v1/labs/lab/snapshots/s2 | jq '.instances[] | select(.name == "a").memory')"
pages=$(api GET /v1/labs/lab/snapshots/s2/diff/s1 | jq '.instances[] | select(.name == "a").pages')
[ "$pages" -ge 1024 ] && [ "$pages" -lt 20000 ] || fail "s1 and s2 differ by $pages pages"
check_eq "pages that s2 differs from itself" 0 \
	"$(api GET /v1/labs/lab/snapshots/s2/diff/s2 | jq '[.instances[].pages] | add')"
labctl snapshot show lab s2
labctl snapshot diff lab s1 s3
check_fails 1 "has no parent" labctl snapshot diff lab golden

say "automatic ones are few"
check_eq "kept" 4 "$(api GET /v1/labs/lab/snapshots | jq '[.[] | select(.kind == "auto")] | length')"
labctl snapshot restore lab s2
labctl snapshot restore lab s2
check_eq "kept" 5 "$(api GET /v1/labs/lab/snapshots | jq '[.[] | select(.kind == "auto")] | length')"

say "the oldest of them, which would be the next to go"
oldest=$(api GET /v1/labs/lab/snapshots | jq -r '[.[] | select(.kind == "auto")] | .[0].name')
labctl snapshot restore lab "$oldest"
sums | cmp - "$TEST_DIR/s2.sums" || fail "a is not what it was in $oldest"

say "one in the middle goes, what stands on it stays"
labctl snapshot rm -y lab s1
check_eq "parent" golden "$(snap s2 parent)"
labctl snapshot restore lab s3
sums | cmp - "$TEST_DIR/s3.sums" || fail "a is not what it was in s3"

say "the lab of that moment, with its forwards"
labctl snapshot create lab before
lab_file 18081
labctl up "$TEST_DIR/lab.yaml"
check_eq "forward" 18081 "$(inst a 'forwards[0].host')"
labctl snapshot restore lab before
check_eq "forward" 18080 "$(inst a 'forwards[0].host')"
guest a sh -c 'echo web >/run/www/index.html'
answer() { [ "$(curl -s --max-time 2 http://127.0.0.1:18080/)" = web ]; }
wait_for "the forward to work" 10 answer

say "of one instance, and with one stopped"
labctl snapshot create lab only-b -i b
check_eq "members" '["b"]' "$(api GET /v1/labs/lab/snapshots | jq -c '.[] | select(.name == "only-b").members')"
guest a touch /run/mark
guest b touch /run/mark
labctl snapshot restore lab only-b
guest a test -e /run/mark || fail "a was restored too"
check_fails 1 "" guest b test -e /run/mark
labctl stop lab/b
labctl snapshot create lab half
labctl start lab/b
wait_for "b to answer" 60 guest b true
labctl snapshot restore lab half
check_eq "states" "running stopped" "$(inst a state) $(inst b state)"

say "what is refused"
check_fails 1 "golden" labctl snapshot create lab golden
check_fails 1 "for labd's own" labctl snapshot create lab auto-x
check_fails 1 "already" labctl snapshot create lab half
check_fails 1 "has no instance" labctl snapshot create lab none -i nobody
check_fails 1 "has no snapshot" labctl snapshot restore lab nothing
check_fails 1 '"clock" can be' labctl snapshot restore lab half --clock=soon

labctl down lab --kill
labctl rm -y lab
check_eq "what is left" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
