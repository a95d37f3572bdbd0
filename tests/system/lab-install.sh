#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a clean build outside of the tree, install, use, uninstall
# TIMEOUT: 300
# REQUIRES: make gcc pkg-config scdoc
. "${SRCDIR:-.}/tests/lib.sh"
unset LABD_DATA LABD_EXEC MAKEFLAGS MAKELEVEL
prefix=$TEST_DIR/usr
do_make()
{
	make -s -j2 -C "$SRCDIR" BUILD="$TEST_DIR/b" PREFIX="$prefix" "$@" \
		>"$TEST_DIR/make.log" 2>&1
}
start=$SECONDS
do_make WERROR=1 all
say "built in $((SECONDS - start)) s"
do_make install
rm -r "$TEST_DIR/b"

PATH=$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin
hash -r
check_eq "labctl" "$prefix/bin/labctl" "$(command -v labctl)"
labctl version
check_match "recipes" "debian-12" "$(labctl ls recipes)" # starts labd
pid=$(cat "$LABD_STATE/lock")
check_eq "labd" "$prefix/bin/labd" "$(readlink "/proc/$pid/exe")"
for page in "$SRCDIR"/docs/*.scd; do
	page=$(basename "$page" .scd)
	grep -q '^\.TH' "$prefix/share/man/man${page##*.}/$page" || fail "no manual page $page"
done
! grep -q '@' "$prefix/lib/systemd/system/labd.service" || fail "the unit is not filled in"
kill "$pid"
wait_for "labd to end" 10 not alive "$pid"

do_make DESTDIR="$TEST_DIR/dest" uninstall # of nothing: no error
do_make uninstall
check_eq "files after uninstall" "" "$(find "$prefix" -type f -o -type l)"
