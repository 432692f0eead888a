// SPDX-License-Identifier: GPL-2.0

//! The lists that the two parsers are measured on.

/// A list to measure.
#[derive(Clone)]
pub struct Input {
    /// What it is called in a table.
    pub name: String,
    /// The list.
    pub text: Vec<u8>,
    /// The bits of the mask.
    pub nbits: u32,
}

/// Lists such as the guides for telecommunications, NFV, trading and real-time systems give for
/// `kthread_cpus=`, `isolcpus=` and their like, and the CPUs of the machines that they are for.
const REALISTIC: [(&str, u32); 20] = [
    ("0", 4),
    ("0-1", 8),
    ("0,4", 8),
    ("2-7", 8),
    ("0,1,32,33", 64),
    ("0-1,20-21", 40),
    ("0,20,40,60", 80),
    ("2-19,22-39", 40),
    ("0-3,28-31", 56),
    ("0,1,26,27,52,53,78,79", 104),
    ("0-1,32-33,64-65,96-97", 128),
    ("4-31,36-63,68-95,100-127", 128),
    ("0,2,4,6,8,10,12,14", 48),
    ("1,3,5,7,9,11,13,15,17,19,21,23", 48),
    ("0-5,64-69", 128),
    ("0-15,128-143", 256),
    ("0-31:2/16", 32),
    ("0-127:1/8,128-255:1/8", 256),
    ("0,N", 64),
    (
        "0-7,56-63,112-119,168-175,224-231,280-287,336-343,392-399",
        448,
    ),
];

/// Every list that is measured.
pub fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut add = |name: &str, text: &[u8], nbits| {
        inputs.push(Input {
            name: name.into(),
            text: text.into(),
            nbits,
        });
    };
    let numbers = |count: u32, step: u32| {
        let numbers = (0..count).map(|number| (number * step).to_string());
        numbers.collect::<Vec<_>>().join(",").into_bytes()
    };

    for (text, nbits) in [
        ("0-3", 8),
        ("0-3", 8192),
        ("0-8191", 8192),
        ("0-8191:1/2", 8192),
        ("0-8191:2/256", 8192),
        ("all", 8),
        ("all", 8192),
        ("N", 8),
        ("7", 8),
        ("0-7:1/2", 8),
        ("0-7:0/2", 8),
        ("0-7:8/8", 8),
        ("0-8191:1/1", 8192),
        ("0-8191:3/64", 8192),
        ("0-8191:40/100", 8192),
        ("8191", 8192),
    ] {
        add(text, text.as_bytes(), nbits);
    }
    add("512 single numbers", &numbers(512, 1), 512);
    add("512 single numbers", &numbers(512, 16), 8192);
    add("8 single numbers", &numbers(8, 1), 8);

    for (text, nbits) in REALISTIC {
        add(text, text.as_bytes(), nbits);
    }

    for nbits in [8, 8192] {
        add("(empty)", b"", nbits);
        add(",", b",", nbits);
        add(",,,,", b",,,,", nbits);
        add("1,000 commas", &[b','; 1000], nbits);
        add("1,000 spaces", &[b' '; 1000], nbits);
        add("1,000 no-break spaces", &[0xa0; 1000], nbits);
        add(
            "1,000 separators and 0",
            &[&[b','; 1000][..], b"0"].concat(),
            nbits,
        );
        add(
            "0 and 1,000 separators",
            &[b"0", &[b','; 1000][..]].concat(),
            nbits,
        );
    }
    add(" 0 , 3 ", b" 0 , 3 ", 8);
    add("1\\n", b"1\n", 8);

    for (text, nbits) in [
        ("x", 8),
        ("-", 8),
        ("1-", 8),
        ("3-1", 8),
        ("0-x", 8),
        ("99", 8),
        ("8", 8),
        ("0-99", 8),
        ("4294967296", 8),
        ("18446744073709551616", 8),
        ("0-7:3/2", 8),
        ("0-7:1/0", 8),
        ("al", 8),
        ("alll", 8),
        ("0-1,32-33,64-65,96-97,x", 128),
        ("0-1,32-33,64-65,96-97,128", 128),
        ("0,1,2,3,4,5,6,7,8", 8),
    ] {
        add(text, text.as_bytes(), nbits);
    }
    add(
        "512 single numbers and an error",
        &[&numbers(512, 1)[..], b",x"].concat(),
        8192,
    );
    add(
        "1,000 commas and an error",
        &[&[b','; 1000][..], b"x"].concat(),
        8,
    );
    add("a number of 1,000 digits", &[b'0'; 1000], 8);
    add("too large a number of 1,000 digits", &[b'9'; 1000], 8);
    inputs
}

/// Runs of separators of any length, alone and between two numbers, which nobody writes on purpose.
pub fn separators() -> Vec<Input> {
    let mut inputs = Vec::new();
    let patterns = [
        ("commas", &b","[..]),
        ("commas and spaces", b", "),
        ("spaces and two commas", b" ,,"),
        ("kinds of separators", b",,\t \n"),
    ];

    for length in (2..=32).chain([63, 64, 100]) {
        for (name, pattern) in patterns {
            let run: Vec<u8> = pattern.iter().copied().cycle().take(length).collect();
            let between = [b"0", &run[..], b"1"].concat();

            for nbits in [8, 8192] {
                inputs.push(Input {
                    name: format!("{length} {name}"),
                    text: run.clone(),
                    nbits,
                });
                inputs.push(Input {
                    name: format!("0, {length} {name} and 1"),
                    text: between.clone(),
                    nbits,
                });
            }
        }
    }
    inputs
}
