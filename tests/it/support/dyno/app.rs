//! An app: a formation of dynos, the releases it goes through, and the router in front.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::router::Table;
use super::{Code, Dyno, End, Limits, Router, Slug, State};

/// A running app; every dyno of it is killed when it is dropped.
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    router: Router,
    table: watch::Sender<Table>,
    formation: Mutex<Formation>,
}

struct Formation {
    slug: Slug,
    quantity: usize,
    /// Name → the one that counts.
    current: BTreeMap<String, Arc<Kept>>,
    /// Those that got SIGTERM, the oldest first.
    leaving: Vec<Arc<Kept>>,
    /// What the platform noted about dynos that are gone.
    codes: Vec<(String, Code)>,
    crashes: u32,
}

/// A dyno and what the app knows of it.
struct Kept {
    dyno: Arc<Dyno>,
    /// The router may send requests to it.
    routed: AtomicBool,
    /// Its end has been dealt with; what was noted about it is kept by the formation.
    dealt_with: AtomicBool,
    /// Crashes in a row of the dynos of this name before this one.
    crashes: AtomicU32,
}

/// The old dynos of a release that waits for its switch.
pub struct Preboot(Vec<Arc<Kept>>);

impl App {
    /// Starts `quantity` dynos; waits for none.
    pub async fn start(slug: Slug, quantity: usize) -> Self {
        Self::start_with(slug, quantity, Limits::default()).await
    }

    /// The same with other limits of the router.
    pub async fn start_with(slug: Slug, quantity: usize, limits: Limits) -> Self {
        let table = watch::Sender::new(Table::default());
        let router = Router::start(table.subscribe(), limits).await;
        let formation = Formation {
            slug,
            quantity: 0,
            current: BTreeMap::new(),
            leaving: Vec::new(),
            codes: Vec::new(),
            crashes: 0,
        };
        let app = Self { inner: Arc::new(Inner { router, table, formation: Mutex::new(formation) }) };
        app.scale(quantity);
        app
    }

    /// The router in front.
    pub fn router(&self) -> &Router {
        &self.inner.router
    }

    /// The dyno that has this name now. Between a crash and the next start it is the one that crashed.
    pub fn dyno(&self, name: &str) -> Arc<Dyno> {
        let formation = self.inner.formation();
        let kept = formation.current.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        Arc::clone(&kept.dyno)
    }

    /// The dynos that count, by name.
    pub fn dynos(&self) -> Vec<Arc<Dyno>> {
        self.inner.formation().current.values().map(|kept| Arc::clone(&kept.dyno)).collect()
    }

    /// Those that got SIGTERM and have not ended, the oldest first.
    pub fn leaving(&self) -> Vec<Arc<Dyno>> {
        let formation = self.inner.formation();
        let dynos = formation.leaving.iter().map(|kept| Arc::clone(&kept.dyno));
        dynos.filter(|dyno| !matches!(dyno.state(), State::Ended(_))).collect()
    }

    /// Unasked ends so far.
    pub fn crashes(&self) -> u32 {
        self.inner.formation().crashes
    }

    /// What the platform noted about dynos: their names with the codes.
    pub fn codes(&self) -> Vec<(String, Code)> {
        let formation = self.inner.formation();
        let living = formation.current.values().chain(&formation.leaving);
        let of_living = living
            .filter(|kept| !kept.dealt_with.load(Ordering::Relaxed))
            .flat_map(|kept| kept.dyno.codes().into_iter().map(|code| (kept.dyno.name.clone(), code)));
        formation.codes.iter().cloned().chain(of_living).collect()
    }

    /// `heroku ps:scale`: more are started, the highest numbers get SIGTERM.
    pub fn scale(&self, quantity: usize) {
        let (process, before) = {
            let mut formation = self.inner.formation();
            let before = std::mem::replace(&mut formation.quantity, quantity);
            (formation.slug.process.clone(), before)
        };
        for number in before + 1..=quantity {
            self.inner.start_dyno(&format!("{process}.{number}"), true, 0);
        }
        for number in quantity + 1..=before {
            self.inner.retire(&format!("{process}.{number}"));
        }
    }

