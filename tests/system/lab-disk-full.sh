#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# no room for an image: said so, nothing left, and it works once there is room
# TIMEOUT: 180
# REQUIRES: root curl jq qemu-img
. "${SRCDIR:-.}/tests/lib.sh"
mkdir "$LABD_STATE"
mount -t tmpfs -o size=24m,mode=711 full "$LABD_STATE"
on_exit umount "$LABD_STATE"
LABD_IMAGE_CACHE='' labd_start
on_exit labd_stop # before the unmount

# 64 MiB of what no format can make smaller
head -c 64M /dev/urandom >"$TEST_DIR/big.raw"
used() { df --output=used "$LABD_STATE" | tail -n 1; }
names() { find "$LABD_STATE/images" -mindepth 1 2>/dev/null || true; }
before=$(names)
check_fails 1 "[Nn]o space|ENOSPC|[Dd]isk.*full|needs" labctl image import "$TEST_DIR/big.raw"
check_eq "files of images" "$before" "$(names)"
check_eq "images" "" "$(api GET /v1/images | jq -r '.[].name')"
[ "$(used)" -lt 8192 ] || fail "$(used) KiB are still used"

mount -o remount,size=200m "$LABD_STATE"
labctl image import "$TEST_DIR/big.raw"
check_eq "images" "big ready" "$(api GET /v1/images | jq -r '.[] | .name + " " + .state')"
cmp <(qemu-img convert -O raw "$(api GET /v1/images/big | jq -r .path)/disk.qcow2" /dev/stdout 2>/dev/null ||
	qemu-img dd -O raw if="$(api GET /v1/images/big | jq -r .path)/disk.qcow2" of=/dev/stdout) \
	"$TEST_DIR/big.raw" 2>/dev/null || {
	qemu-img convert -O raw "$(api GET /v1/images/big | jq -r .path)/disk.qcow2" "$TEST_DIR/back.raw"
	cmp "$TEST_DIR/back.raw" "$TEST_DIR/big.raw"
}
labctl image rm big
