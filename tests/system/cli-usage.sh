#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl's words and exit codes where no labd is needed
# TIMEOUT: 60
# REQUIRES: jq
. "${SRCDIR:-.}/tests/lib.sh"

# every command has a usage with an example, prints it on both ways, and the manual page has it
commands=$(labctl help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
[ "$(wc -w <<<"$commands")" -ge 25 ] || fail "labctl help lists only: $commands"
for c in $commands; do
	text=$(labctl "$c" --help)
	[ "$c" = help ] || check_match "usage of $c" "Usage: labctl $c.*Example:" "$text"
	check_eq "help $c" "$(labctl help "$c")" "$text"
	grep -q "\*$c\*\|\*$c " "$SRCDIR/docs/labctl.1.scd" || fail "labctl(1) does not tell of $c"
	check_fails 2 "unrecognized option '--nonsense'.*labctl (help|$c --help)" labctl "$c" --nonsense
done

# options that a usage names are in the manual page
for c in $commands; do
	for option in $(labctl help "$c" | sed -n 's/.*\(--[a-z][a-z-]*\).*/\1/p' | sort -u); do
		grep -q -- "\*$option\*" "$SRCDIR/docs/labctl.1.scd" || fail "labctl(1) lacks $c $option"
	done
done

check_fails 2 "did you mean 'status'" labctl stauts
check_fails 2 "unknown command 'xyzzy'" labctl xyzzy
check_fails 2 "Usage: labctl" labctl
check_fails 2 "Usage: labctl" labctl -j
check_fails 2 "argument is missing.*Usage: labctl show OBJECT" labctl show
check_fails 2 "too many arguments" labctl up a b
check_fails 2 "did you mean 'images'" labctl ls imges
check_fails 2 "did you mean 'import'" labctl image imprt x
check_fails 2 "not the number of a job" labctl wait 1x
check_fails 2 "NAME=VALUE" labctl exec -e X lab/a -- true
check_fails 2 "not a duration" labctl exec --timeout soon lab/a -- true
check_fails 2 "not a number of lines" labctl logs -n -1 lab/a
check_fails 2 "not a size" labctl console -t 1x lab/a
check_fails 1 "\.\./x: No such file" labctl --no-start up ../x
check_fails 1 "cannot be the name of a lab" labctl --no-start down -- -rf
for name in .. -- "a b" $'a\nb' a/b/c /; do
	check_fails 1 "cannot be the name|cannot be a name" labctl --no-start console -- "$name"
done

# a labd that is not there: exit code 3, and it is said how to get one
check_fails 3 "no labd answers at .*labd --daemon" labctl --no-start status
check_fails 3 "$TEST_DIR/other.sock" labctl --socket "$TEST_DIR/other.sock" status
check_fails 3 "starting it failed" env LABD_EXEC=/nonexistent LABD_STATE=/proc/nowhere labctl status
[ ! -e "$LABD_RUN/labd.sock" ] || fail "something has started labd"

# these need none, and start none
check_match "version" "labctl [0-9].*no labd" "$(labctl version)"
check_eq "version -j" null "$(labctl -j version | jq -r .labd)"
labctl doctor >"$TEST_DIR/doctor" || true
grep -q ^kvm "$TEST_DIR/doctor" || fail "doctor says nothing of KVM"
check_eq "doctor -j" true "$(labctl -j doctor | jq 'all(.check and .state and .found)')"
failed=$(labctl -j doctor | jq 'any(.state == "fail")')
status=0
labctl doctor >/dev/null || status=$?
check_eq "exit code of doctor" "$([ "$failed" = true ] && echo 1 || echo 0)" $status
check_fails 1 "nothing is mounted" labctl umount "$TEST_DIR"
check_fails 1 "not labfs but" labctl umount /proc
[ ! -e "$LABD_RUN/labd.sock" ] || fail "something has started labd"

# a full disk under standard output is not success
if [ -w /dev/full ]; then
	status=0
	labctl help >/dev/full 2>"$TEST_DIR/err" || status=$?
	check_eq "exit code with a full disk" 1 $status
	check_match "what it says" "No space left" "$(cat "$TEST_DIR/err")"
fi
