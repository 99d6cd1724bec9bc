//! `blacksky explain`, the real command. It needs no file, no database and no network.

use serde_json::Value;

use crate::support::blacksky::Blacksky;

fn explain(args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let command = Blacksky::in_folder(folder.path()).arg("explain");
    args.iter().fold(command, |command, arg| command.arg(*arg)).output()
}

#[test]
fn a_code_is_explained_however_it_is_written() {
    let (code, plain, err) = explain(&["H12"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(plain.starts_with("H12  Request timeout\n"), "{plain}");
    assert!(plain.contains("\nblacksky: ") && plain.contains("What to do:\n  - "), "{plain}");
    assert_eq!(explain(&["code=h12"]).1, plain);
    assert!(explain(&["parked", "(conflict)"]).1.starts_with("conflict  "));
    assert!(explain(&["stream_error_515"]).1.starts_with("515  "));
}

#[test]
fn without_a_code_all_are_listed() {
    let (code, out, _) = explain(&[]);
    assert_eq!(code, 0);
    for word in ["By symptom", "\n  H12 ", "\n  440 ", "\n  waiting_for_database", "\n  deaf ", "\n  78 "] {
        assert!(out.contains(word), "{word} in {out}");
    }
}

#[test]
fn an_unknown_code_is_a_wrong_command_line() {
    let (code, out, err) = explain(&["H112"]);
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("did you mean H12?"), "{err}");
    let (code, _, err) = explain(&["nothing-like-it"]);
    assert_eq!(code, 64);
    assert!(err.contains("`blacksky explain` lists"), "{err}");
    let pasted = "eyJub2lzZUtleSI6eyJwcml2YXRlIjp7InR5cGUiOiJCdWZmZXIi";
    let (_, _, err) = explain(&[pasted]);
    assert!(!err.contains(pasted), "what may be a login is not repeated: {err}");
}

#[test]
fn programs_get_the_same_texts() {
    let one: Value = serde_json::from_str(&explain(&["440", "--json"]).1).expect("JSON");
    assert_eq!((one["code"].as_str(), one["group"].as_str()), (Some("440"), Some("whatsapp")));
    assert!(one["todo"].as_array().is_some_and(|steps| !steps.is_empty()), "{one}");
    let all: Value = serde_json::from_str(&explain(&["--json"]).1).expect("JSON");
    assert!(all.as_array().is_some_and(|all| all.contains(&one)), "{all}");
}
