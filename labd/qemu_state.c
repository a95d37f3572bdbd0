// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu_state.c - the devices of a stopped guest, saved and loaded; disks that change files
 *
 * DOC: Theory of Operation
 *
 * QEMU saves a guest's devices with snapshot-save into a qcow2 file of their own
 * that no device uses, under the tag TAG. x-ignore-shared leaves out the memory,
 * which labd saves and loads by itself (ram.h); it is set in every process before
 * its first save or load and stays.
 *
 * snapshot-load works in a process that has just been started as well as in one
 * that has run: so there is one way to restore, which takes 4 to 20 ms. It writes to
 * the file it loads from, so each process gets a copy.
 *
 * A trap of QEMU 7.2: xen-load-devices-state aborts it.
 */
#define _GNU_SOURCE
#include "labd/qemu.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>

#define TAG "state"
#define NODE "devices"
#define JOB "devices"

static int ignore_shared(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	json_t *args = json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
				 "x-ignore-shared", "state", 1);

	return qmp_call(q, "migrate-set-capabilities", args, deadline, NULL, err);
}

/* The state of our job: 1 it runs, 0 it is done, or why it failed */
static int job_state(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	autojson json_t *jobs = NULL;
	const json_t *job;
	size_t i;
	int r = qmp_call(q, "query-jobs", NULL, deadline, &jobs, err);

	if (r < 0)
		return r;
	json_array_foreach(jobs, i, job) {
		const char *error = json_string_value(json_object_get(job, "error"));
		const char *id = json_string_value(json_object_get(job, "id"));
		const char *status = json_string_value(json_object_get(job, "status"));

		if (!id || strcmp(id, JOB))
			continue;
		if (!status || strcmp(status, "concluded"))
			return 1;
		return error ? lab_fail(err, -EIO, "QEMU: %.300s", error) : 0;
	}
	return lab_fail(err, -EPROTO, "QEMU has forgotten a job");
}

/* The end of a job is told by an event on the other monitor, the loop's: so look, each ms */
static int run_job(struct qmp *q, const char *command, uint64_t deadline, struct lab_err *err)
{
	json_t *args = json_pack("{s:s, s:s, s:s, s:[s]}", "job-id", JOB, "tag", TAG, "vmstate",
				 NODE, "devices", NODE);
	int r = qmp_call(q, command, args, deadline, NULL, err);

	if (r < 0)
		return r;
	while ((r = job_state(q, deadline, err)) == 1) {
		if (num_now_us() > deadline)
			return lab_fail(err, -ETIMEDOUT, "QEMU has not ended its %s in time",
					command);
		(void)poll(NULL, 0, 1);
	}
	if (r != -ETIMEDOUT && r != -EPROTO)
		(void)qmp_call(q, "job-dismiss", json_pack("{s:s}", "id", JOB), deadline, NULL,
			       NULL);
	return r;
}

static int add_node(struct qmp *q, const char *node, const char *path, json_t *backing,
		    uint64_t deadline, struct lab_err *err)
{
	/* QEMU would sync it several times while the guest stands still: labd does it, once */
	int no_flush = !strcmp(node, NODE);
	json_t *args = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:{s:b, s:b}}, s:o*}",
				 "driver", "qcow2", "node-name", node, "discard", "unmap", "file",
				 "driver", "file", "filename", path, "locking", "on", "discard",
				 "unmap", "cache", "direct", 0, "no-flush", no_flush, "backing",
				 backing);

	return qmp_call(q, "blockdev-add", args, deadline, NULL, err);
}

int qemu_open_state(struct qmp *q, const char *path, uint64_t deadline, struct lab_err *err)
{
	int r = ignore_shared(q, deadline, err);

	/* of a labd that ended in between */
	(void)qmp_call(q, "job-dismiss", json_pack("{s:s}", "id", JOB), deadline, NULL, NULL);
	(void)qemu_close_state(q, deadline, NULL);
	return r < 0 ? r : add_node(q, NODE, path, NULL, deadline, err);
}

int qemu_close_state(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "blockdev-del", json_pack("{s:s}", "node-name", NODE), deadline, NULL,
			err);
}

int qemu_save_devices(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return lab_wrap(err, run_job(q, "snapshot-save", deadline, err), "saving its devices");
}

int qemu_load_devices(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return lab_wrap(err, run_job(q, "snapshot-load", deadline, err), "loading its devices");
}

/* Where the device of a disk is */
static const char *disk_device(const char *disk, char buf[128])
{
	snprintf(buf, 128, "/machine/peripheral/disk-%s/virtio-backend", disk);
	return buf;
}

/*
 * What a disk is written to now. query-block would say it too, with all that is below,
 * each in the one above: deeper than a monitor's reply may be after 25 snapshots.
 */
static int current_node(struct qmp *q, const char *disk, uint64_t deadline, char *buf, size_t size,
			struct lab_err *err)
{
	autojson json_t *node = NULL;
	char device[128];
	int r = qmp_call(q, "qom-get",
			 json_pack("{s:s, s:s}", "path", disk_device(disk, device), "property",
				   "drive"),
			 deadline, &node, err);

	if (r < 0)
		return r;
	if (!json_is_string(node))
		return lab_fail(err, -EPROTO, "QEMU does not say what disk %s is written to", disk);
	snprintf(buf, size, "%s", json_string_value(node));
	return 0;
}

int qemu_add_overlay(struct qmp *q, const char *path, const char *node, uint64_t deadline,
		     struct lab_err *err)
{
	/* without its backing file: blockdev-snapshot puts the node of today below it */
	return add_node(q, node, path, json_null(), deadline, err);
}

int qemu_use_overlay(struct qmp *q, const char *disk, const char *node, uint64_t deadline,
		     struct lab_err *err)
{
	char now[64];
	int r = current_node(q, disk, deadline, now, sizeof(now), err);

	if (r < 0 || !strcmp(now, node))
		return r;
	return qmp_call(q, "blockdev-snapshot",
			json_pack("{s:s, s:s}", "node", now, "overlay", node), deadline, NULL, err);
}

int qemu_drop_overlay(struct qmp *q, const char *node, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "blockdev-del", json_pack("{s:s}", "node-name", node), deadline, NULL,
			err);
}

/* "QEMU emulator version 7.2.22 (Debian ...)"; asked once */
const char *qemu_version(void)
{
	static char version[128];
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const char *const argv[] = { "qemu-system-x86_64", "--version", NULL };
	autofree char *out = NULL;

	SCOPED_LOCK(&lock);
	if (!version[0]) {
		struct run run = { .argv = argv, .deadline = num_now_us() + 5000000 };

		if (!run_program(&run, &out, NULL))
			(void)sscanf(out, "QEMU emulator version %127[^\n]", version);
	}
	return version;
}
