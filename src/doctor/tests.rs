//! The order, the deadlines, and what is said of a WhatsApp that is not there.

use std::io;

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::link::dial::{DialError, Dialler, Socket};

fn findings(name: &'static str) -> Vec<Finding> {
    vec![Finding::ok(name, "looked")]
}

#[tokio::test(start_paused = true)]
async fn findings_come_in_order_and_a_check_that_hangs_is_ended() {
    let checks = vec![
        Check::new("slow", async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            findings("slow")
        }),
        Check::new("stuck", std::future::pending()),
        Check::new("quick", async { findings("quick") }),
    ];
    let begun = Instant::now();
    let mut told = Vec::new();
    run(checks, |finding| told.push((finding.check.clone(), finding.outcome, begun.elapsed()))).await;
    let words: Vec<(&str, Outcome)> =
        told.iter().map(|(check, outcome, _)| (check.as_str(), *outcome)).collect();
    assert_eq!(words, [("slow", Outcome::Ok), ("stuck", Outcome::Fail), ("quick", Outcome::Ok)]);
    assert!(begun.elapsed() <= DEADLINE + Duration::from_secs(1), "they run at once: {:?}", begun.elapsed());
    assert!(told[0].2 < Duration::from_secs(4), "told as soon as it is known");
}

struct Refusing(DialError);

#[async_trait]
impl Dialler for Refusing {
    async fn dial(&self) -> Result<Socket, DialError> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn a_whatsapp_that_is_not_there_is_told_by_its_step_and_is_nobodys_fault() {
    for (error, step) in [
        (DialError::Name { host: "web.whatsapp.com".into() }, "the step name"),
        (DialError::Connect { kind: io::ErrorKind::ConnectionRefused }, "the step TCP"),
        (DialError::TimedOut { seconds: 20 }, "the step TCP"),
        (DialError::Tls { problem: "invalid peer certificate".into() }, "the step TLS"),
        (DialError::Status { status: 403 }, "the step WebSocket"),
    ] {
        let found = whatsapp::reach(&Refusing(error), "web.whatsapp.com", true).await.remove(0);
        assert_eq!(found.outcome, Outcome::Warn, "{found:?}");
        assert!(found.message.contains(step), "{found:?}");
        assert!(found.message.contains("not a fault of the configuration"), "{found:?}");
        assert!(found.todo.is_some());
    }
}
