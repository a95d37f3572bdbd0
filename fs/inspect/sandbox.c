// SPDX-License-Identifier: GPL-2.0-or-later
/* sandbox.c - what labinspect may still do once it has its descriptors */
#define _GNU_SOURCE
#include "fs/inspect/sandbox.h"

#include "lib/util.h"

#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define NOBODY 65534

/* The sanitizers map terabytes, and start a process to look for leaks */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int set_limits(void)
{
	static const struct {
		__rlimit_resource_t what;
		rlim_t most;
	} limits[] = {
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_NPROC, 0 },
		{ RLIMIT_NOFILE, 0 }, /* of new ones; those that are open stay */
		{ RLIMIT_AS, SANDBOX_MEMORY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct rlimit l = { limits[i].most, limits[i].most };

		if (SANITIZED && limits[i].what == RLIMIT_AS)
			continue;
		if (setrlimit(limits[i].what, &l) < 0)
			return -errno;
	}
	return 0;
}

static int drop_root(void)
{
	if (geteuid())
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

/* Calls whatever their arguments are */
static const int calls[] = {
	SCMP_SYS(recvmsg),	 SCMP_SYS(sendmsg),   SCMP_SYS(pread64),
	SCMP_SYS(lseek),	 SCMP_SYS(fstat),     SCMP_SYS(fadvise64),
	SCMP_SYS(munmap),	 SCMP_SYS(mremap),    SCMP_SYS(brk),
	SCMP_SYS(madvise),	 SCMP_SYS(futex),     SCMP_SYS(exit_group),
	SCMP_SYS(exit),		 SCMP_SYS(close),     SCMP_SYS(rt_sigreturn),
	SCMP_SYS(clock_gettime), SCMP_SYS(getrandom), SCMP_SYS(restart_syscall),
};

static int add_rules(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(calls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	/* fstat() of newer libraries; with a name it would tell which files there are */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				     SCMP_A3_64(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
	/* Memory, that nothing is run from */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

/* What is not allowed fails; so a library that asks for more than it needs goes on */
static int set_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = add_rules(ctx);
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

int inspect_sandbox(struct lab_err *err)
{
	int r = set_limits();

	if (!r)
		r = drop_root();
	if (r < 0)
		return lab_fail_errno(err, r, "giving rights away");
	/* A change of the uid takes PDEATHSIG away: it comes after */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return lab_fail_errno(err, -errno, "giving rights away");
	r = SANITIZED ? 0 : set_filter();
	return r < 0 ? lab_fail_errno(err, r, "setting the seccomp filter") : 0;
}
