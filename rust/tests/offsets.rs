// SPDX-License-Identifier: GPL-2.0

//! Where the parsers say that an error is, and what the option makes of its flags.

use kthread_cpus_core::{
    cpulist::{self, Mask, Reason},
    cpumask::sets::Shown,
    option::{self, Classes, Error, Verdict},
};

fn list(text: &[u8]) -> Result<usize, (Reason, usize)> {
    let mut words = [0];
    cpulist::parse(text, &mut Mask::new(&mut words, 8).unwrap())
        .map(|()| words[0])
        .map_err(|error| (error.reason, error.offset))
}

fn value(text: &[u8]) -> Result<(String, usize), Error> {
    let mut words = [0];
    option::parse(text, &mut Mask::new(&mut words, 8).unwrap())
        .map(|classes| (classes.to_string(), words[0]))
}

#[test]
fn the_first_byte_that_cannot_be_used() {
    use Reason::*;

    assert_eq!(list(b"0-1,x"), Err((Malformed, 4)));
    assert_eq!(list(b"0-1x"), Err((Malformed, 3)));
    assert_eq!(list(b"1-"), Err((Malformed, 2)));
    assert_eq!(list(b"1--2"), Err((Malformed, 2)));
    assert_eq!(list(b" 3-1"), Err((Malformed, 3)));
    assert_eq!(list(b"+1"), Err((Malformed, 0)));
    assert_eq!(list(b"0,alx"), Err((Malformed, 2)));
    assert_eq!(list(b"alll"), Err((Malformed, 3)));
    assert_eq!(list(b"0-7:3/2"), Err((Malformed, 6)));
    assert_eq!(list(b"0-7:0/0"), Err((Malformed, 6)));
    assert_eq!(list(b"0-7:1"), Err((Malformed, 5)));
    assert_eq!(list(b"0-7:1/"), Err((Malformed, 6)));
    assert_eq!(list(b"5,8"), Err((OutOfRange, 2)));
    assert_eq!(list(b"5-8"), Err((OutOfRange, 2)));
    assert_eq!(list(b"5,10-12"), Err((OutOfRange, 2)));
    assert_eq!(list(b"1,4294967296"), Err((Overflow, 2)));
    assert_eq!(list(b"0-4294967296"), Err((Overflow, 2)));
}

#[test]
fn where_c_wraps_the_grammar_holds() {
    assert_eq!(list(b"1-3:1/4294967295"), Ok(0b10));
    assert_eq!(list(b"4294967295"), Err((Reason::OutOfRange, 0)));
    assert_eq!(list(b"0-4294967295"), Err((Reason::OutOfRange, 2)));
}

#[test]
fn flags() {
    let all = "kthread,wq,umh,init,irq,timer".to_string();

    assert_eq!(value(b"0-1"), Ok((all.clone(), 0b11)));
    assert_eq!(value(b"N"), Ok((all.clone(), 0x80)));
    assert_eq!(value(b"all:1/2"), Ok((all.clone(), 0x55)));
    assert_eq!(value(b"ALL"), Ok((all.clone(), 0xff)));
    assert_eq!(value(b""), Ok((all, 0)));
    for &(flag, class) in Classes::FLAGS {
        assert_eq!(
            value(format!("{flag},1").as_bytes()),
            Ok((flag.to_string(), 0b10))
        );
        assert_eq!(Classes(class).to_string(), flag);
    }
    assert_eq!(
        value(b"irq,kthread,irq,0,N"),
        Ok(("kthread,irq".to_string(), 0x81))
    );
    assert_eq!(value(b"wq"), Ok(("wq".to_string(), 0)));
    assert_eq!(
        Classes(u32::MAX).to_string(),
        "kthread,wq,umh,init,irq,timer"
    );
    assert_eq!(value(b"wq,"), Ok(("wq".to_string(), 0)));
}

#[test]
fn errors_before_and_after_flags() {
    let malformed = |offset| {
        Err(Error::List(cpulist::Error {
            reason: Reason::Malformed,
            offset,
        }))
    };

    assert_eq!(value(b"foo,0"), Err(Error::UnknownFlag(0)));
    assert_eq!(value(b"kthread,foo,0"), Err(Error::UnknownFlag(8)));
    assert_eq!(value(b"KTHREAD,0"), Err(Error::UnknownFlag(0)));
    assert_eq!(value(b"kthreads,0"), Err(Error::UnknownFlag(0)));
    assert_eq!(value(b"wq 0"), Err(Error::NoComma(2)));
    assert_eq!(value(b"wq0"), Err(Error::NoComma(2)));
    assert_eq!(value(b"0,wq"), malformed(2));
    assert_eq!(value(b"wq, umh,0"), malformed(4));
    assert_eq!(
        value(b"wq,umh,0-9"),
        Err(Error::List(cpulist::Error {
            reason: Reason::OutOfRange,
            offset: 9,
        }))
    );
}

