use proptest::prelude::*;
use qrcode::{Color, EcLevel, QrCode};

use super::*;

/// As real ones are.
fn payloads() -> impl Strategy<Value = String> {
    let key = "[A-Za-z0-9+/]{43}=";
    let reference = "2@[A-Za-z0-9+/=_-]{60,140}";
    let address = prop_oneof![Just(""), Just("https://wa.me/settings/linked_devices#")];
    let platform = prop_oneof![Just(""), Just(",1")];
    (address, reference, key, key, key, platform).prop_map(|(address, reference, a, b, c, platform)| {
        format!("{address}{reference},{a},{b},{c}{platform}")
    })
}

/// The modules of a QR with a light margin; true is dark.
struct Drawing {
    side: usize,
    dark: Vec<bool>,
}

impl Drawing {
    fn of(text: &str, level: EcLevel, margin: usize) -> Self {
        let code = QrCode::with_error_correction_level(text, level).expect("it fits");
        let side = code.width() + 2 * margin;
        let mut dark = vec![false; side * side];
        for (at, colour) in code.to_colors().into_iter().enumerate() {
            let (x, y) = (at % code.width() + margin, at / code.width() + margin);
            dark[y * side + x] = colour == Color::Dark;
        }
        Self { side, dark }
    }

    /// Beyond the lower edge it is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        y < self.side && self.dark[y * self.side + x]
    }

    /// Half blocks; `ink` says which modules are painted.
    fn half_blocks(&self, ink: bool) -> Vec<String> {
        let row = |y: usize| {
            let character = |x| match (self.is_dark(x, y) == ink, self.is_dark(x, y + 1) == ink) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            };
            (0..self.side).map(character).collect()
        };
        (0..self.side).step_by(2).map(row).collect()
    }

    /// Two cells a module, coloured or of full blocks.
    fn cells(&self, dark: &str, light: &str) -> Vec<String> {
        let row = |y| (0..self.side).map(|x| if self.is_dark(x, y) { dark } else { light }).collect();
        (0..self.side).map(row).collect()
    }
}

fn found(lines: &[String]) -> Vec<String> {
    let mut finder = QrFinder::default();
    let now = Instant::now();
    lines.iter().filter_map(|line| finder.line(line, now)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_printed_code_is_read_back(
        payload in payloads(),
        level in prop_oneof![Just(EcLevel::L), Just(EcLevel::M), Just(EcLevel::H)],
        margin in 0_usize..5,
        form in 0..5,
        prefix in prop_oneof![Just(""), Just("  "), Just("[bot] "), Just("12:00:01 web | ")],
        noise in "[a-z █▀▄]{0,60}",
        cut in 0_usize..20,
    ) {
        let drawing = Drawing::of(&payload, level, margin);
        let drawn = match form {
            0 => drawing.half_blocks(false),
            1 => drawing.half_blocks(true),
            2 => drawing.cells("\u{1b}[40m  \u{1b}[0m", "\u{1b}[47m  \u{1b}[0m"),
            3 => drawing.cells("  ", "██"),
            _ => drawing.cells("██", "  "),
        };
        let whole = drawn.iter().map(|row| format!("{prefix}{row}"));
        // The beginning of another one, noise, and the code twice.
        let mut lines: Vec<String> = drawn.iter().take(cut).cloned().collect();
        lines.push(noise.clone());
        lines.extend(whole.clone());
        lines.push(noise);
        lines.extend(whole);
        prop_assert_eq!(found(&lines), vec![payload.clone(), payload], "form {}", form);
    }

    #[test]
    fn a_text_is_read_between_others(payload in payloads(), before in "[ -~]{0,40}", after in "[ -~]{0,40}") {
        let line = format!("{before} {payload} {after}");
        let lines = [before, line, after];
        prop_assert!(found(&lines).contains(&payload));
    }

    #[test]
    fn nothing_is_found_in_noise(lines in proptest::collection::vec("[ █▀▄\u{1b}\\[;m0-9]{0,150}", 0..150)) {
        prop_assert_eq!(found(&lines), Vec::<String>::new());
    }

    /// The three squares are right and the rest is not.
    #[test]
    fn a_broken_code_is_no_code_and_no_panic(payload in payloads(), seed in any::<u64>(), all in any::<bool>()) {
        let mut drawing = Drawing::of(&payload, EcLevel::L, 0);
        let side = drawing.side;
        let mut state = seed | 1;
        for y in 0..side {
            for x in 0..side {
                let corner = (x < 8 || x >= side - 8) && y < 8 || x < 8 && y >= side - 8;
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if !corner && (all || state.is_multiple_of(3)) {
                    drawing.dark[y * side + x] = state & 16 == 0;
                }
            }
        }
        prop_assert_eq!(found(&drawing.half_blocks(false)), Vec::<String>::new());
    }
}

const PAYLOAD: &str = "2@kQ9vT3xPzL7mWb2NkQ9vT3xPzL7mWb2NkQ9vT3xPzL7mWb2NkQ9vT3xPzL7mWb2NkQ9vT3xPzL7mWb2N,\
     hG4chG4chG4chG4chG4chG4chG4chG4chG4chG4chG4=,aB8raB8raB8raB8raB8raB8raB8raB8raB8raB8raB8=,\
     Zy1uZy1uZy1uZy1uZy1uZy1uZy1uZy1uZy1uZy1uZy1=,1";

/// Written by the real programs; `tests/fixtures/qr/README.md` says how.
#[test]
fn what_real_programs_print_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qr");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            assert_eq!(found(&lines), [PAYLOAD], "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} fixtures");
}

#[test]
fn a_code_of_something_else_is_not_told() {
    let drawing = Drawing::of("https://example.org/panel", EcLevel::L, 2);
    assert_eq!(found(&drawing.half_blocks(false)), Vec::<String>::new());
}

#[test]
fn a_code_that_ends_is_told_with_its_last_row_and_half_of_one_is_dropped_after_a_pause() {
    let drawing = Drawing::of(PAYLOAD, EcLevel::L, 0);
    let rows = drawing.half_blocks(false);
    let mut finder = QrFinder::default();
    let start = Instant::now();
    let (last, first) = rows.split_last().expect("rows");
    assert!(first.iter().all(|row| finder.line(row, start).is_none()));
    assert_eq!(finder.line(last, start + PAUSE).as_deref(), Some(PAYLOAD));

    assert!(first.iter().all(|row| finder.line(row, start).is_none()));
    assert_eq!(finder.line(last, start + PAUSE + Duration::from_millis(1)), None);
    // Lines of another process may come between, but not many.
    for (other, expected) in [(OTHER_LINES, Some(PAYLOAD)), (OTHER_LINES + 1, None)] {
        finder = QrFinder::default();
        assert!(first.iter().all(|row| finder.line(row, start).is_none()));
        assert!((0..other).all(|_| finder.line("GET /", start).is_none()));
        assert_eq!(finder.line(last, start).as_deref(), expected);
    }
}

/// No output of a bot keeps a core busy.
#[test]
fn the_work_is_bounded() {
    let drawing = Drawing::of(PAYLOAD, EcLevel::L, 0);
    // As many squares as fit.
    let wide: Vec<String> = drawing.half_blocks(false).iter().map(|row| row.repeat(8)).collect();
    let mut finder = QrFinder::default();
    let now = Instant::now();
    let clock = Instant::now();
    let lines = 20 * wide.len();
    for _ in 0..20 {
        for row in &wide {
            finder.line(row, now);
        }
    }
    let each = clock.elapsed() / u32::try_from(lines).expect("few");
    assert!(each < Duration::from_millis(20), "{each:?} a line");
}
