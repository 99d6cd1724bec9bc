//! `[bots.NAME.commands]`: which reply a message gets. Pure.

use std::time::Duration;

use crate::config::{Commands, Reply};
use crate::store::InboxMessage;

/// The reply to a message, or `None` when it is no command or its sender may not use it.
///
/// A command is the prefix and a trigger as the first word of the text; case does not matter. `uptime`
/// fills `{uptime}`. Messages of the bot's own account never reach the inbox, so they get no reply.
pub fn reply(commands: &Commands, message: &InboxMessage, uptime: Duration) -> Option<String> {
    // Nobody can be answered there.
    if message.chat.ends_with("@broadcast") || message.chat.ends_with("@newsletter") {
        return None;
    }
    let text = message.text.trim_start();
    let text = strip_prefix_ignoring_case(text, &commands.prefix)?;
    let (word, args) = match text.split_once(char::is_whitespace) {
        Some((word, args)) => (word, args.trim()),
        None => (text, ""),
    };
    let reply = find(commands, word)?;
    if !allowed(&commands.allow, message) || !reply.allow.as_deref().is_none_or(|own| allowed(own, message)) {
        return None;
    }
    Some(fill(&reply.text, message, args, uptime))
}

fn find<'a>(commands: &'a Commands, word: &str) -> Option<&'a Reply> {
    if word.is_empty() {
        return None;
    }
    let word = word.to_lowercase();
    commands.replies.iter().find_map(|(trigger, reply)| (trigger.to_lowercase() == word).then_some(reply))
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for expected in prefix.chars() {
        let found = rest.next()?;
        if !found.to_lowercase().eq(expected.to_lowercase()) {
            return None;
        }
    }
    Some(rest.as_str())
}

/// Whether the sender or the chat is on the list; an empty list is everybody.
fn allowed(list: &[String], message: &InboxMessage) -> bool {
    list.is_empty()
        || list.iter().any(|entry| {
            if entry.contains('@') {
                let entry = entry.trim();
                entry.eq_ignore_ascii_case(&message.chat) || entry.eq_ignore_ascii_case(&message.sender)
            } else {
                phone(&message.sender).is_some_and(|phone| {
                    let digits: String = entry.chars().filter(char::is_ascii_digit).collect();
                    !digits.is_empty() && digits == phone
                })
            }
        })
}

/// The phone number of a sender; `None` when WhatsApp hides it behind a LID.
fn phone(sender: &str) -> Option<&str> {
    let (user, server) = sender.split_once('@')?;
    (server == "s.whatsapp.net").then_some(user)
}

