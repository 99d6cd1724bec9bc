//! A short run of the chaos suite. `BLACKSKY_SEED` and `BLACKSKY_FAULTS` choose another; the long one is
//! `examples/chaos.rs`.

use std::time::Duration;

use crate::chaos::Run;

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var_os(name)?.into_string().ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_fails() {
    let seed = setting("BLACKSKY_SEED").unwrap_or_else(rand::random::<u32>);
    let faults = setting("BLACKSKY_FAULTS").unwrap_or(8);
    let folder = tempfile::Builder::new().prefix("blacksky-chaos-").tempdir().expect("a folder").keep();
    println!("seed {seed}, {faults} faults, folder {}", folder.display());
    let run =
        Run { seed: seed.into(), faults, ttl: Duration::from_secs(2), folder: folder.clone(), debug: false };
    match run.run(|_, _| ()).await {
        Ok(report) => {
            println!("{report}");
            report.gather();
        }
        Err(violated) => panic!("BLACKSKY_SEED={seed} BLACKSKY_FAULTS={faults}: {violated}"),
    }
    std::fs::remove_dir_all(folder).expect("removed");
}
