//! Reads the QR on the page as a phone's camera would: from its picture.

/// Pixels a module; the reader wants more than one.
const SCALE: usize = 4;

/// The payload of the page's QR, if the page shows one.
pub fn on_page(html: &str) -> Option<String> {
    let svg = html.split_once("<svg class=\"qr\"")?.1.split_once("</svg>")?.0;
    let side: usize = svg.split_once("viewBox=\"0 0 ")?.1.split_once(' ')?.0.parse().ok()?;
    let path = svg.split_once(" d=\"")?.1.split_once('"')?.0;
    let mut dark = vec![false; side * side];
    for run in path.split('M').skip(1) {
        let (x, rest) = run.split_once(' ')?;
        let (y, rest) = rest.split_once('h')?;
        let (length, _) = rest.split_once('v')?;
        let (x, y, length): (usize, usize, usize) = (x.parse().ok()?, y.parse().ok()?, length.parse().ok()?);
        dark.get_mut(y * side + x..y * side + x + length)?.fill(true);
    }
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
        if dark[y / SCALE * side + x / SCALE] { 0 } else { 255 }
    });
    Some(picture.detect_grids().first()?.decode().ok()?.1)
}
