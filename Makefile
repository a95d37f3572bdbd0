# SPDX-License-Identifier: GPL-2.0-or-later
# make demo    see it work          make check   run every test
# make         build into build/    make install PREFIX=/usr/local DESTDIR=
# make help    all targets

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec/labd
DATADIR ?= $(PREFIX)/share/labd
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system

BUILD ?= build
ifeq ($(origin CC),default)
CC = gcc
endif
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2 -g
WERROR ?= 0
V ?= 0
Q = $(if $(filter 1,$(V)),,@)
say = @$(if $(filter 1,$(V)),:,printf '  %-8s%s\n' '$(1)' '$(2)')

VERSION := 0.1

WARN = -Wall -Wextra -Wshadow -Wformat=2 -Wmissing-prototypes \
       -Wstrict-prototypes -Wundef -Wvla
# _FORTIFY_SOURCE needs the optimiser, and warns without it
HARDEN = $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) \
	 -fstack-protector-strong -fPIE
ALL_CFLAGS = -std=gnu11 $(WARN) $(HARDEN) -I. $(CFLAGS) $(EXTRA_CFLAGS) \
	     -DLAB_VERSION='"$(VERSION)"' -DLAB_DATADIR='"$(DATADIR)"' \
	     -DLAB_LIBEXECDIR='"$(LIBEXECDIR)"'
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(EXTRA_CFLAGS)

# ---- what there is to build ------------------------------------------------

PROGRAMS = labd labctl labfs labkeeper labbuild labinspect

