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

# Keystone and what it needs
cp -r "$LABD_DATA" "$TEST_DIR/data"
export LABD_DATA=$TEST_DIR/data
cat >"$LABD_DATA/images/cloud.yaml" <<'YAML'
image: cloud
from: debian-12
services: [identity, database, cache]
YAML

build cloud cloud
say "an image with services is built, and what it is built on"
check_eq "layers" 2 "$(find "$LABD_STATE/layers" -name layer.json | wc -l)"
build debian-12 debian-12
if grep -qE '^(Setting up|Unpacking)' "$DIR/debian-12/build.log"; then
	fail "debian-12: packages were installed again"
fi
say "debian-12 from its layer"
qemu-img convert -O raw "$DIR/cloud/disk.qcow2" "$TEST_DIR/d.raw"
check_match "tables of Keystone" 'Type: regular' \
	"$(debugfs -R 'stat /var/lib/mysql/keystone/project.ibd' "$TEST_DIR/d.raw" 2>/dev/null)"
check_match "mode of the admin's password" 'Mode: *0600' \
	"$(debugfs -R 'stat /root/openrc' "$TEST_DIR/d.raw" 2>/dev/null)"
check_eq "what is enabled of the services" "" \
	"$(debugfs -R 'ls -p /etc/systemd/system/multi-user.target.wants' "$TEST_DIR/d.raw" 2>/dev/null |
		grep -E 'mariadb|keystone|memcached' || true)"
rm "$TEST_DIR/d.raw"

imagetool lock cloud "$DIR/cloud" 2>>"$TEST_DIR/build.log"
check_eq "locks" "cloud.json debian-12.json" "$(cd "$LABD_STATE/locks" && echo *)"
check_eq "packages of the base in another pool" "" "$(
	cd "$LABD_STATE/pool" && comm -12 <(find debian-12 -name '*.deb' -printf '%f\n' | sort) <(find cloud -name '*.deb' -printf '%f\n' | sort)
)"
say "locked"
rm -r "$LABD_STATE/layers" "$LABD_STATE/apt"
unshare --net imagetool build cloud "$DIR/cloud-2" 2>>"$TEST_DIR/build.log"
cmp <(fixed_part "$DIR/cloud") <(fixed_part "$DIR/cloud-2")
say "the same again, from its pool"
unshare --net imagetool build debian-12 "$DIR/debian-12-2" 2>>"$TEST_DIR/build.log"
cmp "$DIR/debian-12/manifest.json" "$DIR/debian-12-2/manifest.json"
