#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# golden: made by the first up, restored by reset and by up of a lab that is down
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq sqlite3
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], repair: [[sh, -c, "echo again >>/run/repaired"]],
       ready: [{ exec: [sh, -c, "[ -e /run/born ] || cat /proc/sys/kernel/random/uuid >/run/born"] }] }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML

# last_job TEXT: whether the log of the newest job has it
last_job()
{
	local id
	id=$(api GET /v1/jobs | jq '.[0].id')
	api GET "/v1/jobs/$id/log" | grep -q "$1" || fail "the log of job $id does not say '$1'"
}

snapshots()
{
	api GET /v1/labs/lab/snapshots | jq -r '.[] | .name' | sed 's/-2.*//' | paste -sd' '
}

labctl up "$TEST_DIR/lab.yaml"
check_eq "snapshots" golden "$(snapshots)"
check_eq "kind" golden "$(api GET /v1/labs/lab/snapshots | jq -r '.[0].kind')"
check_eq "with memory" true "$(api GET /v1/labs/lab/snapshots | jq -r '.[0].memory')"

# ---- reset: memory, processes, disks
for round in first second; do
	say "reset, $round"
	guest a sh -c 'echo ram >/run/mark; echo disk >/root/mark; sync; sleep 4242 </dev/null >/dev/null 2>&1 &'
	born=$(guest a cat /run/born)
	labctl reset lab
	last_job 'all run after'
	check_eq "birth" "$born" "$(guest a cat /run/born)"
	check_eq "files since" "" "$(guest a sh -c 'ls /run/mark /root/mark 2>/dev/null; true')"
	check_eq "processes since" "" "$(guest a sh -c 'ps | grep "[s]leep 4242"; true')"
	check_eq "repair commands" again "$(guest a cat /run/repaired)"
done
ping_b() { guest a ping -c 1 -W 1 b; }
wait_for "the network to work" 20 ping_b

say "reset of one instance"
guest a touch /run/mark
guest b touch /run/mark
labctl reset lab b
guest a test -e /run/mark || fail "a was reset too"
check_fails 1 "" guest b test -e /run/mark

# ---- up after down
guest a sh -c 'echo kept >/root/mark; sync'
labctl down lab
labctl up lab
last_job 'all run after'
check_fails 1 "" guest a test -e /root/mark
check_eq "snapshots" "golden auto-up" "$(snapshots)"

say "what the disks had is kept"
labctl snapshot restore lab "$(api GET /v1/labs/lab/snapshots | jq -r '.[1].name')"
check_eq "a after a snapshot without memory" stopped "$(inst a state)"
labctl start lab/a
wait_for "a to answer" 60 guest a true
check_eq "mark" kept "$(guest a cat /root/mark)"

# ---- a boot on request, and a golden of what runs then
labctl down lab
labctl up lab --boot
check_eq "mark" kept "$(guest a cat /root/mark)"
golden=$(api GET /v1/labs/lab/snapshots | jq '.[] | select(.kind == "golden") | .id')
labctl golden lab
[ "$(api GET /v1/labs/lab/snapshots | jq '.[] | select(.kind == "golden") | .id')" -gt "$golden" ] ||
	fail "golden was not replaced"
guest a rm /root/mark
labctl reset lab
check_eq "mark in the new golden" kept "$(guest a cat /root/mark)"

# ---- another machine: not used, with the reason, and made again
sed -i 's/b: { image: tiny, memory: 128M/b: { image: tiny, memory: 144M/' "$TEST_DIR/lab.yaml"
labctl down lab
labctl up "$TEST_DIR/lab.yaml"
last_job 'golden is not used: memory of instance b'
labctl down lab
labctl up lab
last_job 'all run after'

# ---- suspended: goes on where it was
guest a sh -c 'echo ram >/run/mark'
labctl suspend lab
check_eq "processes" "" "$(pgrep -f "$LABD_RUN/.*qmp" || true)"
check_eq "state" down "$(api GET /v1/labs/lab | jq -r .state)"
labctl up lab
check_eq "mark" ram "$(guest a cat /run/mark)"
api GET /v1/labs/lab/snapshots | jq -e 'map(select(.kind == "suspended")) == []' >/dev/null ||
	fail "the suspended state is still there"

say "what cannot go on is kept"
labctl suspend lab
sed -i 's/b: { image: tiny, memory: 144M/b: { image: tiny, memory: 128M/' "$TEST_DIR/lab.yaml"
labctl up "$TEST_DIR/lab.yaml"
last_job 'suspended state is not used: memory of instance b'
check_fails 1 "" guest a test -e /run/mark
labctl snapshot restore lab "$(api GET /v1/labs/lab/snapshots | jq -r '.[] | select(.name | startswith("auto-suspended-")) | .name')"
check_eq "mark" ram "$(guest a cat /run/mark)"
sed -i 's/b: { image: tiny, memory: 128M/b: { image: tiny, memory: 144M/' "$TEST_DIR/lab.yaml"

# ---- clocks: they go on, unless they are asked not to
behind() { echo $(($(date +%s) - $(guest a date +%s))); }
labctl golden lab
wait_for "some seconds" 20 sh -c "[ \$(date +%s) -gt $(($(date +%s) + 4)) ]"
labctl reset lab
[ "$(behind)" -ge 4 ] || fail "the guest's clock jumped: $(behind) s behind the host"
[ $(($(guest a date +%s) - $(guest b date +%s))) -le 1 ] || fail "clocks differ"
labctl reset lab --clock=now --reseed
[ "$(behind)" -le 2 ] || fail "the guest's clock is $(behind) s behind the host"

say "a guest of a labd that makes other machines is not saved, as nothing could load it"
labd_kill
sqlite3 "$LABD_STATE/labd.db" "UPDATE instances SET machine = 'another' WHERE name = 'b'"
labd_start
golden=$(api GET /v1/labs/lab | jq .golden)
check_fails 1 "instance b: it was started by another labd or QEMU.*restart it" labctl golden lab
check_eq "the golden" "$golden" "$(api GET /v1/labs/lab | jq .golden)"
labctl reset lab
labctl golden lab

say "a repair command that fails is named"
sed -i 's/echo again.*\]\]/exit 7"]]/' "$TEST_DIR/lab.yaml"
labctl up "$TEST_DIR/lab.yaml"
check_fails 1 'instance a: repair: sh: exit status 7' labctl reset lab
check_eq "b" running "$(inst b state)"

labctl down lab
labctl rm -y lab
check_eq "what is left" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
