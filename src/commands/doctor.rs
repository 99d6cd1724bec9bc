//! `blacksky doctor`: looks at what blacksky needs, live.

use serde_json::json;

use crate::cli::{self, Cli};
use crate::config::{Config, ProcessEnvironment};
use crate::doctor::{self, Finding, Outcome};
use crate::exit::{Exit, Failure};
use crate::link::LinkAddress;

use super::output;

/// Exit 0 when nothing failed, 1 otherwise. A warning, such as a WhatsApp that is not reachable, fails nothing.
pub(super) fn run(cli: &Cli, args: &cli::Doctor) -> Result<Exit, Failure> {
    let link = match (&args.link, LinkAddress::decide(args.link.clone())) {
        (_, Ok(link)) => Some(link),
        // This build trusts the simulator, and WhatsApp itself is not for it.
        (None, Err(_)) => None,
        (Some(_), Err(error)) => return Err(Failure::new(Exit::Usage, error)),
    };
    let mut findings = Vec::new();
    let mut broken = Ok(());
    let mut tell = |finding: Finding| {
        if !args.json && broken.is_ok() {
            broken = output::print(&line(&finding));
        }
        findings.push(finding);
    };
    match Config::load(&cli.config, &ProcessEnvironment) {
        Ok(loaded) => super::block_on(async {
            doctor::examine(&loaded, link, &mut tell).await;
            Ok(Exit::Ok)
        })?,
        Err(problems) => {
            doctor::of_problems(&problems).into_iter().for_each(&mut tell);
            Exit::Ok
        }
    };
    broken?;
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let failed = count(Outcome::Fail);
    if args.json {
        output::print_json(&json!({ "ok": failed == 0, "checks": findings }))?;
    } else {
        let (ok, warned) = (count(Outcome::Ok), count(Outcome::Warn));
        output::print(&format!("\n{ok} ok, {warned} to look at, {failed} failed"))?;
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}

fn line(finding: &Finding) -> String {
    let word = match finding.outcome {
        Outcome::Ok => "ok",
        Outcome::Warn => "warn",
        Outcome::Fail => "FAIL",
        Outcome::Skip => "skip",
    };
    let todo = finding.todo.as_ref().map_or_else(String::new, |todo| format!("\n      → {todo}"));
    format!("{word:<4}  {}: {}{todo}", finding.check, finding.message)
}
