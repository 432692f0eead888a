// SPDX-License-Identifier: GPL-2.0

//! A heat map as an image, for where a page cannot be shown.

use std::io::Write;

use crate::{
    error::{Error, Result},
    heatmap::{Column, HeatMap, Kind},
};

type Colour = [u8; 3];

const PAPER: Colour = [255, 255, 255];
const INK: Colour = [29, 35, 39];
const SOFT: Colour = [92, 102, 110];
const CELL: Colour = [241, 243, 244];
const CELL_INSIDE: Colour = [233, 241, 251];
const INSIDE: Colour = [38, 103, 184];
const EXEMPT: Colour = [138, 122, 53];
const OUTSIDE: Colour = [200, 50, 31];

/// How many pixels a dot of a letter has, each way.
const DOT: usize = 2;
/// The width and height of a letter with the space after it, in pixels.
const LETTER: (usize, usize) = (6 * DOT, 8 * DOT);
/// The most letters of a name.
const NAME: usize = 34;
/// The height of a row.
const ROW: usize = 22;
/// The space around everything.
const MARGIN: usize = 20;

/// The dots of the letters that names of threads have, row by row; the highest bit is on the left.
#[rustfmt::skip]
const GLYPHS: [(char, [u8; 7]); 69] = [
    ('A', [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('B', [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110]),
    ('C', [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    ('F', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('G', [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110]),
    ('H', [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('I', [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('J', [0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('K', [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001]),
    ('L', [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001]),
    ('N', [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001]),
    ('O', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('P', [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('Q', [0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101]),
    ('R', [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('U', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('V', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('W', [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001]),
    ('X', [0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001]),
    ('Y', [0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('Z', [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111]),
    ('a', [0b00000, 0b00000, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111]),
    ('b', [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('c', [0b00000, 0b00000, 0b01111, 0b10000, 0b10000, 0b10000, 0b01111]),
    ('d', [0b00001, 0b00001, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111]),
    ('e', [0b00000, 0b00000, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110]),
    ('f', [0b00110, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b01000]),
    ('g', [0b00000, 0b01111, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('h', [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001]),
    ('i', [0b00100, 0b00000, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('j', [0b00010, 0b00000, 0b00110, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('k', [0b10000, 0b10000, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010]),
    ('l', [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('m', [0b00000, 0b00000, 0b11010, 0b10101, 0b10101, 0b10101, 0b10101]),
    ('n', [0b00000, 0b00000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001]),
    ('o', [0b00000, 0b00000, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('p', [0b00000, 0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000]),
    ('q', [0b00000, 0b01111, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001]),
    ('r', [0b00000, 0b00000, 0b10110, 0b11000, 0b10000, 0b10000, 0b10000]),
    ('s', [0b00000, 0b00000, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110]),
    ('t', [0b01000, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b00110]),
    ('u', [0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111]),
    ('v', [0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('w', [0b00000, 0b00000, 0b10001, 0b10101, 0b10101, 0b10101, 0b01010]),
    ('x', [0b00000, 0b00000, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001]),
    ('y', [0b00000, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('z', [0b00000, 0b00000, 0b11111, 0b00010, 0b00100, 0b01000, 0b11111]),
    ('0', [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111]),
    ('3', [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110]),
    ('6', [0b01110, 0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('8', [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001, 0b01110]),
    ('/', [0b00001, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b10000]),
    (':', [0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000]),
    ('-', [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000]),
    ('_', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b11111]),
    ('*', [0b00000, 0b00100, 0b10101, 0b01110, 0b10101, 0b00100, 0b00000]),
    ('.', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00100, 0b00100]),
    (',', [0b00000, 0b00000, 0b00000, 0b00000, 0b00100, 0b00100, 0b01000]),
];

/// An image.
struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Image {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: PAPER.repeat(width * height),
        }
    }

    /// Fills a rectangle, as far as it is in the image.
    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        for row in y..(y + height).min(self.height) {
            for column in x..(x + width).min(self.width) {
                let at = (row * self.width + column) * 3;
                self.pixels[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    /// Writes text; a letter that has no dots is a box.
    fn text(&mut self, x: usize, y: usize, text: &str, colour: Colour) {
        for (index, letter) in text.chars().enumerate() {
            let rows = match GLYPHS.iter().find(|(c, _)| *c == letter) {
                Some((_, rows)) => *rows,
                None if letter == ' ' => [0; 7],
                None => [31, 17, 17, 17, 17, 17, 31],
            };
            // What hangs below the line.
            let drop = usize::from("gpqy,".contains(letter));
            for (row, dots) in rows.iter().enumerate() {
                for column in 0..5 {
                    if dots >> (4 - column) & 1 != 0 {
                        let left = x + index * LETTER.0 + column * DOT;
                        self.fill(left, y + (row + drop) * DOT, DOT, DOT, colour);
                    }
                }
            }
        }
    }
}

/// Returns a colour on a ground that shines through.
fn blend(ground: Colour, colour: Colour, strength: f64) -> Colour {
    let mix = |index: usize| {
        let (a, b) = (f64::from(ground[index]), f64::from(colour[index]));
        (a + (b - a) * strength).round() as u8
    };

    [mix(0), mix(1), mix(2)]
}

/// Returns the width of the columns of a map.
fn column_width(map: &HeatMap) -> usize {
    match map.columns.len() {
        0..=16 => 34,
        17..=64 => 22,
        _ => 10,
    }
}

/// Draws a map without its names, with its left edge at `left`.
fn draw(image: &mut Image, left: usize, top: usize, label: &str, map: &HeatMap) {
    let width = column_width(map);
    let body = top + 2 * LETTER.1 + 14;

    image.text(left, top, label, INK);
    let digits = |column: &Column| column.cpus.first().unwrap_or_default().to_string().len();
    let longest = map.columns.iter().map(digits).max().unwrap_or(1);
    // As many numbers as there is room for.
    let step = (longest * LETTER.0 + 4).div_ceil(width);
    for (index, column) in map.columns.iter().enumerate() {
        let x = left + index * width;
        let ground = if column.inside { CELL_INSIDE } else { CELL };
        image.fill(x, body, width - 2, map.rows.len() * ROW, ground);
        if column.inside {
            image.fill(x, body - 6, width, 4, INSIDE);
        }
        if index % step == 0 {
            let number = column.cpus.first().unwrap_or_default().to_string();
            let indent = width.saturating_sub(number.len() * LETTER.0) / 2;
            image.text(x + indent, body - LETTER.1 - 8, &number, SOFT);
        }
        for (row, cells) in map.rows.iter().enumerate() {
            if let Some(cell) = &cells.cells[index] {
                let colour = match cell.kind {
                    Kind::Inside => INSIDE,
                    Kind::Exempt => EXEMPT,
                    Kind::Outside => OUTSIDE,
                };
                let colour = blend(ground, colour, cell.heat);
                image.fill(x, body + row * ROW + 1, width - 2, ROW - 2, colour);
            }
        }
    }
}

/// Writes the maps as one image, side by side with the names of their rows, which they share.
///
/// # Errors
///
/// Those of the output.
pub fn write(out: &mut dyn Write, maps: &[(&str, HeatMap)]) -> Result<()> {
    let rows = maps.first().map_or(&[][..], |(_, map)| &map.rows);
    let longest = rows
        .iter()
        .map(|row| row.name.chars().count().min(NAME))
        .max();
    let names = longest.unwrap_or(0) * LETTER.0 + 16;
    let legend = [
        ("where it is meant to be", INSIDE),
        ("outside and should not be there", OUTSIDE),
        ("outside and has to be there", EXEMPT),
    ];
    let legend_width = legend
        .iter()
        .map(|(words, _)| words.len() * LETTER.0 + 22)
        .max();
    let maps_width: usize = maps
        .iter()
        .map(|(label, map)| {
            let columns = map.columns.len() * column_width(map);
            columns.max(label.len() * LETTER.0) + 30
        })
        .sum();
    let body = MARGIN + 2 * LETTER.1 + 14;
    let width = 2 * MARGIN + (names + maps_width).max(legend_width.unwrap_or(0));
    let below = body + rows.len() * ROW + MARGIN;
    let height = below + legend.len() * ROW + MARGIN;
    let mut image = Image::new(width, height);

    for (index, row) in rows.iter().enumerate() {
        let name: String = row.name.chars().take(NAME).collect();
        let x = MARGIN + names - 10 - name.chars().count() * LETTER.0;
        image.text(x, body + index * ROW + 4, &name, INK);
    }
    let mut x = MARGIN + names;
    for (label, map) in maps {
        draw(&mut image, x, MARGIN, label, map);
        x += (map.columns.len() * column_width(map)).max(label.len() * LETTER.0) + 30;
    }
    for (index, (words, colour)) in legend.into_iter().enumerate() {
        let y = below + index * ROW;
        image.fill(MARGIN, y, 14, 14, colour);
        image.text(MARGIN + 22, y, words, SOFT);
    }

    let fail = |error| Error::new(format_args!("cannot write the image: {error}"));
    let mut encoder = ::png::Encoder::new(out, width as u32, height as u32);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_compression(::png::Compression::Best);
    let mut writer = encoder.write_header().map_err(fail)?;
    writer.write_image_data(&image.pixels).map_err(fail)?;
    writer.finish().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heatmap::{Cell, Row};

    #[test]
    fn an_image_has_the_colours_of_its_cells() {
        let cpus = |cpu| crate::cpuset::CpuSet::from_iter([cpu]);
        let map = HeatMap {
            columns: vec![
                Column {
                    cpus: cpus(0),
                    inside: true,
                },
                Column {
                    cpus: cpus(1),
                    inside: false,
                },
            ],
            rows: vec![Row {
                name: "kswapd0 é".to_owned(),
                threads: 1,
                cells: vec![
                    None,
                    Some(Cell {
                        kind: Kind::Outside,
                        ns: 1,
                        count: 1,
                        heat: 1.0,
                    }),
                ],
            }],
            omitted: 0,
        };
        let mut file = Vec::new();
        write(&mut file, &[("Before", map.clone()), ("After", map)]).unwrap();

        let mut reader = ::png::Decoder::new(&*file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size()];
        reader.next_frame(&mut pixels).unwrap();
        let red = pixels.chunks(3).filter(|pixel| **pixel == OUTSIDE).count();
        // Two cells and the legend.
        assert_eq!(red, 2 * 32 * (ROW - 2) + 14 * 14);
    }

    #[test]
    fn no_map_is_too_small_or_too_large() {
        for columns in [0, 1, 128] {
            let map = HeatMap {
                columns: (0..columns)
                    .map(|cpu| Column {
                        cpus: crate::cpuset::CpuSet::from_iter([cpu]),
                        inside: false,
                    })
                    .collect(),
                rows: Vec::new(),
                omitted: 0,
            };
            write(&mut Vec::new(), &[("", map)]).unwrap();
        }
    }
}
