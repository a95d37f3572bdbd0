#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of labd at random points of snapshots, restores and resets, with spares and without: old
# or new, never a mix
# TIMEOUT: 500
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
ROUNDS=${KILL_ROUNDS:-12}
RANDOM=${SEED:-$$}
say "SEED=$RANDOM"

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], ready: [{ agent: true }] }
  b: { image: tiny, memory: 128M, networks: [mgmt], ready: [{ agent: true }] }
YAML
mark()
{
	local i
	for i in a b; do
		guest $i sh -c "echo $1 >/run/mark; echo $1 >/root/mark; sync"
	done
}
# the one mark that all have, in memory and on disk, or all that there are
marks()
{
	local i
	for i in a b; do
		guest $i sh -c 'echo 3 >/proc/sys/vm/drop_caches; cat /run/mark /root/mark'
	done | sort -u | paste -sd+
}
# nothing is done any more, and both run
settled()
{
	[ "$(api GET /v1/jobs | jq '[.[] | select(.state == "running" or .state == "queued")] | length')" = 0 ] &&
		[ "$(inst a state) $(inst b state)" = "running running" ] && guest a true && guest b true
}

all_spare()
{
	api GET /v1/labs/lab | jq -e 'all(.instances[]; .spare > 0)'
}

labctl up "$TEST_DIR/lab.yaml" --no-golden
mark 0
labctl golden lab
for n in 1 2; do
	mark $n
	labctl snapshot create lab "s$n"
done
now=2
for ((n = 1; n <= ROUNDS; n++)); do
	case $((RANDOM % 4)) in
	0) what="snapshot create" name=k$n want=$now ;;
	1) what=reset name="" want=0 ;;
	2)
		what=reset name="" want=0
		wait_for "the spares" 20 all_spare
		;;
	3)
		want=$((RANDOM % 2 + 1))
		what="snapshot restore" name=s$want
		;;
	esac
	# that labd is not there is for us to mend: it does not start another one
	# shellcheck disable=SC2086 # two words; no name
	labctl --no-start $what lab $name >/dev/null 2>&1 &
	client=$!
	delay=$((RANDOM % 600))
	pause "0.$(printf %03d $delay)"
	labd_kill
	labd_start
	wait $client || true
	wait_for "the lab to settle" 60 settled
	got=$(marks)
	say "round $n: $what $name, killed after $delay ms: $now -> $want: $got"
	[ "$got" = "$now" ] || [ "$got" = "$want" ] || fail "a mix: expected $now or $want, got $got"
	now=$got
	check_eq "snapshots that are not ready" "" \
		"$(api GET /v1/labs/lab/snapshots | jq -r '.[] | select(.members == []) | .name')"
done
say "all that is left can be restored"
for name in $(api GET /v1/labs/lab/snapshots | jq -r '.[] | select(.kind == "user") | .name'); do
	labctl snapshot restore lab "$name" >/dev/null ||
		fail "$name: $(tail -n 4 "$LABD_STATE"/labs/*/*/qemu.log)"
	check_match "marks of $name" '^[012]$' "$(marks)"
done
labctl down lab --kill
labctl rm -y lab
check_eq "what is left" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
