// SPDX-License-Identifier: GPL-2.0

//! Properties of the parsers, on random texts, against a model that sets bit after bit.

use kthread_cpus_core::{
    cpulist::{self, Mask, Reason},
    option::{self, Classes},
};
use proptest::prelude::*;

const BITS: usize = usize::BITS as usize;

/// The grammar, as it is described: splits into tokens, computes in 128 bits, sets single bits.
mod model {
    use super::Reason;

    fn number(text: &mut &[u8], nbits: u32) -> Result<u128, Reason> {
        if let [b'N', rest @ ..] = text {
            *text = rest;
            return Ok(u128::from(nbits) - 1);
        }
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = text.split_at(digits);
        *text = rest;
        let number = number.iter().fold(None, |number, digit| {
            Some((number.unwrap_or(0u128) * 10 + u128::from(digit - b'0')).min(1 << 100))
        });
        match number {
            None => Err(Reason::Malformed),
            Some(number) if number > u128::from(u32::MAX) => Err(Reason::Overflow),
            Some(number) => Ok(number),
        }
    }

    fn space(byte: u8) -> bool {
        [b' ', b'\t', b'\n', 0x0b, 0x0c, b'\r', 0xa0].contains(&byte)
    }

    fn token(text: &mut &[u8], byte: u8) -> Result<(), Reason> {
        match text {
            [first, rest @ ..] if *first == byte => {
                *text = rest;
                Ok(())
            }
            _ => Err(Reason::Malformed),
        }
    }

    pub(super) fn parse(text: &[u8], nbits: u32) -> Result<Vec<bool>, Reason> {
        let mut set = vec![false; nbits as usize];
        let mut text = text.split(|&byte| byte == 0).next().unwrap_or(&[]);

        loop {
            while let [first, rest @ ..] = text {
                if *first != b',' && !space(*first) {
                    break;
                }
                text = rest;
            }
            if text.is_empty() {
                return Ok(set);
            }

            let region_ends =
                |text: &[u8]| text.first().is_none_or(|&byte| byte == b',' || space(byte));
            let (first, last);
            if text.len() >= 3 && text[..3].eq_ignore_ascii_case(b"all") {
                text = &text[3..];
                (first, last) = (0, u128::from(nbits) - 1);
            } else {
                first = number(&mut text, nbits)?;
                last = if region_ends(text) {
                    first
                } else {
                    token(&mut text, b'-')?;
                    number(&mut text, nbits)?
                };
            }

            let (mut used, mut group) = (1, 1);
            let plain = region_ends(text);
            if !plain {
                token(&mut text, b':')?;
                used = number(&mut text, nbits)?;
                token(&mut text, b'/')?;
                group = number(&mut text, nbits)?;
            }

            if first > last || group == 0 || used > group {
                return Err(Reason::Malformed);
            }
            if last >= u128::from(nbits) {
                return Err(Reason::OutOfRange);
            }
            for bit in first..=last {
                if (bit - first) % group < used {
                    set[bit as usize] = true;
                }
            }
            if plain && text.first() == Some(&b'\n') {
                return Ok(set);
            }
        }
    }
}

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

    match model::parse(text, nbits) {
        Ok(bits) => {
            prop_assert_eq!(result, Ok(()));
            for (word, &value) in words[..used].iter().enumerate() {
                let expected = (0..BITS)
                    .filter(|bit| bits.get(word * BITS + bit).copied().unwrap_or(false))
                    .fold(0, |value, bit| value | (1 << bit));
                prop_assert_eq!(value, expected, "word {}", word);
            }
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
        flags in prop::collection::vec(prop::sample::select(&Classes::FLAGS[..]), 1..8),
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
                for (_, class) in Classes::FLAGS {
                    let given = flags.iter().any(|(_, flag)| *flag == class);
                    prop_assert_eq!(classes.contains(class), given);
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
