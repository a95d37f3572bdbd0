// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu-nested.c - a guest that switches SVM on is recognised, running and paused
 *
 * A boot sector does what kvm_amd does in a guest before its first guest: it sets EFER.SVME.
 *
 * TIMEOUT: 120
 * REQUIRES: root tun
 * IMAGES: tiny
 */
#define _GNU_SOURCE
#include "labd/nested.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/qemutest.h"

static struct qt_guest g;

/*
 * mov ecx, 0xc0000080 (EFER); rdmsr; or eax, 0x1000 (SVME); wrmsr; hlt; jmp hlt
 * The second processor is never started.
 */
#define CODE "\\146\\271\\200\\0\\0\\300\\017\\062\\146\\015\\0\\020\\0\\0\\017\\060\\364\\353\\375"

static void make_disk(void)
{
	nt_sh("rm -f '%s' && printf '" CODE "' >'%s/boot' && truncate -s 510 '%s/boot' && "
	      "printf '\\125\\252' >>'%s/boot' && truncate -s 1M '%s/boot' && "
	      "qemu-img convert -f raw -O qcow2 '%s/boot' '%s' && chown %u '%s'",
	      g.disk, g.lab.state, g.lab.state, g.lab.state, g.lab.state, g.lab.state, g.disk,
	      keeper_uid(g.lab.id), g.disk);
	g.config.kernel = g.config.initrd = g.config.cmdline = NULL;
}

static int used(void)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *registers = NULL;

	NT_OK(qemu_registers(g.qmp, qt_in(5), &registers, &err));
	return nested_used(registers);
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t deadline;
	int r;

	nt_main(argc, argv);
	qt_init(&g, 93);
	make_disk();
	g.accel.cpu = "qemu64,+svm";
	g.config.vcpus = 2;
	qt_start(&g);
	NT_CHECK(used() == 0, "before its first instruction it uses SVM: %d", used());
	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	deadline = qt_in(60);
	while (!(r = used()) && num_now_us() < deadline)
		nt_wait_fd(-1, 0, 100);
	NT_CHECK(r == 1, "it has switched SVM on, and it is not seen: %d", r);
	NT_OK(qemu_pause(g.qmp, qt_in(5), &err));
	NT_CHECK(used() == 1, "paused it is not seen");
	/* who is not on KVM is not asked: this one may be saved */
	NT_CHECK(nested_ask(&g.accel, g.qmp, qt_in(5), &err) == 0, "refused without KVM");
	qt_done(&g);
	return 0;
}
