//! The phones: contacts that send numbered messages all the time, and what the bot answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blacksky::sim::Handle;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The account that the bot is linked to.
pub const ACCOUNT: &str = "4915100000001";
const CONTACTS: [&str; 3] = ["4915100000002", "4915100000003", "4915100000004"];
/// Pause between two messages.
const PAUSE: std::ops::Range<u64> = 60..360;

/// Sends until it is dropped or told to stop.
pub struct Phones {
    simulator: Handle,
    sent: Arc<AtomicU32>,
    problem: Arc<Mutex<Option<String>>>,
    sending: Option<AbortOnDropHandle<()>>,
    /// Messages of the bot that were read.
    read: usize,
    /// Replies by the number they answer, by message id.
    answers: HashMap<u32, Vec<String>>,
    /// All up to this one are answered.
    through: u32,
    problems: Vec<String>,
}

impl Phones {
    /// Starts to send; the pauses and senders come from `seed`, which has no part in the plan.
    pub fn start(simulator: Handle, seed: u64) -> Self {
        let sent = Arc::new(AtomicU32::new(0));
        let problem = Arc::new(Mutex::new(None));
        let (sender, count, failed) = (simulator.clone(), Arc::clone(&sent), Arc::clone(&problem));
        let sending = tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            loop {
                let number = count.load(Ordering::Acquire) + 1;
                let contact = CONTACTS[rng.random_range(0..CONTACTS.len())];
                if let Err(error) = sender.send_text(contact, ACCOUNT, &format!("!echo {number}")) {
                    *failed.lock().expect("not poisoned") = Some(error.to_string());
                    return;
                }
                count.store(number, Ordering::Release);
                tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE))).await;
            }
        });
        Self {
            simulator,
            sent,
            problem,
            sending: Some(AbortOnDropHandle::new(sending)),
            read: 0,
            answers: HashMap::new(),
            through: 0,
            problems: Vec::new(),
        }
    }

    /// Number of the newest message.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Acquire)
    }

    /// Sends no more.
    pub fn stop(&mut self) {
        self.sending = None;
    }

    /// Whether this message and all before it are answered.
    pub fn answered(&mut self, number: u32) -> bool {
        self.read();
        self.through >= number
    }

    /// Whether this message is answered.
    pub fn answered_one(&mut self, number: u32) -> bool {
        self.read();
        self.answers.contains_key(&number)
    }

    /// The messages up to `number` without an answer.
    pub fn unanswered(&mut self, number: u32) -> Vec<u32> {
        self.read();
        (1..=number).filter(|number| !self.answers.contains_key(number)).collect()
    }

    /// Replies beyond the first to the same message.
    pub fn twice(&self) -> usize {
        self.answers.values().map(|ids| ids.len() - 1).sum()
    }

    /// What must not be, since the last call.
    pub fn problems(&mut self) -> Vec<String> {
        self.read();
        let failed = self.problem.lock().expect("not poisoned").take();
        let failed = failed.map(|problem| format!("a phone could not send: {problem}"));
        self.problems.drain(..).chain(failed).collect()
    }

    fn read(&mut self) {
        for received in self.simulator.received_after(self.read) {
            self.read += 1;
            if received.copy_for.is_some() {
                continue;
            }
            let number = received.text.as_deref().and_then(|text| text.strip_prefix("echo ")?.parse().ok());
            match number {
                Some(number) => self.answers.entry(number).or_default().push(received.id),
                None if received.error.is_some() => {
                    let error = received.error.unwrap_or_default();
                    self.problems.push(format!("reply {} does not decrypt: {error}", received.id));
                }
                // Devices of one account tell each other things that are no texts.
                None if received.to == ACCOUNT => {}
                None => self.problems.push(format!("reply {} is none that was asked for", received.id)),
            }
        }
        while self.answers.contains_key(&(self.through + 1)) {
            self.through += 1;
        }
    }
}

/// Waits until the message `number` is answered; how long that took.
pub async fn answer(phones: &mut Phones, number: u32, within: Duration) -> Option<Duration> {
    let begun = Instant::now();
    while !phones.answered_one(number) {
        if begun.elapsed() > within {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(begun.elapsed())
}
