# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What every script here shares: paths, messages, progress, the toolchain.
# Sourced, never run. A script that sources it gets `set -euo pipefail`.

set -euo pipefail

# What is built for: ARCH= and BASE= of who calls us, which a script of ours hands on to
# another as KC_ARCH and KC_BASE, because the kernel's make would take ARCH= for its own.
arch=${ARCH:-${KC_ARCH:-x86_64}}
series_version=${BASE:-${KC_BASE:-7.3}}
[[ ! ${BASE:-} ]] || export KC_BASE_GIVEN=yes

# The variables that `make run SMP=8` puts into MAKEFLAGS would otherwise reach
# the kernel's own make as overrides, and so would a developer's kernel settings.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS
unset ARCH BASE SRCARCH CROSS_COMPILE O KBUILD_OUTPUT KBUILD_EXTMOD KBUILD_SRC KCONFIG_CONFIG
unset KCONFIG_ALLCONFIG KCFLAGS KCPPFLAGS KRUSTFLAGS LLVM_IAS LOCALVERSION CONFIG_
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX CDPATH GREP_OPTIONS QUILT_PATCHES
export LC_ALL=C
# A test that fails is to fail again. scripts/fuzz tries other seeds, for longer.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf '%s: %s\n' "$self" "$*" >&2; }
die() { warn "$@"; exit 1; }
self=${0##*/}

# --- the machines: a column for each. What QEMU emulates is in tools/boot/vm.py.
# Other names of them, that of the kernel's make among them.
declare -A arch_names=(
	[x86_64]=x86_64 [x86]=x86_64 [amd64]=x86_64
	[arm64]=arm64 [aarch64]=arm64
	[riscv64]=riscv64 [riscv]=riscv64
)
arch=${arch_names[$arch]:-none-$arch}
[[ $arch != none-* ]] || die "ARCH=${arch#none-}: there are x86_64, arm64 and riscv64"
# Several of these are for the scripts that source this file.
# shellcheck disable=SC2034
{
	# ARCH= for the kernel's make, and what it leaves to be booted.
	declare -A arch_make=([x86_64]=x86 [arm64]=arm64 [riscv64]=riscv)
	declare -A arch_image=(
		[x86_64]=arch/x86/boot/bzImage
		[arm64]=arch/arm64/boot/Image
		[riscv64]=arch/riscv/boot/Image
	)
	# The program, and the package that has it in Debian 12, and from 13 on.
	declare -A arch_qemu=(
		[x86_64]=qemu-system-x86_64
		[arm64]=qemu-system-aarch64
		[riscv64]=qemu-system-riscv64
	)
	declare -A arch_qemu_package=(
		[x86_64]="qemu-system-x86 -"
		[arm64]="qemu-system-arm -"
		[riscv64]="qemu-system-misc qemu-system-riscv"
	)
	# How KUnit is booted there.
	declare -A arch_kunit_machine=(
		[x86_64]="-cpu max"
		[arm64]="-machine virt -cpu cortex-a57"
		[riscv64]="-machine virt -cpu rv64"
	)
	declare -A arch_kunit_words=(
		[x86_64]="console=ttyS0 earlyprintk=serial"
		[arm64]="console=ttyAMA0 earlycon"
		[riscv64]="console=hvc0 earlycon=sbi"
	)
	# What the guest's programs are compiled for: by clang, and by rustc.
	declare -A arch_triple=(
		[x86_64]=x86_64-linux-gnu
		[arm64]=aarch64-linux-gnu
		[riscv64]=riscv64-linux-gnu
	)
	declare -A arch_rust=(
		[x86_64]=x86_64-unknown-linux-gnu
		[arm64]=aarch64-unknown-linux-gnu
		[riscv64]=riscv64gc-unknown-linux-gnu
	)
	# Configurations that are for one machine only.
	declare -A config_arch=([nohotplug]=arm64 [pages]=arm64)

	top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
	# What all share; what belongs to a base: its source and its tree; and what to a
	# machine: kernels, guests, logs and results. For what is usual these are one.
	shared=$top/build
	main_version=7.3
	home=$shared
	[[ $series_version == "$main_version" ]] || home=$shared/$series_version
	home=${KC_HOME:-$home}
	build=$home
	[[ $arch == x86_64 ]] || build=$home/$arch
	logs=$build/logs
	results=$build/results
	source_dir=$home/source/linux-$series_version
	source_stamp=$home/source/origin
	linux=$home/linux
	branch=kthread_cpus
	patches=$top/patches/$series_version
	toolchain=$shared/toolchain
	venv=$shared/venv
	tool_dist=$shared/tool-dist
	[[ $arch == x86_64 ]] || tool_dist+=/$arch
	# What is foreign to this machine: Debian's for ARCH, see fetch_sysroot.
	sysroot=$shared/sysroot/$arch
	# The exit status of scripts/source if no place has the version.
	no_source=4
}
export KC_ARCH=$arch KC_BASE=$series_version KC_BUILD=$build
[[ $series_version =~ ^[0-9]+\.[0-9]+$ ]] || die "BASE=$series_version: not a version such as $main_version"

have() { command -v -- "$1" >/dev/null 2>&1; }

# Run as root, directly or through sudo.
as_root() {
	if [[ $(id -u) -eq 0 ]]; then
		"$@"
	else
		sudo -- "$@"
	fi
}

# A scratch directory under build/, so that a rename out of it is atomic, which
# is removed when the script ends. Sets $scratch.
make_scratch() {
	mkdir -p -- "$build" "$logs"
	scratch=$(mktemp -d -- "$build/tmp.$self.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# Only one script at a time may change what lies under build/.
lock_build() {
	mkdir -p -- "$home"
	exec {lock_fd}>"$home/.lock-$1"
	if ! flock -n "$lock_fd"; then
		say "waiting for another $1 under $home ..."
		flock "$lock_fd"
	fi
}

# Show that a long command is alive: on a terminal one line that is rewritten
# every second, in a plain log a line every 30 seconds.
_watch() {
	local label=$1 log=$2 start=$SECONDS lines last tick=1 never
	[[ -t 1 ]] || tick=30
	# Wait without a process of its own: a left-over sleep would keep our
	# locks and our caller's pipe open.
	exec {never}<> <(:)
	while ! read -r -t "$tick" -u "$never"; do
		lines=0 last=
		if [[ -s $log ]]; then
			lines=$(wc -l <"$log")
			last=$(tail -n 1 -- "$log" | tr -d '\r' | tr '\t' ' ' | cut -c 1-60)
		fi
		if [[ -t 1 ]]; then
			printf '\r\033[K    %s: %d s, %d steps: %s' "$label" \
				"$((SECONDS - start))" "$lines" "$last"
		else
			printf '    %s: %d s, %d steps: %s\n' "$label" \
				"$((SECONDS - start))" "$lines" "$last"
		fi
	done
}

# progress LABEL LOG COMMAND...: run it with everything it prints in LOG.
# Returns its exit status.
progress() {
	local label=$1 log=$2 rc=0 watcher start=$SECONDS
	shift 2
	mkdir -p -- "$(dirname -- "$log")"
	: >"$log"
	_watch "$label" "$log" &
	watcher=$!
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	kill "$watcher" 2>/dev/null || :
	wait "$watcher" 2>/dev/null || :
	[[ ! -t 1 ]] || printf '\r\033[K'
	if ((rc == 0)); then
		say "    $label: done in $((SECONDS - start)) s"
	else
		say "    $label: failed after $((SECONDS - start)) s (log: ${log#"$top"/})"
	fi
	return "$rc"
}

# version_ge A B: is the dotted version A at least B?
version_ge() {
	[[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

# First dotted number in a program's --version output, or nothing.
version_of() {
	{ "$@" --version 2>/dev/null || :; } | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | sed -n 1p
}

kernel_version_of() {
	[[ -f $1/Makefile ]] || return 0
	awk '$1 == "VERSION" {v = $3} $1 == "PATCHLEVEL" {p = $3} $1 == "SUBLEVEL" {s = $3}
		/^NAME/ {printf "%d.%d.%d\n", v, p, s; exit}' "$1/Makefile"
}

# --- packages of Debian ------------------------------------------------------
# shellcheck disable=SC2034
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

# need PROGRAM PACKAGE: install the package if the program (or file) is not there.
need() {
	case $1 in
	/*) [[ ! -e $1 ]] || return 0 ;;
	*) ! have "$1" || return 0 ;;
	esac
	[[ ${SETUP:-yes} != no ]] || die "SETUP=no: $2 is missing, nothing installed"
	progress "apt-get install $2" "$logs/setup-$2.log" as_root sh -c \
		"apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $2" ||
		die "$2 cannot be installed (build/logs/setup-$2.log)"
}

# The Debian mirrors that this machine uses already, best first.
debian_mirrors() {
	local line uri
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		sort -u |
		while IFS= read -r line; do
			uri=${line##*|}
			case $line in
			Debian\|Debian\|*) printf '1 %s\n' "$uri" ;;
			# Before the first `apt-get update` apt knows no origins yet.
			\|\|*security* | *\$\(*security*) ;;
			\|\|*/debian/ | \|\|*/debian | *\$\(*/debian/ | *\$\(*/debian) printf '2 %s\n' "$uri" ;;
			esac
		done | sort -u | cut -d ' ' -f 2-
}

private_apt() {
	local tool=$1
	shift
	APT_CONFIG=$apt/apt.conf "$tool" -qq "$@"
}

# setup_private_apt DIR: apt with its own lists, cache and sources, in DIR; only how
# to reach the network (proxies, certificates, login) is the machine's. Sets $apt.
setup_private_apt() {
	apt=$1
	rm -rf -- "$apt"
	mkdir -p -- "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
	apt-config dump Acquire >"$apt/apt.conf"
	cat >>"$apt/apt.conf" <<-EOF
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::Etc::sourcelist "$apt/etc/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State::lists "$apt/lists";
		Dir::Cache "$apt/cache";
		APT::Sandbox::User "root";
		APT::Get::List-Cleanup "false";
		Acquire::Languages "none";
		Acquire::AllowInsecureRepositories "false";
	EOF
}

# What the guest of another machine is made of and its programs are linked with. From
# Debian 13, whatever there is here: Debian 12 has no riscv64, and its backports no libc.
sysroot_suite=trixie
sysroot_packages=(busybox-static bash-static libc6 libc6-dev libgcc-14-dev linux-libc-dev)

# fetch_sysroot: puts them into $sysroot, unpacked and not installed. A subshell, whose
# end removes what is in the way.
fetch_sysroot() (
	[[ ! -d $sysroot ]] || exit 0
	log=$logs/sysroot-$arch.log
	[[ ${SETUP:-yes} != no ]] || die "SETUP=no: ${sysroot_packages[*]} for $arch are missing, nothing fetched"
	if ! have apt-get || ! have dpkg-deb || [[ ! -r $keyring ]]; then
		die "no apt, or no $keyring: what the guest for $arch is made of comes from Debian"
	fi
	make_scratch
	setup_private_apt "$scratch/apt"
	while IFS= read -r mirror; do
		printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$sysroot_suite"
	done < <(debian_mirrors) >"$apt/etc/sources.list"
	printf 'APT::Architecture "%s";\nAPT::Architectures "%s";\n' "$arch" "$arch" >>"$apt/apt.conf"
	mkdir -p -- "$scratch/deb" "$scratch/root" "$(dirname -- "$sysroot")"
	cd -- "$scratch/deb"
	if ! progress "apt-get update for $arch" "$log" private_apt apt-get update ||
		! private_apt apt-get download "${sysroot_packages[@]}" >>"$log" 2>&1; then
		die "not to be had for $arch from $sysroot_suite: ${sysroot_packages[*]} (${log#"$top"/})"
	fi
	for package in *.deb; do
		dpkg-deb -x "$package" "$scratch/root"
	done
	for dir in bin lib lib64; do
		[[ -e $scratch/root/$dir ]] || ln -s "usr/$dir" "$scratch/root/$dir"
	done
	mv -- "$scratch/root" "$sysroot"
)

# Sets cross to the command that compiles a program for $arch.
cross_compiler() {
	find_llvm || die "no clang/lld/llvm 17 or newer; run: make setup"
	# shellcheck disable=SC2034
	cross=("clang$llvm_suffix" "--target=${arch_triple[$arch]}" "--sysroot=$sysroot" "-fuse-ld=lld$llvm_suffix")
}

# --- the toolchain for the kernel -----------------------------------------
# Sets llvm_suffix, rust_bin, rust_src, bindgen_bin; each empty if there is none
# that fits. The kernel's minimum is asked for here too so that what is missing
# is known before the source is there.
find_llvm() {
	local suffix tool version
	[[ ${llvm_suffix:-none} == none ]] || return 0
	llvm_suffix=none
	for suffix in ${LLVM_SUFFIX+"$LLVM_SUFFIX"} -19 -20 -21 -22 -18 -17 ""; do
		for tool in clang ld.lld llvm-ar llvm-nm llvm-objcopy llvm-strip llvm-readelf; do
			have "$tool$suffix" || continue 2
		done
		version=$(version_of "clang$suffix")
		version_ge "${version:-0}" 17.0.1 || continue
		llvm_suffix=$suffix
		return 0
	done
	return 1
}

# A rustc is fit when rustdoc stands beside it and the sources of its core
# library are there: rustup's comes without them by default.
find_rust() {
	local rustc version sysroot library
	[[ -z ${rust_bin:-} ]] || return 0
	rust_bin='' rust_src=''
	for rustc in ${RUSTC:+"$RUSTC"} /usr/bin/rustc "$(command -v rustc || :)"; do
		[[ -n $rustc && -x $rustc && -x $(dirname -- "$rustc")/rustdoc ]] || continue
		version=$(version_of "$rustc")
		version_ge "${version:-0}" 1.85.0 || continue
		sysroot=$("$rustc" --print sysroot 2>/dev/null) || continue
		for library in "$sysroot/lib/rustlib/src/rust/library" \
			"/usr/src/rustc-$version/library"; do
			if [[ -f $library/core/src/lib.rs ]]; then
				rust_bin=$(dirname -- "$rustc")
				rust_src=$library
				return 0
			fi
		done
	done
	return 1
}

# 0.73 drops the padding around empty aligned structs, which puts fields of
# task_struct at wrong offsets, so it is as unfit as one that is too old.
bindgen_fits() {
	local version
	[[ -x $1 ]] || return 1
	version=$(version_of "$1")
	[[ -n $version ]] && version_ge "$version" 0.71.1 && ! version_ge "$version" 0.73.0
}

find_bindgen() {
	local bindgen
	[[ -z ${bindgen_bin:-} ]] || return 0
	bindgen_bin=''
	for bindgen in ${BINDGEN:+"$BINDGEN"} "$toolchain/bin/bindgen" "$(command -v bindgen || :)"; do
		[[ -n $bindgen ]] || continue
		if bindgen_fits "$bindgen"; then
			bindgen_bin=$bindgen
			return 0
		fi
	done
	return 1
}

# The runtime of AddressSanitizer for programs in Rust: rustup's rustc has one, or else
# clang. Prints rustc or clang.
find_asan() {
	local sysroot runtime
	sysroot=$(rustc --print sysroot 2>/dev/null) || return 1
	for runtime in "$sysroot"/lib/rustlib/x86_64-unknown-linux-gnu/lib/librustc*_rt.asan.a; do
		[[ ! -e $runtime ]] || { echo rustc; return; }
	done
	find_llvm || return 1
	runtime=$("clang$llvm_suffix" --print-file-name=libclang_rt.asan-x86_64.a)
	[[ -e $runtime ]] || runtime=$("clang$llvm_suffix" --print-file-name=libclang_rt.asan.a)
	[[ -e $runtime ]] && echo clang
}

# What builds the host's programs in Rust: all of their Cargo.toml ask for this much.
find_cargo() {
	local tool version
	for tool in cargo rustc; do
		have "$tool" || return 1
		version=$(version_of "$tool")
		version_ge "${version:-0}" 1.85.0 || return 1
	done
}

# The objects that know what scripts/gdb looks up when it is loaded, and its lx-kthread-cpus and
# lx-cpus then.
gdb_objects=(
	init_task setup setup_percpu build_utility cpu kthread panic page_alloc smp
	hrtimer irqdesc main namespace slub timerqueue vmalloc
)

# kernel_toolchain CONFIG: fills kmake_args with what every make needs that has to do
# with a kernel of this configuration. bindgen loads libclang at run time: it must be
# the one of the compiler. Without Rust, gcc does it in three quarters of the time.
kernel_toolchain() {
	local config=$1 libdir object
	find_llvm || die "no clang/lld/llvm 17 or newer; run: make setup"
	find_rust || die "no rustc 1.85 or newer with rustdoc and the library source; run: make setup"
	find_bindgen || die "no bindgen of 0.71.1 <= version < 0.73; run: make setup"
	libdir=$("llvm-config$llvm_suffix" --libdir 2>/dev/null) ||
		libdir=$(dirname -- "$("clang$llvm_suffix" -print-file-name=libclang.so)")
	[[ ! -d $libdir ]] || export LIBCLANG_PATH=$libdir
	# shellcheck disable=SC2034
	kmake_args=(
		"ARCH=${arch_make[$(arch_of "$config")]}"
		"RUSTC=$rust_bin/rustc" "RUSTDOC=$rust_bin/rustdoc" "RUSTFMT=$rust_bin/rustfmt"
		"HOSTRUSTC=$rust_bin/rustc" "CLIPPY_DRIVER=$rust_bin/clippy-driver"
		"BINDGEN=$bindgen_bin" "RUST_LIB_SRC=$rust_src"
		"LOCALVERSION=" "KBUILD_BUILD_USER=kthread_cpus" "KBUILD_BUILD_HOST=build"
		"KBUILD_BUILD_VERSION=1" "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 2026"
	)
	# Only Debian's has BTF; the others would be made again when pahole is installed.
	[[ $config == deb ]] || kmake_args+=("PAHOLE=none")
	# gcc makes them in half of the time, and most kernels are made by it.
	[[ $arch == x86_64 && $config =~ ^(base|unpatched|on|off|offstack|offstackoff|small|smalloff|touched|touchedoff|kunit|modversions|deb|broad)$ ]] || kmake_args+=("LLVM=${llvm_suffix:-1}")
	# Has all the Rust code that the configuration clippy has, and then needs no build of its own.
	[[ $config != kunit ]] || kmake_args+=("CLIPPY=1")
	# In all objects, debug information would take a fifth of the time.
	if [[ $config == on && ${DEBUG_INFO:-gdb} != all ]]; then
		kmake_args+=("KCFLAGS=-g0" "KRUSTFLAGS=-Cdebuginfo=0")
		for object in "${gdb_objects[@]}"; do
			kmake_args+=("CFLAGS_$object.o=-g")
		done
	fi
}

# series_objects DIR: the objects of the C files of the series that the kernel in DIR
# consists of. Not all that lie there: an earlier configuration may have had more.
series_objects() {
	comm -12 <(git -C "$linux" diff --name-only --diff-filter=d base -- '*.c' | sed -n 's/\.c$/.o/p' | sort) \
		<(cd -- "$1" && {
			"llvm-ar$llvm_suffix" t vmlinux.a
			[[ ! -f modules.order ]] || sed 's/\.o$/.mod/' modules.order | xargs -r cat
		} | sort)
}

# --- git -------------------------------------------------------------------
# git am and git commit need a committer. The one of this repository is used;
# where none is set a neutral one is passed along, and no configuration is touched.
git_identity() {
	local name email
	name=$(git -C "$top" config user.name || :)
	email=$(git -C "$top" config user.email || :)
	export GIT_COMMITTER_NAME=${name:-kthread_cpus}
	export GIT_COMMITTER_EMAIL=${email:-kthread_cpus@localhost}
}

# shared_clone DIR: a clone of build/linux that shares its objects, with nothing checked
# out at first. Made afresh when a commit that it names is gone from build/linux, which
# then is another one.
shared_clone() {
	local dir=$1
	[[ ! -d $dir ]] || git -C "$dir" rev-list -n 1 --all HEAD >/dev/null 2>&1 || rm -rf -- "$dir"
	if [[ ! -d $dir ]]; then
		rm -rf -- "$dir.new"
		git clone -q --shared --no-checkout -- "$linux" "$dir.new"
		git -C "$dir.new" config gc.auto 0
		mv -- "$dir.new" "$dir"
	fi
	git -C "$dir" fetch -q --force "$linux" refs/tags/base:refs/tags/base HEAD
}

# The unpatched kernel has a tree and builds of its own under build/bench, which stay.
# shellcheck disable=SC2034
bench=$build/bench
base_linux=$home/bench/linux
base_tree() {
	mkdir -p -- "$bench" "$home/bench"
	shared_clone "$base_linux"
	# Does nothing where it stands there already.
	git -C "$base_linux" checkout -q --force --detach base
}

# Whether the kernel tree $1 has CONFIG_KTHREAD_CPUS.
has_option() {
	grep -rqs --include='Kconfig*' '^config KTHREAD_CPUS$' "$1/kernel" "$1/init" "$1/lib"
}

# The machine of a configuration, and the image of that under the directory in which it
# was built.
arch_of() {
	printf '%s\n' "${config_arch[$1]:-$arch}"
}
image_of() {
	printf '%s\n' "${arch_image[$(arch_of "$1")]}"
}

# format_series TREE DIR: the commits base..HEAD of a git tree as patches in DIR, and a file
# series. Git as if nobody had configured anything, so that the same commits give the same bytes.
git_plain() {
	local tree=$1
	shift
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -C "$tree" \
		-c core.abbrev=12 -c core.quotePath=true -c diff.algorithm=myers \
		-c diff.noprefix=false -c diff.mnemonicPrefix=false -c diff.renames=false \
		-c diff.context=3 -c diff.suppressBlankEmpty=false -c color.ui=false \
		-c i18n.logOutputEncoding=UTF-8 "$@"
}
format_series() {
	git_plain "$1" format-patch -q -o "$2" --numbered --zero-commit --no-signature --abbrev=12 \
		--no-renames --no-thread --no-attach --no-cover-letter --no-base --no-encode-email-headers \
		--stat=72 --diff-algorithm=myers --subject-prefix=PATCH --suffix=.patch base..HEAD
	(cd -- "$2" && printf '%s\n' *.patch) >"$2/series"
}

# port_id VERSION: what patches/VERSION is made of if it is not the main series: scripts/port.
port_id() {
	(
		cd -- "$top/patches"
		{
			sed '/ 0000-cover-letter.txt$/d' "$main_version/SHA256SUMS"
			[[ ! -d port/$1 ]] || find "port/$1" -type f -print0 | sort -z | xargs -0 sha256sum --
		} | sha256sum | cut -d ' ' -f 1
	)
}

# other_base SCRIPT ARGUMENT...: there is no source for the base: Debian drops a version when
# the next one comes. Runs the script for the nearest one that there are patches for, the newer
# one first; returns if BASE= says that it must be this one, or if all were tried.
other_base() {
	local tried=${KC_TRIED:-} other
	[[ ! ${KC_BASE_GIVEN:-} ]] || return 0
	tried+=" $series_version "
	other=$(
		for other in "$top"/patches/*/series; do
			other=$(basename -- "$(dirname -- "$other")")
			[[ $tried == *" $other "* ]] || printf '%s\n' "$other"
		done | awk -v base="$main_version" '
			function number(version, part) { split(version, part, "."); return part[1] * 1000 + part[2] }
			{
				far = number($0) - number(base)
				print (far < 0 ? -far * 2 + 1 : far * 2), $0
			}' | sort -n | sed -n '1s/.* //p'
	)
	[[ -n $other ]] || return 0
	say "==> no source for Linux $series_version can be had any more: taking $other, which there are patches for"
	KC_TRIED=$tried KC_BASE=$other exec "$@"
}

# The names in patches/<version>/series, one per line; none if there is no series.
series_list() {
	[[ -f $patches/series ]] || return 0
	sed -e 's/[[:space:]]*#.*//' -e '/^[[:space:]]*$/d' "$patches/series"
}

# What identifies the series' content.
series_id() {
	local name
	{
		series_list
		while IFS= read -r name; do
			cat -- "$patches/$name"
		done < <(series_list)
	} | sha256sum | cut -d ' ' -f 1
}

# The in-tree file that a source file of this repository is the source of, and back.
# Documentation and selftests keep their path, everything else lies under rust/linux/.
source_of() {
	case $1 in
	Documentation/* | tools/testing/selftests/*) printf '%s\n' "$1" ;;
	*) printf 'rust/linux/%s\n' "$1" ;;
	esac
}

# All source files of in-tree files that this repository has, as in-tree paths.
sources_list() {
	(
		cd -- "$top"
		for dir in rust/linux Documentation tools/testing/selftests; do
			[[ ! -d $dir ]] || find "$dir" -type f -print
		done
	) | sed 's,^rust/linux/,,' | sort
}

# What the last import (make tree) or export left in the tree's git directory:
# tree_state KEY prints a value, tree_state_set writes all of them at once.
tree_state_file() { git -C "$linux" rev-parse --path-format=absolute --git-path kthread_cpus 2>/dev/null; }

tree_state() {
	sed -n "s/^$1=//p" "$(tree_state_file)" 2>/dev/null || :
}

tree_state_set() {
	local file
	file=$(tree_state_file)
	printf '%s\n' "$@" >"$file.new"
	mv -- "$file.new" "$file"
}

# The commit that the last import or export left, or else base.
tree_known() {
	local known
	known=$(tree_state head)
	if [[ -n $known ]] && git -C "$linux" cat-file -e "$known" 2>/dev/null; then
		printf '%s\n' "$known"
	else
		git -C "$linux" rev-parse base
	fi
}

# What build/linux has beside what is checked out and is in no import or export: one
# line for each branch, and for each stash.
other_work() {
	local known name
	known=$(tree_known)
	while read -r name; do
		[[ -z $(git -C "$linux" rev-list -n 1 "$name" --not "$known" HEAD) ]] ||
			printf 'branch: %s\n' "$name"
	done < <(git -C "$linux" for-each-ref --format='%(refname:short)' refs/heads)
	git -C "$linux" stash list --format='stash: %gd %gs'
}

# One line for every file of patches/<version> that is not what SHA256SUMS says.
patches_edited() {
	[[ -d $patches ]] || return 0
	if [[ ! -f $patches/SHA256SUMS ]]; then
		printf 'SHA256SUMS is missing\n'
		return 0
	fi
	(
		cd -- "$patches"
		sha256sum --check --quiet SHA256SUMS 2>/dev/null | sed 's/: FAILED open or read$/ is missing/; s/: FAILED$/ was edited/' || :
		for file in *; do
			grep -qF -- "  $file" SHA256SUMS || [[ $file == SHA256SUMS ]] || printf '%s is not in SHA256SUMS\n' "$file"
		done
	)
}

# seconds_of TIME: the value of FOR= in seconds.
seconds_of() {
	[[ $1 =~ ^([0-9]{1,9})([smh]?)$ ]] || die "FOR=$1: not a time such as 60s, 10m or 1h"
	case ${BASH_REMATCH[2]} in
	h) echo $((10#${BASH_REMATCH[1]} * 3600)) ;;
	m) echo $((10#${BASH_REMATCH[1]} * 60)) ;;
	*) echo $((10#${BASH_REMATCH[1]})) ;;
	esac
}
