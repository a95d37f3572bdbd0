// SPDX-License-Identifier: GPL-2.0-or-later
/* inguest.c - files of a running guest, by its agent: for cp and edit */
#define _GNU_SOURCE
#include "cli/inguest.h"

#include "cli/guest.h"
#include "lib/base64.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <string.h>
#include <sys/random.h>

#define PIECE_MS 90000 /* labd gives a piece 60 s */
#define OUT_MAX (64 << 20) /* a million names */

int inguest_parse(struct cli *cli, const char *arg, struct object *ret, const char **ret_path)
{
	struct lab_err ignored = LAB_ERR_INIT;
	const char *colon = strchr(arg, ':');
	char name[2 * NAME_MAX_LEN + 2];

	if (!colon || (size_t)(colon - arg) >= sizeof(name))
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)(colon - arg), arg);
	if (object_parse(name, ret, &ignored) < 0)
		return 0;
	if (colon[1] != '/')
		return lab_fail(&cli->err, -EINVAL,
				"%s: a path in a guest begins with /; a file here of that name is "
				"./%s",
				arg, arg);
	*ret_path = colon + 1;
	return 1;
}

int inguest_open(struct inguest *g, struct cli *cli, const struct object *o)
{
	int r = cli_ready(cli);

	*g = (struct inguest){ .cli = cli, .o = *o };
	if (r < 0)
		return r;
	g->files = client_new(cli->socket, PIECE_MS);
	return g->files ? 0 : lab_fail(&cli->err, -ENOMEM, "out of memory");
}

void inguest_close(struct inguest *g)
{
	g->files = client_free(g->files);
}

/* ---- scripts -------------------------------------------------------------- */

/* What a script writes */
struct answer_state {
	struct script *s;
	size_t words_len;
};

static int add_out(struct answer_state *st, const void *bytes, size_t len)
{
	struct script *s = st->s;
	char *more = s->out_len + len > OUT_MAX ? NULL : realloc(s->out, s->out_len + len + 1);

	if (!more)
		return -E2BIG; /* a guest that lists without end */
	s->out = more;
	memcpy(more + s->out_len, bytes, len);
	s->out_len += len;
	more[s->out_len] = '\0';
	return 0;
}

static int on_output(void *arg, int stream, const void *data, size_t len)
{
	struct answer_state *st = arg;
	size_t room = sizeof(st->s->words) - 1 - st->words_len;

	if (stream == 1)
		return add_out(st, data, len);
	len = MIN(len, room);
	memcpy(st->s->words + st->words_len, data, len);
	st->words_len += len;
	st->s->words[st->words_len] = '\0';
	return 0;
}

/* {"argv": ["/bin/sh", "-c", TEXT, "sh", ARGS...], "stdin": ...}; NULL if one is not UTF-8 */
static json_t *script_body(const struct script *s)
{
	autojson json_t *argv = json_pack("[s,s,s,s]", "/bin/sh", "-c", s->text, "sh");
	autofree char *input = s->input_len ? base64_text(s->input, s->input_len) : NULL;

	for (size_t i = 0; s->args[i]; i++)
		if (json_array_append_new(argv, json_string(s->args[i])) < 0)
			return NULL;
	return json_pack("{s:O, s:s*}", "argv", argv, "stdin", input);
}

int inguest_run(struct inguest *g, struct script *s)
{
	struct answer_state st = { .s = s };
	struct guest_exec x = {
		.object = &g->o, .body = script_body(s), .output = on_output, .arg = &st
	};
	size_t n;
	int r;

	s->out_len = 0;
	s->words[0] = '\0';
	if (!x.body)
		return lab_fail(&g->cli->err, -EILSEQ, "a name is not UTF-8");
	r = guest_exec(g->cli, &x, &s->code);
	text_clean(s->words);
	for (n = strlen(s->words); n && s->words[n - 1] == '\n'; n--)
		s->words[n - 1] = '\0';
	return r;
}

int inguest_script(struct inguest *g, struct script *s)
{
	int r = inguest_run(g, s);

	if (r < 0 || !s->code)
		return r;
	if (*s->words)
		return lab_fail(&g->cli->err, -EIO, "%s", s->words);
	return lab_fail(&g->cli->err, -EIO, "a script in the guest ended with status %d", s->code);
}

