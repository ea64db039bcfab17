//! Servers whose processes, sockets or children the kernel does not show to the harness.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::results::{HiddenBy, Kind, LaunchFindings, ProcessView};
use libtest_mimic::{Completion, Failed};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::{Checked, check_both, ensure, source};
use crate::common::harness;

/// A user without privileges, and another one.
const NOBODY: u32 = 65534;
const OTHER_USER: u32 = 65533;

/// Compiles a program of `tests/launching`.
fn compile(name: &str, flags: &[&str], folder: &Path) -> Result<PathBuf, Failed> {
    let program = folder.join(name);
    let output = Command::new("cc")
        .args(["-O1", "-o"])
        .arg(&program)
        .arg(source(&format!("{name}.c")))
        .args(flags)
        .output()?;
    ensure(output.status.success(), &output)?;
    Ok(program)
}

/// Mounts a /proc that shows a user only its own processes.
const HIDEPID: &str = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";

/// Runs the harness without privileges on a server that it cannot inspect. `wrapper` runs the command
/// that follows.
fn hidden(
    wrapper: &[&str],
    argument: &str,
    mode: u32,
    view: ProcessView,
) -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    if statvfs(folder.path())?.flags().contains(FsFlags::ST_NOSUID) {
        return Ok(Completion::ignored_with("the file system ignores set-user-ID"));
    }
    let program = compile("hidden", &[], folder.path())?;
    if std::os::unix::fs::chown(&program, Some(OTHER_USER), None).is_err() {
        return Ok(Completion::ignored_with("needs root"));
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(mode))?;
    let as_nobody = |arguments: &[&str]| {
        let words: Vec<&str> = wrapper.iter().copied().chain(["setpriv"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
        command.args(["--clear-groups", "--inh-caps=-all"]);
        command.arg("--bounding-set=-all").args(arguments).current_dir(folder.path());
        command
    };
    let exe = env!("CARGO_BIN_EXE_harness");
    let trial = as_nobody(&[exe, "--version"]).output();
    if !trial.is_ok_and(|output| output.status.success()) {
        return Ok(Completion::ignored_with("needs root, and permission to mount /proc"));
    }
    let mut check = as_nobody(&[exe]);
    check_both(&mut check, &format!("'{}' {{host}} {{port}} {argument}", program.display()));
    check.env_remove("GITHUB_STEP_SUMMARY").env_remove("GITHUB_ACTIONS").env("HOME", folder.path());
    let checked = Checked::run(check, folder.path())?;
    checked.is_tested_by_its_replies(view)?;
    ensure(!checked.launch().connected, checked.launch())?;
    Ok(Completion::Completed)
}

pub(super) fn other_user() -> Result<Completion, Failed> {
    hidden(&[], "", 0o4755, ProcessView::Hidden(HiddenBy::OtherUser(OTHER_USER)))
}

pub(super) fn not_dumpable() -> Result<Completion, Failed> {
    hidden(&[], "hide", 0o755, ProcessView::Hidden(HiddenBy::NotDumpable))
}

pub(super) fn hidepid() -> Result<Completion, Failed> {
    let wrapper = ["unshare", "--mount", "sh", "-c", HIDEPID, "sh"];
    hidden(&wrapper, "", 0o4755, ProcessView::Hidden(HiddenBy::Proc))
}

/// Checks a server with the preloaded shim.
fn with_shim(hide: &str) -> Result<Checked, Failed> {
    let folder = tempfile::tempdir()?;
    let shim = compile("shim", &["-shared", "-fPIC", "-ldl"], folder.path())?;
    let exe = env!("CARGO_BIN_EXE_harness");
    let mut check = harness();
    check.env("LD_PRELOAD", shim).env("HIDE", hide);
    check_both(&mut check, &format!("'{exe}' serve select-echo {{host}} {{port}}"));
    let hidden = folder.path().join("hidden");
    check.env("HIDDEN", &hidden);
    let checked = Checked::run(check, folder.path())?;
    ensure(hidden.exists(), "the shim has hidden nothing")?;
    Ok(checked)
}

pub(super) fn without_children() -> Result<Completion, Failed> {
    let checked = with_shim("children")?;
    let kinds = [checked.kind("framing/pipelined"), checked.kind("leaks/descriptors")];
    let evidence = (checked.launch(), kinds, &checked.stderr);
    ensure(
        kinds == [Some(Kind::Pass); 2] && checked.launch() == LaunchFindings::default(),
        evidence,
    )?;
    Ok(Completion::Completed)
}

pub(super) fn without_sockets() -> Result<Completion, Failed> {
    let checked = with_shim("sockets")?;
    checked.is_tested_by_its_replies(ProcessView::Hidden(HiddenBy::NoSockets))?;
    ensure(checked.launch().connected, checked.launch())?;
    Ok(Completion::Completed)
}
