//! Confinement: resource limits and isolation of an untrusted server.
//!
//! Confinement is not a security boundary against exploits of the kernel. It protects the machine
//! and the harness from the usual defects of a beginner's server.

mod mounts;
mod scope;

use std::io;
use std::path::Path;
use std::time::Duration;

use landlock::Scope;
use nix::sys::resource::{Resource, getrlimit, rlim_t};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

pub(super) use scope::Domain;

use super::proc;

/// RLIMIT_NPROC is the number of running tasks plus this multiple of the task limit. The kernel
/// counts all tasks of a user, including the tasks of other servers, so RLIMIT_NPROC is only a
/// second line of defence.
const NPROC_FACTOR: u64 = 32;

/// Resource limits and isolation of a server. By default the server has no limits and no isolation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Maximum address space of each process, in bytes (RLIMIT_AS).
    pub memory_bytes: Option<u64>,
    /// Maximum number of threads and processes at a time. A server that exceeds it is killed.
    pub tasks: Option<usize>,
    /// Maximum CPU time of each process, in seconds (RLIMIT_CPU).
    pub cpu_seconds: Option<u64>,
    /// Maximum size of each file that a process writes, in bytes (RLIMIT_FSIZE).
    pub file_bytes: Option<u64>,
    /// Maximum lifetime. A server that exceeds it is killed.
    pub lifetime: Option<Duration>,
    /// Whether the server runs in a separate network namespace, in which it reaches only its own
    /// processes.
    pub network_alone: bool,
    /// Whether the file system is read-only, except for a private, small /tmp and /dev/shm. Their
    /// content vanishes with the server.
    pub read_only: bool,
}

impl Confinement {
    /// Returns limits for untrusted servers, far above the needs of regular servers.
    pub fn strict() -> Confinement {
        Confinement {
            // Enough for 1,000 threads with 8 MiB of stack each.
            memory_bytes: Some(12 << 30),
            tasks: Some(2000),
            cpu_seconds: Some(300),
            file_bytes: Some(16 << 20),
            lifetime: Some(Duration::from_secs(10 * 60)),
            network_alone: true,
            read_only: true,
        }
    }

    /// Returns whether the server is isolated from the network or the file system.
    pub(super) fn isolates(&self) -> bool {
        self.network_alone || self.read_only
    }

    /// Returns the arguments for setrlimit(2): resource, soft and hard limit.
    pub(super) fn rlimits(&self) -> Vec<(Resource, rlim_t, rlim_t)> {
        let mut limits = Vec::new();
        let mut limit = |resource, soft: Option<u64>, difference: u64| {
            // A limit that cannot be read cannot be set either. Hard limits are never raised.
            if let (Some(soft), Ok((_, max))) = (soft, getrlimit(resource)) {
                limits.push((resource, soft.min(max), soft.saturating_add(difference).min(max)));
            }
        };
        limit(Resource::RLIMIT_AS, self.memory_bytes, 0);
        limit(Resource::RLIMIT_FSIZE, self.file_bytes, 0);
        // SIGXCPU at the soft limit ends most processes; SIGKILL follows 1 s later.
        limit(Resource::RLIMIT_CPU, self.cpu_seconds, 1);
        // The kernel does not apply RLIMIT_NPROC to root.
        let tasks = self.tasks.filter(|_| !geteuid().is_root()).and_then(|tasks| {
            let running = proc::all_tasks()? as u64;
            Some((tasks as u64).saturating_mul(NPROC_FACTOR).saturating_add(running))
        });
        limit(Resource::RLIMIT_NPROC, tasks, 0);
        if *self != Confinement::default() {
            // No core dumps: they would fill the disk.
            limit(Resource::RLIMIT_CORE, Some(0), 0);
        }
        limits
    }
}

/// Isolation of a server that a supervisor is about to start.
pub(super) struct Isolation {
    /// Landlock domain that the server's process must enter before exec.
    pub(super) domain: Option<Domain>,
    /// Descriptions of the isolation that could not be applied.
    pub(super) missing: Vec<String>,
}

/// Makes the file system read-only and drops privileges, for this process and its children. The
/// process must have a single thread. The server runs in `folder`.
pub(super) fn isolate(limits: &Confinement, folder: &Path, command: &[String]) -> Isolation {
    let mut isolation = Isolation { domain: None, missing: Vec::new() };
    if !limits.isolates() {
        return isolation;
    }
    if limits.read_only
        && let Err(error) = mounts::make_read_only(folder, command)
    {
        isolation.missing.push(format!("the server can write to the file system: {error}"));
    }
    if let Err(error) = drop_privileges() {
        isolation.missing.push(format!("the server keeps the privileges of the harness: {error}"));
    }
    match Domain::new(Scope::AbstractUnixSocket | Scope::Signal) {
        Ok(domain) => isolation.domain = Some(domain),
        Err(error) => isolation.missing.push(format!(
            "the server can send signals to other processes of the same user: {error} \
             (needs Landlock, Linux 6.12)"
        )),
    }
    isolation
}

/// Drops all capabilities except CAP_NET_BIND_SERVICE, because root could undo the isolation.
fn drop_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if capability == CapabilitySet::NET_BIND_SERVICE {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel has no capability with this number.
            Err(rustix::io::Errno::INVAL) => break,
            // A process that may not change its bounding set has no capabilities to drop.
            Err(rustix::io::Errno::PERM) if !geteuid().is_root() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Permanently restricts the signals of this process to itself and its descendants.
///
/// A process other than root needs `no_new_privs` for this, which disables setuid programs. So
/// `no_new_privs` is set only if the server is isolated anyway.
///
/// # Errors
/// The kernel does not support the restriction, or the process is neither root nor isolated.
pub(super) fn signal_descendants_only(limits: &Confinement) -> io::Result<()> {
    if limits.isolates() {
        rustix::thread::set_no_new_privs(true)?;
    }
    Domain::new(Scope::Signal)?.enter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_limited_by_default() {
        assert_eq!(Confinement::default().rlimits(), []);
        assert!(!Confinement::default().isolates());
    }
}
