use std::sync::atomic::AtomicUsize;

use wacore::store::InMemoryBackend;

use super::*;

fn unavailable() -> store::StoreError {
    store::StoreError::Unavailable { problem: "gone".into() }
}

/// Fails `failures` times, then answers.
async fn failing(
    valve: &Valve,
    failures: usize,
    error: fn() -> store::StoreError,
) -> (std::result::Result<u32, store::StoreError>, usize) {
    let calls = AtomicUsize::new(0);
    let outcome = valve
        .call(|| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move { if call < failures { Err(error()) } else { Ok(7) } }
        })
        .await;
    (outcome, calls.into_inner())
}

fn reported(valve: &Valve) -> Option<Trouble> {
    *valve.0.trouble.borrow()
}

#[tokio::test(start_paused = true)]
async fn one_failure_is_tried_again_in_silence() {
    let valve = Valve::new(|_| {});
    let (outcome, calls) = failing(&valve, 1, unavailable).await;
    assert_eq!(outcome.expect("the retry answers"), 7);
    assert_eq!((calls, reported(&valve)), (2, None));
}

#[tokio::test(start_paused = true)]
async fn two_failures_are_trouble() {
    let valve = Valve::new(|_| {});
    let (outcome, calls) = failing(&valve, 9, unavailable).await;
    assert!(outcome.is_err());
    assert_eq!((calls, reported(&valve)), (2, Some(Trouble::Database)));
    assert_eq!(valve.trouble().await, Trouble::Database);
}

#[tokio::test(start_paused = true)]
async fn a_fence_is_not_tried_again() {
    let valve = Valve::new(|_| {});
    let (outcome, calls) = failing(&valve, 9, || store::StoreError::Fenced).await;
    assert!(outcome.is_err());
    assert_eq!((calls, reported(&valve)), (1, Some(Trouble::Fenced)));
}

#[tokio::test(start_paused = true)]
async fn one_unreadable_record_is_the_callers_business() {
    let valve = Valve::new(|_| {});
    let unreadable = || store::StoreError::Unreadable { what: "a session".into(), problem: "seal".into() };
    let (outcome, calls) = failing(&valve, 9, unreadable).await;
    assert!(outcome.is_err());
    assert_eq!((calls, reported(&valve)), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_is_trouble_after_two_seconds() {
    let valve = Valve::new(|_| {});
    let began = tokio::time::Instant::now();
    let outcome = valve.call(std::future::pending::<std::result::Result<(), store::StoreError>>).await;
    assert!(outcome.is_err());
    assert!(began.elapsed() <= PATIENCE + Duration::from_millis(10), "{:?}", began.elapsed());
    assert_eq!(reported(&valve), Some(Trouble::Database));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_answers_others_is_slow_and_not_down() {
    let valve = Valve::new(|_| {});
    let others = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            valve.call(async || Ok::<_, store::StoreError>(())).await.expect("answered");
        }
        std::future::pending::<()>().await;
    };
    let began = Instant::now();
    tokio::select! {
        () = others => {}
        outcome = valve.call(std::future::pending::<std::result::Result<(), store::StoreError>>) => {
            outcome.expect_err("nothing came in the end");
        }
    }
    // Three answers, and then silence.
    assert!(began.elapsed() >= Duration::from_millis(4_500) + PATIENCE, "{:?}", began.elapsed());
    assert!(began.elapsed() <= Duration::from_millis(4_600) + PATIENCE, "{:?}", began.elapsed());
    assert_eq!(reported(&valve), Some(Trouble::Database));
}

#[tokio::test]
async fn a_shut_valve_lets_nothing_through() {
    let backend = Arc::new(InMemoryBackend::new());
    let valve = Valve::new(|_| {});
    let gate = Gate::new(backend.clone(), valve.clone());
    gate.put_session("a", b"before").await.expect("open");
    valve.shut();
    assert!(gate.put_session("a", b"after").await.is_err());
    assert!(gate.get_session("a").await.is_err());
    let kept = backend.get_session("a").await.expect("memory").expect("kept");
    assert_eq!(&kept[..], b"before");
    assert_eq!(reported(&valve), None, "shutting is no trouble");
}

#[tokio::test]
async fn our_errors_are_found_inside_whatsapp_rusts() {
    let wrapped = |error| StoreError::Database(Box::new(error));
    assert_eq!(wrapped(store::StoreError::Fenced).trouble(), Some(Trouble::Fenced));
    assert_eq!(wrapped(unavailable()).trouble(), Some(Trouble::Database));
    assert_eq!(StoreError::Validation("bad".into()).trouble(), Some(Trouble::Unreadable));
    assert_eq!(StoreError::DeviceNotFound(1).trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn the_alarm_goes_off_once_and_before_the_client_hears() {
    let alarms = Arc::new(AtomicUsize::new(0));
    let counting = alarms.clone();
    let valve = Valve::new(move |trouble| {
        assert_eq!(trouble, Trouble::Database);
        counting.fetch_add(1, Ordering::Relaxed);
    });
    for _ in 0..2 {
        let (outcome, _) = failing(&valve, 9, unavailable).await;
        assert!(outcome.is_err());
        assert_eq!(alarms.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_late_save_does_not_unlink_the_device() {
    let backend = Arc::new(InMemoryBackend::new());
    let gate = Gate::new(backend.clone(), Valve::new(|_| {}));
    let unlinked = Device::new();
    let mut linked = unlinked.clone();
    linked.pn = Some("4915550001:1@s.whatsapp.net".parse().expect("an address"));
    for device in [&unlinked, &linked, &unlinked] {
        gate.save(device).await.expect("saved");
    }
    assert_eq!(backend.load().await.expect("memory").expect("a device").pn, linked.pn);
}
