// SPDX-License-Identifier: GPL-2.0

//! A heat map as an image, for where a page cannot be shown.
//!
//! It is drawn by embedded-graphics, which has fonts of its own. plotters, and resvg from the SVG of the
//! page, look for a font on the machine, and those that this is for seldom have one.

use std::{convert::Infallible, io::Write};

use embedded_graphics::{
    mono_font::{iso_8859_1::FONT_10X20, MonoTextStyle},
    pixelcolor::Rgb888,
    prelude::*,
    primitives::Rectangle,
    text::{Baseline, Text},
};

use crate::{
    error::{Error, Result},
    heatmap::{Column, HeatMap, Kind},
};

const PAPER: Rgb888 = Rgb888::WHITE;
const INK: Rgb888 = Rgb888::new(29, 35, 39);
const SOFT: Rgb888 = Rgb888::new(92, 102, 110);
const CELL: Rgb888 = Rgb888::new(241, 243, 244);
const CELL_INSIDE: Rgb888 = Rgb888::new(233, 241, 251);
const INSIDE: Rgb888 = Rgb888::new(38, 103, 184);
const EXEMPT: Rgb888 = Rgb888::new(138, 122, 53);
const OUTSIDE: Rgb888 = Rgb888::new(200, 50, 31);

/// The width and height of a letter with the space around it.
const LETTER: (usize, usize) = (10, 20);
/// The most letters of a name.
const NAME: usize = 34;
/// The height of a row.
const ROW: usize = 22;
/// The space around everything.
const MARGIN: usize = 20;
/// The height of what is above the rows: a label and the numbers of the CPUs.
const HEAD: usize = 2 * LETTER.1 + 8;
/// Maps are side by side as long as that is no wider; one below the other they are seen in a page.
const WIDEST: usize = 1600;

/// An image.
struct Image {
    width: usize,
    pixels: Vec<u8>,
}

impl Image {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            pixels: [PAPER.r(), PAPER.g(), PAPER.b()].repeat(width * height),
        }
    }

    /// Fills a rectangle.
    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Rgb888) {
        let area = Rectangle::new(
            Point::new(x as i32, y as i32),
            Size::new(width as u32, height as u32),
        );
        let Ok(()) = self.fill_solid(&area, colour);
    }

    /// Writes text.
    fn text(&mut self, x: usize, y: usize, text: &str, colour: Rgb888) {
        let style = MonoTextStyle::new(&FONT_10X20, colour);
        let place = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_baseline(text, place, style, Baseline::Top).draw(self);
    }
}

impl OriginDimensions for Image {
    fn size(&self) -> Size {
        let height = self.pixels.len() / 3 / self.width;

        Size::new(self.width as u32, height as u32)
    }
}

impl DrawTarget for Image {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> std::result::Result<(), Infallible> {
        let area = self.bounding_box();

        for Pixel(place, colour) in pixels {
            if area.contains(place) {
                let at = (place.y as usize * self.width + place.x as usize) * 3;
                self.pixels[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// Returns a colour on a ground that shines through.
fn blend(ground: Rgb888, colour: Rgb888, strength: f64) -> Rgb888 {
    let mix = |a: u8, b: u8| {
        let (a, b) = (f64::from(a), f64::from(b));
        (a + (b - a) * strength).round() as u8
    };

    Rgb888::new(
        mix(ground.r(), colour.r()),
        mix(ground.g(), colour.g()),
        mix(ground.b(), colour.b()),
    )
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
    let body = top + HEAD;

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

/// Returns the width of a map without its names.
fn map_width(label: &str, map: &HeatMap) -> usize {
    (map.columns.len() * column_width(map)).max(label.len() * LETTER.0)
}

/// Writes the maps as one image with the names of their rows, which they share: side by side, or one
/// below the other where they are wide.
///
/// # Errors
///
/// Those of the output.
pub fn write(out: &mut dyn Write, maps: &[(&str, HeatMap)]) -> Result<()> {
    const SPACE: usize = 30;
    let rows = maps.first().map_or(&[][..], |(_, map)| &map.rows);
    let longest = rows
        .iter()
        .map(|row| row.name.chars().count().min(NAME))
        .max();
    let names = longest.unwrap_or(0).max("CPU".len()) * LETTER.0 + 16;
    let each = maps.iter().flat_map(|(_, map)| map.columns.first());
    let each = each.map(|column| column.cpus.len()).max().unwrap_or(1);
    let more = match each {
        1 => "more time, stronger colour".to_owned(),
        each => format!("more time, stronger colour; a column is {each} CPUs"),
    };
    let legend = [
        ("where it is meant to be", Some(INSIDE)),
        ("outside and should not be there", Some(OUTSIDE)),
        ("outside and has to be there", Some(EXEMPT)),
        (&*more, None),
    ];
    let legend_width = legend
        .iter()
        .map(|(words, _)| words.len() * LETTER.0 + 22)
        .max();
    let widths = maps
        .iter()
        .map(|(label, map)| map_width(label, map) + SPACE);
    let beside = widths.clone().sum::<usize>() + names <= WIDEST;
    let maps_width: usize = match beside {
        true => widths.sum(),
        false => widths.max().unwrap_or(0),
    };
    let map_height = HEAD + rows.len() * ROW;
    let lines = if beside { 1 } else { maps.len() };
    let width = 2 * MARGIN + (names + maps_width).max(legend_width.unwrap_or(0));
    let below = MARGIN + lines * (map_height + MARGIN);
    let height = below + legend.len() * ROW + MARGIN;
    let mut image = Image::new(width, height);

    let right = MARGIN + names - 10;
    for line in 0..lines {
        let top = MARGIN + line * (map_height + MARGIN);
        image.text(right - 3 * LETTER.0, top + HEAD - LETTER.1 - 8, "CPU", SOFT);
        for (index, row) in rows.iter().enumerate() {
            let name: String = row.name.chars().take(NAME).collect();
            let x = right - name.chars().count() * LETTER.0;
            image.text(x, top + HEAD + index * ROW + 1, &name, INK);
        }
    }
    let (mut x, mut y) = (MARGIN + names, MARGIN);
    for (label, map) in maps {
        draw(&mut image, x, y, label, map);
        match beside {
            true => x += map_width(label, map) + SPACE,
            false => y += map_height + MARGIN,
        }
    }
    for (index, (words, colour)) in legend.into_iter().enumerate() {
        let y = below + index * ROW;
        if let Some(colour) = colour {
            image.fill(MARGIN, y, 14, 14, colour);
        }
        image.text(MARGIN + 22, y - 3, words, SOFT);
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
        let red = [OUTSIDE.r(), OUTSIDE.g(), OUTSIDE.b()];
        let red = pixels.chunks(3).filter(|pixel| **pixel == red).count();
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
            write(&mut Vec::new(), &[("", map.clone())]).unwrap();

            // Two that are wide are one below the other.
            let mut file = Vec::new();
            write(&mut file, &[("Before", map.clone()), ("After", map)]).unwrap();
            let reader = ::png::Decoder::new(&*file).read_info().unwrap();
            let (width, height) = (reader.info().width, reader.info().height);
            assert!(width < 1800, "{columns}: {width}x{height}");
            assert_eq!(height > 200, columns == 128, "{columns}: {width}x{height}");
        }
    }
}
