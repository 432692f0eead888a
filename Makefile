# SPDX-License-Identifier: GPL-2.0
#
# Thin: every target is one of scripts/, which say in their heads what they do.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules
.NOTPARALLEL:
SHELL := /bin/sh

# Variables, with their defaults where a script does not set them.
CONFIG ?= on
export KTHREAD_CPUS SMP NODES APPEND ACCEL SETUP KERNEL_TREE LINUX_VERSION LINUX_SHA256 LINUX_SUITES
export ARCH BASE DEBUG_INFO IMAGES COUNTS ROUNDS REPEAT CHANGES SEED FOR RUNS STEPS_COUNT ROWS
export FLAVOUR LOCALMOD LSMOD FIELD_STEPS

.PHONY: help
help:
	@echo 'kthread_cpus: the Linux 7.3 series that keeps kernel threads on the CPUs you name'
	@echo
	@echo 'Use:'
	@echo '  make run      build everything, boot it in QEMU, print where the kernel threads are; build/report.html'
	@echo '  make test     everything that proves it; the last line is "N passed, N failed"'
	@echo "  make deb      build/deb: Debian's kernel with the series, as packages for your machine (long)"
	@echo
	@echo 'Develop:'
	@echo '  make setup    install the tools that are missing (says what and why)'
	@echo '  make source   fetch the unpatched kernel into build/source'
	@echo '  make tree     build/linux: a git tree with the series, one commit a patch'
	@echo '  make kernel   build build/linux with CONFIG='
	@echo '  make export   commits of build/linux -> patches/7.3 and the sources here'
	@echo '  make port BASE=7.2   patches/7.2 from patches/7.3 and what differs there, in patches/port/7.2'
	@echo '  make port-newest   the series on the newest kernel source of Debian: what conflicts'
	@echo '  make import-sources   sources edited here -> the working tree of build/linux'
	@echo '  make check    patches, sources and tree agree; checkpatch, rustfmt, clippy, host lints'
	@echo '  make bisect   after each patch: build with the option on and off, boot both (long)'
	@echo '  make configs  the series in kernels of other kinds: RT, no NUMA, arm64, no Rust, ... (long)'
	@echo '  make review   sparse, coccinelle, kernel-doc, rustdoc and htmldocs on what the series adds (long)'
	@echo '  make torture  the list is changed at random while CPUs, partitions and threads change (long)'
	@echo '  make differential   the same random changes on the unpatched kernel and on ours without the option (long)'
	@echo '  make cmdlines command lines booted: kthread-cpus plan --verify against what the kernel does (long)'
	@echo '  make disturbances   planted in a guest: kthread-cpus watch must name each, and what moves it (long)'
	@echo '  make peers    kthread-cpus watch on this machine: the counts of trace-cmd and perf, as root'
	@echo '  make broad    a kernel with many subsystems at work: every kernel thread accounted for (long)'
	@echo '  make fuzz     the parser against the C one of the kernel source; the core against its models'
	@echo '  make bench    the cost on the unpatched and the patched kernel, and its limits (long)'
	@echo '  make tool     build/tool-dist: the program kthread-cpus, its man pages and completions'
	@echo '  make tool-deb build/tool-deb: that as a Debian package; scripts/tool-deb test tries it (Debian 12, 13)'
	@echo '  make field    the packages in a Debian 13 on a disk, beside the kernel of Debian (hours)'
	@echo '  make clean    remove what was built; keep the source, the tree and the tools'
	@echo '  make distclean   remove build/ (refuses to lose work in build/linux)'
	@echo
	@echo 'Variables of make run:'
	@echo '  KTHREAD_CPUS=0-1   the value of the boot option'
	@echo '  SMP=8              CPUs of the machine'
	@echo '  NODES=2            NUMA nodes of the machine'
	@echo '  APPEND="..."       more for the kernel command line'
	@echo '  ACCEL=auto         auto, kvm or tcg; auto takes KVM only when a probe boots with it'
	@echo 'Variables of make run, kernel and test:'
	@echo '  ARCH=x86_64        the machine: x86_64, arm64 or riscv64, built in build/ARCH and emulated'
	@echo '  BASE=7.3           the kernel: one that patches/ has a directory for, built in build/BASE'
	@echo 'Variables of make kernel:'
	@echo '  CONFIG=on          on, off, kunit, kasan, kcsan, base (without the option, unpatched trees too), clippy'
	@echo '  DEBUG_INFO=all     on with debug information of everything, not only for its commands of gdb'
	@echo 'Variables of make deb:'
	@echo "  FLAVOUR=cloud      which of Debian's kernels: cloud, amd64 or rt; else the one that runs here, or amd64"
	@echo '  LOCALMOD=yes       build only the modules that are loaded here'
	@echo '  LSMOD=FILE         build only those that this output of lsmod names'
	@echo 'Variables of make field:'
	@echo '  ROWS="..."         only these rows of its table, or "packages" for none; FIELD_STEPS=boot,load,... only'
	@echo '                     these steps; DEBS=DIR takes packages that make deb has made elsewhere'
	@echo 'Variables of make configs:'
	@echo '  CONFIGS="..."      only these (scripts/configs has them all)'
	@echo 'Variables of make torture:'
	@echo '  CHANGES=10000      how often the list is changed, or FOR=10m; SEED=1 chooses the random numbers;'
	@echo '                     CONFIG=kcsan takes the kernel that looks for data races'
	@echo 'Variables of make differential:'
	@echo '  STEPS_COUNT=3000   how many changes on each of two command lines; SEED=1 chooses the random numbers'
	@echo 'Variables of make cmdlines:'
	@echo '  KERNELS="..."      images of more kernels, such as those of distributions; ROWS= only some lines'
	@echo 'Variables of make disturbances:'
	@echo '  IMAGE=vmlinuz MODULES=DIR   a kernel with a network card, such as that of a distribution'
	@echo 'Variables of make peers:'
	@echo '  FOR=60s            how long; LIST=0 the CPUs for kernel threads, by default the first'
	@echo 'Variables of make fuzz:'
	@echo '  FOR=60s            how long, or RUNS=N how many executions'
	@echo 'Variables of make bench:'
	@echo '  IMAGES=1           images of each kernel that differ only in layout; 5 for the limits'
	@echo '  COUNTS=0,64,...    numbers of managed kthreads; ROUNDS=2000 and REPEAT=3 of what is timed'
	@echo 'Variables of all that need tools or the source:'
	@echo '  SETUP=no           install nothing, list what is missing'
	@echo '  KERNEL_TREE=DIR    take the kernel from this git tree or unpacked tarball (only read)'
	@echo '  LINUX_SUITES="..." Debian suites to look for the source package in'
	@echo '  LINUX_VERSION=7.3.y   what to take from kernel.org when no package is found'
	@echo '  LINUX_SHA256=SUM   kernel.org at once, checked against this sum, not the signature'
	@echo 'Variables of make test and check:'
	@echo '  STEPS="..."        only these steps of make test (scripts/test -l lists them)'
	@echo '  CHECKS="..."       only these checks of make check (scripts/check -l lists them)'

