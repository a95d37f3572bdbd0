#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# two labds on one state directory, a stopped labd, no labd, another user's labd
# TIMEOUT: 120
# REQUIRES: root curl jq setpriv perl
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
say "another user is refused"

# clients that talk nonsense, or begin and never end, do not hurt
for _ in 1 2 3; do
	head -c 2000 /dev/urandom | timeout 5 curl -s --unix-socket "$LABD_RUN/labd.sock" \
		-X POST --data-binary @- http://labd/v1/labs >/dev/null
	perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => shift) or die;
		print $s join("", map { chr rand 256 } 1 .. 4000); $s->flush; sysread $s, $_, 1' \
		"$LABD_RUN/labd.sock"
done
say "nonsense"
perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => shift) or die;
	print $s "POST /v1/labs HTTP/1.1\r\nHost: labd\r\nContent-Length: 100\r\n\r\n{"; $s->flush;
	sleep' "$LABD_RUN/labd.sock" &
slow=$!
for path in /v1/nothing /v1/labs/.. '/v1/labs/a%2Fb' /v1/jobs/x "/v1/labs/$(printf 'x%.0s' {1..5000})"; do
	code=$(curl -s --max-time 5 --path-as-is -o /dev/null -w '%{http_code}' \
		--unix-socket "$LABD_RUN/labd.sock" "http://labd$path")
	[ "$code" -ge 400 ] && [ "$code" -lt 500 ] || fail "$path: HTTP status $code"
done
labctl status >/dev/null
big=$(head -c 3000000 /dev/zero | tr '\0' x | curl -s --max-time 10 -o /dev/null -w '%{http_code}' \
	--unix-socket "$LABD_RUN/labd.sock" --data-binary @- http://labd/v1/labs || true)
[ "$big" -ge 400 ] || [ "$big" = 000 ] || fail "3 MB of nothing as a lab was accepted: $big"
say "too much: $big"
deep=$(printf '[%.0s' {1..100000} | curl -s --max-time 10 -o /dev/null -w '%{http_code}' \
	--unix-socket "$LABD_RUN/labd.sock" --data-binary @- http://labd/v1/labs)
check_eq "too deep" 400 "$deep"
labctl status >/dev/null
kill $slow
labd_stop
[ ! -e "$LABD_RUN/labd.sock" ] || fail "labd left its socket"
