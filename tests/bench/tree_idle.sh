#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# the tree with BENCH_INSTANCES=50 running instances, when nothing happens: wake-ups and memory.
# There is nothing on their disks: a guest that waits in its firmware is to labd and labfs what
# one is that has booted, and 50 that boot are to the machine
# TIMEOUT: 900
# REQUIRES: root tun fuse dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"

labd_start
truncate -s 1M "$TEST_DIR/empty.img"
labctl image import "$TEST_DIR/empty.img" empty >/dev/null
running "${BENCH_INSTANCES:-50}" empty "ready: []"
idle tree-
labctl down many --kill >/dev/null
