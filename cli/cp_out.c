// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cp_out.c - labctl cp out of a guest
 *
 * DOC: Theory of Operation
 *
 * One script lists the source: for each name its type, permissions and size, for
 * a link where it leads. The list is read into memory (64 MiB at most), then the files
 * are fetched, each under a temporary name beside its place: large ones in pieces,
 * small ones many at a time, one behind the other. Which bytes are whose follows from
 * their sizes, asked before and, with the times of their change, again behind it; where that
 * does not fit, as with files that change or have no size, each is fetched alone.
 *
 * Whoever is root in the guest writes that list. So a name with "..", "." or an
 * empty part is refused, and nothing is made or opened through a symbolic
 * link below the target (openat2(2)): a link that the guest made there a moment ago
 * leads nowhere. Setuid and setgid bits stay behind. Messages are cleaned of
 * control characters by lib/err.
 */
#define _GNU_SOURCE
#include "cli/cp.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/*
 * $1 "r" if directories are wanted, $2 the source. A record: type and mode ("f0644", or "x" and
 * st_mode in hexadecimal, from busybox), size, newline, for a link its target and a newline,
 * then the name from the source on, and a NUL. A source that is a link is followed.
 */
static const char list_script[] =
	"if [ ! -d \"$2\" ]; then\n"
	"	[ -e \"$2\" ] || { echo \"$2: no such file\" >&2; exit 2; }\n"
	"	stat -L -c 'x%f %s' -- \"$2\" || exit 2\n"
	"	printf '.\\0'; exit\n"
	"fi\n"
	"[ \"$1\" = r ] || { echo \"$2 is a directory: left out without -r\" >&2; exit 2; }\n"
	"cd -- \"$2\" || exit 2\n"
	"if find . -maxdepth 0 -printf '' 2>/dev/null; then\n"
	"	exec find . -type l -printf 'l%m %s\\n%l\\n%p\\0' -o -printf '%y%m %s\\n%p\\0'\n"
	"fi\n"
	"exec find . \\( -type l -exec stat -c 'x%f %s' {} \\; -exec readlink {} \\; -print0 \\) "
	"\\\n"
	"	-o \\( -exec stat -c 'x%f %s' {} \\; -print0 \\)\n";

/* $@ files: "SIZE CTIME" of each, newline; the content of all; the same lines again */
static const char cat_script[] =
	"stat -L -c '%s %Z' -- \"$@\" && cat -- \"$@\" && stat -L -c '%s %Z' -- \"$@\"\n";

#define CAT_FILES 250
#define CAT_NAMES (96 << 10)

/**
 * struct entry - a record of the list
 * @mode:	as st_mode
 * @target:	of a link, not terminated: @size bytes
 * @name:	"." for the source itself
 */
struct entry {
	mode_t mode;
	uint64_t size;
	const char *target;
	const char *name;
};

/**
 * struct small - small files that are fetched together
 * @n:		how many
 * @bytes, @names: in all of them, in all their names
 */
struct small {
	struct entry entries[CAT_FILES];
	size_t n, bytes, names;
};

/**
 * struct out - a copy out of a guest
 * @root:	the directory that the target is in
 * @base:	its name there
 */
struct out {
	struct copy *c;
	const char *source;
	int root;
	char base[NAME_MAX + 1];
	struct small small;
};

static int fail(const struct out *o, int r, const char *path)
{
	return lab_fail_errno(&o->c->guest.cli->err, r, "%s", path);
}

static int nonsense(const struct out *o)
{
	return lab_fail(&o->c->guest.cli->err, -EPROTO, "the guest's list of %s makes no sense",
			o->source);
}

/* ---- the list ------------------------------------------------------------- */

static bool mode_of(const char *text, mode_t *ret)
{
	static const char letters[] = "fdlbcps";
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFBLK,
					S_IFCHR, S_IFIFO, S_IFSOCK };
	const char *letter = strchr(letters, *text);
	char *end = NULL;
	unsigned long n;

	if (!*text || !strchr("0123456789abcdef", text[1]) || !text[1])
		return false;
	n = strtoul(text + 1, &end, *text == 'x' ? 16 : 8);
	if (*end || n > 0177777 || (*text != 'x' && !letter))
		return false;
	*ret = *text == 'x' ? (mode_t)n : types[letter - letters] | (mode_t)(n & 07777);
	return true;
}

