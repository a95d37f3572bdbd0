// SPDX-License-Identifier: GPL-2.0-or-later
/* nested.c - guests that run guests of their own, and must not be saved */
#define _GNU_SOURCE
#include "labd/nested.h"

#include "labd/qemu.h"
#include "lib/io.h"
#include "lib/util.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#define CPUINFO "/proc/cpuinfo"
#define PARAMETER "/sys/module/kvm_amd/parameters/nested"
#define MAX_CPUINFO (4 << 20) /* some KiB a processor */
#define EFER_SVME 0x1000UL

/* The value of the first line with this key: behind the colon, up to the end of the line */
static const char *cpuinfo_value(const char *text, const char *key, size_t *ret_len)
{
	size_t n = strlen(key);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (!strncmp(text, key, n) && strchr("\t :", text[n]))
			break;
	}
	text = text ? strchr(text, ':') : NULL;
	*ret_len = text ? strcspn(text, "\n") : 0;
	return text;
}

/* Whether @word is one of those in @len bytes */
static bool has_word(const char *text, size_t len, const char *word)
{
	const char *at = text, *end = text + len;
	size_t n = strlen(word);

	while (at && (at = memmem(at, (size_t)(end - at), word, n))) {
		if (isspace((unsigned char)at[-1]) &&
		    (at + n == end || isspace((unsigned char)at[n])))
			return true;
		at += n;
	}
	return false;
}

bool nested_exposed(const char *cpuinfo, const char *parameter)
{
	size_t len;
	const char *flags = cpuinfo_value(cpuinfo, "flags", &len);

	/* no vendor is asked for: Hygon's has it too, and Intel's never */
	return parameter && strchr("1Yy", *parameter) && *parameter && has_word(flags, len, "svm");
}

int nested_used(const char *registers)
{
	const char *at = registers;
	int r = -EPROTO;

	while ((at = strstr(at, "EFER="))) {
		at += strlen("EFER=");
		if (!isxdigit((unsigned char)*at))
			return -EPROTO;
		if (strtoull(at, NULL, 16) & EFER_SVME)
			return 1;
		r = 0;
	}
	return r;
}

static bool exposed_here(void)
{
	autofree char *cpuinfo = NULL, *parameter = NULL;

	if (io_read_file(AT_FDCWD, PARAMETER, 16, &parameter, NULL) < 0)
		return false;
	/* what cannot be read is taken for what is dangerous */
	return io_read_file(AT_FDCWD, CPUINFO, MAX_CPUINFO, &cpuinfo, NULL) < 0 ||
	       nested_exposed(cpuinfo, parameter);
}

int nested_ask(const struct accel *accel, struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	autofree char *registers = NULL;
	int r;

	if (!accel->kvm || !exposed_here())
		return 0;
	r = qemu_registers(q, deadline, &registers, err);
	if (r < 0)
		return r;
	r = nested_used(registers);
	return r < 0 ? lab_fail(err, r, "QEMU does not say what its processors do") : r;
}