lib_SRC = $(wildcard lib/*.c)
# the client of the keeper is labd's and labctl's; everything else in netns/ is the keeper
netns_CLIENT = netns/keeper.c
# likewise: labfs and labctl start labinspects
inspect_CLIENT = fs/inspect/client.c
images_SRC = $(filter-out images/labbuild.c,$(wildcard images/*.c))
labd_SRC = $(wildcard labd/*.c) $(netns_CLIENT)
labctl_SRC = $(wildcard cli/*.c) $(netns_CLIENT) $(inspect_CLIENT)
labfs_SRC = $(wildcard fs/*.c) $(inspect_CLIENT)
labkeeper_SRC = $(filter-out $(netns_CLIENT),$(wildcard netns/*.c))
labbuild_SRC = $(wildcard images/labbuild.c) $(wildcard images/builder/*.c)
labinspect_SRC = $(filter-out $(inspect_CLIENT),$(wildcard fs/inspect/*.c))

labd_PKGS = libsystemd jansson sqlite3 libmicrohttpd yaml-0.1 libcrypto libseccomp libarchive libcrypt libpcap
labctl_PKGS = jansson libcurl smartcols libcrypto yaml-0.1 libarchive
labfs_PKGS = fuse3 jansson libcurl libcrypto
labkeeper_PKGS = libsystemd jansson libnl-3.0 libnl-route-3.0 libnftables libcap-ng libcrypto
labbuild_PKGS = jansson libcrypto ext2fs com_err
labinspect_PKGS = jansson ext2fs com_err blkid zlib libseccomp libisofs-1 libsquashfs1
test_PKGS = cmocka

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
ALL_SRC = $(sort $(lib_SRC) $(images_SRC) $(foreach p,$(PROGRAMS),$($(p)_SRC)))
ALL_PKGS = $(sort $(foreach p,$(PROGRAMS),$($(p)_PKGS)))
# Asked once, and only by a goal that compiles: `make deps` has to work before
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(ALL_PKGS)))$(PKG_CFLAGS)
TEST_LIBS = $(eval TEST_LIBS := $(shell $(PKG_CONFIG) --libs $(ALL_PKGS) $(test_PKGS)))$(TEST_LIBS)

.PHONY: all
all: $(addprefix $(BUILD)/,$(PROGRAMS)) $(BUILD)/labram.so

.PHONY: help
help:
	@echo "Build:   all clean dist install uninstall man    (V=1, CC=, CFLAGS=, BUILD=, PREFIX=, DESTDIR=)"
	@echo "Try:     demo demo-down deps    (PROFILE=core, identity, spread)"
	@echo "Test:    check check-unit check-asan check-slow check-cloud fuzz bench bench-NAME    (TESTS=, TEST_JOBS=2)"
	@echo "Inspect: lint clang-tidy cppcheck shellcheck codespell format-check headers symbols"

# A change of compiler or flags rebuilds; -Werror does not, it changes no code
.PHONY: FORCE
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(subst ','\'',$(ALL_CFLAGS) $(ALL_LDFLAGS))' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

COMPILE = $(CC) $(ALL_CFLAGS) $(if $(filter 1,$(WERROR)),-Werror) $(PKG_CFLAGS) -MMD -MP

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c $< -o $@

# Archives, so that a program links only what it uses: labd reads recipes and
# images, labbuild makes them
$(BUILD)/liblab.a: $(call obj,$(lib_SRC))
$(BUILD)/libimages.a: $(call obj,$(images_SRC))
$(BUILD)/%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

labd_LIBS = $(BUILD)/libimages.a
labbuild_LIBS = $(BUILD)/libimages.a
labinspect_LIBS = $(BUILD)/libimages.a

define program
$(BUILD)/$(1): $(call obj,$($(1)_SRC)) $($(1)_LIBS) $(BUILD)/liblab.a $(BUILD)/flags
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) $$(filter %.o %.a,$$^) -o $$@ \
		$$(shell $$(PKG_CONFIG) --libs $$($(1)_PKGS)) -lpthread
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# Loaded into QEMU, which is Debian's and knows no sanitizer
$(BUILD)/labram.so: labd/preload/labram.c $(BUILD)/flags
	$(call say,LD,$@)
	$(Q)$(CC) -std=gnu11 $(WARN) $(if $(filter 1,$(WERROR)),-Werror) -O2 -g -fPIC -fvisibility=hidden \
		-shared -Wl,-z,relro,-z,now $< -o $@

# ---- tests -----------------------------------------------------------------

# Every object of every program but those with main(), in one archive: a test
# links just what it uses. So a global name means one thing in the whole tree
# (`make symbols` sees to that). tests/lib/*.c are helpers of tests, tests/tools/*.c
# programs that scripts use.
MAIN_SRC := $(shell grep -lw '^int main' $(ALL_SRC) /dev/null)
TEST_LIB_SRC = $(wildcard tests/lib/*.c)
TEST_SRC = $(wildcard tests/unit/*.c tests/system/*.c tests/bench/*.c tests/tools/*.c)
FUZZ_SRC = $(wildcard tests/fuzz/*.c)
TEST_BIN = $(patsubst %.c,$(BUILD)/%,$(TEST_SRC))
FUZZ_BIN = $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))

$(BUILD)/libtest.a: $(call obj,$(filter-out $(MAIN_SRC),$(ALL_SRC)) $(TEST_LIB_SRC))

$(TEST_BIN) $(FUZZ_BIN): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libtest.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed $< $(BUILD)/libtest.a -o $@ $(TEST_LIBS) -lpthread

.PHONY: tests
tests: $(TEST_BIN)

# The name of one test or a pattern: make check TESTS='system/lab-*'
TESTS ?=
RUN_TESTS = BUILD=$(BUILD) tests/run

# Made anew after deps: what pkg-config says may have changed
AGAIN = @$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
.PHONY: check check-unit check-slow check-asan
check: deps
	$(AGAIN) WERROR=1 all tests
	@$(RUN_TESTS) $(TESTS)

check-unit: deps
	$(AGAIN) WERROR=1 all tests
	@$(RUN_TESTS) $(if $(TESTS),$(TESTS),'unit/*')

check-slow: deps
	$(AGAIN) WERROR=1 all tests
	@$(RUN_TESTS) --slow $(TESTS)

ASAN_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
check-asan: deps
	$(AGAIN) BUILD=build-asan WERROR=1 CFLAGS='-O1 -g' \
		EXTRA_CFLAGS='$(ASAN_FLAGS)' all tests
	@BUILD=build-asan tests/run --asan $(TESTS)

# The whole cloud, from nothing: half an hour and more without KVM
.PHONY: check-cloud
check-cloud: deps cloud-deps
	$(AGAIN) WERROR=1 all tests
	@$(RUN_TESTS) --slow system/cloud-core

.PHONY: bench
bench: deps bench-deps
	$(AGAIN) all tests
	@$(RUN_TESTS) --bench $(TESTS)

bench-cloud: cloud-deps
bench-%: deps bench-deps
	$(AGAIN) all tests
	@$(RUN_TESTS) --bench 'bench/$**'

# Each target for some seconds; what it finds new stays in build-fuzz/corpus
FUZZ_SECONDS ?= 10
FUZZ_FLAGS = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
.PHONY: fuzz fuzz-run
fuzz: lint-deps
	$(AGAIN) BUILD=build-fuzz CC=clang CFLAGS='-O1 -g' \
		EXTRA_CFLAGS='$(FUZZ_FLAGS)' LDFLAGS=-fsanitize=fuzzer fuzz-run

fuzz-run: $(FUZZ_BIN)
	$(Q)set -e; for bin in $(FUZZ_BIN); do name=$${bin##*/}; \
		printf '  FUZZ    %s, %s s\n' "$$name" '$(FUZZ_SECONDS)'; \
		mkdir -p $(BUILD)/corpus/$$name tests/fuzz/corpus/$$name; \
		$$bin -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
			-artifact_prefix=$(BUILD)/$$name- $(BUILD)/corpus/$$name \
			tests/fuzz/corpus/$$name >$(BUILD)/$$name.log 2>&1 || \
			{ tail -n 40 $(BUILD)/$$name.log; exit 1; }; \
		grep -E 'number_of_executed_units|^Done' $(BUILD)/$$name.log | tail -n 1; \
	done

