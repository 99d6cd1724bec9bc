use axum::http::Request;

use super::super::limit::PER_CLIENT;
use super::*;

const TOKEN: &str = "correct horse battery staple";

fn open_gate() -> Gate {
    Gate::new(None, false)
}

fn locked_gate() -> Gate {
    Gate::new(Some(Secret::new(TOKEN)), false)
}

fn request(peer: &str, headers: &[(&str, &str)]) -> Parts {
    request_to("/", peer, headers)
}

fn request_to(uri: &str, peer: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(Peer(peer.parse().unwrap()));
    request.into_parts().0
}

#[test]
fn without_a_token_this_machine_is_let_in() {
    for peer in ["127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
        for host in ["localhost", "LocalHost:3000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:3000"] {
            let access = open_gate().access(&request(peer, &[("host", host)]));
            assert_eq!(access, Access::Admin(Proof::ThisMachine), "{peer} {host}");
        }
    }
}

#[test]
fn without_a_token_everybody_else_is_not() {
    let local = ("host", "localhost:3000");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("192.0.2.1:9", &[local]),
        ("10.0.0.1:9", &[local]),
        ("[2001:db8::1]:9", &[local]),
        ("[::ffff:192.0.2.1]:9", &[local]),
        ("127.0.0.1:9", &[]),
        ("127.0.0.1:9", &[("host", "evil.example")]),
        ("127.0.0.1:9", &[("host", "localhost.evil.example")]),
        ("127.0.0.1:9", &[("host", "localhost@evil.example")]),
        ("127.0.0.1:9", &[("host", "evil@localhost")]),
        ("127.0.0.1:9", &[("host", "127.0.0.2")]),
        ("127.0.0.1:9", &[("host", "::1")]),
        ("127.0.0.1:9", &[("host", "")]),
        ("127.0.0.1:9", &[("host", "localhost"), ("host", "evil.example")]),
        ("127.0.0.1:9", &[local, ("forwarded", "for=192.0.2.1")]),
        ("127.0.0.1:9", &[local, ("x-forwarded-for", "127.0.0.1")]),
        ("127.0.0.1:9", &[local, ("X-Forwarded-Proto", "http")]),
        ("127.0.0.1:9", &[local, ("x-forwarded-anything", "")]),
        ("127.0.0.1:9", &[local, ("via", "1.1 vegur")]),
        // A token that is not set is not matched by anything.
        ("192.0.2.1:9", &[local, ("authorization", "Bearer ")]),
        ("192.0.2.1:9", &[local, ("cookie", "blacksky=99999999999.")]),
    ];
    for (peer, headers) in cases {
        let access = open_gate().access(&request(peer, headers));
        assert_eq!(access, Access::Public(Denial::NoTokenSet), "{peer} {headers:?}");
    }
}

#[test]
fn without_a_token_a_full_uri_must_name_this_machine_too() {
    let peer = "127.0.0.1:9";
    let host = [("host", "localhost")];
    let foreign = request_to("http://evil.example/", peer, &host);
    assert!(!open_gate().access(&foreign).is_admin());
    let own = request_to("http://localhost/", peer, &host);
    assert!(open_gate().access(&own).is_admin());
}

#[test]
fn on_a_dyno_or_with_a_token_this_machine_is_nothing_special() {
    let here = request("127.0.0.1:9", &[("host", "localhost")]);
    assert_eq!(Gate::new(None, true).access(&here), Access::Public(Denial::NoTokenSet));
    assert_eq!(locked_gate().access(&here), Access::Public(Denial::TokenNeeded));
}

#[test]
fn a_blank_token_is_no_token() {
    let gate = Gate::new(Some(Secret::new("  ")), true);
    let blank = request("192.0.2.1:9", &[("authorization", "Bearer   ")]);
    assert_eq!(gate.access(&blank), Access::Public(Denial::NoTokenSet));
    assert!(gate.cookie(clock::now()).is_none());
}

