//! The QR in the terminal of a person who runs blacksky by hand. Never where stdout is a log.

use std::io::{IsTerminal, Write};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::status::Snapshot;

/// Whether a QR may be printed: stdout is a terminal and this is no dyno (its stdout is a log).
pub(super) fn may_print_qr(dyno: bool) -> bool {
    !dyno && std::io::stdout().is_terminal()
}

/// Prints each new QR until stopped.
pub(super) async fn show_qr(mut snapshot: watch::Receiver<Snapshot>, page: String, stop: CancellationToken) {
    let mut shown = std::collections::BTreeMap::new();
    loop {
        let fresh: Vec<(String, String)> = snapshot
            .borrow_and_update()
            .bots
            .iter()
            .filter_map(|(name, bot)| Some((name.clone(), bot.qr.as_ref()?.payload.clone())))
            .filter(|(name, payload)| shown.get(name) != Some(payload))
            .collect();
        for (name, payload) in fresh {
            print(&name, &payload, &page);
            shown.insert(name, payload);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = snapshot.changed() => if changed.is_err() { return },
        }
    }
}

fn print(name: &str, payload: &str, page: &str) {
    let Ok(code) = QrCode::new(payload) else { return };
    let picture = code.render::<Dense1x2>().quiet_zone(true).build();
    let mut stdout = std::io::stdout().lock();
    // A terminal that went away is no reason to stop the bot.
    let _ = writeln!(
        stdout,
        "\n{picture}\nScan with WhatsApp on the phone of bot {name:?}: Settings → Linked devices → Link a \
         device.\nThe same code is on {page}\n"
    );
}
