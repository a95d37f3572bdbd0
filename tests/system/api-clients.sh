#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# clients that send nonsense, leave in the middle, ask for too much, or are still there at the end
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"
pid=$(inst a pid)
url=http://labd/v1/labs/lab

# request STATUS REGEX METHOD PATH [CURL OPTION...]: it is answered so, and soon
request()
{
	local status=$1 regex=$2 method=$3 path=$4 text
	shift 4
	text=$(curl -sS --max-time 20 --unix-socket "$LABD_RUN/labd.sock" -w '\n%{http_code}' \
		-X "$method" "$@" "$url$path")
	check_eq "$method $path $*" "$status" "${text##*$'\n'}"
	check_match "the answer to $method $path $*" "$regex" "$text"
}

# client NAME PATH [CURL OPTION...]: one that stays, its answer is in NAME.out
CLIENTS=()
client()
{
	local name=$1 path=$2
	shift 2
	curl -sSN --unix-socket "$LABD_RUN/labd.sock" "$@" "http://labd$path" \
		>"$TEST_DIR/$name.out" 2>"$TEST_DIR/$name.err" &
	CLIENTS+=($!)
}

# the clients leave without a word
leave()
{
	[ ${#CLIENTS[@]} != 0 ] || return 0
	kill -9 "${CLIENTS[@]}" 2>/dev/null || true
	wait "${CLIENTS[@]}" 2>/dev/null || true
	CLIENTS=()
}
on_exit leave

# ---- bodies that are no objects are refused, and nothing is done -----------------
for body in '["a"]' '"a"' 7 null ' [1]' ' ' '{} x' '{"instances": "a"}'; do
	request 400 EINVAL POST /reset -d "$body"
done
for body in '{"argv": "id"}' '{"argv": [7]}' '{"argv": ["id"], "env": {"A": 1}}' \
	'{"argv": ["id"], "env": ["A"]}' '{"argv": ["id"], "timeout": -1}' \
	'{"argv": ["cat"], "stdin": "a"}' '{"argv": ["cat"], "stdin": "YQ==YQ=="}' \
	'{"argv": ["cat"], "stdin": "!!!!"}' '{"argv": ["cat"], "stdin": 7}'; do
	request 400 EINVAL POST /instances/a/exec -d "$body"
done
request 405 EOPNOTSUPP POST /networks
check_eq "jobs for the lab but its start" 1 "$(api GET /v1/jobs | jq '[.[] | select(.lab == "lab")] | length')"
check_eq "the pid of a" "$pid" "$(inst a pid)"
check_eq "standard input" "to be read" "$(printf 'to be read' | labctl exec -i lab/a -- cat)"
say "bodies"

# ---- events that have never been ---------------------------------------------------
last=$(api GET /v1/model | jq .seq)
check_eq "events since the next to come" "{\"type\":\"gap\",\"seq\":$((last + 1))}" \
	"$(api GET "/v1/events?since=$((last + 1000000))")"
check_eq "events since the last" "" "$(api GET "/v1/events?since=$last")"

# ---- the console -------------------------------------------------------------------
request 200 '' POST /instances/a/console -d '["a"]'
head -c 65537 /dev/zero | tr '\0' x >"$TEST_DIR/long"
request 400 E2BIG POST /instances/a/console --data-binary "@$TEST_DIR/long"
head -c 65536 "$TEST_DIR/long" >"$TEST_DIR/full"
kill -STOP "$pid"
for _ in 1 2 3 4; do
	request '200' '' POST /instances/a/console --data-binary "@$TEST_DIR/full"
done
kill -CONT "$pid"
say "the console of a guest that does not read"

# ---- programs whose clients leave ----------------------------------------------------
for i in {1..40}; do
	client "exec$i" /v1/labs/lab/instances/a/exec -d '{"argv": ["sleep", "777"]}'
done
refused() { [ "$(grep -l EBUSY "$TEST_DIR"/exec*.out | wc -l)" = 8 ]; }
wait_for "8 of 40 programs to be refused" 10 refused
start=$EPOCHREALTIME
api GET /v1/version >/dev/null
labctl pause lab/a
request 409 paused POST /instances/a/console -d x
request 409 paused POST /instances/a/exec -d '{"argv": ["id"]}'
labctl resume lab/a
say "calls and jobs beside them took $(awk "BEGIN { print $EPOCHREALTIME - $start }") s"
leave
running() { guest a sh -c 'ps w | grep "[s]leep 777" | wc -l'; }
killed() { [ "$(running)" = 0 ]; }
wait_for "the programs to be killed" 60 killed

# ---- the end with all of that under way ------------------------------------------------
client events /v1/events?follow=1
client console "/v1/labs/lab/instances/a/console?follow=1&tail=0"
client exec1 /v1/labs/lab/instances/a/exec -d '{"argv": ["sleep", "777"]}'
started() { [ "$(running)" = 1 ]; }
wait_for "a program to run" 20 started
start=$EPOCHREALTIME
labd_stop
say "labd ended after $(awk "BEGIN { print $EPOCHREALTIME - $start }") s"
wait "${CLIENTS[@]}" || true
CLIENTS=()
labd_start
check_eq "programs that go on without labd" 0 "$(running)"

# the same with a guest that does not answer
client exec1 /v1/labs/lab/instances/a/exec -d '{"argv": ["sleep", "777"]}'
client exec2 /v1/labs/lab/instances/a/exec -d '{"argv": ["sh", "-c", "exec yes"]}' --limit-rate 1
wait_for "a program to run" 20 started
kill -STOP "$pid"
client full /v1/labs/lab/instances/a/console --data-binary "@$TEST_DIR/full"
start=$EPOCHREALTIME
labd_stop
say "labd ended after $(awk "BEGIN { print $EPOCHREALTIME - $start }") s"
kill -CONT "$pid"
leave
labd_start

# and with a job that waits for it
kill -STOP "$pid"
api POST /v1/labs/lab/instances/a/stop >/dev/null
start=$EPOCHREALTIME
labd_stop
say "labd ended after $(awk "BEGIN { print $EPOCHREALTIME - $start }") s"
kill -CONT "$pid" 2>/dev/null || true # the job may have got as far as killing it
labd_start
labctl down --kill lab
