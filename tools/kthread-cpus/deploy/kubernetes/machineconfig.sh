#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# machineconfig.sh N [ROLE]: prints a MachineConfig with the boot options that
# "kthread-cpus plan" makes for N housekeeping CPUs. Run it on a node of the pool,
# for all nodes of a pool must be alike, or on a recording of one:
#
#   ROOT=/path/to/recording ./machineconfig.sh 4 worker-rt | oc apply -f -
#
# machineconfig.yaml is what it prints for 4 CPUs of a machine with 2 nodes of 8
# cores with 2 threads each.
set -eu

case ${1:-} in
'' | *[!0-9]*)
	echo "usage: $0 N [ROLE]" >&2
	exit 2
	;;
esac
role=${2:-worker}
# A plan that is refused ends this, with its reasons.
options=$(kthread-cpus --root "${ROOT:-/}" plan --housekeeping "$1" --print cmdline)

cat <<END
# SPDX-License-Identifier: GPL-2.0
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 99-$role-kthread-cpus
  labels:
    machineconfiguration.openshift.io/role: $role
spec:
  kernelArguments:
END
for option in $options; do
	printf '    - "%s"\n' "$option"
done
