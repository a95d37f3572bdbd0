#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image.sh - build an image into $LABD_IMAGE_CACHE, before the tests that need it
# TIMEOUT: 900
# REQUIRES: root mmdebstrap qemu-img
. "${SRCDIR:-.}/tests/lib.sh"
labd_start
labctl image build "$1"