/* Whether a name stays below the source: "." or "./a/b" */
static bool name_is_below(const char *name)
{
	if (*name++ != '.')
		return false;
	while (*name) {
		size_t n;

		if (*name++ != '/')
			return false;
		n = strcspn(name, "/");
		if (!n || n > NAME_MAX || !strncmp(name, ".", n) || !strncmp(name, "..", n))
			return false;
		name += n;
	}
	return true;
}

/* Take the record at *at, which is changed; -EPROTO for nonsense */
static int next_entry(char **at, const char *end, struct entry *ret)
{
	char *text = *at, *line = memchr(text, '\n', (size_t)(end - text)), *blank;

	*ret = (struct entry){ 0 };
	if (!line)
		return -EPROTO;
	*line++ = '\0';
	blank = strchr(text, ' ');
	if (!blank || num_u64(blank + 1, INT64_MAX, &ret->size) < 0)
		return -EPROTO;
	*blank = '\0';
	if (!mode_of(text, &ret->mode))
		return -EPROTO;
	if (S_ISLNK(ret->mode)) {
		if (ret->size >= PATH_MAX || ret->size >= (uint64_t)(end - line) ||
		    line[ret->size] != '\n')
			return -EPROTO;
		ret->target = line;
		line[ret->size] = '\0';
		line += ret->size + 1;
	}
	ret->name = line;
	line = memchr(line, '\0', (size_t)(end - line));
	if (!line || !name_is_below(ret->name))
		return -EPROTO;
	*at = line + 1;
	return 0;
}

/* ---- making things here ---------------------------------------------------- */

/* Open something below the target's directory, through no link */
static int open_below(const struct out *o, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	long fd = syscall(SYS_openat2, o->root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Where an entry goes, as "BASE/a/b" below o->root; malloced */
static char *place_of(const struct out *o, const struct entry *e)
{
	const char *rest = e->name + 1; /* "" or "/a/b" */
	char *path = NULL;

	if (!*o->base)
		rest += *rest == '/';
	return asprintf(&path, "%s%s", *o->base || *rest ? o->base : ".", rest) < 0 ? NULL : path;
}

/* Open the directory that @place is in; *ret_name is its name there */
static int open_parent(const struct out *o, char *place, const char **ret_name)
{
	char *slash = strrchr(place, '/');
	int fd;

	if (!slash) {
		*ret_name = place;
		return open_below(o, ".", O_PATH | O_DIRECTORY);
	}
	*slash = '\0';
	fd = open_below(o, place, O_PATH | O_DIRECTORY);
	*slash = '/';
	*ret_name = slash + 1;
	return fd;
}

/* Its permissions come at the end, or nothing could be put into one of mode 0555 */
static int make_dir(const struct out *o, char *place, bool *ret_made)
{
	const char *name;
	autoclose int dir = open_parent(o, place, &name), fd = -EBADF;

	if (dir < 0)
		return dir;
	*ret_made = !mkdirat(dir, name, 0700);
	if (!*ret_made && errno != EEXIST)
		return -errno;
	fd = open_below(o, place, O_PATH | O_DIRECTORY);
	return fd < 0 ? fd : 0;
}

static int make_link(const struct out *o, char *place, const char *target)
{
	const char *name;
	autoclose int dir = open_parent(o, place, &name);
	struct stat st;

	if (dir < 0)
		return dir;
	if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		if (unlinkat(dir, name, 0) < 0)
			return -errno;
	}
	return symlinkat(target, dir, name) < 0 ? -errno : 0;
}

static int fetch(const struct out *o, const struct entry *e, int fd)
{
	autofree char *path = NULL;

	if (asprintf(&path, "%s%s", o->source, e->name + 1) < 0)
		return lab_fail(&o->c->guest.cli->err, -ENOMEM, "out of memory");
	o->c->meter.name = path;
	return inguest_get(&o->c->guest, path, fd, &o->c->meter);
}

/* Fetch it, or write what was fetched already */
static int fill(const struct out *o, const struct entry *e, int fd, const char *content)
{
	int r;

	if (!content)
		return fetch(o, e, fd);
	r = io_write_all(fd, content, e->size);
	meter_add(&o->c->meter, e->size);
	return r < 0 ? fail(o, r, e->name) : 0;
}

/* A file of its own name, which takes its place when it is whole */
static int make_file(const struct out *o, const struct entry *e, char *place, const char *content)
{
	const char *name;
	autoclose int dir = open_parent(o, place, &name), fd = -EBADF;
	char temp[32], random[17];
	struct stat st;
	int r;

	if (dir < 0)
		return fail(o, dir, place);
	if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode))
		return fail(o, -EISDIR, place);
	snprintf(temp, sizeof(temp), ".labctl-%s", inguest_random(random));
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(o, -errno, place);
	r = fill(o, e, fd, content);
	if (!r && (fchmod(fd, e->mode & 0777) < 0 || renameat(dir, temp, dir, name) < 0))
		r = fail(o, -errno, place);
	if (r < 0)
		(void)unlinkat(dir, temp, 0);
	return r;
}

