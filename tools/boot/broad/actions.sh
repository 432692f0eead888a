# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
# ($facts is of the actions of every guest)
#
# More actions, which the guest of `make broad` has after those of every guest.

# live: everything that there are kernel threads for, as far as it runs without
# hardware of its own. What becomes of each is a line "NAME:STATUS" of the output
# "live", with what it complained about.
do_live() {
	local what status
	mkdir -p /live /mnt
	mount -t tmpfs -o size=90% tmpfs /live
	mount -t configfs configfs /sys/kernel/config
	[ -d /sys/kernel/tracing/instances ] || mount -t tracefs tracefs /sys/kernel/tracing
	ip link set lo up
	for what in zram ext4 xfs btrfs md_raid1 md_raid5 dm_crypt dm_thin dm_delay null_blk \
		nfsd nvme target links network ksm damon hwlat programs; do
		status=0
		"live_$what" >/run/live.log 2>&1 || status=$?
		fact output of=live line="$what:$status"
		[ $status = 0 ] || fact output of=live line="$(encode </run/live.log)"
	done >>"$facts"
}

# disk NAME SIZE: prints the name of a new loop device
disk() {
	local device
	device=$(losetup -f) && truncate -s "$2" "/live/$1" && losetup "$device" "/live/$1" &&
		echo "$device"
}

# put VALUE FILE
put() {
	printf '%s' "$1" >"$2" || { echo "$1 > $2"; return 1; }
}

sectors() {
	cat "/sys/block/${1#/dev/}/size"
}

# fill NAME: something to write back
fill() {
	dd if=/dev/zero of="/mnt/$1/file" bs=64k count=16 && sync
}

live_zram() {
	put 64M /sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0
}

live_ext4() {
	local disk
	disk=$(disk ext4 64M) && /kc/mke2fs -q -F -t ext4 "$disk" && mkdir /mnt/ext4 &&
		mount -t ext4 "$disk" /mnt/ext4 && fill ext4
}

live_xfs() {
	local disk
	disk=$(disk xfs 320M) && /kc/mkfs.xfs -q "$disk" && mkdir /mnt/xfs &&
		mount -t xfs "$disk" /mnt/xfs && fill xfs
}

live_btrfs() {
	local disk
	disk=$(disk btrfs 128M) && /kc/mkfs.btrfs -q "$disk" && mkdir /mnt/btrfs &&
		mount -t btrfs "$disk" /mnt/btrfs && fill btrfs
}

