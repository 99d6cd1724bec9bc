//! `blacksky alerts test`: one alert to the webhook, to see that it arrives.

use crate::alerts::{Alert, Hook};
use crate::cli::{Alerts, Cli};
use crate::exit::{Exit, Failure};
use crate::runtime::clock;

use super::{load, output};

/// Exit 0 when the webhook took it, 69 when it did not, 78 when there is none.
pub fn run(cli: &Cli, args: &Alerts) -> Result<Exit, Failure> {
    let Alerts::Test = args;
    let config = load::load(cli)?.config;
    let Some(hook) = Hook::of(&config) else {
        return Err(Failure::new(
            Exit::BadConfig,
            anyhow::anyhow!(
                "there is no webhook to send to: set BLACKSKY_ALERTS_WEBHOOK, or webhook in the section [alerts] \
                 of {}, to an incoming webhook of Slack or Discord or to a program of your own",
                cli.config.display()
            ),
        ));
    };
    let alert = Alert {
        kind: None,
        bot: None,
        text: "This is a test of the alerts. Nothing is wrong.".to_owned(),
        at: clock::now(),
        left_out: 0,
    };
    let id = format!("{:016x}", rand::random::<u64>());
    super::block_on(async {
        match hook.post(&alert, &id).await {
            Ok(status) => {
                output::print(&format!("the webhook took the alert (HTTP {status})"))?;
                Ok(Exit::Ok)
            }
            Err(error) => Err(Failure::new(Exit::Unavailable, error)),
        }
    })
}
