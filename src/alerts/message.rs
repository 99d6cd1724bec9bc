//! How an alert is written: plain JSON, Slack, Discord.

use serde_json::{Value, json};
use url::Url;

use super::Alert;
use crate::config::{AlertFormat, AlertKind};

/// Where an alert comes from.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// `app.name`.
    pub app: String,
    /// DYNO, if there is one.
    pub dyno: Option<String>,
    /// The page's public address.
    pub page: Option<Url>,
}

/// The format that fits the host of the webhook.
pub(super) fn format_for(url: &Url) -> AlertFormat {
    let host = url.host_str().unwrap_or_default();
    let of = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    if of("slack.com") {
        AlertFormat::Slack
    } else if (of("discord.com") || of("discordapp.com")) && url.path().starts_with("/api/webhooks/") {
        AlertFormat::Discord
    } else {
        AlertFormat::Json
    }
}

/// The word of an alert.
pub(super) fn word(alert: &Alert) -> &'static str {
    alert.kind.map_or("test", AlertKind::as_str)
}

/// The body to post.
pub(super) fn body(alert: &Alert, id: &str, sender: &Sender, format: AlertFormat) -> Value {
    match format {
        AlertFormat::Slack => json!({ "text": slack(&sentence(alert, sender)) }),
        AlertFormat::Discord => json!({
            "content": shortened(sentence(alert, sender), 1900),
            // Nothing in it calls anybody.
            "allowed_mentions": { "parse": [] },
        }),
        AlertFormat::Auto | AlertFormat::Json => json!({
            "id": id,
            "event": word(alert),
            "app": sender.app,
            "dyno": sender.dyno,
            "bot": alert.bot,
            "text": alert.text,
            "at": alert.at,
            "left_out": alert.left_out,
            "page": sender.page.as_ref().map(Url::as_str),
        }),
    }
}

fn sentence(alert: &Alert, sender: &Sender) -> String {
    let sign = match alert.kind {
        Some(AlertKind::Up) => "✅",
        Some(
            AlertKind::Pairing
            | AlertKind::LoggedOut
            | AlertKind::Parked
            | AlertKind::Down
            | AlertKind::ReconnectLoop
            | AlertKind::Deaf
            | AlertKind::Database
            | AlertKind::Memory
            | AlertKind::Backup
            | AlertKind::SessionRemoved
            | AlertKind::DeadLetters,
        ) => "⚠️",
        None => "🔔",
    };
    let mut text = format!("{sign} {}", sender.app);
    if let Some(bot) = &alert.bot {
        text.push_str(&format!(", bot {bot}"));
    }
    text.push_str(&format!(": {}", alert.text));
    if alert.left_out > 0 {
        text.push_str(&format!(" ({} more of these since the last message)", alert.left_out));
    }
    if let Some(page) = &sender.page {
        text.push_str(&format!(" {page}"));
    }
    text
}

/// Slack reads `<`, `>` and `&` as its own.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn shortened(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    fn alert(text: &str) -> Alert {
        Alert {
            kind: Some(AlertKind::Parked),
            bot: Some("main".into()),
            text: text.into(),
            at: clock::now(),
            left_out: 2,
        }
    }

    fn sender() -> Sender {
        Sender {
            app: "shop".into(),
            dyno: Some("web.1".into()),
            page: Url::parse("https://shop.example/").ok(),
        }
    }

    #[test]
    fn the_host_tells_the_format() {
        for (url, format) in [
            ("https://hooks.slack.com/services/T/B/x", AlertFormat::Slack),
            ("https://discord.com/api/webhooks/1/x", AlertFormat::Discord),
            ("https://discord.com/other", AlertFormat::Json),
            ("https://notslack.com/", AlertFormat::Json),
            ("http://127.0.0.1:9/", AlertFormat::Json),
        ] {
            assert_eq!(format_for(&Url::parse(url).expect("a URL")), format, "{url}");
        }
    }

    #[test]
    fn each_format_is_what_its_reader_takes() {
        let plain = body(&alert("stopped"), "i", &sender(), AlertFormat::Json);
        assert_eq!(plain["event"], "parked");
        assert_eq!((&plain["bot"], &plain["left_out"]), (&json!("main"), &json!(2)));
        let slack = body(&alert("a <b> & c"), "i", &sender(), AlertFormat::Slack);
        let text = slack["text"].as_str().expect("text");
        assert!(text.contains("a &lt;b&gt; &amp; c") && text.contains("2 more"), "{text}");
        let long = "ü".repeat(5000);
        let discord = body(&alert(&long), "i", &sender(), AlertFormat::Discord);
        assert!(discord["content"].as_str().expect("text").chars().count() <= 2000);
        assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
    }
}
