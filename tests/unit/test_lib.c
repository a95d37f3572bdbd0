// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_lib.c - the small things that everything else stands on
 *
 * TIMEOUT: 60
 */
#define _GNU_SOURCE
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/names.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/text.h"
#include "lib/util.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char work_dir[64];

static int set_up(void **state)
{
	const char *tmp = getenv("TEST_DIR");

	(void)state;
	snprintf(work_dir, sizeof(work_dir), "%.40s/lib.XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(work_dir) && !chdir(work_dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, work_dir) == 1 ? 0 : -1;
}

/* ---- num ---- */

static void test_numbers(void **state)
{
	uint64_t v = 77;

	(void)state;
	assert_int_equal(num_u64("0", 0, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(num_u64("18446744073709551615", UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	v = 77;
	assert_int_equal(num_u64("18446744073709551616", UINT64_MAX, &v), -ERANGE);
	assert_int_equal(num_u64("5", 3, &v), -ERANGE);
	assert_int_equal(num_u64("10", 9, &v), -ERANGE);
	assert_int_equal(num_u64("1", 0, &v), -ERANGE);
	assert_int_equal(num_u64("", 9, &v), -EINVAL);
	assert_int_equal(num_u64("-1", 9, &v), -EINVAL);
	assert_int_equal(num_u64("+1", 9, &v), -EINVAL);
	assert_int_equal(num_u64(" 1", 9, &v), -EINVAL);
	assert_int_equal(num_u64("1 ", 9, &v), -EINVAL);
	assert_int_equal(num_u64("0x1", 9, &v), -EINVAL);
	assert_int_equal(num_u64(NULL, 9, &v), -EINVAL);
	assert_int_equal(v, 77);
}

static void test_sizes(void **state)
{
	char buf[NUM_TEXT];
	uint64_t v = 77;

	(void)state;
	assert_int_equal(num_size("512M", &v), 0);
	assert_int_equal(v, 512 << 20);
	assert_int_equal(num_size("1GiB", &v), 0);
	assert_int_equal(v, 1 << 30);
	assert_int_equal(num_size("17B", &v), 0);
	assert_int_equal(v, 17);
	assert_int_equal(num_size("8388607T", &v), 0);
	assert_true(v == 8388607ULL << 40);
	assert_int_equal(num_size("8388608T", &v), -ERANGE);
	assert_int_equal(num_size("9223372036854775807", &v), 0);
	assert_int_equal(num_size("9223372036854775808", &v), -ERANGE);
	assert_int_equal(num_size("1.5G", &v), -EINVAL);
	assert_int_equal(num_size("1g", &v), -EINVAL);
	assert_int_equal(num_size("G", &v), -EINVAL);
	assert_int_equal(num_size("1GG", &v), -EINVAL);

	assert_string_equal(num_size_text(buf, 0), "0 B");
	assert_string_equal(num_size_text(buf, 1023), "1023 B");
	assert_string_equal(num_size_text(buf, 1024), "1 KiB");
	assert_string_equal(num_size_text(buf, 1536 << 20), "1.5 GiB");
	assert_string_equal(num_size_text(buf, 512 << 20), "512 MiB");
	assert_string_equal(num_size_text(buf, (1 << 20) - 1), "1.0 MiB");
	assert_string_equal(num_size_text(buf, UINT64_MAX), "16384 PiB");
}

static void test_durations(void **state)
{
	char buf[NUM_TEXT];
	uint64_t v;

	(void)state;
	assert_int_equal(num_duration("2", &v), 0);
	assert_int_equal(v, 2000000);
	assert_int_equal(num_duration("20ms", &v), 0);
	assert_int_equal(v, 20000);
	assert_int_equal(num_duration("5m", &v), 0);
	assert_int_equal(v, 300000000);
	assert_int_equal(num_duration("2562047788015h", &v), -ERANGE);
	assert_int_equal(num_duration("5 m", &v), -EINVAL);
	assert_int_equal(num_duration("m", &v), -EINVAL);
	assert_string_equal(num_seconds_text(buf, 59), "59 s");
	assert_string_equal(num_seconds_text(buf, 123), "2 min 3 s");
	assert_string_equal(num_seconds_text(buf, 3 * 86400 + 4 * 3600), "3 d 4 h");
	assert_in_range(strlen(num_seconds_text(buf, UINT64_MAX)), 1, NUM_TEXT - 1);
}

/* ---- names ---- */

static void test_names(void **state)
{
	static const char *const bad[] = { "",	   ".",	 "..", "-rf",	   "a/b",   "a b",
					   "a\nb", "_a", ".a", "\xc3\xa4", "a\x01", "a:b" };
	char name[NAME_MAX_LEN + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(name_valid(bad[i]));
	assert_false(name_valid(NULL));
	assert_true(name_valid("9-web_1.example"));
	memset(name, 'a', sizeof(name));
	name[NAME_MAX_LEN] = '\0';
	assert_true(name_valid(name));
	name[NAME_MAX_LEN] = 'a';
	name[NAME_MAX_LEN + 1] = '\0';
	assert_false(name_valid(name));
}

static void test_made_names(void **state)
{
	char a[IFNAMSIZ], b[IFNAMSIZ], mac[NAME_MAC_TEXT];

	(void)state;
	assert_string_equal(name_ifname(a, "mgmt"), "mgmt");
	assert_string_equal(name_ifname(a, "fifteen-letters"), "fifteen-letters");
	name_ifname(a, "sixteen-letters1");
	name_ifname(b, "sixteen-letters2");
	assert_int_equal(strlen(a), 15);
	assert_memory_equal(a, "sixteen--", 9);
	assert_string_not_equal(a, b);
	/* the kernel has no links of these names, and only one lo */
	assert_memory_equal(name_ifname(a, "default"), "default-", 8);
	assert_memory_equal(name_ifname(a, "all"), "all-", 4);
	assert_memory_equal(name_ifname(a, "lo"), "lo-", 3);
	/* the same for ever: guests keep what they were installed with */
	assert_string_equal(name_mac(mac, "demo", "db", "eth0"), "52:54:00:54:2f:73");
	assert_true(name_hash("p", "ab", "c", NULL) != name_hash("p", "a", "bc", NULL));
	assert_true(name_hash("p", "a", NULL, NULL) == name_hash("p", "a", "", ""));
	assert_true(name_hash("p", "a", NULL, NULL) != name_hash("q", "a", NULL, NULL));
}

static void test_nearest(void **state)
{
	static const char *const known[] = { "image", "memory", "vcpus", "ab", NULL };
	static const char *const none[] = { NULL };
	char huge[300];

	(void)state;
	assert_string_equal(name_nearest("memroy", known), "memory");
	assert_string_equal(name_nearest("imgae", known), "image");
	assert_string_equal(name_nearest("image", known), "image");
	assert_null(name_nearest("x", known));
	assert_null(name_nearest("xy", known));
	assert_null(name_nearest("", known));
	assert_null(name_nearest("image", none));
	memset(huge, 'a', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	assert_null(name_nearest(huge, known));
}

/* ---- err ---- */

static void test_errors(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	char big[3 * LAB_ERR_TEXT];

	(void)state;
	assert_int_equal(lab_fail(NULL, -EIO, "x"), -EIO);
	assert_int_equal(lab_wrap(NULL, -EIO, "x"), -EIO);
	assert_int_equal(lab_fail_errno(&err, -ENOENT, "open %s", "a"), -ENOENT);
	assert_string_equal(err.text, "open a: No such file or directory");
	assert_int_equal(lab_wrap(&err, -ENOENT, "lab %s", "t"), -ENOENT);
	assert_string_equal(err.text, "lab t: open a: No such file or directory");
	assert_int_equal(lab_wrap(&err, 0, "never"), 0);
	assert_int_equal(err.code, -ENOENT);
	/* an error's own text may be quoted in the next one */
	assert_int_equal(lab_fail(&err, -EIO, "again: %s", err.text), -EIO);
	assert_string_equal(err.text, "again: lab t: open a: No such file or directory");

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	lab_fail_errno(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), LAB_ERR_TEXT - 1);
	lab_wrap(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), LAB_ERR_TEXT - 1);

	/* whatever is quoted or cut, a terminal and JSON can take it */
	for (size_t i = 0; i + 1 < sizeof(big); i++)
		big[i] = i % 2 ? '\xa4' : '\xc3';
	lab_fail(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), LAB_ERR_TEXT - 2);
	lab_wrap(&err, -EIO, "%s", "x");
	assert_int_equal(strlen(err.text) % 2, 1); /* "x: " and whole characters */
	lab_fail(&err, -EIO, "a\033[31mb\r\xff\xed\xa0\x80\nc");
	assert_string_equal(err.text, "ab\nc");

	err = (struct lab_err)LAB_ERR_INIT;
	assert_int_equal(lab_wrap(&err, -EPERM, "start"), -EPERM);
	assert_string_equal(err.text, "start: Operation not permitted");
	assert_string_equal(lab_errno_name(-ENOENT), "ENOENT");
	assert_string_equal(lab_errno_name(99999), "EUNKNOWN");
	assert_int_equal(lab_errno_value("ENOENT"), -ENOENT);
	assert_int_equal(lab_errno_value("EHWPOISON"), -EHWPOISON);
	assert_int_equal(lab_errno_value("ENOSUCH"), -EIO);
	assert_int_equal(lab_errno_value(NULL), -EIO);
}

/* ---- io ---- */

static void test_files(void **state)
{
	autofree char *text = NULL;
	struct stat st;
	size_t len;

	(void)state;
	assert_int_equal(io_write_file(AT_FDCWD, "f", "hello", 5, 0600), 0);
	assert_int_equal(io_write_file(AT_FDCWD, "f", "hell", 4, 0600), 0);
	assert_int_equal(stat("f", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(io_read_file(AT_FDCWD, "f", 3, &text, &len), -EFBIG);
	assert_null(text);
	assert_int_equal(io_read_file(AT_FDCWD, "f", 4, &text, &len), 0);
	assert_int_equal(len, 4);
	assert_string_equal(text, "hell");
	assert_int_equal(io_read_file(AT_FDCWD, "none", 4, &text, &len), -ENOENT);
	assert_int_equal(io_read_file(AT_FDCWD, ".", 4, &text, &len), -EISDIR);
	assert_int_equal(io_write_file(AT_FDCWD, "none/f", "x", 1, 0600), -ENOENT);
	/* the old file stands when the new one cannot be */
	assert_int_equal(mkdir("full", 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, "full", "x", 1, 0600), -EISDIR);
	assert_int_equal(io_remove_tree(AT_FDCWD, "full"), 1);
	assert_int_equal(io_remove_tree(AT_FDCWD, "f"), 1);
}

static void test_directories(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(io_mkdirs("d/e/f", 0755), 0);
	assert_int_equal(io_mkdirs("d/e/f/", 0755), 0);
	assert_int_equal(io_mkdirs("d", 0755), 0);
	assert_int_equal(io_mkdirs("", 0755), -ENOENT);
	assert_int_equal(io_write_file(AT_FDCWD, "d/e/file", "x", 1, 0600), 0);
	assert_int_equal(io_mkdirs("d/e/file", 0755), -ENOTDIR);
	assert_int_equal(io_mkdirs("d/e/file/x", 0755), -ENOTDIR);
	assert_int_equal(symlink("/etc", "d/link"), 0);
	assert_int_equal(io_remove_tree(AT_FDCWD, "d"), 1);
	assert_int_equal(io_remove_tree(AT_FDCWD, "d"), 0);
	assert_int_equal(stat("/etc/passwd", &st), 0);
}

/* What is mounted inside a tree, even from the same file system, is not touched */
static void test_remove_mounts(void **state)
{
	struct stat st;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(io_mkdirs("keep", 0755), 0);
	assert_int_equal(io_write_file(AT_FDCWD, "keep/precious", "x", 1, 0600), 0);
	assert_int_equal(io_mkdirs("tree/mnt", 0755), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if ((unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWNS | CLONE_NEWUSER) < 0) ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("keep", "tree/mnt", NULL, MS_BIND, NULL) < 0)
			_exit(77);
		_exit(io_remove_tree(AT_FDCWD, "tree") == -EXDEV &&
				      io_remove_tree(AT_FDCWD, "tree/mnt") == -EXDEV
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(stat("keep/precious", &st), 0);
	assert_int_equal(io_remove_tree(AT_FDCWD, "tree"), 1);
	assert_int_equal(io_remove_tree(AT_FDCWD, "keep"), 1);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void test_sockets(void **state)
{
	autoclose int a = -EBADF, b = -EBADF, c = -EBADF;
	struct stat st;
	char path[200];

	(void)state;
	a = io_listen_unix("s", SOCK_STREAM, 0600);
	assert_true(a >= 0);
	assert_int_equal(stat("s", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(io_listen_unix("s", SOCK_STREAM, 0600), -EADDRINUSE);
	b = io_connect_unix("s", SOCK_STREAM);
	assert_true(b >= 0);
	assert_true(fcntl(b, F_GETFD) & FD_CLOEXEC);
	close(steal_fd(&a));
	a = io_listen_unix("s", SOCK_STREAM, 0666); /* a dead one is replaced */
	assert_true(a >= 0);
	assert_int_equal(stat("s", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	/* a socket of another type is somebody's, and so is a file */
	c = io_listen_unix("p", SOCK_SEQPACKET, 0600);
	assert_true(c >= 0);
	assert_int_equal(io_listen_unix("p", SOCK_STREAM, 0600), -EADDRINUSE);
	assert_int_equal(io_write_file(AT_FDCWD, "f", "x", 1, 0600), 0);
	assert_int_equal(io_listen_unix("f", SOCK_STREAM, 0600), -EADDRINUSE);
	assert_int_equal(stat("f", &st), 0);
	assert_int_equal(io_connect_unix("none", SOCK_STREAM), -ENOENT);
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(io_listen_unix(path, SOCK_STREAM, 0600), -ENAMETOOLONG);
	assert_int_equal(io_connect_unix(path, SOCK_STREAM), -ENAMETOOLONG);
}

static void test_descriptors(void **state)
{
	int pair[2], fds[IO_MAX_FDS], many[IO_MAX_FDS + 1];
	size_t n = 99;
	char buf[8];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = 0;
	assert_int_equal(io_send_fds(pair[0], "abc", 3, many, IO_MAX_FDS), 0);
	assert_int_equal(io_recv_fds(pair[1], buf, sizeof(buf), fds, &n), 3);
	assert_int_equal(n, IO_MAX_FDS);
	for (size_t i = 0; i < n; i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
	assert_int_equal(io_send_fds(pair[0], "abc", 3, many, IO_MAX_FDS + 1), -E2BIG);
	assert_int_equal(io_send_fds(pair[0], "123456789", 9, many, 1), 0);
	assert_int_equal(io_recv_fds(pair[1], buf, sizeof(buf), fds, &n), -EMSGSIZE);
	assert_int_equal(n, 0);
	close(pair[0]);
	assert_int_equal(io_recv_fds(pair[1], buf, sizeof(buf), fds, &n), 0);
	assert_int_equal(io_send_fds(pair[1], "x", 1, NULL, 0), -EPIPE);
	close(pair[1]);
}

/* ---- jsonl ---- */

/* Feed bytes from a pipe's other end; returns what jsonl_next() makes of them */
static int next_of(const char *data, size_t len, size_t max, json_t **ret)
{
	struct jsonl jl;
	int pair[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(io_write_all(pair[0], data, len), 0);
	close(pair[0]);
	jsonl_init(&jl, pair[1], max);
	r = jsonl_next(&jl, num_now_us() + 2000000, ret);
	jsonl_done(&jl);
	close(pair[1]);
	return r;
}

static void test_json_lines(void **state)
{
	static const char good[] = "\n \r\n\xff\n\xff{\"a\": 1}\r\n";
	char deep[2 * (JSONL_MAX_DEPTH + 1) + 1], line[101];
	json_t *msg = NULL;

	(void)state;
	assert_int_equal(next_of(good, strlen(good), 100, &msg), 1);
	assert_int_equal(json_integer_value(json_object_get(msg, "a")), 1);
	json_decref(msg);
	msg = NULL;
	assert_int_equal(next_of("", 0, 100, &msg), 0);
	assert_int_equal(next_of("{\"half\":", 8, 100, &msg), 0);
	assert_int_equal(next_of("{]\n", 3, 100, &msg), -EPROTO);
	assert_int_equal(next_of("{}{}\n", 5, 100, &msg), -EPROTO);
	assert_int_equal(next_of("\"a\0b\"\n", 6, 100, &msg), -EPROTO);
	assert_int_equal(next_of("\"\xff\xfe\"\n", 5, 100, &msg), -EPROTO);
	assert_int_equal(next_of("\"a\\u0000b\"\n", 11, 100, &msg), -EPROTO);
	assert_int_equal(next_of("1e999\n", 6, 100, &msg), -EPROTO);
	memset(line, ' ', sizeof(line));
	line[0] = '1';
	line[99] = '\n';
	assert_int_equal(next_of(line, 100, 99, &msg), 1);
	json_decref(msg);
	msg = NULL;
	assert_int_equal(next_of(line, 100, 98, &msg), -EMSGSIZE);
	memset(deep, '[', JSONL_MAX_DEPTH + 1);
	memset(deep + JSONL_MAX_DEPTH + 1, ']', JSONL_MAX_DEPTH + 1);
	deep[sizeof(deep) - 1] = '\n';
	assert_int_equal(next_of(deep, sizeof(deep), 1000, &msg), -EPROTO);
	assert_int_equal(jsonl_parse(deep + 1, sizeof(deep) - 3, &msg), 0);
	json_decref(msg);
}

/* Several messages in one piece, one in several, and waits that end */
static void test_json_stream(void **state)
{
	autojson json_t *out = json_pack("{s:s}", "text", "a\nb");
	struct jsonl jl;
	json_t *msg;
	int pair[2];
	uint64_t start = num_now_us();

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	jsonl_init(&jl, pair[1], 1000);
	assert_int_equal(jsonl_next(&jl, 0, &msg), -EAGAIN);
	assert_int_equal(jsonl_next(&jl, start + 50000, &msg), -ETIMEDOUT);
	assert_true(num_now_us() >= start + 50000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(jsonl_write(pair[0], out, UINT64_MAX), 0);
	assert_int_equal(io_write_all(pair[0], "[1,", 3), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(jsonl_next(&jl, 0, &msg), 1);
		assert_true(json_equal(msg, out));
		json_decref(msg);
	}
	assert_int_equal(jsonl_next(&jl, 0, &msg), -EAGAIN);
	assert_int_equal(io_write_all(pair[0], "2]\n", 3), 0);
	assert_int_equal(jsonl_next(&jl, 0, &msg), 1);
	assert_int_equal(json_array_size(msg), 2);
	json_decref(msg);
	close(pair[0]);
	assert_int_equal(jsonl_next(&jl, UINT64_MAX, &msg), 0);
	assert_int_equal(jsonl_write(pair[1], out, UINT64_MAX), -EPIPE);
	jsonl_done(&jl);
	close(pair[1]);
}

/* A peer that floods blank lines, or does not read, does not hold us */
static void test_json_deadlines(void **state)
{
	autojson json_t *out = json_sprintf("%1000d", 1);
	uint64_t start = num_now_us();
	struct jsonl jl;
	json_t *msg;
	int pair[2], r;
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		char blank[4096];

		close(pair[1]);
		memset(blank, '\n', sizeof(blank));
		while (send(pair[0], blank, sizeof(blank), MSG_NOSIGNAL) > 0)
			;
		_exit(0);
	}
	jsonl_init(&jl, pair[1], 1000);
	assert_int_equal(jsonl_next(&jl, start + 300000, &msg), -ETIMEDOUT);
	assert_in_range(num_now_us() - start, 300000, 3000000);
	jsonl_done(&jl);
	close(pair[1]);
	close(pair[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	start = num_now_us();
	do
		r = jsonl_write(pair[0], out, start + 200000);
	while (!r);
	assert_int_equal(r, -ETIMEDOUT);
	close(pair[0]);
	close(pair[1]);
}

/* ---- run ---- */

static int run_words(const char *const *argv, uint64_t timeout_us, char **out, struct lab_err *err)
{
	struct run run = { .argv = argv,
			   .deadline = timeout_us ? num_now_us() + timeout_us : UINT64_MAX };

	return run_program(&run, out, err);
}

#define SH(script) ((const char *const[]){ "sh", "-c", script, NULL })

static void test_run(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *out = NULL, *empty = NULL;

	(void)state;
	assert_int_equal(run_words(SH("echo a; echo b >&2; printf c"), 0, &out, &err), 0);
	assert_string_equal(out, "a\nc");
	assert_int_equal(run_words(SH(":"), 0, &empty, &err), 0);
	assert_string_equal(empty, "");
	assert_int_equal(run_words(SH("echo why >&2; exit 3"), 0, NULL, &err), -EIO);
	assert_string_equal(err.text, "sh failed with status 3: why");
	assert_int_equal(run_words(SH("kill -9 $$"), 0, NULL, &err), -EIO);
	assert_string_equal(err.text, "sh was ended by signal 9 (Killed)");
	assert_int_equal(run_words((const char *const[]){ "no-such-program", NULL }, 0, NULL, &err),
			 -ENOENT);
	assert_string_equal(err.text,
			    "no-such-program: no such program; install the package that has it");
}

/* The child has nothing of ours: descriptors, ignored signals, standard input */
static void test_run_clean(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *out = NULL;
	const char *script = "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0;"
			     "grep SigIgn /proc/self/status; cat";
	void (*old)(int) = signal(SIGHUP, SIG_IGN);
	unsigned long long ignored = ~0ULL;
	char *rest = NULL;

	(void)state;
	assert_int_equal(run_words(SH(script), 0, &out, &err), 0);
	signal(SIGHUP, old);
	/* 3 is ls' own */
	assert_string_equal(strtok_r(out, "\n", &rest), "0 1 2 3 /dev/null");
	assert_int_equal(sscanf(rest, "SigIgn: %llx", &ignored), 1);
	/* 32 and 33 are the C library's own: whoever starts us ignoring them, they stay so */
	assert_int_equal(ignored & ~0x180000000ULL, 0);
}

#define SEEN 100

static void note_line(void *arg, const char *line)
{
	char *seen = arg;
	size_t used = strlen(seen);

	snprintf(seen + used, SEEN - used, "%s|", line);
}

static bool cancel_later(void *arg)
{
	return ++*(int *)arg > 1;
}

/* What a program writes, by stream */
struct written {
	size_t len[3];
	char text[3][64];
};

static void note_output(void *arg, int stream, const void *data, size_t len)
{
	struct written *w = arg;

	if (w->len[stream] + len < sizeof(w->text[stream]))
		memcpy(w->text[stream] + w->len[stream], data, len);
	w->len[stream] += len;
}

static struct run run_noting(const char *const *argv, struct written *w, int *status)
{
	*w = (struct written){ { 0 }, { "" } };
	return (struct run){ .argv = argv,
			     .deadline = UINT64_MAX,
			     .output = note_output,
			     .output_arg = w,
			     .ret_status = status };
}

/* Streams apart, without limit, any end; an environment of its own */
static void test_run_output(void **state)
{
	const char *const env[] = { "PATH=/usr/bin:/bin", "V=a b", NULL };
	struct lab_err err = LAB_ERR_INIT;
	struct written w;
	struct run run = run_noting(SH("echo \"$V\"; echo why >&2; exit 3"), &w, NULL);
	int status = 0;

	(void)state;
	run.env = env;
	run.ret_status = &status;
	assert_int_equal(run_program(&run, NULL, &err), 0);
	assert_string_equal(w.text[1], "a b\n");
	assert_string_equal(w.text[2], "why\n");
	assert_int_equal(WEXITSTATUS(status), 3);

	run = run_noting(SH("head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2; kill -9 $$"),
			 &w, &status);
	assert_int_equal(run_program(&run, NULL, &err), 0);
	assert_int_equal(w.len[1], 9000000);
	assert_int_equal(w.len[2], 9000000);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* SIGTERM first, to the whole group */
static void test_run_grace(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct written w;
	int status = 0;
	struct run run = run_noting(SH("trap 'echo bye; exit 7' TERM; echo; sleep 60 & wait"), &w,
				    &status);

	(void)state;
	run.grace = 20000000;
	run.deadline = num_now_us() + 300000;
	assert_int_equal(run_program(&run, NULL, &err), -ETIMEDOUT);
	assert_string_equal(w.text[1], "\nbye\n");
	assert_int_equal(WEXITSTATUS(status), 7);

	/* deaf to it */
	run = run_noting(SH("trap '' TERM; while :; do read -r x </dev/zero; done"), &w, &status);
	run.grace = 100000;
	run.deadline = num_now_us() + 200000;
	assert_int_equal(run_program(&run, NULL, &err), -ETIMEDOUT);
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void test_run_limits(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t start = num_now_us();
	autofree char *out = NULL;
	char seen[SEEN] = "";
	int asked = 0;
	struct run run = { .argv = SH("printf 'a\\n\\nb\\nlast'"),
			   .deadline = UINT64_MAX,
			   .line = note_line,
			   .line_arg = seen };

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_int_equal(run_program(&run, NULL, &err), 0);
	assert_string_equal(seen, "a||b|last|");

	assert_int_equal(run_words(SH("sleep 60"), 100000, NULL, &err), -ETIMEDOUT);
	assert_string_equal(err.text, "sh did not end in time and was killed");
	run = (struct run){ .argv = SH("sleep 60"),
			    .deadline = UINT64_MAX,
			    .cancel = cancel_later,
			    .cancel_arg = &asked };
	assert_int_equal(run_program(&run, NULL, &err), -ECANCELED);
	/* what it leaves behind, holding its output open, holds up nobody */
	assert_int_equal(
		run_words(SH("setsid sleep 2 & echo out; echo err >&2; exit 0"), 0, &out, &err), 0);
	assert_string_equal(out, "out\n");
	assert_int_equal(run_words(SH("setsid sleep 2 & sleep 60"), 100000, NULL, &err),
			 -ETIMEDOUT);
	assert_in_range(num_now_us() - start, 300000, 1900000);
	while (wait(NULL) > 0) /* those that were left */
		;
}

static void test_run_floods(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *out = NULL;

	(void)state;
	assert_int_equal(run_words(SH("head -c 8000000 /dev/zero"), 0, &out, &err), -EFBIG);
	assert_null(out);
	/* nobody wants it, so there is no limit of it */
	assert_int_equal(run_words(SH("head -c 8000000 /dev/zero"), 0, NULL, &err), 0);
	assert_int_equal(run_words(SH("yes | head -c 8000000 >&2; echo end >&2; exit 1"), 0, NULL,
				   &err),
			 -EIO);
	assert_non_null(strstr(err.text, "y\nend"));
}

/* ---- digests ---- */

/* A file with @text at @at, and a size; @zeros: zeros written from there up to a MiB */
static int digest_file(const char *name, off_t at, const char *text, off_t size, off_t zeros)
{
	static const char zero[4096];
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	for (off_t i = zeros; zeros >= 0 && i < 1 << 20; i += (off_t)sizeof(zero))
		assert_int_equal(pwrite(fd, zero, sizeof(zero), i), sizeof(zero));
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static void digest_both(int fd, char whole[DIGEST_HEX], char sparse[DIGEST_HEX])
{
	struct lab_err err = LAB_ERR_INIT;

	assert_int_equal(lseek(fd, 7, SEEK_SET), 7); /* the offset is not used */
	assert_int_equal(digest_fd(fd, whole, &err), 0);
	assert_int_equal(lseek(fd, 7, SEEK_SET), 7);
	assert_int_equal(digest_sparse_fd(fd, sparse, &err), 0);
	close(fd);
}

static void test_digest(void **state)
{
	char whole[DIGEST_HEX], sparse[DIGEST_HEX], buf[DIGEST_HEX];
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	digest_both(digest_file("d", 0, "abc", 3, -1), whole, sparse);
	/* FIPS 180-2, B.1 */
	assert_string_equal(whole,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(digest_hex(buf, "abc", 3), whole);
	assert_true(digest_u64("abc", 3) == 0xba7816bf8f01cfeaULL);
	assert_string_not_equal(sparse, whole);
	digest_both(digest_file("d", 0, "", 0, -1), whole, sparse);
	assert_string_equal(whole, digest_hex(buf, "", 0));
	assert_int_equal(digest_fd(-1, buf, &err), -EBADF);
	assert_int_equal(digest_sparse_fd(-1, buf, &err), -EBADF);
}

#define MIB (1 << 20)

static void test_digest_holes(void **state)
{
	static const struct {
		off_t at, size;
		const char *text;
	} other[] = {
		{ 5 * 65536 + 10, 4 * MIB, "Page" }, /* a bit */
		{ 5 * 65536 + 11, 4 * MIB, "page" }, /* elsewhere in the block */
		{ 6 * 65536 + 10, 4 * MIB, "page" }, /* in another block */
		{ 5 * 65536 + 10, 4 * MIB - 1, "page" }, /* a byte shorter: of a hole */
		{ 5 * 65536 + 10, 4 * MIB + 1, "page" },
		{ 5 * 65536 + 10, 6 * 65536, "page" },
		{ 5 * 65536 + 10, 4 * MIB, "" },
		{ 4 * MIB - 1, 4 * MIB, "p" }, /* the last byte */
	};
	char whole[DIGEST_HEX], sparse[DIGEST_HEX], buf[2][DIGEST_HEX];

	(void)state;
	digest_both(digest_file("d", 5 * 65536 + 10, "page", 4 * MIB, -1), whole, sparse);
	/* zeros that are written, before it and after it, or only beside it */
	for (off_t zeros = 0; zeros < MIB; zeros += 4096 * 13) {
		digest_both(digest_file("e", 5 * 65536 + 10, "page", 4 * MIB, zeros), buf[0],
			    buf[1]);
		assert_string_equal(buf[0], whole);
		assert_string_equal(buf[1], sparse);
	}
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		digest_both(digest_file("f", other[i].at, other[i].text, other[i].size, -1), buf[0],
			    buf[1]);
		assert_string_not_equal(buf[0], whole);
		assert_string_not_equal(buf[1], sparse);
	}
}

/* The end of a file that is no whole block, with data and as a hole */
static void test_digest_ends(void **state)
{
	char whole[DIGEST_HEX], sparse[DIGEST_HEX], buf[2][DIGEST_HEX];

	(void)state;
	digest_both(digest_file("d", 3 * 65536 + 5, "end", 3 * 65536 + 8, -1), whole, sparse);
	digest_both(digest_file("e", 3 * 65536 + 5, "end", 3 * 65536 + 8, 0), buf[0], buf[1]);
	assert_string_equal(buf[0], whole);
	assert_string_equal(buf[1], sparse);
	digest_both(digest_file("e", 3 * 65536 + 5, "end", 3 * 65536 + 9, -1), buf[0], buf[1]);
	assert_string_not_equal(buf[1], sparse);
	/* nothing but a hole: the size is all there is */
	digest_both(digest_file("d", 0, "", 100000, -1), whole, sparse);
	digest_both(digest_file("e", 0, "", 100000, 0), buf[0], buf[1]);
	assert_string_equal(buf[0], whole);
	assert_string_equal(buf[1], sparse);
	digest_both(digest_file("e", 0, "", 100001, -1), buf[0], buf[1]);
	assert_string_not_equal(buf[1], sparse);
}

static void test_escapes(void **state)
{
	static const struct {
		const char *text, *shown;
		bool utf8;
	} cases[] = {
		{ "plain name", "plain name", true },
		{ "a\nb\tc\\", "a\\nb\\tc\\\\", true },
		{ "\033[31m\x7f", "\\x1b[31m\\x7f", true },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", true },
		{ "\xff\xc3", "\\xff\\xc3", false },
		{ "\xc2\x9b", "\\xc2\\x9b", true },
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8", true },
		{ "\xe2\x80\x9c", "\xe2\x80\x9c", true },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *shown = text_escape(cases[i].text, strlen(cases[i].text));

		assert_string_equal(shown, cases[i].shown);
		assert_int_equal(text_is_utf8(cases[i].text, strlen(cases[i].text)), cases[i].utf8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),	       cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_durations),      cmocka_unit_test(test_names),
		cmocka_unit_test(test_made_names),     cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_errors),	       cmocka_unit_test(test_files),
		cmocka_unit_test(test_directories),    cmocka_unit_test(test_remove_mounts),
		cmocka_unit_test(test_sockets),	       cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_json_lines),     cmocka_unit_test(test_json_stream),
		cmocka_unit_test(test_json_deadlines), cmocka_unit_test(test_run),
		cmocka_unit_test(test_run_output),     cmocka_unit_test(test_run_grace),
		cmocka_unit_test(test_run_clean),      cmocka_unit_test(test_run_limits),
		cmocka_unit_test(test_run_floods),     cmocka_unit_test(test_digest),
		cmocka_unit_test(test_digest_holes),   cmocka_unit_test(test_digest_ends),
		cmocka_unit_test(test_escapes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
