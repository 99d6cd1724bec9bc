//! What a running bot says, by its output and through its relay, put into the status.

use tokio::time::Instant;

use super::child::{Line, Redactor, Shown, Tail, redact};
use super::qr::QrFinder;
use super::view::View;
use crate::link::relay::{Report, Said};

/// A WebSocket with so many frames from WhatsApp is more than a login. Only for bots whose own events are not heard.
const LOGIN_FRAMES: u64 = 12;

/// Follows one run.
pub struct News<'a> {
    view: &'a mut View,
    redactor: Redactor,
    tail: Tail,
    qr: QrFinder,
    /// A drawing was announced already.
    drawing: bool,
    /// Baileys' own events are heard.
    speaks: bool,
    dialled: bool,
    /// Frames from WhatsApp when the present connection began.
    at_connect: Option<u64>,
    inbound: u64,
    /// The relay said why the connection ended, and Baileys' own word is still to come.
    explained: bool,
    /// The line before was one with key material.
    hidden: bool,
}

impl<'a> News<'a> {
    pub fn new(view: &'a mut View, redactor: Redactor) -> Self {
        Self {
            view,
            redactor,
            tail: Tail::default(),
            qr: QrFinder::default(),
            drawing: false,
            speaks: false,
            dialled: false,
            at_connect: None,
            inbound: 0,
            explained: false,
            hidden: false,
        }
    }

    /// Whether the bot has dialled through the relay.
    pub fn dialled(&self) -> bool {
        self.dialled
    }

    /// A line of the bot's output.
    pub fn line(&mut self, line: &Line) {
        let bot = self.view.bot().to_owned();
        if line.left_out > 0 {
            let text = format!("({} lines were left out: they came too fast)", line.left_out);
            tracing::warn!(%bot, "{text}");
            self.tail.push(text);
        }
        if let Some(payload) = self.qr.line(&line.raw, Instant::now()) {
            self.view.qr(payload);
        }
        match self.redactor.show(&line.raw) {
            Shown::Text { log, owner } => {
                self.drawing = false;
                // Sessions are printed over dozens of lines.
                let hidden = log == redact::LEFT_OUT;
                if std::mem::replace(&mut self.hidden, hidden) && hidden {
                    return;
                }
                if line.error {
                    tracing::warn!(%bot, "{log}");
                } else {
                    tracing::info!(%bot, "{log}");
                }
                self.tail.push(owner);
            }
            Shown::Drawing if !std::mem::replace(&mut self.drawing, true) => {
                let text = "(a QR code was printed: see the page)";
                tracing::info!(%bot, "{text}");
                self.tail.push(text.to_owned());
            }
            Shown::Drawing | Shown::Blank => return,
        }
        let lines = self.tail.lines();
        self.view.parts(|hosted| hosted.last_lines = lines);
    }

    /// What happened at the relay.
    pub fn report(&mut self, report: Report) {
        match report {
            Report::Dialled => {
                self.dialled = true;
                self.explained = false;
                self.view.dialled();
            }
            Report::Connected => self.at_connect = Some(self.inbound),
            Report::Traffic { inbound, outbound } => {
                self.inbound = inbound.frames;
                self.view.traffic(inbound, outbound);
                let through = self.at_connect.is_some_and(|before| inbound.frames - before >= LOGIN_FRAMES);
                if through && !self.speaks {
                    self.view.open_by_traffic();
                }
            }
            Report::Ended { reason, text } => {
                self.at_connect = None;
                // Baileys knows more of an end that came over the socket.
                if !self.speaks || !matches!(reason.as_str(), "eof" | "closed" | "closed_by_bot" | "io_error")
                {
                    self.explained = true;
                    self.view.disconnected(&reason, &text, true);
                }
            }
            Report::Held(wait) => self.view.held(wait),
            Report::Said(said) => self.said(said),
        }
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Loaded { node, pid } => {
                tracing::debug!(bot = self.view.bot(), node, pid, "the preload is there");
            }
            Said::Qr { payload } => {
                self.speaks = true;
                self.view.qr(payload);
            }
            Said::PairingCode { code } => {
                self.tail.push(format!("Pairing code: {code}"));
                let lines = self.tail.lines();
                self.view.parts(|hosted| hosted.last_lines = lines);
            }
            Said::Open => {
                self.speaks = true;
                self.view.open();
            }
            Said::Closed { code } => {
                self.speaks = true;
                let decisive = matches!(code, 401 | 403 | 405 | 440 | 515);
                if decisive || !self.explained {
                    let (reason, text) = meaning(code);
                    self.view.disconnected(&reason, text, code != 515);
                }
            }
        }
    }

    /// The bot runs and does not come through the relay.
    pub fn goes_around(&self) {
        self.view.goes_around();
    }

    /// What its processes use.
    pub fn memory(&self, used: u64) {
        self.view.memory(used);
    }
}

