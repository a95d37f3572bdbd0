// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cp_in.c - labctl cp into a guest
 *
 * DOC: Theory of Operation
 *
 * The sources are walked; the content of each file goes into the staging
 * directory as it comes, under a number. What has to be made of it (a
 * directory, a link, a file from number N) is a record, and records are carried out
 * in batches, in their order, by one script each.
 *
 * Small files go with the script, as an archive, in groups: those for one
 * directory are in one of the staging directory, with their names and modes. What is
 * new there is moved by one mv for all, as the start of a program is what costs
 * most in a guest. An interrupted copy leaves those batches that were carried
 * out, each file of them whole.
 */
#define _GNU_SOURCE
#include "cli/cp.h"
#include "cli/cp_pack.h"

#include "lib/util.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define BATCH_RECORDS 250
#define BATCH_BYTES (96 << 10) /* what a command may take is 2 MiB at least */
#define FIRST_WORDS 2
#define RECORD_WORDS 4

/*
 * $1 where to, $2 "many" if it must be a directory, $3 random digits: prints "d" or "f", "t" if
 * there is tar, and the staging directory
 */
static const char begin_script[] =
	"if [ -d \"$1\" ]; then dir=$1 kind=d\n"
	"elif [ \"$2\" = many ]; then echo \"$1 is not a directory\" >&2; exit 1\n"
	"else dir=${1%/*} kind=f; fi\n"
	"dir=${dir%/}\n"
	"[ -d \"$dir/\" ] || { echo \"$dir: no such directory\" >&2; exit 1; }\n"
	"e=$(mkdir -m 700 -- \"$dir/.labctl-$3\" 2>&1) || { echo \"$1: ${e##*: }\" >&2; exit 1; }\n"
	"command -v tar >/dev/null 2>&1 && tar=t || tar=-\n"
	"printf '%s%s%s' $kind $tar \"$dir/.labctl-$3\"\n";

/*
 * $1 the staging directory, $2 "t" for an archive at standard input, then records of four words:
 *	d MODE PATH -		a directory, if there is none
 *	l - PATH TARGET		a symbolic link
 *	f MODE PATH STAGED	a file
 *	s MODE PATH STAGED	a small one, which its group's mv takes along if PATH is new
 *	g - PATH STAGED		a group: all that is still in STAGED goes into PATH
 * A file that exists keeps its owner; a link or a device is written through.
 */
static const char batch_script[] =
	"stage=$1 code=0\n"
	"[ \"$2\" != t ] || tar -x -p -f - -C \"$1\" || exit 1\n"
	"shift 2\n"
	"is_dir() { [ -d \"$1\" ] && { echo \"$1: is a directory\" >&2; code=1; }; }\n"
	"put() {\n"
	"	if [ -L \"$2\" ] || { [ -e \"$2\" ] && [ ! -f \"$2\" ]; }; then\n"
	"		cat <\"$3\" >\"$2\" && rm -f -- \"$3\"; return\n"
	"	fi\n"
	"	[ ! -e \"$2\" ] || chown \"$(stat -c %u:%g -- \"$2\")\" \"$3\" || return\n"
	"	chmod \"$1\" \"$3\" && mv -f -- \"$3\" \"$2\"\n"
	"}\n"
	"put_all() {\n"
	"	from=$1 to=$2\n"
	"	set --\n"
	"	for p in \"$from\"/* \"$from\"/.[!.]* \"$from\"/..?*; do\n"
	"		[ ! -e \"$p\" ] || set -- \"$@\" \"$p\"\n"
	"	done\n"
	"	[ $# = 0 ] || mv -f -- \"$@\" \"$to/\"\n"
	"}\n"
	"while [ $# -ge 4 ]; do\n"
	"	staged=$stage/$4\n"
	"	case $1 in\n"
	"	d) [ -d \"$3\" ] || mkdir -m \"$2\" -- \"$3\" || code=1 ;;\n"
	"	l) if [ -L \"$3\" ] || ! is_dir \"$3\"; then ln -sfn -- \"$4\" \"$3\" || code=1; "
	"fi ;;\n"
	"	g) put_all \"$staged\" \"$3\" || code=1 ;;\n"
	"	*) if is_dir \"$3\"; then rm -f -- \"$staged\"\n"
	"	elif [ $1 = f ] || [ -e \"$3\" ] || [ -L \"$3\" ]; then\n"
	"		put \"$2\" \"$3\" \"$staged\" || { code=1; rm -f -- \"$staged\"; }\n"
	"	fi ;;\n"
	"	esac\n"
	"	shift 4\n"
	"done\n"
	"exit $code\n";

/**
 * struct in - a copy into a guest
 * @stage:	staging directory in the guest
 * @into:	the target is a directory, which the sources go into
 * @tar:	the guest has it
 * @words:	of the records of this batch: @n of them; the first two are the script's
 * @bytes:	in all of them
 * @pack:	small files of this batch
 * @group_dir:	where the last of its groups goes; malloced, NULL if there is none
 * @group:	its number
 * @files:	that were staged so far: the next one's number
 */