void inguest_clean_up(struct inguest *g, const char *dir)
{
	const char *args[] = { dir, NULL };
	struct lab_err kept = g->cli->err;
	struct script s = { .text = "rm -rf -- \"$1\"", .args = args };

	if (inguest_script(g, &s) < 0)
		fprintf(stderr, "labctl: %s was left in the guest: %s\n", dir, g->cli->err.text);
	free(s.out);
	g->cli->err = kept;
}

const char *inguest_random(char buf[17])
{
	unsigned long long n = 0;

	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		abort();
	snprintf(buf, 17, "%016llx", n);
	return buf;
}

/* ---- content -------------------------------------------------------------- */

static int interrupted(struct inguest *g)
{
	return meter_interrupted() ? lab_fail(&g->cli->err, -ECANCELED, "interrupted") : 0;
}

static int file_call(struct inguest *g, const char *what, json_t *body, json_t **ret)
{
	char path[CLIENT_PATH];

	if (!body)
		return lab_fail(&g->cli->err, -EILSEQ, "a name is not UTF-8");
	client_path(path, "/v1/labs/%s/instances/%s/%s", g->o.lab, g->o.name, what);
	return client_call(g->files, "POST", path, body, ret, NULL, &g->cli->err);
}

static int get_piece(struct inguest *g, const char *path, uint64_t offset, unsigned char **ret,
		     size_t *ret_len, bool *ret_end)
{
	autojson json_t *answer = NULL;
	const char *text = NULL;
	int end = 0, r;

	r = file_call(g, "read",
		      json_pack("{s:s, s:I, s:i}", "path", path, "offset", (json_int_t)offset,
				"count", INGUEST_PIECE),
		      &answer);
	if (r < 0)
		return r;
	if (json_unpack(answer, "{s:s, s:b}", "data", &text, "end", &end) < 0 ||
	    base64_bytes(text, ret, ret_len) < 0)
		return lab_fail(&g->cli->err, -EPROTO, "%s: the guest's answer makes no sense",
				path);
	*ret_end = end || !*ret_len;
	return 0;
}

int inguest_get(struct inguest *g, const char *path, int fd, struct meter *m)
{
	uint64_t offset = 0;
	bool end = false;

	while (!end) {
		autofree unsigned char *bytes = NULL;
		size_t len = 0;
		int r = interrupted(g) ?: get_piece(g, path, offset, &bytes, &len, &end);

		if (r < 0)
			return r == -EILSEQ ? lab_wrap(&g->cli->err, r, "%s", path) : r;
		r = io_write_all(fd, bytes, len);
		if (r < 0)
			return lab_fail_errno(&g->cli->err, r, "writing here");
		offset += len;
		meter_add(m, len);
	}
	return 0;
}

static int put_piece(struct inguest *g, const char *path, uint64_t offset, const void *bytes,
		     size_t len)
{
	autofree char *text = base64_text(bytes, len);

	if (!text)
		return lab_fail(&g->cli->err, -ENOMEM, "out of memory");
	return file_call(g, "write",
			 json_pack("{s:s, s:I, s:s}", "path", path, "offset", (json_int_t)offset,
				   "data", text),
			 NULL);
}

/* Fill a piece: a pipe gives less than is asked for */
static ssize_t read_piece(int fd, unsigned char *buf)
{
	size_t len = 0;

	while (len < INGUEST_PIECE) {
		ssize_t n = read(fd, buf + len, INGUEST_PIECE - len);

		if (n < 0 && errno == EINTR && !meter_interrupted())
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int inguest_put(struct inguest *g, const char *path, int fd, struct meter *m)
{
	autofree unsigned char *buf = malloc(INGUEST_PIECE);
	uint64_t offset = 0;
	ssize_t n;
	int r;

	if (!buf)
		return lab_fail(&g->cli->err, -ENOMEM, "out of memory");
	do {
		r = interrupted(g);
		if (r < 0)
			return r;
		n = read_piece(fd, buf);
		if (n < 0)
			return interrupted(g)
				       ?: lab_fail_errno(&g->cli->err, (int)n, "reading here");
		if (n || !offset)
			r = put_piece(g, path, offset, buf, (size_t)n);
		if (r < 0)
			return r;
		offset += (uint64_t)n;
		meter_add(m, (uint64_t)n);
	} while (n == INGUEST_PIECE);
	return 0;
}
