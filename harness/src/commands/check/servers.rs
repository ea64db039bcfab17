//! Selection of the servers to test.

use anyhow::{Result, bail};

use crate::cli::{Check, DEFAULT_TIMEOUT};
use crate::commands::selection::named;
use crate::manifest::Manifest;
use crate::server::{Confinement, LaunchOptions, LaunchSpec, Launcher, network};
use crate::units::format_duration;
use crate::usage_error::UsageError;

/// Returns the launch specifications of the selected servers.
///
/// # Errors
/// Bad usage.
pub(super) fn specs(
    arguments: &Check,
    manifest: Option<Manifest>,
    launcher: &Launcher,
) -> Result<Vec<LaunchSpec>> {
    let mut specs = match (manifest, &arguments.cmd, &arguments.connect) {
        (Some(manifest), ..) => manifest.select(&arguments.servers)?,
        (None, None, None) => {
            if arguments.confine {
                bail!(UsageError(
                    "--confine applies only to external servers: add --cmd or --manifest".into()
                ));
            }
            let servers = named(&arguments.servers)?;
            return Ok(servers
                .iter()
                .map(|server| {
                    let mut spec = LaunchSpec::builtin_under_test(launcher, server);
                    arguments.start.set_in(&mut spec);
                    spec
                })
                .collect());
        }
        _ => vec![external(arguments)?],
    };
    for spec in &mut specs {
        if arguments.confine && spec.confinement == Confinement::default() {
            spec.confinement = Confinement::strict();
        }
        if format_duration(arguments.timeout) != DEFAULT_TIMEOUT {
            spec.check_arguments += &format!(" --timeout={}", format_duration(arguments.timeout));
        }
        if arguments.confine {
            spec.check_arguments += " --confine";
        }
        arguments.start.set_in(spec);
    }
    Ok(specs)
}

/// Returns the launch specification of the server of `--cmd` or `--connect`.
fn external(arguments: &Check) -> Result<LaunchSpec> {
    let declared = &arguments.declared.0;
    let contract = declared.contract();
    let (mut spec, flag) = match (&arguments.cmd, &arguments.connect) {
        (Some(command), _) => {
            let options = LaunchOptions {
                input: declared.input.clone(),
                fixed_port: declared.port,
                ..LaunchOptions::default()
            };
            let spec = LaunchSpec::external_in(command, options, contract)
                .map_err(|error| UsageError(error.to_string()))?;
            (spec, ["--cmd".to_owned(), command.clone()])
        }
        (None, Some(address)) => {
            if !arguments.start.is_empty() {
                bail!(UsageError(
                    "--start-timeout and --ready apply to servers that the harness launches: use \
                     --wait with --connect"
                        .into()
                ));
            }
            let address = address.find(arguments.wait);
            let spec = LaunchSpec::already_running(address, contract);
            (spec, ["--connect".to_owned(), address.to_string()])
        }
        (None, None) => {
            bail!(UsageError("name a built-in server, or add --cmd or --connect".into()))
        }
    };
    let flags = declared.flags();
    let arguments = flag.iter().chain(&flags).map(String::as_str);
    spec.check_arguments =
        shlex::try_join(arguments).map_err(|error| UsageError(error.to_string()))?;
    Ok(spec)
}

/// Prepares network namespaces if a server needs one. Returns the parts of the confinement that are
/// not available on this machine.
///
/// Call this function before any thread starts, because it may create a network namespace.
pub(super) fn unconfined(launcher: &Launcher, specs: &[LaunchSpec]) -> Result<Vec<String>> {
    let needs_network =
        |spec: &LaunchSpec| spec.fixed_port.is_some() || spec.confinement.network_alone;
    if specs.iter().any(needs_network) {
        // If this fails, servers with a fixed port run one at a time, and a server without its own
        // network is reported as not isolated.
        let _ = network::prepare();
    }
    match specs.iter().find(|spec| spec.confinement != Confinement::default()) {
        Some(spec) => Ok(launcher.missing_isolation(&spec.confinement)?),
        None => Ok(Vec::new()),
    }
}