#[test]
fn a_mask_has_as_many_words_as_bits_take() {
    let mut words = [0; 2];

    assert!(Mask::new(&mut words, 0).is_none());
    assert!(Mask::new(&mut words, 2 * usize::BITS).is_some());
    assert!(Mask::new(&mut words, 2 * usize::BITS + 1).is_none());
}

#[test]
fn one_list_for_machines_of_any_size() {
    let parse = |text: &[u8], cpus| {
        let mut words = [0; 2];
        let mut mask = Mask::with_cpus(&mut words, 2 * usize::BITS, cpus).unwrap();

        cpulist::parse(text, &mut mask)
            .map(|()| words)
            .map_err(|error| (error.reason, error.offset))
    };

    assert_eq!(parse(b"0-3,70", 8), Ok([0b1111, 1 << 6]));
    assert_eq!(parse(b"2-N", 8), Ok([0xfc, 0]));
    assert_eq!(parse(b"all", 8), Ok([0xff, 0]));
    assert_eq!(parse(b"9-N", 8), Err((Reason::Malformed, 2)));
    assert_eq!(parse(b"N,128", 8), Err((Reason::OutOfRange, 2)));
    assert!(Mask::with_cpus(&mut [0], usize::BITS, usize::BITS + 1).is_none());
    assert!(Mask::with_cpus(&mut [0], usize::BITS, 0).is_none());
}

#[test]
fn what_becomes_of_a_list() {
    let judge = |list: usize, behind: usize, possible, housekeeping| {
        let (mut confined, mut dropped) = ([list, behind], [usize::MAX; 2]);
        let verdict = option::judge(&mut confined, &mut dropped, &[possible], &[housekeeping]);

        (verdict, confined, dropped)
    };

    assert_eq!(
        judge(0b11, 0, 0xff, 0xff),
        (Verdict::Obeyed, [0b11, 0], [0, 0])
    );
    assert_eq!(
        judge(0x3c, 0, 0xf, 0xf),
        (Verdict::Obeyed, [0xc, 0], [0x30, 0])
    );
    assert_eq!(
        judge(0b1, 1, 0xff, 0xff),
        (Verdict::Obeyed, [0b1, 0], [0, 1])
    );
    assert_eq!(
        judge(0xc, 0, 0xff, 0xf4),
        (Verdict::Obeyed, [0xc, 0], [0, 0])
    );
    assert_eq!(judge(0, 0, 0xff, 0xff).0, Verdict::Empty);
    assert_eq!(
        judge(0x30, 1, 0xf, 0xf),
        (Verdict::Impossible, [0, 0], [0x30, 1])
    );
    assert_eq!(judge(0x3, 0, 0xff, 0xf0).0, Verdict::Isolated);
    // What is not isolated is not possible.
    assert_eq!(
        judge(0x101, 0, 0xff, 0xf0),
        (Verdict::Isolated, [1, 0], [0x100, 0])
    );
}

#[test]
fn masks_in_the_log_are_short() {
    let shown = |words: &[usize]| Shown(words).to_string();

    assert_eq!(shown(&[]), "");
    assert_eq!(shown(&[0, 0]), "");
    assert_eq!(shown(&[0b1]), "0");
    assert_eq!(shown(&[0b1011_1000, 1]), "3-5,7,64");
    assert_eq!(shown(&[usize::MAX, usize::MAX]), "0-127");
    assert_eq!(shown(&[1 << 63, 1]), "63-64");

    let half = shown(&[0x5555_5555_5555_5555; 128]);
    assert_eq!(half, "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,...");
    // Just as many ranges as are shown.
    assert_eq!(
        shown(&[0x5555_5555]),
        "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30"
    );
    // Two of them and the value fit in a line of the log with the largest numbers.
    assert!(shown(&[&[0; 127][..], &[0x5555_5555_5555_5555]].concat()).len() < 100);
}
