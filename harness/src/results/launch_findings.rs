//! What the harness found when it launched a server: where its processes are, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the harness found when it launched a server, beside the verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LaunchFindings {
    /// How much of the server's processes the harness sees.
    #[serde(default)]
    pub processes: ProcessView,
    /// Whether the harness connected once to find out whether the server listens, because it could
    /// not see that.
    #[serde(default)]
    pub connected: bool,
    /// Whether the server is a daemon: the command exited with 0, and a process that it left in the
    /// background is tested.
    #[serde(default)]
    pub is_daemon: bool,
    /// Whether the server still listened after the harness had ended the processes of the command.
    #[serde(default)]
    pub keeps_running: bool,
}

/// How much of the processes of a server the harness sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProcessView {
    /// All of them.
    #[default]
    Visible,
    /// None: the command made another process listen, which the command did not start.
    Outside,
    /// None: the harness cannot inspect the processes that the command started.
    Hidden(HiddenBy),
}

/// Why the harness cannot inspect the processes of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum HiddenBy {
    /// A process runs as another user.
    OtherUser(u32),
    /// A process denies inspection (PR_SET_DUMPABLE of prctl(2)), or security policy does.
    NotDumpable,
    /// /proc does not show the processes (`hidepid` of proc(5)).
    Proc,
    /// A process is in another network namespace.
    OtherNetwork,
    /// The kernel reports no sockets: neither sock_diag(7) nor /proc/net/tcp can be read.
    NoSockets,
}

impl LaunchFindings {
    /// Describes the findings that a reader of verdicts must know, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_daemon {
            notes.push(
                "the command exited with 0 and left its server in the background, which is tested"
                    .to_owned(),
            );
        }
        if self.processes != ProcessView::Visible {
            notes.push(format!(
                "{}: cases that inspect, signal or restart them are inconclusive",
                self.processes
            ));
        }
        if self.connected {
            notes.push("one connection was made to find out whether the server listens".to_owned());
        }
        if self.keeps_running {
            notes.push(
                "the server keeps running: the harness ends only the processes that the command \
                 started"
                    .to_owned(),
            );
        }
        notes
    }
}

impl fmt::Display for ProcessView {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessView::Visible => to.write_str("the server's processes are visible"),
            ProcessView::Outside => to.write_str(
                "the process that listens is not a descendant of the command, so the server's \
                 processes are unknown",
            ),
            ProcessView::Hidden(reason) => {
                write!(to, "the harness cannot inspect the server's processes: {reason}")
            }
        }
    }
}

impl fmt::Display for HiddenBy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HiddenBy::OtherUser(user) => write!(to, "a process runs as another user (uid {user})"),
            HiddenBy::NotDumpable => to.write_str("a process is not dumpable (prctl(2))"),
            HiddenBy::Proc => to.write_str("/proc does not show them (hidepid)"),
            HiddenBy::OtherNetwork => to.write_str("a process is in another network namespace"),
            HiddenBy::NoSockets => {
                to.write_str("neither sock_diag(7) nor /proc/net/tcp can be read")
            }
        }
    }
}
