# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# virsh.sh - a libvirt of a bench's own, to compare with: qemu:///system of a libvirtd that is
# started here, in the mount and network namespaces of the test; needs lib.sh

virsh_start()
{
	local dir
	for dir in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /run/libvirt; do
		mkdir -p $dir
		mount -t tmpfs peer $dir
		on_exit umount -l $dir
	done
	cat >/etc/libvirt/qemu.conf <<-'CONF'
		user = "root"
		group = "root"
		security_driver = "none"
		cgroup_controllers = []
		namespaces = []
		remember_owner = 0
	CONF
	printf '%s\n' 'auth_unix_rw = "none"' 'auth_unix_ro = "none"' >/etc/libvirt/libvirtd.conf
	# with pid files of their own: those in /run are the host's, and one that runs there holds them
	virtlogd --pid-file "$TEST_DIR/virtlogd.pid" >"$TEST_DIR/virtlogd.log" 2>&1 &
	VIRSH_PIDS=($!)
	libvirtd --pid-file "$TEST_DIR/libvirtd.pid" --config /etc/libvirt/libvirtd.conf \
		>"$TEST_DIR/libvirtd.log" 2>&1 &
	VIRSH_PIDS+=($!)
	on_exit virsh_stop
	wait_for "libvirtd to answer (libvirtd.log)" 60 virsh -q list
}

virsh_stop()
{
	kill "${VIRSH_PIDS[@]}" 2>/dev/null || true
	wait "${VIRSH_PIDS[@]}" 2>/dev/null || true
}

# virsh_define NAME...: guests that are defined, and do not run
virsh_define()
{
	local name
	for name; do
		cat >"$TEST_DIR/$name.xml" <<-XML
			<domain type='qemu'><name>$name</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
			<os><type arch='x86_64' machine='q35'>hvm</type></os>
			<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>
		XML
		echo "define $TEST_DIR/$name.xml"
	done | virsh -q >"$TEST_DIR/define.log"
	rm "$TEST_DIR"/*.xml
	check_eq "guests that libvirt knows" $# "$(virsh -q list --all --name | grep -c .)"
}
