// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * accel.c - whether KVM really runs guests here
 *
 * DOC: Theory of Operation
 *
 * That /dev/kvm opens says little. In clouds that nest virtualisation in
 * software it opens, takes a guest, and runs it by emulating each instruction:
 * a kernel then needs hours to boot and looks hung. So a small guest of 64-bit
 * code is run, that does what every kernel does early:
 *
 *	CPUID; reading MSRs; some millions of additions; a write to memory; one to
 *	a device's memory; a timer of the local APIC that wakes it from HLT through
 *	the interrupt table; a write to an I/O port
 *
 * and it is timed. Real hardware needs about 10 ms for it, emulation minutes.
 *
 * All of it happens in a child process that is killed after PROBE_TIME, because
 * a bad KVM hangs inside the ioctl. The child tells each step through a pipe, so
 * that we can say where it stopped. It is forked from a program with threads:
 * until its end it makes system calls only.
 */
#define _GNU_SOURCE
#include "labd/accel.h"

#include "lib/num.h"
#include "lib/util.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PROBE_TIME 500000 /* us */
#define REAP_TIME 100000 /* us; a killed child that is stuck in the kernel is left behind */

/*
 * Measured under TCG, in seconds of processor time to a login prompt of Debian 12 (QEMU
 * 7.2): this 13.0, Nehalem 18.9, max 19.4. A guest that sees an AMD processor does not
 * isolate its page tables (Meltdown), and so does not flush TCG's TLB with each system
 * call. The four features make it x86-64-v2, which other distributions ask for. svm is
 * off because a guest's own KVM on it is slower than the guest's own TCG.
 */
#define TCG_CPU "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt"

/* Steps of the probe, as told by the child */
enum step { STEP_OPEN, STEP_VM, STEP_VCPU, STEP_RUN, STEP_IO, STEP_TIMER, STEP_DONE, STEP_COUNT };

static const char *const step_text[] = {
	[STEP_OPEN] = "opening /dev/kvm",
	[STEP_VM] = "making a guest",
	[STEP_VCPU] = "making its processor",
	[STEP_RUN] = "running its first instructions",
	[STEP_IO] = "counting to four million",
	[STEP_TIMER] = "waking up by a timer",
	[STEP_DONE] = "ending",
};
static_assert(ARRAY_SIZE(step_text) == STEP_COUNT, "a step without its words");

/**
 * struct note - what the child writes into the pipe after each step
 * @step:	the step that begins now
 * @error:	errno that ended the probe; 0 while it goes on
 * @value:	for STEP_DONE: 1 if the guest did all right
 */
struct note {
	int step, error, value;
};

#ifdef __x86_64__
#include <linux/kvm.h>

#define RAM_SIZE (2 << 20)
#define RAM_PML4 0x1000
#define RAM_PDPT 0x2000
#define RAM_PD 0x3000 /* and one more at 0x4000, for the gigabyte of the APIC */
#define RAM_GDT 0x5000
#define RAM_IDT 0x6000
#define RAM_CODE 0x8000
#define RAM_STACK 0x10000
#define RAM_RESULT 0x18000
#define DEVICE_ADDRESS 0x200000 /* just behind RAM: nobody answers there */
#define PORT_STARTED 0x70a
#define PORT_COUNTED 0x70b
#define PORT_WOKEN 0x70c
#define ROUNDS 4000000
#define MAX_CPUID 256
#define TIMER_VECTOR 0x40

/*
 * The guest. It runs at RAM_CODE in 64-bit mode with flat segments; addresses as
 * in the table above. Its answer to ROUNDS rounds of x = x * 5 + 1 is left at
 * RAM_RESULT, and the number of timer interrupts behind it.
 */
