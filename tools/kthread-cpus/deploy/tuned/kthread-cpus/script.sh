#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Called by TuneD with "start", "stop", "verify"; what it prints is in TuneD's log.

case $1 in
verify)
	# Fails if there are no options for this machine, until it has been booted with
	# them, and whenever a kernel thread may run where it should not.
	housekeeping=$(sed -n 's/^housekeeping=//p' /etc/tuned/kthread-cpus-variables.conf)
	/usr/local/bin/kthread-cpus plan --housekeeping "$housekeeping" >/dev/null &&
		/usr/local/bin/kthread-cpus plan --verify && exec /usr/local/bin/kthread-cpus check
	;;
esac
