// SPDX-License-Identifier: GPL-2.0

//! The parser against the kernel's own `bitmap_parselist()`.

use std::{fs, path::Path};

use kthread_cpus_oracle::{
    compare, inputs,
    lists::{self, Rng},
    model::{self, Arithmetic},
    with_c, with_rust, Agreement,
};

fn agreement(text: &[u8], nbits: u32) -> Agreement {
    compare(text, nbits).unwrap_or_else(|difference| panic!("{difference}"))
}

#[test]
fn random_lists() {
    let mut random = Rng::with_seed(0);
    let (mut valid, mut wraps) = (0, 0);

    for _ in 0..100_000 {
        let (text, nbits) = lists::list(&mut random);

        wraps += u32::from(agreement(&text, nbits) == Agreement::Wraps);
        valid += u32::from(with_rust(&text, nbits).is_ok());
    }
    // The lists are of all kinds.
    assert!((30_000..70_000).contains(&valid), "{valid} valid");
    assert!(wraps > 100, "C wraps in {wraps}");
}

#[test]
fn lists_that_are_measured() {
    for input in inputs::inputs() {
        assert_eq!(agreement(&input.text, input.nbits), Agreement::Same);
    }
}

/// What the fuzzer has found to be worth keeping.
#[test]
fn corpus_of_the_fuzzer() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/list");
    let mut count = 0;

    for entry in fs::read_dir(&corpus).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        if let Some((nbits, text)) = lists::from_bytes(&data) {
            agreement(text, nbits);
            count += 1;
        }
    }
    assert!(count > 100, "{count} lists in {}", corpus.display());
}

#[test]
fn where_the_arithmetic_of_c_wraps() {
    // From CPU 1 one back to CPU 0.
    assert_eq!(agreement(b"1-3:1/4294967295", 8), Agreement::Wraps);
    assert_eq!(with_c(b"1-3:1/4294967295", 8), Ok(vec![0b11]));
    assert_eq!(with_rust(b"1-3:1/4294967295", 8), Ok(vec![0b10]));

    // The size of a group, which is the number and one, is 0.
    assert_eq!(agreement(b"4294967295", 8), Agreement::Wraps);
    assert_eq!(agreement(b"0-4294967295", 8), Agreement::Wraps);
    assert_eq!(agreement(b"4294967294", 8), Agreement::Same);

    // It wraps to a CPU that is past the end, or is there anyway.
    assert_eq!(agreement(b"3-4:1/4294967295", 8), Agreement::Wraps);
    assert_eq!(agreement(b"1-3:1/2147483648", 8), Agreement::Same);
    assert_eq!(agreement(b"0-3:1/4294967295", 8), Agreement::Same);
}

/// A difference that the wrapping of C does not explain is reported.
#[test]
fn the_model_wraps_only_where_c_does() {
    let exact = model::parse(b"0-7:1/2", 8, Arithmetic::Exact);
    assert_eq!(exact, model::parse(b"0-7:1/2", 8, Arithmetic::Wraps));
    assert_eq!(exact, Ok(vec![0x55]));

    let mut random = Rng::with_seed(7);
    for _ in 0..20_000 {
        let (text, nbits) = lists::list(&mut random);
        let wraps = model::parse(&text, nbits, Arithmetic::Wraps);
        let errno = wraps.map_err(kthread_cpus_oracle::errno);

        assert_eq!(errno, with_c(&text, nbits), "{}", text.escape_ascii());
    }
}
