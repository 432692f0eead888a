// SPDX-License-Identifier: GPL-2.0

//! Properties of the parsers, on random texts, against a model that sets bit after bit.

use kthread_cpus_core::{
    cpulist::{self, Mask},
    option::{self, Classes},
};
use kthread_cpus_oracle::model::{self, Arithmetic};
use proptest::prelude::*;

const BITS: usize = usize::BITS as usize;

/// A number in a list, often at a limit.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u32..140).prop_map(|n| n.to_string()),
        2 => (0u32..9000).prop_map(|n| n.to_string()),
        1 => Just("N".to_string()),
        1 => (0u64..3).prop_map(|n| (u64::from(u32::MAX) + n - 1).to_string()),
        1 => "0{0,3}[0-9]{1,24}",
    ]
}

/// A region, mostly a valid one.
fn region() -> impl Strategy<Value = String> {
    prop_oneof![
        number(),
        (number(), number()).prop_map(|(a, b)| format!("{a}-{b}")),
        (number(), number(), number(), number())
            .prop_map(|(a, b, used, group)| format!("{a}-{b}:{used}/{group}")),
        (0u32..64, 0u32..9000, 0u32..70, 0u32..200).prop_map(|(first, length, used, more)| {
            format!("{first}-{}:{used}/{}", first + length, used + more)
        }),
        Just("all".to_string()),
        (0u32..70, 0u32..70).prop_map(|(used, more)| format!("aLl:{used}/{}", used + more)),
    ]
}

/// A list of regions with any separators, bytes of which may have been changed.
fn list() -> impl Strategy<Value = Vec<u8>> {
    let separator = prop_oneof![8 => Just(","), 1 => Just(" "), 1 => Just(",, "), 1 => Just("\n"),
        1 => Just("\t"), 1 => Just("")];
    let regions = prop::collection::vec((region(), separator), 0..12);
    let change = prop::option::weighted(
        0.2,
        (
            any::<prop::sample::Index>(),
            prop_oneof![
                Just(b'\n'),
                Just(0xa0),
                Just(0),
                Just(b'-'),
                Just(b':'),
                Just(b'/'),
                any::<u8>()
            ],
        ),
    );

    (regions, change).prop_map(|(regions, change)| {
        let mut text: Vec<u8> = regions
            .iter()
            .flat_map(|(region, separator)| region.bytes().chain(separator.bytes()))
            .collect();
        if let (Some((index, byte)), false) = (change, text.is_empty()) {
            let at = index.index(text.len());
            text[at] = byte;
        }
        text
    })
}

/// A number of bits, often around the size of a word.
fn nbits() -> impl Strategy<Value = u32> {
    prop_oneof![
        1u32..=9,
        31u32..=33,
        63u32..=65,
        127u32..=129,
        1u32..=8192,
        Just(8192)
    ]
}

/// Parses `text` into a mask with a word too many, in which all bits were set by turns.
fn parse(text: &[u8], nbits: u32) -> (Result<(), cpulist::Error>, Vec<usize>) {
    let mut words = vec![usize::MAX / 3; nbits as usize / BITS + 2];
    let result = cpulist::parse(text, &mut Mask::new(&mut words, nbits).unwrap());
    (result, words)
}

/// Checks `text` against the model.
fn check(text: &[u8], nbits: u32) -> Result<(), TestCaseError> {
    let (result, words) = parse(text, nbits);
    let used = (nbits as usize).div_ceil(BITS);

    match model::parse(text, nbits, Arithmetic::Exact) {
        Ok(expected) => {
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(&words[..used], &expected[..]);
        }
        Err(reason) => {
            let error = result.expect_err("the model has an error");
            prop_assert_eq!(error.reason, reason);
            prop_assert!(error.offset <= text.len());
            prop_assert!(words[..used].iter().all(|&word| word == usize::MAX / 3));
        }
    }
    prop_assert!(words[used..].iter().all(|&word| word == usize::MAX / 3));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn lists_agree_with_the_model(text in list(), nbits in nbits()) {
        check(&text, nbits)?;
    }

    #[test]
    fn any_bytes_agree_with_the_model(
        text in prop::collection::vec(
            prop_oneof![4 => prop::sample::select(&b"0123456789,-:/N aAlL\n\xa0"[..]), 1 => any::<u8>()],
            0..24,
        ),
        nbits in nbits(),
    ) {
        check(&text, nbits)?;
    }

    #[test]
    fn flags_change_nothing_of_the_list(
        text in list(),
        nbits in nbits(),
        flags in prop::collection::vec(prop::sample::select(Classes::FLAGS), 1..8),
    ) {
        // With a digit in front, nothing that the text begins with can be taken for another flag.
        let text = [b"0,", &text[..]].concat();
        let mut prefix = String::new();
        for (flag, _) in &flags {
            prefix += flag;
            prefix += ",";
        }
        let value = [prefix.as_bytes(), &text].concat();
        let mut words = vec![usize::MAX / 3; nbits as usize / BITS + 2];
        let result = option::parse(&value, &mut Mask::new(&mut words, nbits).unwrap());
        let (expected, expected_words) = parse(&text, nbits);

        prop_assert_eq!(words, expected_words);
        match (result, expected) {
            (Ok(classes), Ok(())) => {
                for &(_, class) in Classes::FLAGS {
                    let given = flags.iter().any(|(_, flag)| *flag == class);
                    prop_assert_eq!(classes.0 & class != 0, given);
                }
            }
            (Err(option::Error::List(error)), Err(expected)) => {
                prop_assert_eq!(error.reason, expected.reason);
                prop_assert_eq!(error.offset, expected.offset + prefix.len());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
