// SPDX-License-Identifier: GPL-2.0

//! The kernel's own test vectors of `bitmap_parselist()`, read from `lib/test_bitmap.c` of the fetched
//! kernel source.

use std::{collections::HashMap, env, fs, path::PathBuf};

use kthread_cpus_core::cpulist::{self, Mask, Reason};
use regex::Regex;

/// `lib/test_bitmap.c` of `$KTHREAD_CPUS_LINUX`, or else of the source that `make source` fetched.
fn test_bitmap_c() -> String {
    let source = env::var_os("KTHREAD_CPUS_LINUX").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../build/source/linux-7.3"
            ))
        },
        PathBuf::from,
    );
    let path = source.join("lib/test_bitmap.c");

    fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error} (run 'make source', or set KTHREAD_CPUS_LINUX)",
            path.display()
        )
    })
}

/// The 64-bit words of `static const unsigned long NAME[]`.
fn words(source: &str, name: &str) -> Vec<u64> {
    let array = Regex::new(&format!(
        r"(?s)static const unsigned long {name}\[\][^{{]*\{{(.*?)\}};"
    ))
    .unwrap();
    let body = &array
        .captures(source)
        .unwrap_or_else(|| panic!("no array {name}"))[1];

    Regex::new(r"BITMAP_FROM_U64\((?:0x([0-9a-f]+)|([0-9]+))(?:ULL)?\)")
        .unwrap()
        .captures_iter(body)
        .map(|word| match (word.get(1), word.get(2)) {
            (Some(hex), _) => u64::from_str_radix(hex.as_str(), 16).unwrap(),
            (_, Some(dec)) => dec.as_str().parse().unwrap(),
            _ => unreachable!(),
        })
        .collect()
}

#[test]
fn parselist_vectors_of_the_kernel() {
    let source = test_bitmap_c();
    let arrays: HashMap<_, _> = ["exp1", "exp2"]
        .map(|name| (name.to_string(), words(&source, name)))
        .into();
    let table = Regex::new(r"(?s)parselist_tests\[\] __initconst = \{(.*?)\n\};").unwrap();
    let table = &table.captures(&source).expect("no table parselist_tests")[1];
    let row = Regex::new(
        r#"\{\s*(-?\w+),\s*"([^"]*)",\s*(?:NULL|&?(exp\d)(?:\[(\d+)(?: \* step)?\])?),\s*(\d+),"#,
    )
    .unwrap();
    let mut rows = 0;

    for row in row.captures_iter(table) {
        let errno = &row[1];
        let list = row[2].replace("\\n", "\n");
        let nbits: u32 = row[5].parse().unwrap();
        let mut got = vec![0; nbits.div_ceil(usize::BITS) as usize];
        let result = cpulist::parse(list.as_bytes(), &mut Mask::new(&mut got, nbits).unwrap());
        let expected = match errno {
            "0" => Ok(()),
            "-EINVAL" => Err(Reason::Malformed),
            "-ERANGE" => Err(Reason::OutOfRange),
            "-EOVERFLOW" => Err(Reason::Overflow),
            _ => panic!("{list:?}: unknown errno {errno}"),
        };
        rows += 1;

        assert_eq!(
            result.map_err(|error| error.reason),
            expected,
            "{list:?} at {nbits} bits"
        );
        if let Some(array) = row.get(3) {
            let first = row
                .get(4)
                .map_or(0, |index| index.as_str().parse().unwrap());

            for bit in 0..nbits as usize {
                let expected = (arrays[array.as_str()][first + bit / 64] >> (bit % 64)) & 1;
                let bits = usize::BITS as usize;
                let got = (got[bit / bits] >> (bit % bits)) & 1;

                assert_eq!(got as u64, expected, "{list:?} at {nbits} bits: bit {bit}");
            }
        }
    }

    // Every line of the table that begins like a row was taken for one.
    let lines = table
        .lines()
        .filter(|line| line.trim_start().starts_with('{'))
        .count();
    assert_eq!(rows, lines);
    assert!(rows > 50, "only {rows} rows");
}
