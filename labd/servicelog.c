// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * servicelog.c - the log that a service keeps in its guest
 *
 * A log is a file or the journal of units, and is read by a program in the guest. Where
 * what is there ends and what comes begins, the program writes the mark: between
 * its own two steps, so that nothing is missed and nothing said twice.
 */
#define _GNU_SOURCE
#include "labd/servicelog.h"

#include "lib/jobj.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <string.h>

#define FOLLOW_SECONDS (7 * 86400)
#define READ_SECONDS 300
#define MAX_MARK 64

/* Parameters: LINES FOLLOW MARK LOG. What is added meanwhile is behind the first N bytes */
static const char file_script[] =
	"[ \"$2\" ] || [ -e \"$4\" ] || { echo \"$4 is not there\" >&2; exit 1; }\n"
	"n=0\n"
	"[ ! -e \"$4\" ] || n=$(wc -c <\"$4\")\n"
	"n=${n:-0}\n" /* rotated away just now */
	"[ $n = 0 ] || head -c $n \"$4\" | tail -n \"$1\"\n"
	"printf %s \"$3\"\n"
	"[ -z \"$2\" ] || exec tail -c +$((n + 1)) -F \"$4\"\n";

/* Parameters: LINES FOLLOW MARK -uUNIT... */
static const char journal_script[] =
	"lines=$1 follow=$2 mark=$3\n"
	"shift 3\n"
	"dir=$(mktemp -d /run/labd-log-XXXXXX 2>/dev/null || mktemp -d) || exit\n"
	"journalctl -q --no-pager -n \"$lines\" --cursor-file=\"$dir/at\" \"$@\"\n"
	"at=$(cat \"$dir/at\" 2>/dev/null)\n"
	"rm -rf \"$dir\"\n"
	"printf %s \"$mark\"\n"
	"[ -z \"$follow\" ] ||\n"
	"	exec journalctl -q --no-pager -f --no-tail ${at:+--after-cursor=\"$at\"} \"$@\"\n";

static int check_how(const struct servicelog *how, struct lab_err *err)
{
	uint64_t n;

	if (how->lines && num_u64(how->lines, INT32_MAX, &n) < 0)
		return lab_fail(err, -EINVAL, "\"lines\" must be a number");
	if (how->mark && strlen(how->mark) > MAX_MARK)
		return lab_fail(err, -EINVAL, "\"mark\" has more than %d bytes", MAX_MARK);
	if (how->mark && !text_is_utf8(how->mark, strlen(how->mark)))
		return lab_fail(err, -EINVAL, "\"mark\" is not UTF-8");
	return 0;
}

int servicelog_body(const json_t *service, const struct servicelog *how, json_t **ret,
		    struct lab_err *err)
{
	const char *log = jobj_text(service, "log"), *all = *log ? "+1" : "all";
	const json_t *units = json_object_get(service, "units"), *unit;
	json_t *argv;
	size_t i;
	int r = check_how(how, err);

	if (r < 0)
		return r;
	if (!*log && !json_array_size(units))
		return lab_fail(err, -ENODATA, "service %s has no log, only the guest's console",
				jobj_text(service, "name"));
	argv = json_pack("[s s s s s s s]", "sh", "-c", *log ? file_script : journal_script, "sh",
			 how->lines ? how->lines : all, how->follow ? "1" : "",
			 how->mark ? how->mark : "");
	if (*log)
		json_array_append_new(argv, json_string(log));
	else
		json_array_foreach(units, i, unit)
			json_array_append_new(argv, json_sprintf("-u%s", json_string_value(unit)));
	*ret = json_pack("{s:o s:i}", "argv", argv, "timeout",
			 how->follow ? FOLLOW_SECONDS : READ_SECONDS);
	return *ret ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}
