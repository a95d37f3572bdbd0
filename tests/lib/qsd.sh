# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# qsd.sh - QEMU's own FUSE export of a qcow2 file, to compare with; needs lib.sh

QSD_PID=

# qsd_on FILE: the disk that is in it, read-only, as the file $QSD
qsd_on()
{
	QSD=$TEST_DIR/export
	: >"$QSD"
	qemu-storage-daemon --blockdev "driver=file,node-name=file,filename=$1,read-only=on" \
		--blockdev driver=qcow2,node-name=disk,file=file,read-only=on \
		--export "type=fuse,id=e,node-name=disk,mountpoint=$QSD,writable=off" \
		>"$TEST_DIR/qsd.log" 2>&1 &
	QSD_PID=$!
	wait_for "QEMU's export" 10 mountpoint -q "$QSD" >/dev/null
}

qsd_off()
{
	[ -n "$QSD_PID" ] || return 0
	kill "$QSD_PID" 2>/dev/null || true
	wait "$QSD_PID" || true
	QSD_PID=
}
