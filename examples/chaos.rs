//! The long run of the chaos suite.
//!
//! `cargo run --features simulator --example chaos -- --faults 1000 --seed 1`
//!
//! It needs PostgreSQL's server programs. Ends with 1 at the first violation, names seed and step, and keeps
//! the logs. The same seed gives the same faults; `--plan` prints them.

#[path = "../tests/it/chaos/mod.rs"]
mod chaos;
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support"]
mod support {
    pub mod blacksky;
    pub mod eventually;
    pub mod figures;
    pub mod http;
    pub mod postgres;
    pub mod proxy;
    pub mod qr;
    pub mod sim;
}

use std::path::PathBuf;
use std::time::Duration;

use blacksky::exit::Exit;
use clap::Parser;

use chaos::plan::Plan;

/// Random faults from WhatsApp, the network, the database and the dynos, while messages flow.
#[derive(Debug, Parser)]
struct Args {
    /// How many
    #[arg(long, default_value_t = 100)]
    faults: u32,
    /// Decides their sequence, targets and moments; drawn and printed when not given
    #[arg(long)]
    seed: Option<u64>,
    /// lease.ttl
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Print the plan and do nothing
    #[arg(long)]
    plan: bool,
    /// Where logs, plan and journal go; removed after a good run when not given
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Dynos log in detail
    #[arg(long)]
    debug: bool,
}

fn main() -> anyhow::Result<Exit> {
    // The dynos are this very program, under another name.
    if std::env::args_os().next().is_some_and(|name| name == support::blacksky::NAME) {
        return Ok(blacksky::commands::dispatch(blacksky::cli::Cli::parse()).unwrap_or_else(|failure| {
            eprintln!("error: {:#}", failure.error);
            failure.exit
        }));
    }
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| rand::random::<u32>().into());
    if args.plan {
        print!("{}", Plan::new(seed, args.faults, args.ttl));
        return Ok(Exit::Ok);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(long(args, seed))
}

async fn long(args: Args, seed: u64) -> anyhow::Result<Exit> {
    let folder = match &args.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.clone()
        }
        None => tempfile::Builder::new().prefix("blacksky-chaos-").tempdir()?.keep(),
    };
    println!("seed {seed}, {} faults, logs in {}", args.faults, folder.display());
    let faults = args.faults;
    let run = chaos::Run { seed, faults, ttl: args.ttl, folder: folder.clone(), debug: args.debug };
    let outcome = run.run(|step, report| {
        println!("{:4}/{faults} {:6.0} s  {}", step.number, report.begun.elapsed().as_secs_f64(), step.fault);
    });
    let report = tokio::select! {
        outcome = outcome => outcome,
        // What it started ends with it.
        stopped = tokio::signal::ctrl_c() => return stopped.map(|()| Exit::Failed).map_err(Into::into),
    };
    match report {
        Ok(report) => {
            println!("{report}");
            report.gather();
            if args.folder.is_none() {
                std::fs::remove_dir_all(folder)?;
            }
            Ok(Exit::Ok)
        }
        Err(violated) => {
            eprintln!("violated: {violated}");
            Ok(Exit::Failed)
        }
    }
}
