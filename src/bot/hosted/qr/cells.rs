//! One line of a terminal as the brightness of its cells, each cell an upper and a lower half.
//!
//! A terminal is taken to be dark: text is bright, what is behind it is not. On a bright terminal everything is
//! the other way round, which whoever looks for a QR tries too.

/// Fewest painted columns of a row of a QR: the smallest one has 21 modules.
const NARROWEST: usize = 21;
/// Longer lines are no row of a QR: each module of a large one takes 11 bytes.
const LONGEST: usize = 16 * 1024;

/// Half of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Light.
    Bright,
    /// Dark.
    Dim,
    /// Another character, or nothing at all.
    Other,
}

/// The halves of the cells of a line, upper and lower one; `None` when the line cannot be a row of a QR.
pub fn cells(line: &str) -> Option<Vec<[Half; 2]>> {
    if line.len() < NARROWEST || line.len() > LONGEST {
        return None;
    }
    let mut colours = Colours::default();
    let mut cells = Vec::new();
    let mut painted = 0;
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        let (front, back) = colours.shown();
        let cell = match character {
            '\u{1b}' => {
                escape(&mut rest, &mut colours);
                continue;
            }
            '\r' => continue,
            ' ' | '\u{a0}' => {
                painted += usize::from(colours.back.is_some() || colours.inverse);
                [back, back]
            }
            '█' => [front, front],
            '▀' => [front, back],
            '▄' => [back, front],
            _ => [Half::Other; 2],
        };
        painted += usize::from(matches!(character, '█' | '▀' | '▄'));
        cells.push(cell);
    }
    let known = cells.iter().filter(|cell| **cell != [Half::Other; 2]).count();
    (painted > 0 && known >= NARROWEST).then_some(cells)
}

/// What escape sequences have set; `None` is the terminal's own.
#[derive(Debug, Default)]
struct Colours {
    front: Option<Half>,
    back: Option<Half>,
    inverse: bool,
}

impl Colours {
    /// Of the character, and of what is behind it.
    fn shown(&self) -> (Half, Half) {
        let (front, back) = (self.front.unwrap_or(Half::Bright), self.back.unwrap_or(Half::Dim));
        if self.inverse { (back, front) } else { (front, back) }
    }

    /// `ESC [ … m`.
    fn select(&mut self, parameters: &str) {
        let mut codes = parameters.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                7 => self.inverse = true,
                27 => self.inverse = false,
                30 | 90 => self.front = Some(Half::Dim),
                31..=37 | 91..=97 => self.front = Some(Half::Bright),
                38 => self.front = exact(&mut codes),
                39 => self.front = None,
                40 | 100 => self.back = Some(Half::Dim),
                41..=47 | 101..=107 => self.back = Some(Half::Bright),
                48 => self.back = exact(&mut codes),
                49 => self.back = None,
                _ => {}
            }
        }
    }
}

/// A colour of 256, or of red, green and blue.
fn exact(codes: &mut impl Iterator<Item = u16>) -> Option<Half> {
    let bright = match codes.next()? {
        5 => !matches!(codes.next()?, 0 | 8 | 16 | 232..=243),
        2 => {
            let (red, green, blue) = (codes.next()?, codes.next()?, codes.next()?);
            3 * u32::from(red) + 6 * u32::from(green) + u32::from(blue) >= 1280
        }
        _ => return None,
    };
    Some(if bright { Half::Bright } else { Half::Dim })
}

/// Reads the rest of an escape sequence.
fn escape(rest: &mut std::str::Chars<'_>, colours: &mut Colours) {
    if !rest.as_str().starts_with('[') {
        // One more character; what else a terminal knows is never within a QR.
        rest.next();
        return;
    }
    rest.next();
    let text = rest.as_str();
    let Some(end) = text.find(|character| ('@'..='~').contains(&character)) else { return };
    if text[end..].starts_with('m') {
        colours.select(&text[..end]);
    }
    *rest = text[end + 1..].chars();
}

#[cfg(test)]
mod tests {
    use super::Half::{Bright, Dim, Other};
    use super::*;

    #[test]
    fn blocks_and_colours_become_halves() {
        let fill = "█".repeat(NARROWEST);
        let read = |text: &str| cells(&format!("{text}{fill}")).expect("a row")[..text_width(text)].to_vec();
        assert_eq!(read("█▀▄ "), [[Bright; 2], [Bright, Dim], [Dim, Bright], [Dim; 2]]);
        assert_eq!(read("\u{1b}[47m  \u{1b}[0m \u{1b}[40m "), [[Bright; 2], [Bright; 2], [Dim; 2], [Dim; 2]]);
        assert_eq!(read("\u{1b}[47m\u{1b}[30m▄\u{1b}[0m▄"), [[Bright, Dim], [Dim, Bright]]);
        assert_eq!(read("\u{1b}[7m ▀"), [[Bright; 2], [Dim, Bright]]);
        assert_eq!(read("\u{1b}[48;5;15m \u{1b}[48;2;0;0;0m "), [[Bright; 2], [Dim; 2]]);
        assert_eq!(read("x▀"), [[Other; 2], [Bright, Dim]]);
    }

    fn text_width(text: &str) -> usize {
        let mut width = 0;
        let mut inside = false;
        for character in text.chars() {
            match character {
                '\u{1b}' => inside = true,
                'm' if inside => inside = false,
                _ if inside => {}
                _ => width += 1,
            }
        }
        width
    }

    #[test]
    fn text_is_no_row() {
        for line in ["", "a line of a log that is long enough", "\u{1b}[32mgreen\u{1b}[0m", "██████ 100%"]
        {
            assert_eq!(cells(line), None, "{line}");
        }
        assert_eq!(cells(&"█".repeat(LONGEST)), None);
        for odd in ["\u{1b}", "\u{1b}[", "\u{1b}[38;5", "\u{1b}[38;2;1m", "\u{1b}]0;title"] {
            assert!(cells(&format!("{}{odd}", "█".repeat(30))).is_some(), "{odd:?}");
        }
    }
}