/* What ends the whole copy; anything else is one file's */
static bool is_fatal(int r)
{
	return r == -ECANCELED || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT ||
	       r == -EBUSY || r == -ENOSPC || r == -ENOMEM;
}

static int copy_entry(const struct out *o, const struct entry *e, char *place, bool *ret_made)
{
	int r;

	if (S_ISREG(e->mode))
		return make_file(o, e, place, NULL);
	if (S_ISDIR(e->mode))
		r = make_dir(o, place, ret_made);
	else if (S_ISLNK(e->mode))
		r = make_link(o, place, e->target);
	else
		return lab_fail(&o->c->guest.cli->err, -EINVAL,
				"%s%s is no regular file, and was left out", o->source,
				e->name + 1);
	return r < 0 ? fail(o, r, place) : 0;
}

/* Permissions of the directories that were made, inner ones first */
static void set_modes(const struct out *o, struct entry *dirs, size_t n)
{
	while (n--) {
		autofree char *place = place_of(o, &dirs[n]);
		autoclose int fd = place ? open_below(o, place, O_RDONLY | O_DIRECTORY) : -ENOMEM;

		if (fd < 0 || fchmod(fd, dirs[n].mode & 0777) < 0) {
			fail(o, fd < 0 ? fd : -errno, place ? place : o->source);
			cp_failed(o->c);
		}
	}
}

