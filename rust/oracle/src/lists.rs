// SPDX-License-Identifier: GPL-2.0

//! Random lists that are mostly well-formed, or nearly so.

pub use fastrand::Rng;

/// One of `choices`.
fn one_of<T: Copy>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(..choices.len())]
}

/// What stands between regions, the most usual most often.
const SEPARATORS: [&[u8]; 16] = [
    b",",
    b",",
    b",",
    b",",
    b",",
    b",",
    b",",
    b",",
    b" ",
    b",, ",
    b"\n",
    b"\t",
    b"\r\x0b\x0c",
    b"\xa0",
    b"",
    // Many are skipped several at a time, by whether they are the same.
    b",,,,,,,,,,,,,,,,,,, ,,\t,,\xa0,,,",
];

/// Bytes that a list is not the same without.
const BYTES: [u8; 20] = *b"0129N,-:/aAlL \n\0\xa0\xe1\xff+";

/// A list and the bits of the mask for it.
pub fn list(random: &mut Rng) -> (Vec<u8>, u32) {
    let nbits = nbits(random);
    let regions = match random.u64(..64) {
        0 => random.u64(..600),
        1..=15 => random.u64(..40),
        _ => random.u64(..8),
    };
    let mut text = Vec::new();

    if random.u64(..8) == 0 {
        text.extend(one_of(random, &SEPARATORS));
    }
    for _ in 0..regions {
        region(random, nbits, &mut text);
        text.extend(one_of(random, &SEPARATORS));
    }
    // Most lists do not end with a separator.
    if text.last() == Some(&b',') && random.u64(..4) != 0 {
        text.pop();
    }
    // Of a long list the end would seldom be reached if a byte of each were changed.
    while random.u64(..4) == 0 && !text.is_empty() {
        let at = random.usize(..text.len());
        match random.u64(..3) {
            0 => text[at] = one_of(random, &BYTES),
            1 => text.insert(at, one_of(random, &BYTES)),
            _ => drop(text.remove(at)),
        }
    }
    (text, nbits)
}

/// The bits of a mask, from 1 to 8192, and a list, as the fuzzer makes them of any bytes; nothing of
/// less than two bytes.
pub fn from_bytes(data: &[u8]) -> Option<(u32, &[u8])> {
    let (nbits, text) = data.split_first_chunk()?;

    Some((1 + u32::from(u16::from_le_bytes(*nbits)) % 8192, text))
}

/// From 1 to 8192, often around the size of a word, or as of a machine.
fn nbits(random: &mut Rng) -> u32 {
    const USUAL: [u32; 12] = [1, 2, 4, 8, 16, 31, 63, 64, 65, 128, 256, 8192];

    match random.u64(..4) {
        0 => one_of(random, &USUAL),
        1 => 1 + random.u64(..130) as u32,
        _ => 1 + random.u64(..8192) as u32,
    }
}

fn region(random: &mut Rng, nbits: u32, text: &mut Vec<u8>) {
    // Most of them are valid, since the first one that is not ends the list.
    let valid = random.u64(..16) != 0;

    match random.u64(..16) {
        0 => text.extend(one_of(random, &[b"all", b"ALL", b"aLl"])),
        1..=5 => number(random, nbits, valid, text),
        _ => {
            let (a, b) = (
                random.u64(..u64::from(nbits)),
                random.u64(..u64::from(nbits)),
            );
            if valid {
                text.extend(a.min(b).to_string().bytes());
                text.push(b'-');
                if random.u64(..8) == 0 {
                    text.push(b'N');
                } else {
                    text.extend(a.max(b).to_string().bytes());
                }
            } else {
                number(random, nbits, false, text);
                text.push(b'-');
                number(random, nbits, false, text);
            }
        }
    }
    if random.u64(..3) == 0 {
        groups(random, nbits, text);
    }
}

fn groups(random: &mut Rng, nbits: u32, text: &mut Vec<u8>) {
    text.push(b':');
    match random.u64(..16) {
        // Here C wraps.
        0 => {
            number(random, nbits, true, text);
            text.push(b'/');
            let less = random.u64(..(u64::from(nbits) + 2));
            text.extend((u64::from(u32::MAX) + 1 - less).to_string().bytes());
        }
        1 => {
            number(random, nbits, false, text);
            text.push(b'/');
            number(random, nbits, false, text);
        }
        _ => {
            let end = if random.u64(..4) == 0 { 9000 } else { 140 };
            let group = 1 + random.u64(..end);
            text.extend(random.u64(..(group + 1)).to_string().bytes());
            text.push(b'/');
            text.extend(group.to_string().bytes());
        }
    }
}

fn number(random: &mut Rng, nbits: u32, valid: bool, text: &mut Vec<u8>) {
    if random.u64(..16) == 0 {
        return text.push(b'N');
    }
    if random.u64(..16) == 0 {
        text.extend(one_of(
            random,
            &[&b"0"[..], b"00", b"0000000000000000000000000000"],
        ));
    }
    let number = match random.u64(..(if valid { 1 } else { 4 })) {
        0 => random.u64(..u64::from(nbits)),
        // At a limit.
        1 => {
            let limit = one_of(random, &[u64::from(nbits), 1 << 31, 1 << 32, 1 << 63]);
            limit + random.u64(..3) - 1
        }
        2 => random.u64(..(1 << 33)),
        // Often more than 64 bits.
        _ => {
            text.extend(random.u64(..).to_string().bytes());
            random.u64(..1000)
        }
    };
    text.extend(number.to_string().bytes());
}