# array LEVEL DISKS: without metadata, so that no program is needed
array() {
	local level=$1 count=$2 md=/sys/block/md_$1/md slot=0 device
	put "md_$level" /sys/module/md_mod/parameters/new_array &&
		put none "$md/metadata_version" && put "$level" "$md/level" &&
		put "$count" "$md/raid_disks" && put 16384 "$md/component_size" || return
	[ "$level" = raid1 ] || { put 65536 "$md/chunk_size" && put 2 "$md/layout"; } || return
	while [ $slot -lt "$count" ]; do
		device=$(disk "$level-$slot" 16M) &&
			put "$(cat "/sys/block/${device#/dev/}/dev")" "$md/new_dev" &&
			put $slot "$md/dev-${device#/dev/}/slot" || return
		slot=$((slot + 1))
	done
	put active "$md/array_state"
}

live_md_raid1() {
	array raid1 2
}

live_md_raid5() {
	array raid5 3
}

# map NAME TABLE
map() {
	/kc/dmsetup --noudevsync --noudevrules create "$1" --table "$2"
}

live_dm_crypt() {
	local disk key=0123456789abcdef0123456789abcdef
	disk=$(disk crypt 16M) &&
		map crypt "0 $(sectors "$disk") crypt aes-cbc-essiv:sha256 $key 0 $disk 0" &&
		dd if=/dev/zero of=/dev/mapper/crypt bs=64k count=4 conv=fsync
}

live_dm_thin() {
	local meta data
	meta=$(disk meta 4M) && data=$(disk data 32M) &&
		map pool "0 $(sectors "$data") thin-pool $meta $data 128 0"
}

# So short a delay is kept by a thread.
live_dm_delay() {
	local disk
	disk=$(disk delay 4M) && map delay "0 $(sectors "$disk") delay $disk 0 10" &&
		dd if=/dev/zero of=/dev/mapper/delay bs=4k count=4 conv=fsync
}

live_null_blk() {
	[ -b /dev/nullb0 ] && dd if=/dev/zero of=/dev/nullb0 bs=64k count=4 conv=fsync
}

# Version 4 needs no rpcbind. Threads for all pools: there is one for each node.
live_nfsd() {
	local nfsd=/proc/fs/nfsd
	mount -t nfsd nfsd $nfsd && echo "-3 +4 +4.1 +4.2" >$nfsd/versions &&
		echo "tcp 2049" >$nfsd/portlist && echo 4 >$nfsd/threads
}

live_nvme() {
	local disk nvmet=/sys/kernel/config/nvmet
	disk=$(disk nvme 16M) && mkdir $nvmet/subsystems/live &&
		put 1 $nvmet/subsystems/live/attr_allow_any_host &&
		mkdir $nvmet/subsystems/live/namespaces/1 &&
		put "$disk" $nvmet/subsystems/live/namespaces/1/device_path &&
		put 1 $nvmet/subsystems/live/namespaces/1/enable &&
		mkdir $nvmet/ports/1 && put loop $nvmet/ports/1/addr_trtype &&
		ln -s $nvmet/subsystems/live $nvmet/ports/1/subsystems/live &&
		put transport=loop,nqn=live /dev/nvme-fabrics
}

iqn=iqn.2026-01.test:disk

live_target() {
	local target=/sys/kernel/config/target disk=/sys/kernel/config/target/core/rd_mcp_0/disk tpg
	tpg=$target/iscsi/$iqn/tpgt_1
	mkdir -p "$disk" && put rd_pages=1024 "$disk/control" && put 1 "$disk/enable" &&
		mkdir $target/iscsi && mkdir -p "$tpg" && mkdir "$tpg/np/127.0.0.1:3260" &&
		put 0 "$tpg/attrib/authentication" && put 1 "$tpg/attrib/generate_node_acls" &&
		mkdir "$tpg/lun/lun_0" && ln -s "$disk" "$tpg/lun/lun_0/disk" && put 1 "$tpg/enable"
}

live_links() {
	local type
	for type in dummy veth bridge wireguard; do
		ip link add "live-$type" type $type && ip link set "live-$type" up || return
	done
}

# The card of the machine, with a thread for what it receives.
live_network() {
	ifconfig eth0 10.0.2.15 up && put 1 /sys/class/net/eth0/threaded && ping -c 3 10.0.2.2
}

live_ksm() {
	put 1 /sys/kernel/mm/ksm/run
}

live_damon() {
	local damon=/sys/kernel/mm/damon/admin/kdamonds
	put 1 $damon/nr_kdamonds && put 1 $damon/0/contexts/nr_contexts &&
		put paddr $damon/0/contexts/0/operations &&
		put 1 $damon/0/contexts/0/targets/nr_targets &&
		put 1 $damon/0/contexts/0/targets/0/regions/nr_regions &&
		put 16777216 $damon/0/contexts/0/targets/0/regions/0/start &&
		put 67108864 $damon/0/contexts/0/targets/0/regions/0/end &&
		put on $damon/0/state
}

# The one thread that goes round: a thousandth of the time.
live_hwlat() {
	local trace=/sys/kernel/tracing
	put 1000 $trace/hwlat_detector/width && put hwlat $trace/current_tracer
}

# What only a program can get; it stays. Its lines go where the others are.
live_programs() {
	local tries=0 line
	/kc/live "$iqn" >/run/programs &
	while [ $tries -lt 60 ] && ! grep -q ^thread: /run/programs; do
		sleep 1
		tries=$((tries + 1))
	done
	while read -r line; do
		fact output of=live line="$(echo "$line" | encode)"
	done </run/programs >>"$facts"
	grep -q ^thread: /run/programs
}

# pcie_disk: prints the device of the NVMe disk that the machine has; that of live_nvme is another
pcie_disk() {
	local transport disk
	for transport in /sys/class/nvme/nvme*/transport; do
		[ "$(cat "$transport")" = pcie ] || continue
		for disk in "${transport%/*}"/nvme*n*; do
			disk=/dev/${disk##*/}
			[ ! -b "$disk" ] || { echo "$disk"; return; }
		done
	done
	return 1
}

# interrupts: where each goes that has a handler, where it fires while all CPUs use the network
# and the disk, and what the kernel knows of it
do_interrupts() {
	local irqs=/run/interrupts debug=/sys/kernel/debug disk cpu status=0
	[ -d $debug/irq ] || mount -t debugfs debugfs $debug || return
	disk=$(pcie_disk) || return
	grep . /sys/kernel/irq/*/per_cpu_count >$irqs
	for cpu in "$cpus"/cpu[0-9]*; do
		cpu=${cpu##*/cpu}
		taskset -c "$cpu" dd if="$disk" of=/dev/null bs=4k count=8 iflag=direct 2>/dev/null ||
			status=1
		taskset -c "$cpu" ping -c 1 10.0.2.2 >/dev/null || status=1
	done
	awk -v what=interrupts -f /kc/account.awk $irqs >>"$facts"
	return $status
}

# expiries:SECONDS: on which CPUs timers wait and expire while CPU 5 is the only one that is
# always busy, so that the others, when they idle, hand theirs over to it if they may
do_expiries() {
	local trace=/sys/kernel/tracing/instances/expiries event loop status=0
	mkdir $trace || return
	echo 8192 >$trace/buffer_size_kb
	# The clocks of CPUs may differ, and before there is randomness, all addresses look alike.
	echo counter >$trace/trace_clock && echo nohash-ptr >$trace/trace_options || status=1
	for event in timer_start timer_expire_entry hrtimer_start hrtimer_expire_entry \
		hrtimer_expire_exit; do
		echo 1 >$trace/events/timer/$event/enable || status=1
	done
	rm -f /run/busy
	taskset -c 5 sh -c ': >/run/busy; while :; do :; done' &
	loop=$!
	while [ ! -e /run/busy ] && kill -0 $loop; do usleep 10000; done
	# What was handed over before does not count.
	sleep 1
	echo >$trace/trace
	sleep "$1"
	echo 0 >$trace/tracing_on
	kill $loop
	awk -v what=timers -f /kc/account.awk $trace/trace >>"$facts" || status=1
	rmdir $trace
	return $status
}
