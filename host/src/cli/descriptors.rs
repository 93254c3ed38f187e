//! How many connections the system's limit on open files leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::DoorLimits;

/// What a host needs beside its connections and what they lead to, in descriptors: connections that are turned away,
/// look-ups of names, databases, the files of its home.
const OTHERS: u64 = 128;

/// Raises this process's limit on open files as far as the connections need it and the system allows, and takes fewer
/// connections if that isn't far enough. Past that limit nobody would be told `busy`, and no request could be sent.
pub(super) fn make_room(limits: &mut DoorLimits) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = needed(limits.connections_max);
    let wanted = maximum.map_or(needed, |maximum| needed.min(maximum));
    let mut open_max = current.unwrap_or(u64::MAX);
    if open_max < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        open_max = wanted;
    }
    let room = room(open_max);
    if room < limits.connections_max {
        tracing::warn!(
            open_max,
            connections_max = room,
            "the limit on open files has no room for as many connections as doors.connections_max says; raise it \
             (ulimit -n, or systemd's LimitNOFILE), or lower that"
        );
        limits.connections_max = room;
    }
}

/// The descriptors for so many connections: each may wait for an upstream, over another one.
fn needed(connections: usize) -> u64 {
    u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(OTHERS)
}

/// The connections that so many descriptors are enough for; one at least.
fn room(open_max: u64) -> usize {
    usize::try_from(open_max.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_are_taken_as_there_is_room_for() {
        for connections in [1, 2, 64, 4_096, 1_000_000] {
            assert_eq!(room(needed(connections)), connections);
            assert!(room(needed(connections) - 1) < connections || connections == 1);
        }
        assert_eq!((room(0), room(256), room(u64::MAX) > 1_000_000), (1, 64, true));
    }
}
