#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl starts labd when it is needed: once, however many ask
# TIMEOUT: 90
# REQUIRES: root curl jq
. "${SRCDIR:-.}/tests/lib.sh"

stop_labd()
{
	local pid
	pid=$(cat "$LABD_STATE/lock") || return 0
	kill "$pid" || return 0
	timeout 10 tail --pid="$pid" -f /dev/null
}
on_exit stop_labd

pids=()
for n in {1..8}; do
	labctl -j ls images >"$TEST_DIR/out.$n" 2>&1 &
	pids+=($!)
done
for n in {1..8}; do
	wait "${pids[n - 1]}" || fail "labctl $n: $(cat "$TEST_DIR/out.$n")"
	check_eq "images" "[]" "$(jq -c . "$TEST_DIR/out.$n")"
done
check_eq "labd processes" 1 "$(pgrep -cx labd -s "$(ps -o sid= -p "$(cat "$LABD_STATE/lock")" | tr -d ' ')")"
check_match "version" "labd [0-9].* QEMU [0-9]" "$(labctl version)"
check_eq "no labs" "There is no lab; 'labctl up FILE' makes one from a lab file." "$(labctl status)"
check_fails 1 "there is no lab" labctl down
check_fails 1 "there is no lab" labctl exec a -- true
check_fails 1 "labctl: .*job 999" labctl wait 999

# what labctl prints as JSON is what the API answers
check_eq "recipes" "$(api GET /v1/recipes | jq -cS .)" "$(labctl -j ls recipes | jq -cS .)"
check_eq "names" "$(api GET /v1/recipes | jq -r '.[].name')" "$(labctl -q ls recipes)"

# as root, another user's labd is not used either; who owns it is said
if id nobody >/dev/null 2>&1; then
	mkdir -m 755 "$TEST_DIR/n"
	chown nobody "$TEST_DIR/n"
	cp "$LABD_EXEC/labd" "$TEST_DIR/n/labd"
	chmod 755 "$TEST_DIR"
	LABD_STATE=$TEST_DIR/n/s LABD_RUN=$TEST_DIR/n/r \
		setpriv --reuid=nobody --clear-groups "$TEST_DIR/n/labd" 2>"$TEST_DIR/n.log" &
	other=$!
	wait_for "nobody's labd" 10 test -S "$TEST_DIR/n/r/labd.sock"
	check_fails 3 "belongs to nobody" env LABD_RUN="$TEST_DIR/n/r" labctl status
	kill $other
	wait $other || true
fi
