// SPDX-License-Identifier: GPL-2.0

//! Random lists that are mostly well-formed, or nearly so.

/// A generator of random numbers: SplitMix64, which gives the same ones for the same seed.
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of `choices`.
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
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
    b",,,,,,,,,,,,,",
];

/// Bytes that a list is not the same without.
const BYTES: [u8; 20] = *b"0129N,-:/aAlL \n\0\xa0\xe1\xff+";

/// A list and the bits of the mask for it.
pub fn list(random: &mut Random) -> (Vec<u8>, u32) {
    let nbits = nbits(random);
    let regions = match random.below(64) {
        0 => random.below(600),
        1..=15 => random.below(40),
        _ => random.below(8),
    };
    let mut text = Vec::new();

    if random.below(8) == 0 {
        text.extend(random.of(&SEPARATORS));
    }
    for _ in 0..regions {
        region(random, nbits, &mut text);
        text.extend(random.of(&SEPARATORS));
    }
    // Most lists do not end with a separator.
    if text.last() == Some(&b',') && random.below(4) != 0 {
        text.pop();
    }
    // Of a long list the end would seldom be reached if a byte of each were changed.
    while random.below(4) == 0 && !text.is_empty() {
        let at = random.below(text.len() as u64) as usize;
        match random.below(3) {
            0 => text[at] = random.of(&BYTES),
            1 => text.insert(at, random.of(&BYTES)),
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
fn nbits(random: &mut Random) -> u32 {
    const USUAL: [u32; 12] = [1, 2, 4, 8, 16, 31, 63, 64, 65, 128, 256, 8192];

    match random.below(4) {
        0 => random.of(&USUAL),
        1 => 1 + random.below(130) as u32,
        _ => 1 + random.below(8192) as u32,
    }
}

fn region(random: &mut Random, nbits: u32, text: &mut Vec<u8>) {
    // Most of them are valid, since the first one that is not ends the list.
    let valid = random.below(16) != 0;

    match random.below(16) {
        0 => text.extend(random.of(&[b"all", b"ALL", b"aLl"])),
        1..=5 => number(random, nbits, valid, text),
        _ => {
            let (a, b) = (random.below(nbits.into()), random.below(nbits.into()));
            if valid {
                text.extend(a.min(b).to_string().bytes());
                text.push(b'-');
                if random.below(8) == 0 {
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
    if random.below(3) == 0 {
        groups(random, nbits, text);
    }
}

fn groups(random: &mut Random, nbits: u32, text: &mut Vec<u8>) {
    text.push(b':');
    match random.below(16) {
        // Here C wraps.
        0 => {
            number(random, nbits, true, text);
            text.push(b'/');
            let less = random.below(u64::from(nbits) + 2);
            text.extend((u64::from(u32::MAX) + 1 - less).to_string().bytes());
        }
        1 => {
            number(random, nbits, false, text);
            text.push(b'/');
            number(random, nbits, false, text);
        }
        _ => {
            let end = if random.below(4) == 0 { 9000 } else { 140 };
            let group = 1 + random.below(end);
            text.extend(random.below(group + 1).to_string().bytes());
            text.push(b'/');
            text.extend(group.to_string().bytes());
        }
    }
}

fn number(random: &mut Random, nbits: u32, valid: bool, text: &mut Vec<u8>) {
    if random.below(16) == 0 {
        return text.push(b'N');
    }
    if random.below(16) == 0 {
        text.extend(random.of(&[&b"0"[..], b"00", b"0000000000000000000000000000"]));
    }
    let number = match random.below(if valid { 1 } else { 4 }) {
        0 => random.below(nbits.into()),
        // At a limit.
        1 => {
            let limit = random.of(&[u64::from(nbits), 1 << 31, 1 << 32, 1 << 63]);
            limit + random.below(3) - 1
        }
        2 => random.below(1 << 33),
        // Often more than 64 bits.
        _ => {
            text.extend(random.next().to_string().bytes());
            random.below(1000)
        }
    };
    text.extend(number.to_string().bytes());
}