asm(".pushsection .rodata\n"
    "accel_guest:\n"
    "	xor %eax, %eax\n"
    "	cpuid\n"
    "	mov $0xc0000080, %ecx\n" /* EFER */
    "	rdmsr\n"
    "	mov $0x10, %ecx\n" /* TSC */
    "	rdmsr\n"
    "	mov $0x70a, %dx\n"
    "	out %al, %dx\n"
    "	mov $4000000, %ecx\n"
    "	xor %eax, %eax\n"
    "1:	lea 1(%rax, %rax, 4), %rax\n"
    "	dec %ecx\n"
    "	jnz 1b\n"
    "	mov %rax, 0x18000\n"
    "	mov %eax, 0x200000\n" /* a device's memory: leaves the guest */
    "	mov $0x70b, %dx\n"
    "	out %al, %dx\n"
    "	mov $0xfee00000, %ebx\n" /* the local APIC */
    "	movl $0x1ff, 0xf0(%rbx)\n" /* on, spurious vector 0xff */
    "	movl $0x40, 0x320(%rbx)\n" /* timer: once, TIMER_VECTOR */
    "	movl $0xb, 0x3e0(%rbx)\n" /* no divider */
    "	movl $100000, 0x380(%rbx)\n"
    "2:	sti\n"
    "	hlt\n"
    "	cli\n"
    "	cmpl $0, 0x18008\n"
    "	je 2b\n"
    "	mov $0x70c, %dx\n"
    "	out %al, %dx\n"
    "	hlt\n"
    "accel_guest_interrupt:\n"
    "	incl 0x18008\n"
    "	movl $0, 0xb0(%rbx)\n" /* end of interrupt */
    "	iretq\n"
    "accel_guest_end:\n"
    ".popsection\n");

extern const char accel_guest[], accel_guest_interrupt[], accel_guest_end[];

/**
 * struct probe - what the child holds
 * @out:	pipe to the parent
 * @ram:	the guest's memory
 * @run:	what KVM shares with us about the processor
 */
struct probe {
	int out, kvm, vm, vcpu;
	unsigned char *ram;
	struct kvm_run *run;
};

static void tell(const struct probe *p, int step, int error, int value)
{
	struct note note = { .step = step, .error = error, .value = value };

	if (write(p->out, &note, sizeof(note)) != sizeof(note))
		_exit(1);
}

/* In the child: the probe ends here if @r says that a call failed */
static int must(const struct probe *p, int step, int r)
{
	if (r >= 0)
		return r;
	tell(p, step, errno, 0);
	_exit(1);
}

static void put64(struct probe *p, size_t address, uint64_t value)
{
	memcpy(p->ram + address, &value, sizeof(value));
}

/* Identity map: the first 4 MiB, and the 2 MiB page of the APIC, not cached */
static void write_tables(struct probe *p)
{
	uint64_t handler = RAM_CODE + (uint64_t)(accel_guest_interrupt - accel_guest);

	put64(p, RAM_PML4, RAM_PDPT | 0x3);
	put64(p, RAM_PDPT, RAM_PD | 0x3);
	put64(p, RAM_PDPT + 3 * 8, (RAM_PD + 0x1000) | 0x3);
	put64(p, RAM_PD, 0x83);
	put64(p, RAM_PD + 8, 0x200000 | 0x83);
	put64(p, RAM_PD + 0x1000 + 0x1f7 * 8, 0xfee00000 | 0x9b);
	put64(p, RAM_GDT + 8, 0x00af9b000000ffff);
	put64(p, RAM_GDT + 16, 0x00cf93000000ffff);
	/* interrupt gate, selector 8; the handler lies below 64 KiB */
	put64(p, RAM_IDT + TIMER_VECTOR * 16, 0x00008e0000080000 | handler);
	put64(p, RAM_IDT + TIMER_VECTOR * 16 + 8, 0);
	memcpy(p->ram + RAM_CODE, accel_guest, (size_t)(accel_guest_end - accel_guest));
}

static void make_vm(struct probe *p)
{
	struct kvm_userspace_memory_region region = { .memory_size = RAM_SIZE };

	p->vm = must(p, STEP_VM, ioctl(p->kvm, KVM_CREATE_VM, 0));
	/* Intel needs three pages of the guest's address space for itself */
	must(p, STEP_VM, ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfffbd000UL));
	must(p, STEP_VM, ioctl(p->vm, KVM_CREATE_IRQCHIP, 0));
	p->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p, STEP_VM, p->ram == MAP_FAILED ? -1 : 0);
	region.userspace_addr = (uintptr_t)p->ram;
	must(p, STEP_VM, ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region));
	write_tables(p);
}

