// SPDX-License-Identifier: GPL-2.0

//! The names of the kernel's functions, from `/proc/kallsyms`.
//!
//! Events have addresses. A kernel has hundreds of thousands of functions, and a trace names a few
//! of them, so the file is read line by line, for the addresses that are asked for.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use crate::machine::Root;

/// Names of addresses.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Nothing for an address that has been looked for in vain.
    known: BTreeMap<u64, Option<String>>,
}

/// Parses a line, such as `ffffffff81000000 T _stext [module]`; only functions count.
fn parse(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    let name = words.next()?;

    // All addresses are zero for those who may not see them.
    (address != 0 && matches!(kind, "t" | "T" | "w" | "W")).then_some((address, name))
}

/// Returns the name in the source: compilers add `.constprop.0`, `.isra.0`, `.llvm.123` and the like.
fn plain(name: &str) -> &str {
    match name.split_once('.') {
        Some((head, _)) if !head.is_empty() => head,
        _ => name,
    }
}

impl Symbols {
    /// Names what has no name yet. What is not found has none.
    pub fn resolve(&mut self, root: &Root, addresses: impl IntoIterator<Item = u64>) {
        let open: Vec<_> = addresses
            .into_iter()
            .filter(|address| *address != 0 && !self.known.contains_key(address))
            .collect();

        if open.is_empty() {
            return;
        }
        // A long run must not gather names for ever; those that are needed are looked up again.
        if self.known.len() > MOST_NAMES {
            self.known.clear();
        }
        if let Ok(file) = File::open(root.path("proc/kallsyms")) {
            self.read(BufReader::with_capacity(64 << 10, file), open);
        }
    }

    /// As [`Self::resolve`], from any text. The modules come after the kernel, in any order: of each
    /// address, the nearest function before it is kept.
    fn read(&mut self, mut text: impl BufRead, mut open: Vec<u64>) {
        open.sort_unstable();
        open.dedup();
        let mut nearest: Vec<Option<(u64, String)>> = vec![None; open.len()];
        let mut line = String::new();

        while matches!(text.read_line(&mut line), Ok(1..)) {
            if let Some((begin, name)) = parse(&line) {
                let first = open.partition_point(|&address| address < begin);
                // Farther addresses have a nearer function, or are in no function.
                let near = |&(_, address): &(usize, &u64)| address - begin < MOST_BYTES;
                let after = open.iter().enumerate().skip(first).take_while(near);
                for (index, _) in after {
                    match &mut nearest[index] {
                        Some((known, _)) if *known >= begin => {}
                        place => *place = Some((begin, plain(name).to_owned())),
                    }
                }
            }
            line.clear();
        }
        let found = open.into_iter().zip(nearest);
        self.known
            .extend(found.map(|(address, near)| (address, near.map(|(_, name)| name))));
    }

    /// Whether names have been looked for, and there was none: the kernel does not show addresses.
    pub fn are_hidden(&self) -> bool {
        !self.known.is_empty() && self.known.values().all(Option::is_none)
    }

    /// Returns the name of the function at or around an address.
    pub fn name(&self, address: u64) -> Option<&str> {
        self.known.get(&address)?.as_deref()
    }

    /// As [`Self::name`], or the address.
    pub fn show(&self, address: u64) -> String {
        self.name(address)
            .map_or_else(|| format!("{address:#x}"), str::to_owned)
    }
}

/// As many names are remembered.
const MOST_NAMES: usize = 1 << 17;

/// No function is larger.
const MOST_BYTES: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t vmstat_update
ffffffff81000200 d not_a_function
ffffffff81000300 T flush_tlb_func.llvm.123
garbage
ffffffff81000400 t
zzz T x
ffffffffc0001000 t tcp_write_timer.isra.0\t[ipv4]
ffffffffc0000100 t in_module\t[other]
";

    #[test]
    fn functions_have_their_names() {
        let mut symbols = Symbols::default();
        let at = |offset: u64| 0xffff_ffff_8100_0000 + offset;

        symbols.read(
            TEXT.as_bytes(),
            vec![
                at(0x100),
                at(0x110),
                at(0x300),
                0xffff_ffff_c000_1000,
                0xffff_ffff_c000_0fff,
                7,
            ],
        );
        assert_eq!(symbols.show(at(0x100)), "vmstat_update");
        assert_eq!(symbols.show(at(0x110)), "vmstat_update");
        assert_eq!(symbols.show(at(0x300)), "flush_tlb_func");
        assert_eq!(symbols.show(0xffff_ffff_c000_1000), "tcp_write_timer");
        assert_eq!(symbols.show(0xffff_ffff_c000_0fff), "in_module");
        assert_eq!(symbols.show(7), "0x7");
        assert!(!symbols.are_hidden());
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        let mut symbols = Symbols::default();

        symbols.read("0000000000000000 T _stext\n".as_bytes(), vec![16]);
        assert_eq!(symbols.show(16), "0x10");
        assert!(symbols.are_hidden());
    }
}
