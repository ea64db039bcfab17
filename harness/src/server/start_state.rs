//! The state in which a server starts. Verdicts must not depend on the state that the harness
//! inherits: a shell, `nohup` and CI systems differ in variables, signals, limits and descriptors.
//!
//! Between fork and exec (`supervise::start`), the server gets the default action for every signal,
//! an empty signal mask, the descriptors 0, 1 and 2 only, [`UMASK`], and [`soft_limits`].

use std::env;
use std::ffi::OsString;

use nix::sys::resource::{Resource, getrlimit, rlim_t};
use rustix::process::getpriority_process;

use super::launch_spec::LaunchSpec;
use crate::results::StartState;

/// Variables that a server inherits. They tell where programs, their files and modules, and the
/// daemons of this user are found. Without them, a server may not start.
///
/// All others could change the behaviour of a server without a change to the server: options of
/// interpreters (`PYTHONUNBUFFERED`, `NODE_OPTIONS`, `JAVA_TOOL_OPTIONS`), of the C library
/// (`MALLOC_…`, `LD_PRELOAD`), locales (`LC_…`), and outputs of a CI job (`GITHUB_…`).
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    // Directories of a user, and the daemons that a command may be a client of.
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "CONTAINER_HOST",
    // Libraries and modules.
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "NODE_PATH",
    "PERL5LIB",
    "RUBYLIB",
    "GEM_HOME",
    "GEM_PATH",
    "CLASSPATH",
    "GOPATH",
    "GOROOT",
    "GOCACHE",
    "GOMODCACHE",
    // Installed toolchains and their versions.
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "RBENV_ROOT",
    "RBENV_VERSION",
    "NODENV_ROOT",
    "NODENV_VERSION",
    "NVM_DIR",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "JAVA_HOME",
    "DOTNET_ROOT",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_TARGET_DIR",
];

/// Variables that the harness sets: a locale in UTF-8 without the conventions of a country.
const SET: &[(&str, &str)] = &[("LANG", "C.UTF-8")];

/// `PATH` of a server if the harness has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// File mode creation mask: new files are readable by all users and writable by their owner.
pub(super) const UMASK: u32 = 0o022;

/// Largest soft limit of descriptors. Some programs need memory or time for each possible
/// descriptor, and some container runtimes permit a billion.
const MAX_DESCRIPTORS: rlim_t = 1 << 20;

/// Soft limit of the stack: the default of Linux. It is also the size of the stacks of threads.
const STACK_BYTES: rlim_t = 8 << 20;

/// Resources of setrlimit(2).
const RESOURCES: &[Resource] = &[
    Resource::RLIMIT_AS,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_STACK,
];

/// Returns the environment of a server, without the variables of its manifest.
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    let set = SET.iter().map(|&(name, value)| (name.into(), value.into()));
    let path = ("PATH".into(), DEFAULT_PATH.into());
    let inherited =
        INHERITED.iter().filter_map(|&name| Some((OsString::from(name), env::var_os(name)?)));
    // A later variable replaces an earlier one.
    set.chain([path]).chain(inherited).collect()
}

/// Returns the arguments of setrlimit(2): resource, soft limit and hard limit. Soft limits are as
/// high as the hard limits, which only a privileged process can raise, except for core files
/// (none), descriptors and the stack.
pub(super) fn soft_limits() -> Vec<(Resource, rlim_t, rlim_t)> {
    let limit = |&resource: &Resource| {
        let (_, hard) = getrlimit(resource).ok()?;
        let soft = match resource {
            Resource::RLIMIT_CORE => 0,
            Resource::RLIMIT_NOFILE => hard.min(MAX_DESCRIPTORS),
            Resource::RLIMIT_STACK => hard.min(STACK_BYTES),
            _ => hard,
        };
        Some((resource, soft, hard))
    };
    RESOURCES.iter().filter_map(limit).collect()
}

impl StartState {
    /// Returns the state in which the harness starts a server. `None` for a server that already
    /// runs.
    pub fn of(spec: &LaunchSpec) -> Option<StartState> {
        if spec.running_at.is_some() {
            return None;
        }
        let soft = |wanted: Resource| {
            let limits = soft_limits();
            limits.iter().find(|(it, ..)| *it == wanted).map_or(0, |&(_, soft, _)| soft)
        };
        let is_set = |name: &&&str| env::var_os(name).is_some();
        Some(StartState {
            set: SET.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            inherited: INHERITED.iter().filter(is_set).map(|&name| name.to_owned()).collect(),
            declared: spec.environment.iter().map(|(name, _)| name.clone()).collect(),
            max_descriptors: soft(Resource::RLIMIT_NOFILE),
            max_stack_bytes: soft(Resource::RLIMIT_STACK),
            nice: getpriority_process(None).unwrap_or_default(),
        })
    }
}
