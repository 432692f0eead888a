// SPDX-License-Identifier: GPL-2.0

//! The words of a kernel command line, separated as the kernel does it (`next_arg()` in
//! `lib/cmdline.c`), and the numbers in them.

/// A word of a command line, an option or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it stands on the line, quotation marks included.
    pub text: String,
    /// What is before the first `=`, with `_` in place of `-`: to the kernel they are the same.
    pub name: String,
    /// What is behind it, if there is one.
    pub value: Option<String>,
}

impl Word {
    /// Returns the value, if this is the option `name`.
    pub fn value_of(&self, name: &str) -> Option<&str> {
        self.value.as_deref().filter(|_| self.name == name)
    }
}

/// Whether the kernel takes a byte for white space: its table of characters is that of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// Takes a word, with `line` beginning with it, and returns its length too.
///
/// Double quotes around a value, or around all of the word, are not part of it; others are. White
/// space between any two of them does not end the word.
fn next(line: &[u8]) -> (Word, usize) {
    let open = usize::from(line.first() == Some(&b'"'));
    let args = &line[open..];
    let mut quoted = open == 1;
    let mut equals = 0;
    let mut end = args.len();

    for (at, &byte) in args.iter().enumerate() {
        if is_space(byte) && !quoted {
            end = at;
            break;
        }
        if equals == 0 && byte == b'=' {
            equals = at;
        }
        quoted ^= byte == b'"';
    }

    let length = open + end;
    let mut start = equals + 1;
    let value_quoted = equals != 0 && args.get(start) == Some(&b'"');
    if value_quoted {
        start += 1;
    }
    if (value_quoted || open == 1) && end > 0 && args[end - 1] == b'"' {
        end -= 1;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let word = Word {
        text: text(&line[..length]),
        name: match equals {
            0 => text(&args[..end]),
            _ => text(&args[..equals]).replace('-', "_"),
        },
        value: (equals != 0).then(|| text(args.get(start..end).unwrap_or_default())),
    };
    (word, length)
}

/// Returns the words that are for the kernel, and what is after `--`, which is for init.
fn split(cmdline: &str) -> (Vec<Word>, Option<String>) {
    let mut rest = cmdline.as_bytes();
    let mut words = Vec::new();

    loop {
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[spaces..];
        // No C program can hand over more.
        if matches!(rest.first(), None | Some(0)) {
            return (words, None);
        }
        let (mut word, length) = next(rest);
        rest = &rest[length..];
        if word.value.is_none() {
            if word.name == "--" {
                let tail = String::from_utf8_lossy(rest).trim().to_owned();
                return (words, Some(tail));
            }
            word.name = word.name.replace('-', "_");
        }
        words.push(word);
    }
}

/// Returns the words that are for the kernel: what is after `--` is for init.
pub fn words(cmdline: &str) -> Vec<Word> {
    split(cmdline).0
}

/// Returns a command line without some of its words, and with `added` at the end of what is for the
/// kernel. What is for init stays behind it.
pub fn replace(cmdline: &str, leave_out: impl Fn(&Word) -> bool, added: &[&str]) -> String {
    let (words, tail) = split(cmdline);
    let kept = words.iter().filter(|word| !leave_out(word));
    let mut parts: Vec<_> = kept.map(|word| word.text.as_str()).collect();

    parts.extend(added);
    if let Some(tail) = &tail {
        parts.extend(["--", tail]);
    }
    parts.join(" ")
}

/// Returns the last value of an option.
pub fn last_value(cmdline: &str, name: &str) -> Option<String> {
    let mut words = words(cmdline).into_iter().rev();

    words.find_map(|word| word.value_of(name).map(str::to_owned))
}

/// Returns the number that a text begins with, as `get_option()` of the kernel reads it: decimal,
/// octal after `0`, hexadecimal after `0x`. What follows does not matter.
pub fn leading_number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (digits, radix) = match hexadecimal {
        Some(rest) => (rest, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());

    // The kernel's number wraps where there are too many digits; nobody has that many CPUs.
    i64::from_str_radix(&digits[..end], radix)
        .ok()
        .map(|number| sign * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(cmdline: &str) -> Vec<(String, Option<String>)> {
        let words = words(cmdline).into_iter();

        words.map(|word| (word.name, word.value)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn the_last_value_counts() {
        let cmdline = "a kthread_cpus=0 kthread-cpus=2-3 x=\"b c\" -- kthread_cpus=1";

        assert_eq!(last_value(cmdline, "kthread_cpus").as_deref(), Some("2-3"));
        assert_eq!(last_value(cmdline, "x").as_deref(), Some("b c"));
        assert_eq!(last_value(cmdline, "y"), None);
        assert_eq!(pairs(" \t "), []);
    }

    #[test]
    fn quotation_marks() {
        for (cmdline, name, value) in [
            ("a=\"0, 1\"", "a", "0, 1"),
            ("\"a=0, 1\"", "a", "0, 1"),
            ("a=\"0 1", "a", "0 1"),
            ("a=\"\"", "a", ""),
            ("a=\"", "a", ""),
            ("a=", "a", ""),
            // Only those around it are no part of the value.
            ("a=0\" \"1", "a", "0\" \"1"),
            ("a=\"0\"1", "a", "0\"1"),
            ("a=b=\"c d\"", "a", "b=\"c d\""),
            ("a-b=c-d", "a_b", "c-d"),
            ("=a=b", "=a", "b"),
        ] {
            assert_eq!(pairs(cmdline), [pair(name, value)], "{cmdline}");
        }
        assert_eq!(
            pairs("\"a b\" c\"d e\"f"),
            [("a b".to_owned(), None), ("c\"d e\"f".to_owned(), None)]
        );
    }

    #[test]
    fn words_are_replaced() {
        let line = " root=/dev/vda  isolcpus=1 \"a b\" iso-lcpus -- isolcpus=2  x ";

        assert_eq!(
            replace(line, |word| word.name == "isolcpus", &["isolcpus=3", "y"]),
            "root=/dev/vda \"a b\" iso-lcpus isolcpus=3 y -- isolcpus=2  x"
        );
        assert_eq!(replace("", |_| true, &[]), "");
    }

    #[test]
    fn what_is_for_init() {
        assert_eq!(pairs("a=1 -- b=2"), [pair("a", "1")]);
        assert_eq!(pairs("a=1 \"--\" b=2"), [pair("a", "1")]);
        assert_eq!(pairs("--=1 a=2"), [pair("__", "1"), pair("a", "2")]);
    }

    #[test]
    fn the_table_of_characters_is_latin_1() {
        // The second byte of this letter is the space that does not break lines.
        assert_eq!(words("à=1 b=2").len(), 3);
        assert_eq!(pairs("a=1\u{b}b=2"), [pair("a", "1"), pair("b", "2")]);
    }

    #[test]
    fn numbers() {
        for (text, number) in [
            ("8", Some(8)),
            ("010", Some(8)),
            ("0x10,3", Some(16)),
            ("0", Some(0)),
            ("0x", Some(0)),
            ("-1", Some(-1)),
            ("4k", Some(4)),
            ("", None),
            ("x", None),
            ("-", None),
        ] {
            assert_eq!(leading_number(text), number, "{text}");
        }
    }
}