/* Remember a directory that was made; the array grows by doubling */
static int remember(struct entry **dirs, size_t *n, const struct entry *e)
{
	if (!(*n & (*n - 1))) {
		struct entry *more = realloc(*dirs, (*n ? *n * 2 : 1) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		*dirs = more;
	}
	(*dirs)[(*n)++] = *e;
	return 0;
}

/* What is to be done about the end of one entry: 0 if the copy goes on */
static int entry_end(const struct out *o, int r)
{
	if (r >= 0 || is_fatal(r))
		return r;
	cp_failed(o->c);
	return 0;
}

static int make_one(struct out *o, const struct entry *e, const char *content)
{
	autofree char *place = place_of(o, e);

	return place ? entry_end(o, make_file(o, e, place, content)) : -ENOMEM;
}

/* Whether cat_script's answer has one content of each size; *ret is the first one's */
static bool answer_fits(struct small *sm, const char *out, size_t len, const char **ret)
{
	const char *at = out, *line, *end = out + len;
	size_t all = 0, head;

	for (size_t i = 0; i < sm->n; i++) {
		char size[24];

		line = memchr(at, '\n', (size_t)(end - at));
		if (!line)
			return false;
		snprintf(size, sizeof(size), "%.*s", (int)MIN(strcspn(at, " \n"), (size_t)23), at);
		if (num_u64(size, INGUEST_SMALL, &sm->entries[i].size) < 0)
			return false;
		all += sm->entries[i].size;
		at = line + 1;
	}
	head = (size_t)(at - out);
	*ret = at;
	return len == head + all + head && !memcmp(out, at + all, head);
}

static int fetch_together(struct out *o, struct script *s)
{
	const char *args[CAT_FILES + 1] = { NULL };
	struct small *sm = &o->small;
	int r = 0;

	for (size_t i = 0; i < sm->n && !r; i++)
		if (asprintf((char **)&args[i], "%s%s", o->source, sm->entries[i].name + 1) < 0)
			r = lab_fail(&o->c->guest.cli->err, -ENOMEM, "out of memory");
	s->args = args;
	o->c->meter.name = args[0];
	if (!r && meter_interrupted())
		r = lab_fail(&o->c->guest.cli->err, -ECANCELED, "interrupted");
	if (!r)
		r = inguest_run(&o->c->guest, s);
	o->c->meter.name = o->source;
	s->args = NULL;
	for (size_t i = 0; i < sm->n; i++)
		free((char *)args[i]);
	return r;
}

/* Copy the small files that were put aside */
static int copy_small(struct out *o)
{
	struct script s = { .text = cat_script };
	struct small *sm = &o->small;
	const char *at = NULL;
	bool fits = false;
	int r = 0;

	if (sm->n > 1)
		r = fetch_together(o, &s);
	if (r == -EILSEQ) /* that one's own error, when each is fetched */
		r = 0;
	else if (sm->n > 1 && !r && !s.code)
		fits = answer_fits(sm, s.out, s.out_len, &at);
	for (size_t i = 0; i < sm->n && !r; i++) {
		r = make_one(o, &sm->entries[i], fits ? at : NULL);
		at = fits ? at + sm->entries[i].size : NULL;
	}
	free(s.out);
	sm->n = sm->bytes = sm->names = 0;
	return r;
}

static int put_aside(struct out *o, const struct entry *e)
{
	struct small *sm = &o->small;

	sm->entries[sm->n++] = *e;
	sm->bytes += e->size;
	sm->names += strlen(o->source) + strlen(e->name);
	return sm->n == CAT_FILES || sm->bytes >= INGUEST_BATCH || sm->names >= CAT_NAMES
		       ? copy_small(o)
		       : 0;
}

static int copy_next(struct out *o, const struct entry *e, bool *ret_made)
{
	autofree char *place = NULL;

	if (S_ISREG(e->mode) && e->size && e->size <= INGUEST_SMALL)
		return put_aside(o, e);
	place = place_of(o, e);
	return place ? entry_end(o, copy_entry(o, e, place, ret_made)) : -ENOMEM;
}

static int copy_list(struct out *o, char *at, const char *end)
{
	autofree struct entry *dirs = NULL;
	size_t n = 0;
	int r = 0;

	while (!r && at < end) {
		struct entry e;
		bool made = false;

		r = next_entry(&at, end, &e) < 0 ? nonsense(o) : copy_next(o, &e, &made);
		if (!r && made)
			r = remember(&dirs, &n, &e);
	}
	if (!r)
		r = copy_small(o);
	set_modes(o, dirs, n);
	return r;
}

/* A target that is no regular file is written to as it is: "-", a FIFO, /dev/null */
static int copy_to_fd(const struct out *o, char *list, const char *end, const char *dest)
{
	struct entry e;
	autoclose int fd = -EBADF;

	if (next_entry(&list, end, &e) < 0)
		return nonsense(o);
	if (!S_ISREG(e.mode))
		return lab_fail(&o->c->guest.cli->err, -EINVAL, "%s is no regular file", o->source);
	if (!strcmp(dest, "-"))
		return fetch(o, &e, STDOUT_FILENO);
	fd = open(dest, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? fail(o, -errno, dest) : fetch(o, &e, fd);
}

static bool is_special(const char *dest)
{
	struct stat st;

	return !strcmp(dest, "-") ||
	       (!stat(dest, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
}

/* Where the target is: o->root and o->base. A link that the user has there is followed */
static int find_place(struct out *o, const char *target, bool dest_is_dir)
{
	autofree char *real = dest_is_dir ? NULL : realpath(target, NULL);
	const char *dest = real ? real : target, *slash = strrchr(dest, '/');
	autofree char *dir = dest_is_dir     ? strdup(dest)
			     : !slash	     ? strdup(".")
			     : slash == dest ? strdup("/")
					     : strndup(dest, (size_t)(slash - dest));
	int r = cp_base(o->c, dest_is_dir ? o->source : dest, o->base);

	if (r < 0)
		return r;
	o->root = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	return o->root < 0 ? fail(o, -errno, dir ? dir : dest) : 0;
}

/* Get the list; what find could not look at was said by it, and the rest is copied */
static int list(struct out *o, struct script *s)
{
	const char *args[] = { o->c->recursive ? "r" : "", o->source, NULL };
	int r;

	*s = (struct script){ .text = list_script, .args = args };
	r = inguest_run(&o->c->guest, s);
	s->args = NULL;
	if (r < 0)
		return r;
	if (!s->code)
		return s->out_len ? 0 : nonsense(o);
	r = lab_fail(&o->c->guest.cli->err, -EIO, "%s", *s->words ? s->words : o->source);
	if (s->code == 2 || !s->out_len)
		return r;
	cp_failed(o->c);
	return 0;
}

int cp_out(struct copy *c, const char *source, const char *dest, bool dest_is_dir)
{
	struct out o = { .c = c, .source = source, .root = -EBADF };
	struct script s = { 0 };
	int r = list(&o, &s);

	if (!r && is_special(dest))
		r = copy_to_fd(&o, s.out, s.out + s.out_len, dest);
	else if (!r)
		r = find_place(&o, dest, dest_is_dir) ?: copy_list(&o, s.out, s.out + s.out_len);
	if (o.root >= 0)
		close(o.root);
	free(s.out);
	return r;
}
