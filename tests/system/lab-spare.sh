#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# spares: QEMUs that wait in the golden's state; a reset takes them, or does without
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq sqlite3
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], disks: { data: 64M }, ready: [{ agent: true }] }
  b: { image: tiny, memory: 128M, networks: [mgmt], ready: [{ agent: true }] }
YAML

# what the log of the newest reset says: how many of its members were spares
spares_used()
{
	local id
	id=$(api GET /v1/jobs | jq 'map(select(.kind == "reset"))[0].id')
	api GET "/v1/jobs/$id/log" | sed -n 's/.*; \([0-9]*\) of [0-9]* were spares/\1/p'
}

all_spare()
{
	api GET /v1/labs/lab | jq -e 'all(.instances[]; .spare > 0)'
}

# the pid of an instance's spare
spare_of()
{
	sqlite3 "$LABD_STATE/labd.db" "SELECT spares.pid FROM spares JOIN instances
		ON instances.id = spares.instance WHERE instances.name = '$1'"
}

taps()
{
	nsenter -t "$(api GET /v1/labs/lab | jq .keeper)" -n ip -o link show type tun
}

qemus()
{
	pgrep -c -f "^/usr/bin/qemu-system.*$LABD_RUN/" || true
}

# the guests work, and are what the golden was
check_guests()
{
	check_fails 1 "" guest a test -e /root/mark
	check_fails 1 "" guest b test -e /run/mark
	ping_b() { guest a ping -c 1 -W 1 b; }
	wait_for "a to reach b" 20 ping_b
	guest a sh -c 'echo mark >/root/mark; sync'
	guest b touch /run/mark
}

reset_takes()
{
	labctl reset lab
	check_eq "spares that were used" "$1" "$(spares_used)"
	check_guests
}

before=$(lab_world)
labctl up "$TEST_DIR/lab.yaml"
check_guests

# ---- taken
for round in first second; do
	say "reset, $round"
	wait_for "the spares" 20 all_spare
	check_eq "QEMUs" 4 "$(qemus)"
	reset_takes 2
done
labctl reset lab
began=$SECONDS
labctl reset lab
# they are made when a lab was left alone for a second
[ $((SECONDS - began)) -gt 0 ] || check_eq "spares at once after a reset" 0 "$(spares_used)"

say "a spare is no part of the network"
wait_for "the spares" 20 all_spare
check_eq "taps" 4 "$(taps | wc -l)"
check_eq "on a bridge" 2 "$(taps | grep -c master)"

# ---- not taken
say "one that has ended, one that hangs"
kill -9 "$(spare_of a)"
kill -STOP "$(spare_of b)"
reset_takes 0
wait_for "the spares" 20 all_spare

say "another snapshot than the golden"
labctl snapshot create lab now
labctl snapshot restore lab now
check_eq "mark" mark "$(guest a cat /root/mark)"
wait_for "the spares" 20 all_spare

say "another golden"
old=$(spare_of a)
guest a rm /root/mark
guest b rm /run/mark
labctl golden lab
[ ! -e "/proc/$old" ] || fail "the spare of the old golden is there"
wait_for "the spares" 20 all_spare
reset_takes 2

# ---- without labd
say "labd is killed"
wait_for "the spares" 20 all_spare
old=$(spare_of a)
labd_kill
labd_start
[ ! -e "/proc/$old" ] || fail "the spare of the labd that was killed is there"
wait_for "the spares" 20 all_spare
reset_takes 2

say "labd and the keeper are killed"
wait_for "the spares" 20 all_spare
keeper=$(api GET /v1/labs/lab | jq .keeper)
labd_kill
kill -9 "$keeper"
wait_for "the keeper to end" 10 not alive "$keeper"
labd_start
check_eq "QEMUs" 0 "$(qemus)"
labctl up lab
wait_for "the spares" 20 all_spare

say "labd ends"
labd_stop
check_eq "QEMUs" 2 "$(qemus)"
labd_start
wait_for "the spares" 20 all_spare
reset_takes 2

# ---- gone
say "an instance is stopped"
wait_for "the spares" 20 all_spare
labctl kill lab/b
check_eq "QEMUs" 2 "$(qemus)"
check_eq "taps" 2 "$(taps | wc -l)"
reset_takes 1

say "down"
wait_for "the spares" 20 all_spare
labctl down lab --kill
check_eq "QEMUs" 0 "$(qemus)"
check_eq "rows" "" "$(sqlite3 "$LABD_STATE/labd.db" "SELECT * FROM spares; SELECT * FROM layers WHERE snapshot < 0")"
labctl rm lab -y
labctl trash empty -y
check_eq "what is left" "$before" "$(lab_world)"

say "none where they are not wanted"
labd_stop
none() # they would be made when nothing has happened for a second
{
	pause 3
	check_eq "QEMUs" 2 "$(qemus)"
	reset_takes 0
}
LABD_SPARES=no labd_start
labctl up "$TEST_DIR/lab.yaml"
none
labd_stop
labd --no-spares >>"$TEST_DIR/labd.log" 2>&1 &
LABD_PID=$!
wait_for "labd to answer" 10 labd_settled
none
labctl rm lab -y
