//! `[bots.NAME.commands]`: what a message gets. Pure.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::config::{Commands, Match, MediaReply, Program, Reply, Where};
use crate::store::InboxMessage;

/// The span of `per_minute`.
const MINUTE: Duration = Duration::from_secs(60);
/// Chats and commands whose uses are remembered at once.
const REMEMBERED: usize = 10_000;

/// What a message gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'c> {
    /// An emoji.
    pub react: Option<&'c str>,
    /// A text.
    pub say: Option<String>,
    /// A file and its caption.
    pub media: Option<(&'c MediaReply, Option<String>)>,
    /// A program that writes the text, and what it reads.
    pub run: Option<(&'c [String], Duration, Vec<u8>)>,
}

/// A command that fits a message.
struct Fit<'c> {
    trigger: &'c str,
    reply: &'c Reply,
    args: String,
    captures: Vec<String>,
}

/// What a message gets, or `None` when it is no command, its sender may not use it, or it was used too often.
///
/// `uptime` fills `{uptime}`. Messages of the bot's own account never reach the inbox, so they get no answer.
pub fn answer<'c>(
    commands: &'c Commands,
    bot: &str,
    message: &InboxMessage,
    uptime: Duration,
    uses: &mut Uses,
    now: Instant,
) -> Option<Answer<'c>> {
    // Nobody can be answered there.
    if message.chat.ends_with("@broadcast") || message.chat.ends_with("@newsletter") {
        return None;
    }
    if !allowed(&commands.allow, message) {
        return None;
    }
    let word = first_word(commands, &message.text);
    let Some(fit) = find(commands, &message.text, word) else {
        let wanted = commands.help && word.is_some_and(|(word, _)| word.eq_ignore_ascii_case("help"));
        let text = wanted.then(|| help(commands, message)).flatten()?;
        let free = uses.take(&message.chat, None, commands.per_minute, now);
        return free.then_some(Answer { react: None, say: Some(text), media: None, run: None });
    };
    let Fit { trigger, reply, .. } = fit;
    if !usable(commands, reply, message)
        || !uses.take(&message.chat, Some(trigger), reply.per_minute, now)
        || !uses.take(&message.chat, None, commands.per_minute, now)
    {
        return None;
    }
    let value = |name: &str| match name {
        "uptime" => {
            let uptime = humantime::format_duration(Duration::from_secs(uptime.as_secs()));
            Some(Cow::Owned(uptime.to_string()))
        }
        "sender" => Some(Cow::Owned(sender(message))),
        "args" => Some(Cow::Borrowed(fit.args.as_str())),
        number => {
            let place: usize = number.parse().ok()?;
            Some(Cow::Borrowed(fit.captures.get(place.checked_sub(1)?)?.as_str()))
        }
    };
    let filled = |template: &str| (!template.is_empty()).then(|| Reply::fill(template, value));
    let say = filled(&reply.text);
    let media = reply.media.as_ref().map(|media| (media, filled(&media.caption)));
    let run = reply
        .run
        .as_ref()
        .map(|Program { command, timeout }| (command.as_slice(), timeout.get(), input(bot, message, &fit)));
    Some(Answer { react: reply.react.as_deref(), say, media, run })
}

/// What a program reads: one line of JSON.
fn input(bot: &str, message: &InboxMessage, fit: &Fit<'_>) -> Vec<u8> {
    let mut line = json!({
        "bot": bot,
        "command": fit.trigger,
        "args": fit.args,
        "captures": fit.captures,
        "id": message.id,
        "chat": message.chat,
        "sender": message.sender,
        "push_name": message.push_name,
        "at": message.at,
        "text": message.text,
    })
    .to_string()
    .into_bytes();
    line.push(b'\n');
    line
}