struct in {
	struct copy *c;
	const char *dest;
	char *stage;
	bool into, tar;
	char *words[FIRST_WORDS + BATCH_RECORDS * RECORD_WORDS + 1];
	size_t n, bytes;
	struct cp_pack pack;
	char *group_dir;
	unsigned long group;
	unsigned long files;
};

static int fail(const struct in *in, int r, const char *path)
{
	return lab_fail_errno(&in->c->guest.cli->err, r, "%s", path);
}

static void forget_batch(struct in *in)
{
	while (in->n > FIRST_WORDS)
		free(steal_ptr(in->words[--in->n]));
	in->bytes = 0;
	free(steal_ptr(in->group_dir));
	cp_pack_done(&in->pack);
}

static int no_memory(const struct in *in)
{
	return lab_fail(&in->c->guest.cli->err, -ENOMEM, "out of memory");
}

/* Add a record; @path and @last are copied. There is room: see make_room() */
static int record(struct in *in, const char *type, mode_t mode, const char *path, const char *last)
{
	char digits[16];
	const char *words[RECORD_WORDS] = { type, digits, path, last };

	snprintf(digits, sizeof(digits), "%04o", mode & 07777);
	for (size_t i = 0; i < RECORD_WORDS; i++) {
		in->words[in->n] = strdup(words[i]);
		if (!in->words[in->n])
			return no_memory(in);
		in->words[++in->n] = NULL;
		in->bytes += strlen(words[i]) + 1;
	}
	return 0;
}

/* The group that was begun has all its files now */
static int end_group(struct in *in)
{
	autofree char *dir = steal_ptr(in->group_dir);
	char number[24];

	snprintf(number, sizeof(number), "g%lu", in->group);
	return dir ? record(in, "g", 0, *dir ? dir : "/", number) : 0;
}

static int run_batch(struct in *in)
{
	struct script s = { .text = batch_script, .args = (const char *const *)in->words };
	bool packed = cp_pack_bytes(&in->pack);
	int r;

	if (packed && cp_pack_end(&in->pack, &s.input, &s.input_len) < 0)
		return no_memory(in);
	in->words[1] = (char *)(packed ? "t" : "");
	r = inguest_run(&in->c->guest, &s);
	free(s.out);
	if (!r && s.code) {
		lab_fail(&in->c->guest.cli->err, -EIO, "%s", s.words);
		cp_failed(in->c);
	}
	return r;
}

static int carry_out(struct in *in)
{
	int r = end_group(in);

	if (!r && meter_interrupted())
		r = lab_fail(&in->c->guest.cli->err, -ECANCELED, "interrupted");
	if (!r && in->n > FIRST_WORDS)
		r = run_batch(in);
	forget_batch(in);
	return r;
}

/* One entry needs three records at most: a file, the end of a group, and that of its own */
static int make_room(struct in *in)
{
	return in->bytes >= BATCH_BYTES || cp_pack_bytes(&in->pack) >= INGUEST_BATCH ||
			       in->n > FIRST_WORDS + (BATCH_RECORDS - 3) * RECORD_WORDS
		       ? carry_out(in)
		       : 0;
}

/* Have the group for @target's directory be the last one */
static int need_group(struct in *in, const char *target)
{
	size_t len = (size_t)(strrchr(target, '/') - target);
	int r;

	if (in->group_dir && strlen(in->group_dir) == len && !strncmp(in->group_dir, target, len))
		return 0;
	r = end_group(in);
	if (r < 0)
		return r;
	in->group++;
	in->group_dir = strndup(target, len);
	return in->group_dir ? 0 : no_memory(in);
}

/* Read a whole small file: its length, or -EFBIG, or why not */
static ssize_t read_small(int fd, char *buf)
{
	size_t len = 0;

	while (len <= INGUEST_SMALL) {
		ssize_t n = RETRY(pread(fd, buf + len, INGUEST_SMALL + 1 - len, (off_t)len));

		if (n < 0)
			return -errno;
		if (!n)
			return (ssize_t)len;
		len += (size_t)n;
	}
	return -EFBIG;
}

/* Put a small file into the archive: 1; 0 if it is none, and is to be read again */
static int add_small(struct in *in, int fd, mode_t mode, const char *target)
{
	autofree char *buf = malloc(INGUEST_SMALL + 1), *staged = NULL;
	ssize_t len = buf ? read_small(fd, buf) : -ENOMEM;
	int r;

	if (len < 0)
		return 0;
	r = need_group(in, target);
	if (r < 0)
		return r;
	if (asprintf(&staged, "g%lu%s", in->group, strrchr(target, '/')) < 0 ||
	    cp_pack_add(&in->pack, staged, mode & 07777, buf, (size_t)len) < 0)
		return no_memory(in);
	meter_add(&in->c->meter, (uint64_t)len);
	return record(in, "s", mode, target, staged) ?: 1;
}

