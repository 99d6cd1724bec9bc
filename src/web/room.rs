//! How much is let in at once. The page's port is open to everybody, and the link, the database and a hosted bot's
//! relay need files to open and memory, too.

use rustix::process::{Resource, getrlimit};

/// Most connections, however many files the system allows: what they need of memory has this bound.
const MOST_CONNECTIONS: u64 = 11_264;
/// Most event streams of visitors.
const MOST_STREAMS: u64 = 10_000;
/// Most requests and WebSockets that are with the hosted bot.
const MOST_PASSING: u64 = 256;
/// Most event streams of whoever has the admin token, those of the API among them.
const MOST_OWN_STREAMS: u64 = 256;
/// Most files for everything that is not the page's port.
const MOST_OTHERS: u64 = 256;
/// Most connections that are kept free of streams and of requests of the bot.
const MOST_SPARE: u64 = 512;

/// How many of each there may be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections to the port.
    pub connections: usize,
    /// Event streams of visitors.
    pub streams: usize,
    /// Event streams of whoever has the admin token.
    pub own_streams: usize,
    /// Requests and WebSockets that are with the hosted bot, each with a connection of its own to it.
    pub passing: usize,
}

impl Room {
    /// By the number of files that this process may open.
    pub fn here() -> Self {
        Self::within(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// By a number of files.
    pub fn within(files: u64) -> Self {
        let others = (files / 8).clamp(48, MOST_OTHERS);
        let files = files.saturating_sub(others).max(16);
        let passing = (files / 4).min(MOST_PASSING);
        let connections = (files - passing).min(MOST_CONNECTIONS);
        let spare = (connections / 8).clamp(2, MOST_SPARE);
        let own_streams = (connections / 8).clamp(1, MOST_OWN_STREAMS);
        let streams = (connections.saturating_sub(passing + spare + own_streams)).clamp(1, MOST_STREAMS);
        let [connections, streams, own_streams, passing] = [connections, streams, own_streams, passing]
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Self { connections, streams, own_streams, passing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_the_rest_of_the_process_and_connections_for_the_page() {
        for files in [0, 1, 16, 40, 64, 100, 256, 1024, 4096, 10_000, 20_000, 1 << 20, u64::MAX] {
            let room = Room::within(files);
            assert!(room.connections >= 4 && room.streams >= 1 && room.own_streams >= 1, "{files}: {room:?}");
            if files >= 64 {
                let all = (room.connections + room.passing) as u64;
                assert!(all + (files / 8).clamp(48, 256) <= files, "{files}: {room:?}");
                assert!(
                    room.streams + room.own_streams + room.passing < room.connections,
                    "{files}: {room:?}"
                );
            }
        }
        let large = Room { connections: 11_264, streams: 10_000, own_streams: 256, passing: 256 };
        assert_eq!(Room::within(20_000), large);
        let usual = Room { connections: 672, streams: 280, own_streams: 84, passing: 224 };
        assert_eq!(Room::within(1024), usual);
    }
}