/// Without the prefix: the first word and the rest.
fn first_word<'t>(commands: &Commands, text: &'t str) -> Option<(&'t str, &'t str)> {
    let text = strip_prefix_ignoring_case(text.trim_start(), &commands.prefix)?;
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!word.is_empty()).then_some((word, rest.trim()))
}

/// The command for a text: an exact one before the word, then the longest prefix, then the expressions in the
/// order of their names.
fn find<'c>(commands: &'c Commands, text: &str, word: Option<(&str, &str)>) -> Option<Fit<'c>> {
    let text = text.trim();
    let lower = text.to_lowercase();
    let all = || commands.replies.iter().map(|(trigger, reply)| (trigger.as_str(), reply));
    let plain = |(trigger, reply): (&'c str, &'c Reply), args: &str| Fit {
        trigger,
        reply,
        args: args.to_owned(),
        captures: Vec::new(),
    };
    let exact =
        |reply: &Reply| matches!(&reply.matching, Match::Exact(wanted) if wanted.to_lowercase() == lower);
    if let Some(found) = all().find(|(_, reply)| exact(reply)) {
        return Some(plain(found, ""));
    }
    if let Some((word, rest)) = word {
        let word = word.to_lowercase();
        let of_word = |(trigger, reply): &(&str, &Reply)| {
            matches!(reply.matching, Match::Word) && trigger.to_lowercase() == word
        };
        if let Some(found) = all().find(of_word) {
            return Some(plain(found, rest));
        }
    }
    let begun = all().filter_map(|(trigger, reply)| match &reply.matching {
        Match::Prefix(wanted) => {
            let rest = strip_prefix_ignoring_case(text, wanted)?;
            Some((wanted.len(), (trigger, reply), rest.trim()))
        }
        Match::Word | Match::Exact(_) | Match::Regex(_) => None,
    });
    if let Some((_, found, rest)) = begun.max_by_key(|(length, ..)| *length) {
        return Some(plain(found, rest));
    }
    all().find_map(|(trigger, reply)| {
        let Match::Regex(regex) = &reply.matching else { return None };
        let captures = regex.captures(text)?;
        let captures = captures.iter().skip(1).map(|one| one.map_or("", |one| one.as_str()).to_owned());
        Some(Fit { trigger, reply, args: String::new(), captures: captures.collect() })
    })
}

/// Whether this sender may use a command in this chat. Who may use none at all was sent away before.
fn usable(commands: &Commands, reply: &Reply, message: &InboxMessage) -> bool {
    let group = message.chat.ends_with("@g.us");
    let here = match reply.place {
        Where::Anywhere => true,
        Where::Private => !group,
        Where::Groups => group,
    };
    let owner = !commands.owners.is_empty() && by_sender(&commands.owners, message);
    here && (owner || !reply.owners_only) && reply.allow.as_deref().is_none_or(|own| allowed(own, message))
}

/// The commands that this sender may use here, one a line.
fn help(commands: &Commands, message: &InboxMessage) -> Option<String> {
    let lines = commands.replies.iter().filter(|(_, reply)| usable(commands, reply, message)).filter_map(
        |(trigger, reply)| match (&reply.matching, &reply.description) {
            (Match::Word, None) => Some(format!("{}{trigger}", commands.prefix)),
            (Match::Word, Some(text)) => Some(format!("{}{trigger}: {text}", commands.prefix)),
            (Match::Exact(text), Some(description)) => Some(format!("{text}: {description}")),
            (Match::Prefix(text), Some(description)) => Some(format!("{text} …: {description}")),
            // An expression tells nobody anything.
            (Match::Regex(_), Some(description)) => Some(description.clone()),
            (Match::Exact(_) | Match::Prefix(_) | Match::Regex(_), None) => None,
        },
    );
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// When commands were used, by chat; forgotten when the bot starts anew.
#[derive(Debug, Default)]
pub struct Uses(HashMap<(String, Option<String>), VecDeque<Instant>>);

impl Uses {
    /// Counts a use of a command, or of all of them, in a chat; `false` when there were `most` within a minute.
    fn take(&mut self, chat: &str, trigger: Option<&str>, most: Option<u32>, now: Instant) -> bool {
        let Some(most) = most else { return true };
        let recent = |at: &Instant| now.duration_since(*at) < MINUTE;
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, uses| uses.back().is_some_and(recent));
        }
        let uses = self.0.entry((chat.to_owned(), trigger.map(str::to_owned))).or_default();
        while uses.front().is_some_and(|at| !recent(at)) {
            uses.pop_front();
        }
        let free = uses.len() < most as usize;
        if free {
            uses.push_back(now);
        }
        free
    }
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

