//! Tells that something in a session folder, or the folder itself, has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// Where changes are not told, the folder is looked at this often.
const POLL: Duration = Duration::from_secs(1);

/// Watches a folder or a file that may come and go.
pub struct Watch {
    place: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// The folder that is watched now, told apart by its inode.
    watched: Option<u64>,
    touched: Arc<Notify>,
    next_poll: Instant,
}

impl Watch {
    pub fn new(place: &Path) -> Self {
        let touched = Arc::new(Notify::new());
        let waker = touched.clone();
        // The folder's neighbours are none of ours, such as the database of blacksky itself; a file has others that
        // begin with its name.
        let ours = place.as_os_str().as_encoded_bytes().to_vec();
        let is_ours = move |path: &PathBuf| path.as_os_str().as_encoded_bytes().starts_with(&ours);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change.
            if event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(_))
                    && (event.paths.is_empty() || event.paths.iter().any(&is_ours))
            }) {
                waker.notify_one();
            }
        });
        let mut watch = Self {
            place: place.to_owned(),
            watcher: None,
            watched: None,
            touched,
            next_poll: Instant::now(),
        };
        match watcher {
            Ok(mut watcher) => {
                // The folder may be replaced, or appear later.
                let parent = place.parent().unwrap_or(Path::new("."));
                match watcher.watch(parent, RecursiveMode::NonRecursive) {
                    Ok(()) => watch.watcher = Some(watcher),
                    Err(error) => polls(&error),
                }
            }
            Err(error) => polls(&error),
        }
        watch.follow();
        watch
    }

    /// Waits for a change, or for a time after which there may have been one. Safe to drop.
    pub async fn changed(&mut self) {
        if self.watcher.is_none() {
            sleep_until(self.next_poll).await;
            self.next_poll = Instant::now() + POLL;
            return;
        }
        // Now and then, since a folder may have been replaced between two looks.
        let _ = timeout(POLL * 10, self.touched.notified()).await;
        self.follow();
    }

    /// Watches the folder that has the name now.
    fn follow(&mut self) {
        use std::os::unix::fs::MetadataExt;
        let present =
            std::fs::metadata(&self.place).ok().filter(std::fs::Metadata::is_dir).map(|found| found.ino());
        if present == self.watched {
            return;
        }
        if let Some(watcher) = &mut self.watcher {
            if self.watched.is_some() {
                let _ = watcher.unwatch(&self.place);
            }
            self.watched = present;
            if present.is_some()
                && let Err(error) = watcher.watch(&self.place, RecursiveMode::Recursive)
            {
                polls(&error);
                self.watcher = None;
            }
            // What was made in it before the watch began.
            self.touched.notify_one();
        }
    }
}

fn polls(error: &notify::Error) {
    tracing::warn!(%error, "changes of the session folder are not told by the system: looking every second");
}
