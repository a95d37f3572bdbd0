#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# two labds on one state directory, a stopped labd, no labd, another user's labd
# TIMEOUT: 120
# REQUIRES: root curl jq setpriv
. "${SRCDIR:-.}/tests/lib.sh"
labd_start

status=0
text=$(timeout 10 labd 2>&1) || status=$?
[ $status != 0 ] && [ $status != 124 ] || fail "a second labd on the same directories started"
check_match "what the second labd says" "running|use" "$text"
status=0
text=$(LABD_RUN=$TEST_DIR/r2 timeout 10 labd 2>&1) || status=$?
[ $status != 0 ] && [ $status != 124 ] || fail "a second labd on the same state directory started"
check_match "what the second labd says" "$LABD_STATE" "$text"
api GET /v1/version >/dev/null

# a labd that hangs: labctl says so in time
kill -STOP "$LABD_PID"
start=$SECONDS
check_fails 3 "" timeout 60 labctl status
say "labctl gave up after $((SECONDS - start)) s"
kill -CONT "$LABD_PID"
labctl status >/dev/null

# another user may not even connect
check_fails 3 "" setpriv --reuid=65534 --regid=65534 --clear-groups \
	env LABD_STATE=/nonexistent labctl status

# clients that talk nonsense or nothing do not hurt
for n in {1..40}; do
	head -c 2000 /dev/urandom | timeout 1 nc -U "$LABD_RUN/labd.sock" >/dev/null 2>&1 ||
		head -c 2000 /dev/urandom | timeout 1 curl -s --unix-socket "$LABD_RUN/labd.sock" \
			-X POST --data-binary @- http://labd/v1/labs >/dev/null || true
	[ "$n" -le 5 ] || break
done
labctl status >/dev/null
big=$(head -c 3000000 /dev/zero | tr '\0' x | curl -s -o /dev/null -w '%{http_code}' \
	--unix-socket "$LABD_RUN/labd.sock" --data-binary @- http://labd/v1/labs)
[ "$big" -ge 400 ] || fail "3 MB of nothing as a lab was accepted: $big"
labd_stop
[ ! -e "$LABD_RUN/labd.sock" ] || fail "labd left its socket"