/// Whether the sender is on the list.
fn by_sender(list: &[String], message: &InboxMessage) -> bool {
    let alone = InboxMessage { chat: String::new(), ..message.clone() };
    allowed(list, &alone)
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

    fn text(text: &str) -> Reply {
        Reply { text: text.into(), ..Reply::default() }
    }

    fn commands(prefix: &str, replies: &[(&str, &str)]) -> Commands {
        let replies = replies.iter().map(|(trigger, reply)| ((*trigger).into(), text(reply))).collect();
        Commands { prefix: prefix.into(), replies, ..Commands::default() }
    }

    fn reply(commands: &Commands, message: &InboxMessage, uptime: Duration) -> Option<String> {
        super::answer(commands, "main", message, uptime, &mut Uses::default(), Instant::now())?.say
    }

    fn answer(commands: &Commands, text: &str) -> Option<String> {
        reply(commands, &message(text), UPTIME)
    }

    fn regex(pattern: &str) -> Match {
        Match::Regex(regex::RegexBuilder::new(pattern).case_insensitive(true).build().expect(pattern))
    }

    #[test]
    fn an_exact_text_wins_over_a_word_over_the_longest_prefix_over_an_expression() {
        let mut commands = commands("!", &[("word", "word")]);
        for (trigger, matching) in [
            ("exact", Match::Exact("!word now".into())),
            ("short", Match::Prefix("!wo".into())),
            ("long", Match::Prefix("!WOR".into())),
            ("expression", regex("w(o+)r?")),
        ] {
            commands.replies.insert(trigger.into(), Reply { matching, ..text(trigger) });
        }
        commands.replies.get_mut("long").expect("there").text = "long {args}".into();
        commands.replies.get_mut("expression").expect("there").text = "found {1}".into();
        for (said, answered) in [
            (" !WORD now ", Some("exact")),
            ("!word later", Some("word")),
            ("!worm  a b", Some("long m  a b")),
            ("!wonder", Some("short")),
            ("swOOosh", Some("found OOo")),
            ("nothing", None),
        ] {
            assert_eq!(answer(&commands, said).as_deref(), answered, "{said:?}");
        }
    }

    #[test]
    fn owners_and_places() {
        let mut commands = commands("!", &[("mine", "yes"), ("group", "yes"), ("private", "yes")]);
        let of = |commands: &mut Commands, trigger: &str, change: &dyn Fn(&mut Reply)| {
            change(commands.replies.get_mut(trigger).expect(trigger));
        };
        of(&mut commands, "mine", &|reply| reply.owners_only = true);
        of(&mut commands, "group", &|reply| reply.place = Where::Groups);
        of(&mut commands, "private", &|reply| reply.place = Where::Private);
        assert_eq!(answer(&commands, "!mine"), None, "without owners nobody may");
        commands.owners = vec!["4915550001".into()];
        assert!(answer(&commands, "!mine").is_some());
        commands.owners = vec!["4915550002".into()];
        assert_eq!(answer(&commands, "!mine"), None);
        let in_group = |commands: &Commands, text: &str| {
            let mut message = message(text);
            message.chat = "123-456@g.us".into();
            reply(commands, &message, UPTIME).is_some()
        };
        assert!(answer(&commands, "!private").is_some() && !in_group(&commands, "!private"));
        assert!(answer(&commands, "!group").is_none() && in_group(&commands, "!group"));
        // A group on the list of owners makes nobody in it an owner.
        commands.owners = vec!["123-456@g.us".into()];
        assert!(!in_group(&commands, "!mine"));
    }

    #[test]
    fn help_lists_what_the_sender_may_use_unless_it_is_a_command() {
        let mut commands = commands("!", &[("ping", "pong"), ("secret", "x"), ("zzz", "x")]);
        commands.replies.get_mut("secret").expect("there").owners_only = true;
        commands.replies.get_mut("ping").expect("there").description = Some("says pong".into());
        commands.replies.get_mut("zzz").expect("there").matching = regex("^hi");
        assert_eq!(answer(&commands, "!help"), None, "not asked for");
        commands.help = true;
        assert_eq!(answer(&commands, "!HELP me").as_deref(), Some("!ping: says pong"));
        commands.replies.insert("help".into(), text("my own"));
        assert_eq!(answer(&commands, "!help").as_deref(), Some("my own"));
        commands.replies.clear();
        assert_eq!(answer(&commands, "!help"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_gets_so_many_answers_a_minute() {
        let mut commands = commands("!", &[("ping", "pong"), ("pong", "ping")]);
        commands.per_minute = Some(3);
        commands.replies.get_mut("ping").expect("there").per_minute = Some(2);
        let mut uses = Uses::default();
        let mut ask = |chat: &str, text: &str| {
            let mut message = message(text);
            message.chat = format!("{chat}@s.whatsapp.net");
            super::answer(&commands, "main", &message, UPTIME, &mut uses, Instant::now()).is_some()
        };
        let said: Vec<bool> = ["!ping", "!ping", "!ping", "!pong", "!pong"].map(|text| ask("1", text)).into();
        assert_eq!(said, [true, true, false, true, false]);
        assert!(ask("2", "!ping"), "another chat");
        tokio::time::sleep(MINUTE - Duration::from_millis(1)).await;
        assert!(!ask("1", "!pong"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(ask("1", "!pong"));
    }

    #[test]
    fn a_program_reads_the_message_as_a_line_of_json() {
        let mut commands = commands("!", &[("say", "")]);
        let program = Program { command: vec!["cat".into()], timeout: crate::config::Period::seconds(3) };
        commands.replies.get_mut("say").expect("there").run = Some(program);
        let message = message("!say \"a\"\nb");
        let now = Instant::now();
        let answer =
            super::answer(&commands, "main", &message, UPTIME, &mut Uses::default(), now).expect("one");
        assert_eq!(answer.say, None);
        let (command, timeout, input) = answer.run.expect("a program");
        assert_eq!((command, timeout), (&["cat".to_owned()][..], Duration::from_secs(3)));
        assert_eq!(input.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: serde_json::Value = serde_json::from_slice(&input).expect("JSON");
        assert_eq!(
            (&read["command"], &read["args"], &read["bot"]),
            (&json!("say"), &json!("\"a\"\nb"), &json!("main"))
        );
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

        #[test]
        fn whatever_is_written_never_panics_any_match(
            pattern in ".{1,12}", template in ".{0,20}", said in ".{0,30}", kind in 0..3,
        ) {
            let matching = match kind {
                0 => Match::Exact(pattern.clone()),
                1 => Match::Prefix(pattern.clone()),
                _ => regex(&regex::escape(&pattern)),
            };
            let mut commands = commands("!", &[]);
            commands.help = true;
            commands.replies.insert("x".into(), Reply { matching, ..text(&template) });
            let _ = answer(&commands, &said);
            let _ = answer(&commands, &format!("{pattern}{said}"));
            if pattern.trim() == pattern && !template.is_empty() {
                prop_assert!(answer(&commands, &pattern).is_some());
            }
        }
    }
}