# ---- what has to be installed ----------------------------------------------

BUILD_DEPS = gcc libc6-dev pkg-config libsystemd-dev libjansson-dev libsqlite3-dev \
	     libmicrohttpd-dev libyaml-dev libssl-dev libseccomp-dev libcurl4-openssl-dev \
	     libsmartcols-dev libfuse3-dev libnl-3-dev libnl-route-3-dev libnftables-dev \
	     libcap-ng-dev libpcap-dev libext2fs-dev comerr-dev libblkid-dev zlib1g-dev \
	     libarchive-dev libisofs-dev libsquashfs-dev libcrypt-dev scdoc
RUN_DEPS = qemu-system-x86 qemu-utils mmdebstrap e2fsprogs dnsmasq-base slirp4netns uidmap fuse3 \
	   ca-certificates curl
TEST_DEPS = libcmocka-dev busybox fdisk file genisoimage git inotify-tools iproute2 iputils-ping jq less mc mtools nano \
	    nftables openssh-client procps rsync sqlite3 squashfs-tools strace tcpdump tmux tree util-linux vim xfsprogs xorriso
BENCH_DEPS = fuse2fs libvirt-daemon-system libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
CLOUD_DEPS = python3-openstackclient openssh-client
LINT_DEPS = clang clang-tidy clang-format cppcheck shellcheck codespell

# $(call need,PACKAGES): quick when all are there
define need
	@missing=; for p in $(1); do \
		case $$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null) in \
		installed*) ;; *) missing="$$missing $$p" ;; esac; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "These Debian packages are needed; as root: apt-get install -y$$missing" >&2; \
		exit 1; \
	fi; \
	echo "  DEPS   $$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends $$missing >/dev/null </dev/null
endef

.PHONY: deps lint-deps bench-deps cloud-deps
deps:
	$(call need,$(BUILD_DEPS) $(RUN_DEPS) $(TEST_DEPS))

bench-deps:
	$(call need,$(BENCH_DEPS))

cloud-deps:
	$(call need,$(CLOUD_DEPS))

lint-deps:
	$(call need,$(BUILD_DEPS) $(TEST_DEPS) $(LINT_DEPS))

# ---- inspection ------------------------------------------------------------

