//! Machine and program version of a report.

use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// Environment of a run: machine, program and time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// Start of the run, in UTC.
    pub started_at: String,
    /// Command line.
    pub command: String,
    /// Version of the harness.
    pub version: String,
    /// Commit of the working directory, if the directory is in a git repository.
    pub commit: Option<String>,
    /// Build profile: `debug` or `release`.
    pub build: String,
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu_model: String,
    /// Number of CPUs that the harness may use.
    pub cpus: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// The machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU model.
    pub cpu_model: String,
    /// Number of CPUs that the harness may use.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl Machine {
    /// Returns whether figures of both machines can be compared: CPU model, number of CPUs and
    /// kernel are equal. The size of the memory does not matter. It varies between boots.
    pub fn is_like(&self, other: &Machine) -> bool {
        (&self.cpu_model, self.cpus, &self.kernel) == (&other.cpu_model, other.cpus, &other.kernel)
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Machine { cpu_model, cpus, kernel, .. } = self;
        let s = if *cpus == 1 { "" } else { "s" };
        write!(to, "{cpu_model}, {cpus} CPU{s}, {kernel}")
    }
}

impl Environment {
    /// Returns the machine.
    pub fn machine(&self) -> Machine {
        Machine {
            cpu_model: self.cpu_model.clone(),
            cpus: self.cpus,
            kernel: self.kernel.clone(),
            memory_mib: self.memory_mib,
        }
    }

    /// Returns the environment of this process.
    pub fn detect() -> Environment {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>();
        let command = std::iter::once("harness").chain(arguments.iter().map(String::as_str));
        Environment {
            started_at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            command: shlex::try_join(command).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            cpu_model: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
        }
    }
}

fn commit() -> Option<String> {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let commit = String::from_utf8_lossy(&described.stdout).trim().to_owned();
    (described.status.success() && !commit.is_empty()).then_some(commit)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = read(file);
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_cpus_and_memory_are_detected() {
        let environment = Environment::detect();
        assert!(environment.kernel.len() > "Linux ".len());
        assert!(environment.cpus >= 1 && environment.memory_mib > 0, "{environment:?}");
    }
}