#[test]
fn the_token_itself_lets_in_and_nothing_near_it() {
    let access = |value: &str| locked_gate().access(&request("192.0.2.1:9", &[("authorization", value)]));
    assert_eq!(access(&format!("Bearer {TOKEN}")), Access::Admin(Proof::Bearer));
    assert_eq!(access(&format!("bearer {TOKEN} ")), Access::Admin(Proof::Bearer));
    for wrong in ["", "x", &TOKEN[1..], &format!("{TOKEN}x"), &TOKEN.to_uppercase()] {
        assert_eq!(access(&format!("Bearer {wrong}")), Access::Public(Denial::WrongToken), "{wrong:?}");
    }
    assert_eq!(access(&format!("Basic {TOKEN}")), Access::Public(Denial::TokenNeeded));
}

#[test]
fn a_cookie_outlives_a_restart_but_not_its_time_or_a_new_token() {
    let with = |gate: &Gate, value: &str| {
        let cookie = format!("other=1; blacksky=wrong; blacksky={value}; last=2");
        gate.access(&request("192.0.2.1:9", &[("cookie", &cookie)]))
    };
    let value = locked_gate().cookie(clock::now()).unwrap();
    assert!(!value.contains(TOKEN));
    assert_eq!(with(&locked_gate(), &value), Access::Admin(Proof::Cookie));

    let other = Gate::new(Some(Secret::new("another")), false);
    assert_eq!(with(&other, &value), Access::Public(Denial::TokenNeeded));

    let old = locked_gate().cookie(clock::now() - TimeDelta::days(COOKIE_DAYS + 1)).unwrap();
    assert_eq!(with(&locked_gate(), &old), Access::Public(Denial::TokenNeeded));

    let (expiry, mac) = value.split_once('.').unwrap();
    let later = expiry.parse::<i64>().unwrap() + 1;
    for forged in [format!("{later}.{mac}"), format!("{expiry}."), expiry.to_owned(), TOKEN.to_owned()] {
        assert_eq!(with(&locked_gate(), &forged), Access::Public(Denial::TokenNeeded), "{forged}");
    }
}

#[test]
fn guessing_is_slowed_down_by_client_and_a_cookie_still_works() {
    let gate = Gate::new(Some(Secret::new(TOKEN)), true);
    let from = |client: &str, token: &str| {
        // What comes before the last entry is the client's own invention.
        let chain = format!("203.0.113.{}, {client}", token.len());
        let bearer = format!("Bearer {token}");
        gate.access(&request("10.1.2.3:9", &[("x-forwarded-for", &chain), ("authorization", &bearer)]))
    };
    for n in 0..PER_CLIENT as usize {
        assert_eq!(from("192.0.2.1", &"x".repeat(n + 1)), Access::Public(Denial::WrongToken));
    }
    assert!(matches!(from("192.0.2.1", TOKEN), Access::Public(Denial::TooManyTries(1..=61))));
    assert_eq!(from("192.0.2.2", TOKEN), Access::Admin(Proof::Bearer));

    let cookie = format!("blacksky={}", gate.cookie(clock::now()).unwrap());
    let signed_in = request("10.1.2.3:9", &[("x-forwarded-for", "192.0.2.1"), ("cookie", &cookie)]);
    assert_eq!(gate.access(&signed_in), Access::Admin(Proof::Cookie));
}

#[test]
fn an_origin_must_name_the_host_that_was_asked() {
    let asked = |headers: &[(&str, &str)]| same_origin(&request("127.0.0.1:9", headers));
    assert!(asked(&[("host", "app.example"), ("origin", "https://app.example")]));
    assert!(asked(&[("host", "localhost:3000"), ("origin", "http://localhost:3000")]));
    for wrong in [
        "https://evil.example",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "app.example",
        "null",
        "",
    ] {
        assert!(!asked(&[("host", "app.example"), ("origin", wrong)]), "{wrong}");
    }
    assert!(!asked(&[("host", "app.example")]));
    assert!(!asked(&[("host", "app.example"), ("origin", "https://app.example"), ("origin", "null")]));
}