/// Fills `{uptime}`, `{sender}` and `{args}`; `{{` and `}}` are braces; what is unknown stays as it is.
/// One pass: braces in a filled-in value mean nothing.
fn fill(template: &str, message: &InboxMessage, args: &str, uptime: Duration) -> String {
    let mut filled = String::with_capacity(template.len() + args.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            filled.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let value = rest.strip_prefix('{').and_then(|inner| {
            let (name, after) = inner.split_once('}')?;
            let value = match name {
                "uptime" => humantime::format_duration(Duration::from_secs(uptime.as_secs())).to_string(),
                "sender" => sender(message),
                "args" => args.to_owned(),
                _ => return None,
            };
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(&value);
                rest = after;
            }
            None => {
                filled.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// How the sender is called: the display name, else the user part of the address.
fn sender(message: &InboxMessage) -> String {
    let name = message.push_name.trim();
    if name.is_empty() {
        message.sender.split('@').next().unwrap_or_default().to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::clock;

    const UPTIME: Duration = Duration::from_millis(3_725_900);

    fn message(text: &str) -> InboxMessage {
        InboxMessage {
            chat: "4915550001@s.whatsapp.net".into(),
            sender: "4915550001@s.whatsapp.net".into(),
            id: "A1".into(),
            at: clock::now(),
            push_name: "Ada".into(),
            text: text.into(),
        }
    }

    fn commands(prefix: &str, replies: &[(&str, &str)]) -> Commands {
        Commands {
            prefix: prefix.into(),
            allow: vec![],
            replies: replies
                .iter()
                .map(|(trigger, text)| ((*trigger).into(), Reply { text: (*text).into(), allow: None }))
                .collect(),
        }
    }

    fn answer(commands: &Commands, text: &str) -> Option<String> {
        reply(commands, &message(text), UPTIME)
    }

    #[test]
    fn the_first_word_is_the_trigger_whatever_its_case() {
        let commands = commands("!", &[("ping", "pong")]);
        for text in ["!ping", "!PING", "  !Ping  ", "!ping now", "!ping\nnow"] {
            assert_eq!(answer(&commands, text).as_deref(), Some("pong"), "{text:?}");
        }
        for text in ["ping", "! ping", "!pingpong", "say !ping", "!", "", "!!ping"] {
            assert_eq!(answer(&commands, text), None, "{text:?}");
        }
    }

    #[test]
    fn the_prefix_may_be_empty_or_a_word() {
        assert_eq!(answer(&commands("", &[("ping", "pong")]), "ping").as_deref(), Some("pong"));
        let commands = commands("Bot ", &[("grüße", "hallo")]);
        assert_eq!(answer(&commands, "bot GRÜßE").as_deref(), Some("hallo"));
        assert_eq!(answer(&commands, "bot"), None);
    }

    #[test]
    fn status_updates_and_channels_get_no_reply() {
        for chat in ["status@broadcast", "1203@newsletter"] {
            let mut update = message("ping");
            update.chat = chat.into();
            assert_eq!(reply(&commands("", &[("ping", "pong")]), &update, UPTIME), None, "{chat}");
        }
    }

    #[test]
    fn variables_are_filled_once() {
        let commands = commands("", &[("say", "{sender} said {args} after {uptime}; {{args}} {other} }{")]);
        assert_eq!(
            answer(&commands, "say {sender} {{").as_deref(),
            Some("Ada said {sender} {{ after 1h 2m 5s; {args} {other} }{")
        );
    }

    #[test]
    fn a_sender_without_a_name_is_called_by_number() {
        let mut nameless = message("who");
        nameless.push_name = " ".into();
        let commands = commands("", &[("who", "{sender}")]);
        assert_eq!(reply(&commands, &nameless, UPTIME).as_deref(), Some("4915550001"));
    }

    #[test]
    fn the_allow_list_takes_numbers_and_chats() {
        let mut commands = commands("", &[("ping", "pong")]);
        for (entry, may) in [
            ("+49 1555 0001", true),
            ("4915550001", true),
            ("4915550001@S.whatsapp.net", true),
            ("15550001", false),
            ("4915550002", false),
            ("", false),
            ("+", false),
            ("123-456@g.us", false),
        ] {
            commands.allow = vec![entry.into()];
            assert_eq!(answer(&commands, "ping").is_some(), may, "{entry:?}");
        }
        let mut group = message("ping");
        group.chat = "123-456@g.us".into();
        commands.allow = vec!["123-456@g.us".into()];
        assert!(reply(&commands, &group, UPTIME).is_some());
    }

    #[test]
    fn a_hidden_number_is_not_taken_for_a_number() {
        let mut hidden = message("ping");
        hidden.sender = "4915550001@lid".into();
        hidden.chat = hidden.sender.clone();
        let mut commands = commands("", &[("ping", "pong")]);
        commands.allow = vec!["4915550001".into()];
        assert_eq!(reply(&commands, &hidden, UPTIME), None);
        commands.allow = vec!["4915550001@lid".into()];
        assert!(reply(&commands, &hidden, UPTIME).is_some());
    }

    #[test]
    fn a_trigger_can_only_narrow_the_list() {
        let mut commands = commands("", &[("ping", "pong")]);
        let own = |list: &[&str]| Some(list.iter().map(|entry| (*entry).to_owned()).collect());
        commands.allow = vec!["1".into()];
        commands.replies.get_mut("ping").expect("ping").allow = own(&["4915550001"]);
        assert_eq!(answer(&commands, "ping"), None, "the bot's list still counts");
        commands.allow = vec![];
        assert!(answer(&commands, "ping").is_some());
        commands.replies.get_mut("ping").expect("ping").allow = own(&["2"]);
        assert_eq!(answer(&commands, "ping"), None);
    }

    proptest! {
        #[test]
        fn never_panics(prefix in ".{0,4}", trigger in ".{0,8}", template in ".{0,40}", text in ".{0,40}") {
            let commands = commands(&prefix, &[(&trigger, &template)]);
            let _ = answer(&commands, &text);
            let _ = answer(&commands, &format!("{prefix}{trigger} {text}"));
        }
    }
}