LINT_SRC = $(ALL_SRC) labd/preload/labram.c $(TEST_LIB_SRC) $(TEST_SRC) $(FUZZ_SRC)
HEADERS = $(wildcard lib/*.h labd/*.h cli/*.h fs/*.h fs/inspect/*.h netns/*.h images/*.h images/builder/*.h tests/lib/*.h)
SCRIPTS = $(wildcard tests/run tests/lib.sh tests/system/*.sh tests/unit/*.sh tests/bench/*.sh \
	  tests/lib/*.sh .ci/run stack/demo cli/completion/*.bash)

.PHONY: lint
lint: lint-deps format-check headers symbols shellcheck codespell cppcheck clang-tidy

.PHONY: format-check
format-check:
	$(call say,FORMAT)
	$(Q)clang-format --dry-run -Werror $(LINT_SRC) $(HEADERS)

# Every header compiles alone
.PHONY: headers
headers:
	$(call say,HEADERS)
	$(Q)for h in $(HEADERS); do printf '#include "%s"\n' $$h | \
		$(CC) $(ALL_CFLAGS) -Werror $(PKG_CFLAGS) -D_GNU_SOURCE -fsyntax-only -x c - || exit 1; done

# A global name is defined once in the tree
.PHONY: symbols
symbols: $(BUILD)/libtest.a
	$(call say,SYMBOLS)
	$(Q)twice=$$(nm -g --defined-only $< 2>/dev/null | awk 'NF == 3 { print $$3 }' | sort | uniq -d); \
	[ -z "$$twice" ] || { echo "defined in two files:" $$twice >&2; exit 1; }

TIDY_CHECKS = bugprone-* clang-analyzer-* cert-err33-c misc-* performance-* readability-redundant-* \
	      readability-misleading-indentation readability-inconsistent-declaration-parameter-name
TIDY_CHECKS += -bugprone-easily-swappable-parameters # (dirfd, mode) and (min, max) are C's own habit
TIDY_CHECKS += -bugprone-reserved-identifier # _GNU_SOURCE is meant to be defined by us
TIDY_CHECKS += -bugprone-implicit-widening-of-multiplication-result # 64 << 10 in a size is no overflow
TIDY_CHECKS += -bugprone-suspicious-string-compare # !strcmp() is house style
TIDY_CHECKS += -bugprone-assignment-in-if-condition # not our style, but jansson's foreach macros do it
TIDY_CHECKS += -bugprone-macro-parentheses # attribute and declaration macros cannot have them
TIDY_CHECKS += -cert-err33-c # wants printf to a terminal checked; what matters is -Wunused-result
TIDY_CHECKS += -clang-analyzer-unix.Malloc # knows no __attribute__((cleanup)); ASan finds real leaks
TIDY_CHECKS += -clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling # Annex K is not in glibc
TIDY_CHECKS += -clang-analyzer-valist.Uninitialized # false with va_start() of clang 14 (LLVM 41311)
TIDY_CHECKS += -misc-no-recursion # trees are walked recursively, with a bound on depth
TIDY_CHECKS += -misc-unused-parameters # callbacks of libraries have a given shape; -Wextra sees the rest
TIDY_CHECKS += -performance-no-int-to-ptr # libmicrohttpd and epoll hand integers through pointers
empty :=
comma := ,

# A stamp a file, so that -j2 helps and only what changed is read again
TIDY = $(patsubst %.c,$(BUILD)/tidy/%.ok,$(LINT_SRC))
.PHONY: clang-tidy
clang-tidy: $(TIDY)
$(BUILD)/tidy/%.ok: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' \
		--checks='-*$(comma)$(subst $(empty) $(empty),$(comma),$(strip $(TIDY_CHECKS)))' \
		--header-filter='(lib|labd|cli|fs|netns|images|tests)/[a-z_]*\.h' \
		$< -- $(ALL_CFLAGS) $(PKG_CFLAGS) 2>$@.err >$@.out || { cat $@.out; exit 1; }
	@touch $@

CPPCHECK_OFF += --suppress=missingIncludeSystem # system headers are not read, on purpose: faster
CPPCHECK_OFF += --suppress=normalCheckLevelMaxBranches # a note about itself
CPPCHECK_OFF += --suppress=internalAstError:labd/ready.c # it stumbles over MIN() in an initialiser
CPPCHECK_OFF += --suppress=memleak:labd/labfile_place.c # it does not know autofree everywhere
CPPCHECK_OFF += --suppress=autoVariables:fs/action.c # the caller waits
# its TAILQ_* macros are the one system header that has to be known
QUEUE_H = $(firstword $(wildcard /usr/include/*-linux-gnu/sys/queue.h) /usr/include/sys/queue.h)
.PHONY: cppcheck
cppcheck:
	$(call say,CPPCHECK)
	@mkdir -p $(BUILD)/cppcheck
	$(Q)cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j2 \
		--enable=warning,performance,portability $(CPPCHECK_OFF) \
		--cppcheck-build-dir=$(BUILD)/cppcheck \
		-I. -D_GNU_SOURCE -DLAB_VERSION='"0"' --include=$(QUEUE_H) \
		-D'json_array_foreach(a,i,v)=for (i = 0; (v = json_array_get(a, i)); i++)' \
		-D'json_object_foreach(o,k,v)=for (k = json_object_iter_key(o); (v = json_object_iter_value(o));)' \
		$(LINT_SRC)

.PHONY: shellcheck
shellcheck:
	$(call say,SHCHECK)
	$(Q)shellcheck -x $(SCRIPTS)

.PHONY: codespell
codespell:
	$(call say,SPELL)
	$(Q)git ls-files -z -- . ':!tests/unit' ':!tests/fuzz/corpus' | xargs -0 codespell --config .codespellrc

# ---- installation ----------------------------------------------------------

MAN_SRC = $(wildcard docs/*.scd)
MAN = $(patsubst docs/%.scd,$(BUILD)/man/%,$(MAN_SRC))
STACK = $(shell find stack -type f ! -name '.*' ! -name demo 2>/dev/null)

.PHONY: man
man: $(MAN)
$(BUILD)/man/%: docs/%.scd
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)scdoc <$< >$@

# labctl.1 goes to man1/, lab.yaml.5 to man5/
mandir_of = $(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(1)))

.PHONY: install uninstall
install: all man
	$(Q)install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(UNITDIR) \
		$(DESTDIR)$(COMPLETIONDIR)
	$(Q)install -m755 $(addprefix $(BUILD)/,labd labctl labfs) $(DESTDIR)$(BINDIR)
	$(Q)install -m755 $(addprefix $(BUILD)/,labkeeper labbuild labinspect) $(DESTDIR)$(LIBEXECDIR)
	$(Q)install -m644 $(BUILD)/labram.so $(DESTDIR)$(LIBEXECDIR)
	$(Q)ln -sfr $(DESTDIR)$(BINDIR)/labd $(DESTDIR)$(BINDIR)/labfs $(DESTDIR)$(LIBEXECDIR)
	$(Q)for f in $(patsubst stack/%,%,$(STACK)); do \
		mode=644; [ ! -x "stack/$$f" ] || mode=755; \
		install -D -m$$mode "stack/$$f" "$(DESTDIR)$(DATADIR)/$$f" || exit 1; done
	$(Q)$(foreach m,$(MAN),install -D -m644 $(m) $(call mandir_of,$(m))/$(notdir $(m)) &&) true
	$(Q)install -m644 cli/completion/labctl.bash $(DESTDIR)$(COMPLETIONDIR)/labctl
	$(Q)sed 's|@BINDIR@|$(BINDIR)|' labd/labd.service.in >$(DESTDIR)$(UNITDIR)/labd.service
	@echo "installed below $(DESTDIR)$(PREFIX)"

uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR)$(BINDIR)/,labd labctl labfs) \
		$(DESTDIR)$(UNITDIR)/labd.service $(DESTDIR)$(COMPLETIONDIR)/labctl \
		$(foreach m,$(MAN),$(call mandir_of,$(m))/$(notdir $(m)))
	$(Q)rm -rf $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(DATADIR)
	@echo "removed from $(DESTDIR)$(PREFIX)"

.PHONY: dist
dist:
	git archive --format=tar.gz --prefix=labd-$(VERSION)/ -o labd-$(VERSION).tar.gz HEAD

# ---- demo ------------------------------------------------------------------

.PHONY: demo demo-down
# the cloud is asked by its own client
demo: deps $(if $(filter identity,$(PROFILE)),,cloud-deps)
	$(AGAIN) all
	@BUILD=$(BUILD) stack/demo up

demo-down:
	@BUILD=$(BUILD) stack/demo down

# ----------------------------------------------------------------------------

.PHONY: clean
clean:
	rm -rf $(BUILD) build-asan build-fuzz tests/out labd-$(VERSION).tar.gz

-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRC) $(TEST_LIB_SRC) $(TEST_SRC) $(FUZZ_SRC)))