    /// `heroku restart`: every dyno gets SIGTERM, and its successor is started at the same moment. The old
    /// ones, which may be waited for.
    pub fn restart(&self) -> Vec<Arc<Dyno>> {
        let names: Vec<String> = self.inner.formation().current.keys().cloned().collect();
        names.iter().map(|name| self.cycle(name)).collect()
    }

    /// The daily restart of one dyno: like [`Self::restart`], for this one.
    pub fn cycle(&self, name: &str) -> Arc<Dyno> {
        let old = self.inner.start_dyno(name, true, 0).expect("there is one to cycle");
        old.dyno.term();
        Arc::clone(&old.dyno)
    }

    /// `heroku config:set`: a restart with another Config Var.
    pub fn set_env(&self, name: &str, value: &str) -> Vec<Arc<Dyno>> {
        self.inner.formation().slug.env.insert(name.to_owned(), value.to_owned());
        self.restart()
    }

    /// A release without preboot: a restart with another slug.
    pub fn deploy(&self, change: impl FnOnce(&mut Slug)) -> Vec<Arc<Dyno>> {
        change(&mut self.inner.formation().slug);
        self.restart()
    }

    /// A release with preboot: [`Self::preboot`], and [`Self::switch`] after the overlap (about three
    /// minutes at Heroku).
    pub async fn deploy_preboot(&self, overlap: Duration, change: impl FnOnce(&mut Slug)) -> Vec<Arc<Dyno>> {
        let preboot = self.preboot(change);
        tokio::time::sleep(overlap).await;
        self.switch(preboot)
    }

    /// New dynos run beside the old ones, which keep getting the requests.
    pub fn preboot(&self, change: impl FnOnce(&mut Slug)) -> Preboot {
        change(&mut self.inner.formation().slug);
        let names: Vec<String> = self.inner.formation().current.keys().cloned().collect();
        Preboot(names.iter().filter_map(|name| self.inner.start_dyno(name, false, 0)).collect())
    }

    /// The requests go to the new ones, and the old ones get SIGTERM.
    pub fn switch(&self, preboot: Preboot) -> Vec<Arc<Dyno>> {
        for kept in self.inner.formation().current.values() {
            kept.routed.store(true, Ordering::Relaxed);
        }
        for old in &preboot.0 {
            old.routed.store(false, Ordering::Relaxed);
            old.dyno.term();
        }
        self.inner.publish();
        preboot.0.iter().map(|old| Arc::clone(&old.dyno)).collect()
    }

    /// Waits until the port of every dyno is bound.
    pub async fn until_up(&self) {
        for dyno in self.dynos() {
            dyno.until_up().await;
        }
    }

    /// `/status` through the router.
    pub async fn status(&self) -> Option<serde_json::Value> {
        super::status(&self.router().url("/status")).await
    }

    /// The state of bot `main` as the router's answer says it.
    pub async fn link(&self) -> String {
        super::link_of(self.status().await)
    }

    /// The payload of the QR on the page, as whoever has the admin token sees it.
    pub async fn qr(&self, token: &str) -> Option<String> {
        let request = crate::support::http::client().get(self.router().url("/")).bearer_auth(token);
        let page = request.timeout(Duration::from_secs(5)).send().await.ok()?;
        crate::support::qr::on_page(&page.text().await.ok()?)
    }

