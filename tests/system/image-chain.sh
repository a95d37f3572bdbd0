#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image-chain.sh - recipes that build on others: layers made once, locked together
# SLOW
# TIMEOUT: 1800
# REQUIRES: root mmdebstrap qemu-img imagetool
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"

DIR=$LABD_STATE/images
mkdir -p "$DIR"

build()
{
	imagetool build "$1" "$DIR/$2" 2>>"$TEST_DIR/build.log"
}

# All of a manifest that does not depend on keys and tables made by chance
fixed_part()
{
	jq 'del(.disk)' "$1/manifest.json"
}

build database database
say "database is built, and what it is built on"
check_eq "layers" 3 "$(find "$LABD_STATE/layers" -name layer.json | wc -l)"
build identity identity
build debian-12 debian-12
say "identity and debian-12 from their layers"
for image in identity debian-12; do
	if grep -qE '^(Setting up|Unpacking)' "$DIR/$image/build.log"; then
		fail "$image: packages were installed again"
	fi
done
check_eq "tables of Keystone" yes "$(
	qemu-img convert -O raw "$DIR/database/disk.qcow2" "$TEST_DIR/d.raw"
	debugfs -R 'stat /var/lib/mysql/keystone/project.ibd' "$TEST_DIR/d.raw" 2>/dev/null | grep -q 'Type: regular' && echo yes
	rm "$TEST_DIR/d.raw"
)"
secret=$(qemu-img convert -O raw "$DIR/identity/disk.qcow2" "$TEST_DIR/d.raw" &&
	debugfs -R 'stat /root/openrc' "$TEST_DIR/d.raw" 2>/dev/null | sed -n 's/.*Mode: *\([0-9]*\).*/\1/p')
check_eq "mode of the admin's password" 0600 "$secret"

imagetool lock database "$DIR/database" 2>>"$TEST_DIR/build.log"
check_eq "locks" "database.json debian-12.json identity.json" "$(cd "$LABD_STATE/locks" && echo *)"
check_eq "packages of the base in another pool" "" "$(
	cd "$LABD_STATE/pool" && comm -12 <(find debian-12 -name '*.deb' -printf '%f\n' | sort) <(find identity database -name '*.deb' -printf '%f\n' | sort)
)"
say "locked"
rm -r "$LABD_STATE/layers" "$LABD_STATE/apt"
unshare --net imagetool build database "$DIR/database-2" 2>>"$TEST_DIR/build.log"
cmp <(fixed_part "$DIR/database") <(fixed_part "$DIR/database-2")
say "database again, from its pool"
unshare --net imagetool build debian-12 "$DIR/debian-12-2" 2>>"$TEST_DIR/build.log"
cmp "$DIR/debian-12/manifest.json" "$DIR/debian-12-2/manifest.json"
