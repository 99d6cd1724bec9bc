//! Enums of a few words.

/// Defines an enum whose variants are words of the file: parsing, schema and Display from one list. `gone` are words
/// that were good once, and what to write now.
macro_rules! choice {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }
     $(gone { $($gone:literal => $instead:literal),+ $(,)? })?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The words of the file, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Every value, in the order of the words.
            #[allow(dead_code, reason = "not every choice is ever wanted as a whole")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::values::Value for $name {
            fn expected() -> String {
                $crate::config::values::choice::one_of(Self::WORDS)
            }

            fn from_text(text: &str) -> Result<Self, $crate::config::values::Wrong> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    $($($gone => Err($crate::config::values::choice::gone($instead)),)+)?
                    _ => Err($crate::config::values::choice::unknown(text, Self::WORDS)),
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": Self::WORDS })
            }
        }
    };
}

pub(crate) use choice;

use super::Wrong;
use crate::config::suggest;

/// `one of "a", "b"`.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// A word that was good once.
pub(crate) fn gone(instead: &str) -> Wrong {
    Wrong::value("is not offered by Heroku any more", format!("write \"{instead}\""))
}

/// A word that is none of `words`.
pub(crate) fn unknown(text: &str, words: &[&str]) -> Wrong {
    let help = match suggest::nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write {}", one_of(words)),
    };
    Wrong::value(format!("is not {}", one_of(words)), help)
}
