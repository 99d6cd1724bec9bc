//! A QR payload as an inline SVG.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode};

/// White margin, in modules, that scanners need.
const QUIET: usize = 4;

/// The payload as an `<svg>` element, black on white in every colour scheme; `None` when it is too
/// long for a QR code (2,953 bytes).
pub fn svg(payload: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(payload, EcLevel::L).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET;
    let mut svg = format!(
        r##"<svg class="qr" role="img" aria-label="QR code to scan with WhatsApp" viewBox="0 0 {side} {side}" shape-rendering="crispEdges"><rect width="{side}" height="{side}" fill="#fff"/><path fill="#000" d=""##
    );
    for (y, row) in code.to_colors().chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                // Writing to a String does not fail.
                let _ = write!(svg, "M{} {}h{}v1h-{}z", x + QUIET, y + QUIET, run.len(), run.len());
            }
            x += run.len();
        }
    }
    svg.push_str("\"/></svg>");
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the path back into a matrix, independent of the writer's loop.
    fn modules(svg: &str) -> (usize, Vec<bool>) {
        let side: usize = between(svg, "viewBox=\"0 0 ", " ").parse().unwrap();
        let mut dark = vec![false; side * side];
        for run in between(svg, " d=\"", "\"").split('M').skip(1) {
            let (x, rest) = run.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (length, _) = rest.split_once('v').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            for column in x..x + length.parse::<usize>().unwrap() {
                dark[y * side + column] = true;
            }
        }
        (side, dark)
    }

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        text.split_once(start).unwrap().1.split_once(end).unwrap().0
    }

    #[test]
    fn a_scanner_reads_the_payload_back() {
        let payload = "2@abcdefghijklmnopqrstuvwxyz0123456789,AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHIIIIJJJJKKK=,\
                       LLLLMMMMNNNNOOOOPPPPQQQQRRRRSSSSTTTTUUUUVVV=,WWWWXXXXYYYYZZZZ0000111122223333444455556666=";
        let (side, dark) = modules(&svg(payload).unwrap());
        const SCALE: usize = 4;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
            if dark[y / SCALE * side + x / SCALE] { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        assert_eq!(grids[0].decode().unwrap().1, payload);
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert!(svg(&"x".repeat(4000)).is_none());
    }
}
