//! The text behind a pairing QR: `2@REFERENCE,KEY,KEY,SECRET`, sometimes with a fifth part, sometimes behind
//! `https://wa.me/settings/linked_devices#`.

/// How every reference of a QR begins.
const START: &str = "2@";
/// The address that newer clients put in front.
const ADDRESS: &str = "https://wa.me/";
/// Longest such address, in bytes.
const ADDRESS_LIMIT: usize = 64;
/// Shortest and longest reference after [`START`].
const REFERENCE: std::ops::RangeInclusive<usize> = 8..=512;
/// Shortest and longest of the three parts after it: 32 bytes in base64 are 43 or 44 characters.
const KEY: std::ops::RangeInclusive<usize> = 40..=48;

/// The first payload within a line.
pub fn find(line: &str) -> Option<&str> {
    line.match_indices(START).find_map(|(at, _)| {
        let (before, text) = line.split_at(at);
        if before.bytes().next_back().is_some_and(is_base64) && !ends_with_colour(before) {
            return None;
        }
        let end = at + length(text)?;
        line.get(at - address_before(before)..end)
    })
}

/// The text is a payload and nothing else.
pub fn is_one(text: &str) -> bool {
    find(text) == Some(text)
}

/// Length of the payload that the text begins with.
fn length(text: &str) -> Option<usize> {
    let mut end = START.len() + run(&text[START.len()..], REFERENCE)?;
    for _ in 0..3 {
        let rest = text[end..].strip_prefix(',')?;
        end += 1 + run(rest, KEY)?;
    }
    // Newer clients add the number of their platform.
    let platform = text[end..].strip_prefix(',').and_then(|rest| run(rest, 1..=3));
    Some(end + platform.map_or(0, |length| 1 + length))
}

/// How many characters of base64 the text begins with, when it is a fitting number.
fn run(text: &str, fitting: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let length = text.bytes().take(fitting.end() + 1).take_while(|byte| is_base64(*byte)).count();
    fitting.contains(&length).then_some(length)
}

/// The text ends with `ESC [ … m`.
fn ends_with_colour(text: &str) -> bool {
    let codes = text.rsplit_once("\u{1b}[").and_then(|(_, rest)| rest.strip_suffix('m'));
    codes.is_some_and(|codes| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte)
}

/// Length of the address that ends right before the payload; 0 without one.
fn address_before(before: &str) -> usize {
    if !before.ends_with('#') {
        return 0;
    }
    let Some(start) = before.rfind(ADDRESS) else { return 0 };
    let address = &before[start..];
    let fits = address.len() <= ADDRESS_LIMIT && address.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { address.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> String {
        format!("2@{},{}=,{}=,{}=", "aB3+/x".repeat(12), "k".repeat(43), "l".repeat(43), "m".repeat(43))
    }

    #[test]
    fn a_payload_is_found_within_a_line() {
        let plain = payload();
        let with_platform = format!("{plain},1");
        let with_address = format!("https://wa.me/settings/linked_devices#{with_platform}");
        for one in [&plain, &with_platform, &with_address] {
            for line in [
                one.clone(),
                format!("QR: {one}"),
                format!("{{\"qr\":\"{one}\",\"level\":30}}"),
                format!("\u{1b}[32m{one}\u{1b}[0m scan it"),
                format!("2@nothing, then {one}"),
            ] {
                assert_eq!(find(&line), Some(one.as_str()), "{line}");
            }
            assert!(is_one(one) && !is_one(&format!("{one} ")));
        }
        assert_eq!(find(&format!("{plain}, scan it")), Some(plain.as_str()));
        assert_eq!(find(&format!("https://example.org/#{plain}")), Some(plain.as_str()));
    }

    #[test]
    fn other_text_is_none() {
        let plain = payload();
        for line in [
            "",
            "2@",
            "2@2@2@",
            "2@,,,",
            "user2@example.org,a,b,c",
            &format!("x{plain}"),
            &plain[..plain.len() - 40],
            &plain.replace(',', " "),
            &plain.replace('k', "é"),
        ] {
            assert_eq!(find(line), None, "{line}");
        }
    }
}
