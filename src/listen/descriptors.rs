//! How many connections check listeners may hold, by the file descriptors that the process may have: so that a flood of connections leaves enough
//! for health, metrics, keys and the folder, and nothing in here ever fails for want of one.
//!
//! Must not know: who connects.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but the connections of check listeners: the listeners themselves, 64 connections for health and metrics, fetches of
/// keys, the API server, files.
const RESERVED: u64 = 160;
/// Listeners that share the rest: gRPC and HTTP.
const CHECK_LISTENERS: usize = 2;
/// Even of too few descriptors some are for checks.
const LEAST: usize = 16;

/// Takes as many descriptors as the system gives without being asked twice: the soft limit is often no more than a thousand.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "the limit of file descriptors stays as it is");
    }
}

/// Connections that a check listener may hold, at most `most`.
pub(super) fn room(most: usize) -> usize {
    share(getrlimit(Resource::Nofile).current, most)
}

/// `limit`: descriptors of this process; `None` = without end.
fn share(limit: Option<u64>, most: usize) -> usize {
    let Some(limit) = limit else { return most };
    let each = usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(most) / CHECK_LISTENERS;
    each.clamp(LEAST.min(most), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_listeners_share_what_is_not_reserved() {
        assert_eq!(share(None, 4096), 4096);
        assert_eq!(share(Some(1 << 20), 4096), 4096);
        assert_eq!(share(Some(1024), 4096), 432);
        assert_eq!(share(Some(64), 4096), LEAST);
        assert_eq!(share(Some(64), 1), 1);
    }
}