.PHONY: setup setup-run source tree kernel run test export port port-newest import-sources check bisect configs review torture differential cmdlines disturbances peers broad fuzz bench tool tool-deb deb field clean distclean
setup:
	@scripts/setup test

setup-run:
	@scripts/setup run

source: setup-run
	@scripts/source

tree: source
	@scripts/tree

kernel: tree
	@scripts/kernel $(CONFIG)

run:
	@CONFIG='$(CONFIG)' scripts/run

test:
	@scripts/test $(STEPS)

export:
	@scripts/export

port: setup-run
	@BASE= scripts/source
	@BASE= scripts/tree
	@scripts/source
	@SERIES=none scripts/tree
	@scripts/port

port-newest: setup-run
	@BASE= scripts/source
	@BASE= scripts/tree
	@scripts/port newest

import-sources:
	@scripts/import-sources

check: setup tree
	@scripts/check $(CHECKS)

bisect: setup tree
	@scripts/bisect

configs: setup tree
	@scripts/configs $(CONFIGS)

review: setup tree
	@scripts/review

torture: setup tree
	@scripts/torture

differential: setup tree
	@scripts/differential

cmdlines: setup tree
	@scripts/cmdlines $(KERNELS)

disturbances: setup tree
	@scripts/disturbances $(IMAGE) $(MODULES)

peers:
	@scripts/peers $(LIST)

broad: setup tree
	@tools/boot/broad/run

fuzz: setup source
	@scripts/fuzz
	@scripts/fuzz models

bench: setup tree
	@scripts/bench
	@scripts/bench-parser

tool:
	@scripts/tool

tool-deb:
	@scripts/tool-deb

deb:
	@scripts/deb

field:
	@scripts/field $(ROWS)

clean:
	@scripts/clean

distclean:
	@scripts/clean all
