//! Rows of a terminal → the modules of a QR → its text.
//!
//! A QR is known by the squares in three of its corners, so what is around it, such as a margin, a prefix of
//! the log or half of an older code, does not matter. It is looked for whenever a row comes that ends with the
//! square of the lower left corner, and so is read with its last row.

use std::collections::VecDeque;

use super::cells::Half;

/// Side of a corner's square, in modules.
const SQUARE: usize = 7;
/// Sides of the codes that are looked for: versions 1 to 25.
const SIDES: std::ops::RangeInclusive<usize> = 21..=117;
/// Rows that are kept: the largest code, a module a row.
const ROWS: usize = 120;
/// Codes that are tried to read for one row.
const TRIES: usize = 4;

/// The newest rows.
#[derive(Debug, Default)]
pub struct Rows(VecDeque<Vec<[Half; 2]>>);

/// How a code is drawn: which brightness is a dark module, and how many half cells a module is wide and high.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    dark: Half,
    scale: usize,
}

/// A row of a QR carries two rows of modules in half blocks, or each module takes two cells.
const WAYS: [Drawn; 4] = [
    Drawn { dark: Half::Dim, scale: 1 },
    Drawn { dark: Half::Bright, scale: 1 },
    Drawn { dark: Half::Dim, scale: 2 },
    Drawn { dark: Half::Bright, scale: 2 },
];

impl Rows {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a row, and reads the codes that end with it.
    pub fn push(&mut self, row: Vec<[Half; 2]>) -> Vec<String> {
        if self.0.len() == ROWS {
            self.0.pop_front();
        }
        self.0.push_back(row);
        let mut texts = Vec::new();
        let mut tries = 0;
        for way in WAYS {
            self.read(way, &mut tries, &mut texts);
        }
        texts
    }

    fn read(&self, way: Drawn, tries: &mut usize, texts: &mut Vec<String>) {
        let height = 2 * self.0.len();
        let width = self.0.back().map_or(0, Vec::len);
        // In half blocks the last row of modules is the upper or the lower half.
        for last in (1..=2).skip(way.scale - 1).filter_map(|up| height.checked_sub(up)) {
            let Some(lower) = last.checked_sub((SQUARE - 1) * way.scale) else { continue };
            for left in 0..width {
                if !self.has_square(way, left, lower) {
                    continue;
                }
                for side in SIDES.step_by(4) {
                    let Some(top) = last.checked_sub((side - 1) * way.scale) else { break };
                    let right = left + (side - SQUARE) * way.scale;
                    if !self.has_square(way, left, top) || !self.has_square(way, right, top) {
                        continue;
                    }
                    *tries += 1;
                    if *tries > TRIES {
                        return;
                    }
                    let module =
                        |x: usize, y: usize| self.is_dark(way, left + x * way.scale, top + y * way.scale);
                    let grid = rqrr::Grid::new(rqrr::SimpleGrid::from_func(side, module));
                    texts.extend(grid.decode().ok().map(|(_, text)| text));
                }
            }
        }
    }

    fn is_dark(&self, way: Drawn, x: usize, y: usize) -> bool {
        self.0.get(y / 2).and_then(|row| row.get(x)).is_some_and(|cell| cell[y % 2] == way.dark)
    }

    /// Whether a corner's square begins here: dark, within it a light ring, within that a dark square.
    fn has_square(&self, way: Drawn, left: usize, top: usize) -> bool {
        (0..SQUARE).all(|y| {
            (0..SQUARE).all(|x| {
                let ring = x.min(y).min(SQUARE - 1 - x).min(SQUARE - 1 - y);
                self.is_dark(way, left + x * way.scale, top + y * way.scale) == (ring != 1)
            })
        })
    }
}
