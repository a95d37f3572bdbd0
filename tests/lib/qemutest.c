// SPDX-License-Identifier: GPL-2.0-or-later
/* qemutest.c - real QEMUs in a real lab, without labd */
#define _GNU_SOURCE
#include "tests/lib/qemutest.h"

#include "images/image.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/paths.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

#define MAC "52:54:00:09:00:02"

/* The directory of the built image "tiny" */
static void find_tiny(char dir[IO_PATH])
{
	const char *cache = getenv("LABD_IMAGE_CACHE"), *given = getenv("QEMUTEST_IMAGE");
	struct lab_err err = LAB_ERR_INIT;
	struct recipe *recipe = NULL;
	struct paths paths;

	if (given) { /* by hand, without the runner */
		io_path(dir, "%s", given);
		return;
	}
	NT_OK(paths_find(&paths, &err));
	NT_OK(recipe_load(&paths, NULL, NULL, "tiny", &recipe, NULL, &err));
	io_path(dir, "%s/%s", cache ? cache : "", recipe->digest);
	recipe_free(recipe);
	if (!cache || access(dir, F_OK) < 0)
		nt_skip("image tiny is not built");
}

/* Guests see their state directory only, so the image has to be there */
static void take_image(struct qt_guest *g)
{
	const char *state = g->lab.state;
	char image[IO_PATH], path[IO_PATH];
	autofree char *text = NULL;
	autojson json_t *manifest = NULL;
	unsigned int uid = keeper_uid(g->lab.id);

	find_tiny(image);
	nt_sh("mkdir -p '%s/image' && cp --reflink=auto '%s/disk.qcow2' '%s/vmlinuz' "
	      "'%s/initrd.img' '%s/image'",
	      state, image, image, image, state);
	NT_CHECK(!io_read_file(AT_FDCWD, io_path(path, "%s/manifest.json", image), 1 << 22, &text,
			       NULL),
		 "%s", path);
	manifest = json_loads(text, 0, NULL);
	snprintf(g->cmdline, sizeof(g->cmdline), "%s",
		 json_string_value(json_object_get(manifest, "cmdline")));
	snprintf(g->kernel, sizeof(g->kernel), "%s/image/vmlinuz", state);
	snprintf(g->initrd, sizeof(g->initrd), "%s/image/initrd.img", state);
	snprintf(g->disk, sizeof(g->disk), "%s/root.qcow2", state);
	nt_sh("qemu-img create -q -f qcow2 -F qcow2 -b '%s/image/disk.qcow2' '%s' && "
	      "chown %u '%s'",
	      state, g->disk, uid, g->disk);
	nt_sh("mkdir -p '%s' && chown %u '%s'", g->dir, uid, g->dir);
}

void qt_init(struct qt_guest *g, unsigned int id)
{
	*g = (struct qt_guest){ .proc.pidfd = -EBADF };
	nt_start(&g->lab, id);
	snprintf(g->dir, sizeof(g->dir), "%s/g", g->lab.run);
	snprintf(g->log, sizeof(g->log), "%s/qemu.log", g->lab.state);
	snprintf(g->console, sizeof(g->console), "%s/console.log", g->lab.state);
	snprintf(g->listen, sizeof(g->listen), "%s/console", g->lab.run);
	snprintf(g->preload, sizeof(g->preload), "%s/labram.so",
		 getenv("LABD_EXEC") ? getenv("LABD_EXEC") : "build");
	take_image(g);
	nt_network(&g->lab, "net", "10.9.0.0/24", "10.9.0.1", false);
	nt_nic(&g->lab, "tap0", "net", MAC, "10.9.0.2", "guest");
	setenv("LABD_ACCEL", "tcg", 0);
	accel_probe(&g->accel);
	g->config = (struct qemu_config){
		.name = "test/guest",
		.hostname = "guest",
		.machine_id = "00112233445566778899aabbccddeeff",
		.run_dir = g->dir,
		.accel = &g->accel,
		.vcpus = 1,
		.memory = 192 << 20,
		.kernel = g->kernel,
		.initrd = g->initrd,
		.cmdline = g->cmdline,
		.disks = { { .name = "root", .path = g->disk } },
		.ndisks = 1,
		.nics = { { .name = "eth0", .ifname = "tap0", .mac = MAC, .mtu = 1500 } },
		.nnics = 1,
		.log = g->log,
		.preload = g->preload,
	};
}

void qt_start(struct qt_guest *g)
{
	struct lab_err err = LAB_ERR_INIT;
	char serial[300];

	NT_OK(qemu_start(g->lab.k, &g->config, qt_in(20), &g->proc, &g->qmp, &err));
	snprintf(serial, sizeof(serial), "%s/serial", g->dir);
	NT_OK(keeper_console_add(g->lab.k, "guest", serial, g->listen, g->console, 8 << 20, &err));
}

void qt_done(struct qt_guest *g)
{
	struct lab_err err = LAB_ERR_INIT;

	g->qmp = qmp_close(g->qmp);
	if (g->proc.pidfd >= 0) {
		NT_OK(qemu_kill(&g->proc, qt_in(5), &err));
		close(steal_fd(&g->proc.pidfd));
	}
	NT_OK(keeper_console_del(g->lab.k, "guest", &err));
	nt_sh("rm -rf '%s'", g->dir);
	nt_shutdown(&g->lab);
}

uint64_t qt_in(double seconds)
{
	const char *text = getenv("TEST_TIMES");
	uint64_t times = 1;

	if (text)
		(void)num_u64(text, 100, &times);
	return num_now_us() + (uint64_t)(seconds * 1e6) * times;
}

void qt_status(struct qt_guest *g, char *buf, size_t len)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *reply = NULL;

	NT_OK(qmp_call(g->qmp, "query-status", NULL, qt_in(5), &reply, &err));
	snprintf(buf, len, "%s", json_string_value(json_object_get(reply, "status")));
}

bool qt_wait_end(struct qt_guest *g, double seconds)
{
	return nt_wait_fd(g->proc.pidfd, POLLIN, (int)((qt_in(seconds) - num_now_us()) / 1000));
}