/// Baileys' status codes (its `DisconnectReason`), in the words of the native link where they mean the same.
fn meaning(code: u16) -> (String, &'static str) {
    let (reason, text) = match code {
        401 => ("device_removed", "WhatsApp has unlinked this device (401)."),
        403 => ("failure_403", "WhatsApp does not let this account in (403)."),
        405 => ("failure_405", "WhatsApp refuses the version of the bot's library (405): update Baileys."),
        408 => ("silence", "Nothing came any more, or all QR codes were shown (408)."),
        411 => ("stream_error_411", "The bot's device must be linked anew for multi-device (411)."),
        428 => ("eof", "The connection was closed (428)."),
        440 => ("replaced", "Another client uses the same session (440)."),
        500 => ("stream_error_500", "WhatsApp ended the stream with an error (500)."),
        503 => ("stream_error_503", "WhatsApp is not available for the moment (503)."),
        515 => ("stream_error_515", "WhatsApp asked for a restart of the stream (515)."),
        _ => return (format!("closed_{code}"), "The bot says that its link ended."),
    };
    (reason.to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkState;
    use crate::link::relay::Flow;
    use crate::runtime::clock;
    use crate::runtime::status::{Board, BotStatus, RelayWay};

    fn with(look: impl FnOnce(&mut News<'_>, &dyn Fn() -> BotStatus)) {
        let board = Board::new(clock::now(), None, ["main"].into_iter());
        let mut view = View::of(board.clone(), "main");
        let mut news = News::new(&mut view, Redactor::default());
        look(&mut news, &|| board.subscribe().borrow().bots["main"].clone());
    }

    fn line(raw: &str) -> Line {
        Line { raw: raw.to_owned(), error: false, left_out: 0 }
    }

    #[test]
    fn baileys_own_words_are_the_state() {
        with(|news, bot| {
            news.report(Report::Dialled);
            assert_eq!(bot().state, LinkState::Connecting);
            news.report(Report::Said(Said::Qr { payload: "2@a,b,c,d".into() }));
            assert_eq!(bot().state, LinkState::Pairing);
            news.report(Report::Said(Said::Closed { code: 515 }));
            news.report(Report::Ended { reason: "eof".into(), text: "It ended.".into() });
            assert!(bot().last_disconnect.is_none(), "a restart that belongs to pairing");
            assert_eq!(bot().disconnects.len(), 1, "{:?}", bot().disconnects);
            news.report(Report::Dialled);
            news.report(Report::Said(Said::Open));
            assert_eq!((bot().state, bot().attempt), (LinkState::Open, 0));
            let way = |bot: BotStatus| bot.hosted.expect("hosted").relay.way;
            assert_eq!(way(bot()), RelayWay::Through);
            news.report(Report::Said(Said::Closed { code: 440 }));
            assert_eq!(bot().last_disconnect.expect("ended").reason, "replaced");
            news.report(Report::Held(std::time::Duration::from_secs(30)));
            assert_eq!(bot().state, LinkState::BackingOff);
            assert!(bot().next_attempt_at.is_some());
        });
    }

    #[test]
    fn a_bot_that_says_nothing_is_open_by_its_traffic() {
        with(|news, bot| {
            news.report(Report::Dialled);
            news.report(Report::Connected);
            let flow = |frames| Flow { frames, bytes: 100 * frames };
            news.report(Report::Traffic { inbound: flow(3), outbound: flow(3) });
            assert_eq!(bot().state, LinkState::Connecting);
            news.report(Report::Traffic { inbound: flow(20), outbound: flow(9) });
            assert_eq!(bot().state, LinkState::Open);
            news.report(Report::Ended { reason: "silence".into(), text: "Nothing came any more.".into() });
            assert_eq!(bot().last_disconnect.expect("ended").reason, "silence");
        });
    }

    #[test]
    fn the_last_lines_hold_no_qr_and_the_page_has_it() {
        with(|news, bot| {
            news.line(&line("starting"));
            let payload = format!("2@{0}=,{0}=,{0}=,{0}=", "A".repeat(43));
            news.line(&line(&format!("QR: {payload}")));
            assert_eq!(bot().qr.expect("a QR").payload, payload);
            let lines = bot().hosted.expect("hosted").last_lines;
            assert_eq!(lines, ["starting", "QR: (a QR code: see the page)"]);
        });
    }
}