    /// Waits until the answer through the router says that bot `main` is in `state`.
    pub async fn until(&self, state: &str, deadline: Duration) {
        let begun = Instant::now();
        while self.link().await != state {
            assert!(begun.elapsed() < deadline, "not {state} within {deadline:?}: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that the living dynos have printed.
    pub fn logs(&self) -> String {
        let mut all = self.leaving();
        all.extend(self.dynos());
        all.iter().map(|dyno| format!("\n{} ({:?}):\n{}", dyno.name, dyno.state(), dyno.log())).collect()
    }

    /// Scales to none; how each dyno ended.
    pub async fn shut_down(&self) -> Vec<End> {
        self.scale(0);
        let leaving = self.leaving();
        let grace = self.inner.formation().slug.rules.grace + Duration::from_secs(5);
        let mut ends = Vec::new();
        for dyno in leaving {
            ends.push(dyno.ended(grace).await);
        }
        ends
    }
}

impl Inner {
    fn formation(&self) -> std::sync::MutexGuard<'_, Formation> {
        self.formation.lock().expect("not poisoned")
    }

    /// Starts a dyno under a name; the one that had the name before is leaving from then on.
    fn start_dyno(self: &Arc<Self>, name: &str, routed: bool, crashes: u32) -> Option<Arc<Kept>> {
        let (kept, old) = {
            let mut formation = self.formation();
            let dyno = Arc::new(Dyno::start(&formation.slug, name));
            let kept = Arc::new(Kept {
                dyno,
                routed: AtomicBool::new(routed),
                dealt_with: AtomicBool::new(false),
                crashes: AtomicU32::new(crashes),
            });
            let old = formation.current.insert(name.to_owned(), Arc::clone(&kept));
            formation.leaving.extend(old.clone());
            (kept, old)
        };
        if let Some(old) = old.as_ref().filter(|_| routed) {
            old.routed.store(false, Ordering::Relaxed);
        }
        self.publish();
        tokio::spawn(follow(Arc::downgrade(self), kept));
        old
    }

    /// Ends the dyno of this name for good.
    fn retire(&self, name: &str) {
        let mut formation = self.formation();
        let Some(kept) = formation.current.remove(name) else { return };
        kept.routed.store(false, Ordering::Relaxed);
        kept.dyno.term();
        formation.leaving.push(kept);
        drop(formation);
        self.publish();
    }

    /// Tells the router who may get requests.
    fn publish(&self) {
        let formation = self.formation();
        let mut table = Table { quantity: formation.quantity, ..Table::default() };
        for kept in formation.current.values().chain(&formation.leaving) {
            if !kept.routed.load(Ordering::Relaxed) {
                continue;
            }
            match kept.dyno.state() {
                State::Starting => table.starting += 1,
                State::Up => table.up.extend(kept.dyno.port),
                State::Stopping | State::Ended(_) => {}
            }
        }
        self.table.send_replace(table);
    }

    /// A dyno is gone. What to wait before its name is started again, if it is.
    fn ended(&self, kept: &Arc<Kept>, end: End) -> Option<(Duration, u32)> {
        let mut formation = self.formation();
        kept.dealt_with.store(true, Ordering::Relaxed);
        let codes = kept.dyno.codes();
        formation.codes.extend(codes.into_iter().map(|code| (kept.dyno.name.clone(), code)));
        formation.leaving.retain(|other| !Arc::ptr_eq(other, kept));
        if !end.asked {
            formation.crashes += 1;
        }
        let counts = formation.current.get(&kept.dyno.name).is_some_and(|now| Arc::ptr_eq(now, kept));
        if end.asked || !counts {
            return None;
        }
        let crashes = kept.crashes.load(Ordering::Relaxed) + 1;
        let cool_off = formation.slug.rules.cool_off?;
        let wait = match crashes {
            1 => Duration::ZERO,
            _ => cool_off * 2_u32.saturating_pow(crashes - 2),
        };
        Some((wait, crashes))
    }
}

/// Keeps the router's table and the formation as the dyno's life goes.
async fn follow(inner: Weak<Inner>, kept: Arc<Kept>) {
    /// A dyno that ran this long has not crashed "in a row".
    const STEADY: Duration = Duration::from_secs(10 * 60);
    let mut states = kept.dyno.states();
    loop {
        let state = *states.borrow_and_update();
        let Some(app) = inner.upgrade() else { return };
        app.publish();
        if let State::Ended(end) = state {
            if kept.dyno.started.elapsed() > STEADY {
                kept.crashes.store(0, Ordering::Relaxed);
            }
            let Some((wait, crashes)) = app.ended(&kept, end) else { return };
            drop(app);
            tokio::time::sleep(wait).await;
            let Some(app) = inner.upgrade() else { return };
            let counts = {
                let formation = app.formation();
                let now = formation.current.get(&kept.dyno.name);
                now.is_some_and(|now| Arc::ptr_eq(now, &kept))
            };
            if counts {
                app.start_dyno(&kept.dyno.name, true, crashes);
                app.formation().leaving.retain(|other| !Arc::ptr_eq(other, &kept));
            }
            return;
        }
        drop(app);
        if states.changed().await.is_err() {
            return;
        }
    }
}
