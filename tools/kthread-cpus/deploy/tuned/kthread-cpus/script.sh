#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Called by TuneD with "start", "stop", "verify"; what it prints is in TuneD's log.

case $1 in
verify)
	# Fails until the machine has been booted with the options, and whenever a
	# kernel thread may run where it should not.
	/usr/local/bin/kthread-cpus plan --verify && exec /usr/local/bin/kthread-cpus check
	;;
esac
