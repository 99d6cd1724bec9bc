pub mod blacksky;
pub mod browser;
#[cfg(feature = "simulator")]
pub mod build;
#[cfg(feature = "simulator")]
pub mod crowd;
#[allow(dead_code, reason = "tests take what they need of it")]
pub mod dyno;
pub mod eventually;
#[allow(dead_code, reason = "tests and benchmarks take what they need of it")]
pub mod figures;
pub mod http;
pub mod linked;
pub mod listener;
pub mod native;
pub mod node;
pub mod openmetrics;
pub mod pgbouncer;
pub mod postgres;
#[allow(dead_code, reason = "tests take what they need of it")]
pub mod proxy;
pub mod python;
pub mod qr;
#[cfg(feature = "simulator")]
pub mod release;
pub mod sim;
pub mod site;
#[allow(dead_code, reason = "tests take what they need of it")]
#[cfg(feature = "simulator")]
pub mod stage;
pub mod webhook;
#[cfg(feature = "simulator")]
pub mod weight;
