//! The limit on open descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. It is often 1,024 for the sake of select(2).
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // What remains is a lower limit, which is met as such.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