/* Stage the content of a descriptor, and record it as a file */
static int stage_fd(struct in *in, int fd, const struct stat *st, const char *name,
		    const char *target)
{
	autofree char *path = NULL;
	char number[24];
	int r = 0;

	in->c->meter.name = name;
	if (in->tar && S_ISREG(st->st_mode) && st->st_size <= INGUEST_SMALL)
		r = add_small(in, fd, st->st_mode, target);
	if (r)
		return r < 0 ? r : 0;
	snprintf(number, sizeof(number), "%lu", in->files++);
	if (asprintf(&path, "%s/%s", in->stage, number) < 0)
		return no_memory(in);
	r = inguest_put(&in->c->guest, path, fd, &in->c->meter);
	return r < 0 ? lab_wrap(&in->c->guest.cli->err, r, "%s", name)
		     : record(in, "f", st->st_mode, target, number);
}

/* One that cannot be opened is left out, and the others are copied */
static int add_file(struct in *in, const char *source, const char *target)
{
	/* O_NONBLOCK: a FIFO put in its place would stop us; a file does not care */
	autoclose int fd = open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail(in, -errno, source);
	else if (!S_ISREG(st.st_mode))
		lab_fail(&in->c->guest.cli->err, -EINVAL, "%s is no regular file, and was left out",
			 source);
	else
		return stage_fd(in, fd, &st, source, target);
	cp_failed(in->c);
	return 0;
}

static int add_link(struct in *in, const char *source, const char *target)
{
	char to[PATH_MAX];
	ssize_t n = readlink(source, to, sizeof(to) - 1);

	if (n < 0) {
		fail(in, -errno, source);
		cp_failed(in->c);
		return 0;
	}
	to[n] = '\0';
	return record(in, "l", 0, target, to);
}

static int add_entry(struct in *in, FTSENT *e, const char *target)
{
	switch (e->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_D:
		return record(in, "d", e->fts_statp->st_mode, target, "-");
	case FTS_F:
		return add_file(in, e->fts_path, target);
	case FTS_SL:
	case FTS_SLNONE:
		return add_link(in, e->fts_path, target);
	case FTS_DEFAULT:
		lab_fail(&in->c->guest.cli->err, -EINVAL, "%s is no regular file, and was left out",
			 e->fts_path);
		break;
	default:
		fail(in, -e->fts_errno, e->fts_path);
	}
	cp_failed(in->c);
	return 0;
}

/* Walk @source; what is in it goes below @target */
static int walk(struct in *in, char *source, const char *target)
{
	char *roots[] = { source, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
	size_t skip = strlen(source);
	FTSENT *e;
	int r = 0;

	if (!fts)
		return fail(in, -errno, source);
	while (!r && (e = fts_read(fts))) {
		autofree char *path = NULL;
		const char *rest = e->fts_level ? e->fts_path + skip : "";

		while (*rest == '/')
			rest++;
		if (asprintf(&path, "%s%s%s", target, *rest ? "/" : "", rest) < 0)
			r = no_memory(in);
		else
			r = make_room(in) ?: add_entry(in, e, path);
	}
	fts_close(fts);
	return r;
}

static int add_source(struct in *in, char *source)
{
	autofree char *target = NULL;
	char base[NAME_MAX + 1];
	struct stat st = { .st_mode = 0644 };
	int r = cp_base(in->c, source, base);

	if (r < 0)
		return r;
	if (asprintf(&target, "%s%s%s", in->dest, in->into && *base ? "/" : "",
		     in->into ? base : "") < 0)
		return no_memory(in);
	if (!strcmp(source, "-"))
		return in->into ? lab_fail(&in->c->guest.cli->err, -EISDIR,
					   "%s is a directory: standard input has no name in it",
					   in->dest)
				: stage_fd(in, STDIN_FILENO, &st, "standard input", target);
	if (!stat(source, &st) && S_ISDIR(st.st_mode) && !in->c->recursive) {
		lab_fail(&in->c->guest.cli->err, -EISDIR, "%s is a directory: left out without -r",
			 source);
		cp_failed(in->c);
		return 0;
	}
	return walk(in, source, target);
}

static int begin(struct in *in, bool many)
{
	char random[17];
	const char *args[] = { in->dest, many ? "many" : "", inguest_random(random), NULL };
	struct script s = { .text = begin_script, .args = args };
	int r = inguest_script(&in->c->guest, &s);

	if (!r && (s.out_len < 3 || strlen(s.out) != s.out_len))
		r = lab_fail(&in->c->guest.cli->err, -EPROTO, "the guest's answer makes no sense");
	if (!r) {
		in->into = s.out[0] == 'd';
		in->tar = s.out[1] == 't';
		in->stage = in->words[0] = strdup(s.out + 2);
		in->n = FIRST_WORDS;
	}
	free(s.out);
	return r || in->stage ? r : no_memory(in);
}

int cp_in(struct copy *c, char **sources, size_t n, const char *dest)
{
	struct in in = { .c = c, .dest = dest };
	int r = begin(&in, n > 1 || dest[strlen(dest) - 1] == '/');

	if (r < 0)
		return r;
	for (size_t i = 0; i < n && !r; i++)
		r = add_source(&in, sources[i]);
	if (!r)
		r = carry_out(&in);
	forget_batch(&in);
	inguest_clean_up(&c->guest, in.stage);
	free(in.stage);
	return r;
}