static void set_long_mode(struct kvm_sregs *s)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = code;

	data.selector = 16;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->gdt.base = RAM_GDT;
	s->gdt.limit = 23;
	s->idt.base = RAM_IDT;
	s->idt.limit = 0xfff;
	s->cr3 = RAM_PML4;
	s->cr4 = 1 << 5; /* PAE */
	s->efer = 1 << 8 | 1 << 10; /* LME, LMA */
	s->cr0 = 1U << 31 | 1 << 5 | 1 << 4 | 1; /* PG, NE, ET, PE */
}

static void make_vcpu(struct probe *p)
{
	static unsigned char
		room[sizeof(struct kvm_cpuid2) + MAX_CPUID * sizeof(struct kvm_cpuid_entry2)]
		__attribute__((aligned(8)));
	struct kvm_cpuid2 *cpuid = (struct kvm_cpuid2 *)room;
	struct kvm_regs regs = { .rip = RAM_CODE, .rsp = RAM_STACK, .rflags = 2 };
	struct kvm_sregs sregs;
	int size;

	p->vcpu = must(p, STEP_VCPU, ioctl(p->vm, KVM_CREATE_VCPU, 0));
	cpuid->nent = MAX_CPUID;
	must(p, STEP_VCPU, ioctl(p->kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	must(p, STEP_VCPU, ioctl(p->vcpu, KVM_SET_CPUID2, cpuid));
	size = must(p, STEP_VCPU, ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	p->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
	must(p, STEP_VCPU, p->run == MAP_FAILED ? -1 : 0);
	must(p, STEP_VCPU, ioctl(p->vcpu, KVM_GET_SREGS, &sregs));
	set_long_mode(&sregs);
	must(p, STEP_VCPU, ioctl(p->vcpu, KVM_SET_SREGS, &sregs));
	must(p, STEP_VCPU, ioctl(p->vcpu, KVM_SET_REGS, &regs));
}

/* Run until the guest leaves for @reason; anything else ends the probe */
static void run_until(struct probe *p, int step, uint32_t reason, uint16_t port)
{
	do {
		must(p, step, ioctl(p->vcpu, KVM_RUN, 0));
	} while (p->run->exit_reason == KVM_EXIT_INTR);
	errno = EPROTO;
	must(p, step, p->run->exit_reason == reason ? 0 : -1);
	if (reason == KVM_EXIT_IO)
		must(p, step, p->run->io.port == port ? 0 : -1);
	else
		must(p, step, p->run->mmio.phys_addr == DEVICE_ADDRESS ? 0 : -1);
}

static void run_guest(struct probe *p)
{
	uint64_t expected = 0, found;

	tell(p, STEP_RUN, 0, 0);
	run_until(p, STEP_RUN, KVM_EXIT_IO, PORT_STARTED);
	tell(p, STEP_IO, 0, 0);
	run_until(p, STEP_IO, KVM_EXIT_MMIO, 0);
	run_until(p, STEP_IO, KVM_EXIT_IO, PORT_COUNTED);
	for (int i = 0; i < ROUNDS; i++)
		expected = expected * 5 + 1;
	memcpy(&found, p->ram + RAM_RESULT, sizeof(found));
	tell(p, STEP_TIMER, 0, 0);
	run_until(p, STEP_TIMER, KVM_EXIT_IO, PORT_WOKEN);
	tell(p, STEP_DONE, 0, found == expected && p->ram[RAM_RESULT + 8] == 1);
}

/* The child. Memory and descriptors go with the process */
static void __attribute__((noreturn)) probe_child(int out)
{
	struct probe p = { .out = out };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tell(&p, STEP_OPEN, 0, 0);
	p.kvm = must(&p, STEP_OPEN, open("/dev/kvm", O_RDWR | O_CLOEXEC));
	tell(&p, STEP_VM, 0, 0);
	errno = EPROTO;
	must(&p, STEP_VM, ioctl(p.kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION ? 0 : -1);
	make_vm(&p);
	tell(&p, STEP_VCPU, 0, 0);
	make_vcpu(&p);
	run_guest(&p);
	_exit(0);
}
#else
static void __attribute__((noreturn)) probe_child(int out)
{
	struct note note = { .step = STEP_OPEN, .error = ENOTSUP };

	_exit(write(out, &note, sizeof(note)) != sizeof(note));
}
#endif

/* Read the child's notes until its end or the deadline; 0 or -ETIMEDOUT */
static int read_notes(int in, uint64_t deadline, struct note *last)
{
	for (;;) {
		struct pollfd p = { .fd = in, .events = POLLIN };
		uint64_t now = num_now_us();
		struct note note;

		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((deadline - now + 999) / 1000)) <= 0)
			continue;
		if (RETRY(read(in, &note, sizeof(note))) != sizeof(note))
			return 0;
		*last = note;
	}
}

/* Kill the child, and take its status; one stuck in the kernel stays behind */
static void end_child(pid_t pid)
{
	autoclose int pidfd = pidfd_open(pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	kill(pid, SIGKILL);
	if (pidfd >= 0 && poll(&p, 1, REAP_TIME / 1000) <= 0)
		return;
	RETRY(waitpid(pid, NULL, 0));
}

/* What to do about an errno of opening /dev/kvm */
static const char *open_advice(int error)
{
	switch (error) {
	case ENOENT:
		return "no /dev/kvm: switch on virtualisation in the firmware and load kvm_intel "
		       "or "
		       "kvm_amd, or, in a virtual machine, allow nesting on its host";
	case EACCES:
	case EPERM:
		return "/dev/kvm may not be opened: become a member of the group kvm";
	case ENODEV:
	case ENXIO:
		return "/dev/kvm has no driver behind it: load kvm_intel or kvm_amd";
	default:
		return NULL;
	}
}

static void judge(struct accel *ret, const struct note *last, bool timeout, uint64_t us)
{
	const char *advice = last->step == STEP_OPEN ? open_advice(last->error) : NULL;
	size_t len = sizeof(ret->reason);

	ret->kvm = last->step == STEP_DONE && last->value;
	if (ret->kvm)
		snprintf(ret->reason, len, "a probe guest ran in %.0f ms", (double)us / 1000);
	else if (advice)
		snprintf(ret->reason, len, "%s", advice);
	else if (last->step == STEP_DONE)
		snprintf(ret->reason, len, "KVM's probe guest computed wrongly");
	else if (timeout)
		snprintf(ret->reason, len,
			 "KVM is there, but a probe guest hung %s (given up after %.1f s): this "
			 "host's nested virtualisation is too slow for real guests; use one with "
			 "hardware support",
			 step_text[last->step], (double)us / 1e6);
	else
		snprintf(ret->reason, len, "KVM is there, but its probe guest failed %s: %s",
			 step_text[last->step],
			 last->error ? strerror(last->error) : "it ended unexpectedly");
}

static void probe(struct accel *ret)
{
	struct note last = { .step = STEP_OPEN };
	uint64_t begin = num_now_us();
	int fds[2];
	pid_t pid;
	int r;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		snprintf(ret->reason, sizeof(ret->reason), "KVM was not probed: %m");
		return;
	}
	pid = fork();
	if (!pid)
		probe_child(fds[1]);
	close(fds[1]);
	r = pid < 0 ? -errno : read_notes(fds[0], begin + PROBE_TIME, &last);
	close(fds[0]);
	if (pid > 0)
		end_child(pid);
	judge(ret, &last, r == -ETIMEDOUT, num_now_us() - begin);
}

/* LABD_ACCEL in the environment decides without a probe */
static bool told(struct accel *ret)
{
	const char *wanted = getenv("LABD_ACCEL");

	if (!wanted || (strcmp(wanted, "kvm") != 0 && strcmp(wanted, "tcg") != 0))
		return false;
	ret->kvm = !strcmp(wanted, "kvm");
	snprintf(ret->reason, sizeof(ret->reason), "LABD_ACCEL=%s in the environment", wanted);
	return true;
}

static void name_it(struct accel *ret)
{
	ret->name = ret->kvm ? "kvm" : "tcg";
	ret->cpu = ret->kvm ? "host" : TCG_CPU;
}

void accel_probe(struct accel *ret)
{
	*ret = (struct accel){ .kvm = false };
	if (!told(ret))
		probe(ret);
	name_it(ret);
}

void accel_set(struct accel *ret, bool kvm, const char *reason)
{
	*ret = (struct accel){ .kvm = kvm };
	snprintf(ret->reason, sizeof(ret->reason), "%s", reason);
	name_it(ret);
}
