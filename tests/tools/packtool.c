// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * packtool.c - take an exported lab apart and put it together again, for tests
 *
 *	packtool unpack FILE DIR	its manifest is DIR/manifest.json
 *	packtool pack DIR FILE		with the files that the manifest names, digests made anew
 */
#define _GNU_SOURCE
#include "labd/pack.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

static int unpack(const char *file, const char *dir, struct lab_err *err)
{
	autoclose int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct pack *p = NULL;
	char path[IO_PATH];
	int r = pack_open(fd, &p, err);

	if (r < 0)
		return r;
	r = io_mkdirs(dir, 0700);
	if (!r)
		r = pack_extract(p, dir, NULL, NULL, err);
	if (!r && json_dump_file(pack_manifest(p), io_path(path, "%s/manifest.json", dir),
				 JSON_INDENT(1)) < 0)
		r = lab_fail_errno(err, -EIO, "%s", path);
	pack_close(p);
	return r;
}

static int pack(const char *dir, const char *file, struct lab_err *err)
{
	char path[IO_PATH];
	autojson json_t *paths = json_object();
	autojson json_t *manifest = json_load_file(io_path(path, "%s/manifest.json", dir), 0, NULL);
	autoclose int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const char *name;
	json_t *each;

	if (!manifest || fd < 0)
		return lab_fail_errno(err, -errno, "%s, %s", path, file);
	json_object_foreach(json_object_get(manifest, "files"), name, each) {
		json_object_set_new(paths, name, json_sprintf("%s/%s", dir, name));
	}
	return pack_write(fd, manifest, paths, NULL, err);
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = -EINVAL;

	if (argc == 4 && !strcmp(argv[1], "unpack"))
		r = unpack(argv[2], argv[3], &err);
	else if (argc == 4 && !strcmp(argv[1], "pack"))
		r = pack(argv[2], argv[3], &err);
	else
		lab_fail(&err, r, "usage: packtool unpack FILE DIR | pack DIR FILE");
	if (r < 0)
		fprintf(stderr, "packtool: %s\n", err.text);
	return r < 0;
}
