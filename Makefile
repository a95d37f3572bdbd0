# SPDX-License-Identifier: GPL-2.0-or-later
# make demo    see it work          make check   run every test
# make all     build into build/    make install PREFIX=/usr/local DESTDIR=

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
CC ?= gcc
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2 -g
V ?= 0
Q = $(if $(filter 1,$(V)),,@)

VERSION := 0.1

WARN = -Wall -Wextra -Wshadow -Wformat=2 -Wmissing-prototypes \
       -Wstrict-prototypes -Wundef -Wvla
HARDEN = -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
ALL_CFLAGS = -std=gnu11 $(WARN) $(HARDEN) -I. $(CFLAGS) $(EXTRA_CFLAGS) \
	     -DLAB_VERSION='"$(VERSION)"' -DLAB_DATADIR='"$(PREFIX)/share/labd"' \
	     -DLAB_LIBEXECDIR='"$(PREFIX)/libexec/labd"'
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(EXTRA_CFLAGS)

PROGRAMS = labd labctl labfs labkeeper labbuild

lib_SRC = $(wildcard lib/*.c)
# the client of the keeper is labd's; everything else in netns/ is the keeper
netns_CLIENT = netns/keeper.c
labd_SRC = $(wildcard labd/*.c) $(netns_CLIENT) \
	   $(filter-out images/labbuild.c,$(wildcard images/*.c))
labctl_SRC = $(wildcard cli/*.c)
labfs_SRC = $(wildcard fs/*.c)
labkeeper_SRC = $(filter-out $(netns_CLIENT),$(wildcard netns/*.c))
labbuild_SRC = $(wildcard images/*.c)

labd_PKGS = libsystemd jansson sqlite3 libmicrohttpd yaml-0.1 libcrypto libseccomp
labctl_PKGS = jansson libcurl smartcols libcrypto
labfs_PKGS = fuse3 jansson libcurl libcrypto
labkeeper_PKGS = libsystemd jansson libnl-3.0 libnl-route-3.0 libnftables libcap-ng libcrypto
labbuild_PKGS = jansson yaml-0.1 libcrypto

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
ALL_SRC = $(sort $(lib_SRC) $(foreach p,$(PROGRAMS),$($(p)_SRC)))
ALL_PKGS = $(sort $(foreach p,$(PROGRAMS),$($(p)_PKGS)))
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(ALL_PKGS) 2>/dev/null)

.PHONY: all
all: $(addprefix $(BUILD)/,$(PROGRAMS))

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(filter 1,$(V)),,echo "  CC      $<")
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c $< -o $@

# An archive, so that a program links only what it uses of lib/
$(BUILD)/liblab.a: $(call obj,$(lib_SRC))
	@$(if $(filter 1,$(V)),,echo "  AR      $@")
	$(Q)rm -f $@ && ar rcs $@ $^

define program
$(BUILD)/$(1): $(call obj,$($(1)_SRC)) $(BUILD)/liblab.a
	@$(if $(filter 1,$(V)),,echo "  LD      $$@")
	$$(Q)$$(CC) $$(ALL_LDFLAGS) $$^ -o $$@ $$(shell $$(PKG_CONFIG) --libs $$($(1)_PKGS)) -lpthread
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRC)))

.PHONY: clean
clean:
	rm -rf $(BUILD)
