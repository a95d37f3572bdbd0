#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A restore that is resumed after kill -9 of labd does what was asked for: --reseed, repair commands
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq sqlite3
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks: { mgmt: { cidr: 10.20.0.0/24 } }
instances:
  a:
    image: tiny
    memory: 128M
    networks: [mgmt]
    repair: [ [sh, -c, "until [ -e /run/go ]; do sleep 0.1; done; echo repaired >>/run/repaired"] ]
YAML
store() { sqlite3 -cmd '.timeout 5000' "$LABD_STATE/labd.db" "$1"; }
id() { guest a cat /etc/machine-id; }
# begin to restore, and kill labd as soon as the store says that it is so far
restore_until()
{
	labctl snapshot restore lab "$1" --reseed >/dev/null 2>&1 &
	client=$!
	until [ "$(store "SELECT $2 FROM labs")" = 1 ]; do
		alive $client || fail "the restore was over before it could be killed"
	done
	labd_kill
	wait $client || true
	say "killed when $2"
	labd_start
}
newest_job() { api GET /v1/jobs | jq -r 'map(select(.kind != "probe"))[0] | "\(.kind) \(.state) \(.error)"'; }
ended() { [[ "$(newest_job)" != *" running "* ]]; }
none_left() { [ "$(store "SELECT restore = 0 AND restoring = '[]' AND repair = 0 FROM labs")" = 1 ]; }

labctl up -q -G "$TEST_DIR/lab.yaml"
guest a sh -c 'echo 00000000000000000000000000000001 >/etc/machine-id; touch /run/go'
labctl snapshot create lab first >/dev/null
guest a rm /run/go
labctl snapshot create lab waits >/dev/null # its repair command goes on when it is told to
guest a touch /run/go

say "while it is restored"
restore_until first "restore <> 0"
wait_for "the restore to be done" 90 none_left
wait_for "the job to end" 20 ended
check_eq "how it ended" "restore done " "$(newest_job)"
check_match "another machine id" '^[0-9a-f]{32}$' "$(id)"
[ "$(id)" != 00000000000000000000000000000001 ] || fail "the resumed restore forgot --reseed"
check_eq "its repair command" repaired "$(guest a cat /run/repaired)"
# the lab's time is that of the snapshot, some seconds ago; and the store knows it
check_eq "the clock in the store" 1 "$(store "SELECT clock < -0.5 AND clock > -3600 FROM labs")"

say "when all run again, and its repair command does"
guest a sh -c 'echo 00000000000000000000000000000002 >/etc/machine-id'
restore_until waits "restore = 0 AND repair <> 0"
guest a touch /run/go
wait_for "the repair to be done" 90 none_left
wait_for "the job to end" 20 ended
check_eq "how it ended" "repair done " "$(newest_job)"
[ "$(id)" != 00000000000000000000000000000001 ] || fail "--reseed was forgotten"
check_match "its repair command" repaired "$(guest a cat /run/repaired)"

labctl down lab --kill
labctl rm -y lab
