/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util.h - ownership by scope
 *
 * A variable with one of these attributes is initialised where it is declared
 * and released when it goes out of scope; steal_ptr() and steal_fd() hand it
 * over. The releases take NULL and negative descriptors, and keep errno.
 */
#ifndef LIB_UTIL_H
#define LIB_UTIL_H

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Each argument is evaluated once; both have one type */
#define MIN(a, b)                                                                                  \
	__extension__({                                                                            \
		__typeof__(a) min_a = (a);                                                         \
		__typeof__(b) min_b = (b);                                                         \
		min_a < min_b ? min_a : min_b;                                                     \
	})
#define MAX(a, b)                                                                                  \
	__extension__({                                                                            \
		__typeof__(a) max_a = (a);                                                         \
		__typeof__(b) max_b = (b);                                                         \
		max_a > max_b ? max_a : max_b;                                                     \
	})

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

#define autofree __attribute__((cleanup(cleanup_free)))
#define autoclose __attribute__((cleanup(cleanup_close)))
#define autofile __attribute__((cleanup(cleanup_file)))
#define autodir __attribute__((cleanup(cleanup_dir)))
#define autojson __attribute__((cleanup(cleanup_json)))

#define UTIL_PASTE2(a, b) a##b
#define UTIL_PASTE(a, b) UTIL_PASTE2(a, b)

static inline pthread_mutex_t *util_lock(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

/* Hold a mutex until the end of the enclosing block */
#define SCOPED_LOCK(m)                                                                             \
	pthread_mutex_t *UTIL_PASTE(scoped_lock_, __LINE__)                                        \
		__attribute__((cleanup(cleanup_unlock), unused)) = util_lock(m)

#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__auto_type steal_p_ = &(p);                                                       \
		__auto_type steal_v_ = *steal_p_;                                                  \
		*steal_p_ = NULL;                                                                  \
		steal_v_;                                                                          \
	})

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -EBADF;
	return v;
}

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Repeat a system call that a signal interrupted */
#define RETRY(expr)                                                                                \
	({                                                                                         \
		__typeof__(expr) retry_r_;                                                         \
		do                                                                                 \
			retry_r_ = (expr);                                                         \
		while (retry_r_ == -1 && errno == EINTR);                                          \
		retry_r_;                                                                          \
	})

#endif
