// SPDX-License-Identifier: GPL-2.0-or-later
/* fit.c - whether a lab fits into what memory and disk are free */
#define _GNU_SOURCE
#include "labd/fit.h"

#include "labd/imagejob.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

/* A QEMU beside its guest's memory: code, devices, translation cache in use */
#define QEMU_OVERHEAD (80ULL << 20)
/* What a guest writes to its overlay in its first hours */
#define OVERLAY_GROWTH (128ULL << 20)

static uint64_t meminfo(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	unsigned long long kib = 0;

	if (!line || sscanf(line + strlen(key), ": %llu", &kib) != 1)
		return 0;
	return kib << 10;
}

uint64_t fit_memory_free(uint64_t *ret_total)
{
	autofree char *text = NULL;

	if (io_read_file(AT_FDCWD, "/proc/meminfo", 1 << 16, &text, NULL) < 0)
		return 0;
	if (ret_total)
		*ret_total = meminfo(text, "MemTotal");
	return meminfo(text, "MemAvailable");
}

uint64_t fit_disk_free(const char *dir)
{
	struct statvfs sv;

	return statvfs(dir, &sv) < 0 ? 0 : (uint64_t)sv.f_bavail * sv.f_frsize;
}

/* Whether an instance runs already, and whether it has disks; takes the lock */
static void look(struct labd *d, const char *lab_name, const char *name, bool *running,
		 bool *has_disks)
{
	SCOPED_LOCK(&d->lock);
	struct lab *lab = model_lab(d, lab_name);
	struct instance *in = lab ? model_instance(lab, name) : NULL;

	*running = *has_disks = false;
	if (!in)
		return;
	*running = instance_running(in);
	*has_disks = json_array_size(in->disks) > 0;
}

struct need {
	uint64_t memory, disk;
};

static void add_images(struct labd *d, const json_t *spec, struct need *need)
{
	autojson json_t *seen = json_object();
	const char *name;
	json_t *in;

	json_object_foreach(json_object_get(spec, "instances"), name, in) {
		const char *image = json_string_value(json_object_get(in, "image"));
		uint64_t size;

		if (!image || !*image || json_object_get(seen, image))
			continue;
		json_object_set_new(seen, image, json_true());
		/* the layer's tree, the raw disk on its way, and the finished image */
		if (!strcmp(imagejob_state(d, spec, image, &size), "build"))
			need->disk += size;
	}
}

static struct need sum(struct labd *d, const char *lab, const json_t *spec)
{
	const json_t *instances = json_object_get(spec, "instances");
	struct need need = { 0 };
	const char *name;
	json_t *in;

	json_object_foreach((json_t *)instances, name, in) {
		bool running, has_disks;

		look(d, lab, name, &running, &has_disks);
		if (!running)
			need.memory += QEMU_OVERHEAD +
				       (uint64_t)json_integer_value(json_object_get(in, "memory"));
		if (!has_disks)
			need.disk += OVERLAY_GROWTH;
	}
	add_images(d, spec, &need);
	return need;
}

int fit_check(struct labd *d, const char *lab, const json_t *spec, json_t **ret,
	      struct lab_err *err)
{
	struct need need = sum(d, lab, spec);
	uint64_t memory = fit_memory_free(NULL), disk = fit_disk_free(d->paths.state);
	char message[400] = "", a[NUM_TEXT], b[NUM_TEXT];
	bool ok = true;

	if (need.memory > memory) {
		ok = false;
		snprintf(message, sizeof(message),
			 "the lab needs %s of memory, %s are free: stop something, give its "
			 "instances less memory, or say --force",
			 num_size_text(a, need.memory), num_size_text(b, memory));
	} else if (need.disk > disk) {
		ok = false;
		snprintf(message, sizeof(message),
			 "the lab needs %s of disk, %s are free in %s: remove images or labs, or "
			 "say --force",
			 num_size_text(a, need.disk), num_size_text(b, disk), d->paths.state);
	}
	*ret = json_pack("{s:I s:I s:I s:I s:b s:s}", "memory_needed", (json_int_t)need.memory,
			 "memory_free", (json_int_t)memory, "disk_needed", (json_int_t)need.disk,
			 "disk_free", (json_int_t)disk, "ok", (int)ok, "message", message);
	return *ret ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}
