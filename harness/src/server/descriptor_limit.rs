//! Limit of open descriptors (RLIMIT_NOFILE).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open descriptors to the hard limit. The soft limit is often 1,024,
/// because select(2) supports no larger descriptors.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // On failure the lower limit stays. Operations that reach the limit report it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
