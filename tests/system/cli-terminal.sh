#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl on a terminal: progress in place, Ctrl-C, the raw console, questions
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq script
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
export TERM=xterm

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
  b: { image: tiny, memory: 128M, needs: [a], networks: [mgmt] }
YAML

# on_terminal NAME COMMAND...: in the background, keys from fd 5, screen in $TEST_DIR/NAME.
# What the terminal is like afterwards is written by stty.
on_terminal()
{
	local name=$1
	shift
	rm -f "$TEST_DIR/keys"
	mkfifo "$TEST_DIR/keys"
	env --default-signal=INT script -qefc "stty rows 20 cols ${COLUMNS:-60}; $*; s=\$?; stty -a; exit \$s" "$TEST_DIR/$name" \
		<"$TEST_DIR/keys" >/dev/null &
	TERMINAL=$!
	exec 5>"$TEST_DIR/keys"
}
# ended NAME STATUS: the terminal is as it was
ended()
{
	local status=0
	timeout 60 tail --pid=$TERMINAL -f /dev/null || fail "$1 does not end"
	wait $TERMINAL || status=$?
	exec 5>&-
	check_eq "exit code of $1" "$2" $status
	check_match "terminal after $1" " icanon .* echo " "$(tr '\n' ' ' <"$TEST_DIR/$1")"
}
shows() { tr '\r' '\n' <"$TEST_DIR/$1" | grep -q -- "$2"; }

on_terminal up labctl up "$TEST_DIR/lab.yaml"
ended up 0
shows up "a  *wait for .* [0-9]* s" || fail "no line of progress for a"
shows up "b  *waiting" || fail "no line of progress for b"
shows up $'\033\[[0-9]*A' || fail "lines are not updated in place"
shows up "up lab: done in" || fail "up does not say that it is done"
# a background job ignores SIGINT unless it is told otherwise: env, above
# no line is longer than the terminal, so that none wraps
longest=$(sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\r//g' "$TEST_DIR/up" |
	grep -v 'baud\|;\|^-\|^Script' | awk '/^(up| +[ab] )/ { n = length($0) > n ? length($0) : n } END { print n }')
[ "$longest" -le 60 ] || fail "a line of progress has $longest columns"

# not a terminal: lines, no sequences
labctl reset b >"$TEST_DIR/plain" 2>&1
grep -q "^b: wait for" "$TEST_DIR/plain" || fail "no plain lines: $(cat "$TEST_DIR/plain")"
! grep -q $'\033' "$TEST_DIR/plain" || fail "sequences where there is no terminal"

# Ctrl-C asks the job to stop, and waits for its end: a boot takes longer than a hand
on_terminal interrupt labctl reset --boot
wait_for "the reset to begin" 20 shows interrupt "disks\|start\|wait for"
printf '\003' >&5
ended interrupt 1
shows interrupt "Asked job [0-9]* to stop" || fail "it does not say that the job was asked to stop"
shows interrupt "reset lab cancelled" || fail "it does not say that the job was cancelled"
check_eq "running jobs" 0 "$(api GET /v1/jobs | jq '[.[] | select(.state == "running")] | length')"
labctl up lab >/dev/null

# the console: typed bytes arrive, Ctrl-C belongs to the guest, Ctrl-] leaves
on_terminal console labctl console b
wait_for "the console" 20 shows console "Ctrl-\] leaves"
# shellcheck disable=SC2016
printf 'echo typed-$((6 * 7))\r' >&5
wait_for "the guest's answer" 20 shows console typed-42
# shellcheck disable=SC2016
printf 'busybox stty -isig; echo go-$((1 + 1)); busybox head -n 1 | busybox cat -v\r' >&5
wait_for "the guest to read" 20 shows console go-2
printf '\003x\r' >&5
wait_for "Ctrl-C to reach the guest" 20 shows console '^^Cx'
printf '\035' >&5
ended console 0

# a signal ends it too, and restores the terminal
on_terminal killed labctl console b
wait_for "the console" 20 shows killed "Ctrl-\] leaves"
pkill -TERM -x labctl -P "$(pgrep -P $TERMINAL)" || pkill -TERM -x labctl
ended killed 143

# rm asks, and takes no for an answer
on_terminal ask labctl rm lab
wait_for "the question" 20 shows ask "Destroy lab lab"
printf 'n\r' >&5
ended ask 1
check_eq "labs" lab "$(labctl -q ls)"
on_terminal yes labctl rm lab
wait_for "the question" 20 shows yes "Destroy lab lab"
printf 'y\r' >&5
ended yes 0
check_eq "labs" "" "$(labctl -q ls)"
