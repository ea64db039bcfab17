//! The servers of a run: built-in servers, and the servers of the project's manifest.

use std::path::Path;

use anyhow::Result;
use servers::{Family, Limits, PATTERNS, Pattern, Server, Service};

use crate::cli::{PlanName, Run};
use crate::commands::selection::selected_or_all;
use crate::manifest;
use crate::server::{LaunchSpec, Launcher};

/// A server in two configurations: tested with a low connection limit, benchmarked with a high one.
pub(crate) struct Contender {
    /// Configuration for the test cases.
    pub(crate) tested: LaunchSpec,
    /// Configuration for the benchmarks.
    pub(crate) benchmarked: LaunchSpec,
}

/// Manifest of the project's servers in other languages, relative to the workspace root.
const EXTERNAL: &str = "servers/external/external.toml";

/// Text of [`EXTERNAL`] when this program was built.
const EXTERNAL_AS_BUILT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../servers/external/external.toml"));

impl Contender {
    /// Returns the servers of `harness run`: the named built-in servers; all built-in servers for
    /// `--all`; otherwise one contender per pattern. Without names, adds the project's external
    /// servers.
    pub(super) fn of_run(arguments: &Run, launcher: &Launcher) -> Result<Vec<Contender>> {
        let is_named = !arguments.servers.is_empty();
        let all = arguments.all || arguments.plan == PlanName::Reference;
        let mut contenders = match (all, is_named) {
            (false, false) => Contender::patterns(launcher)?,
            _ => Contender::builtin(launcher, &selected_or_all(&arguments.servers))?,
        };
        if !is_named {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
            contenders.extend(Contender::external(root)?);
        }
        Ok(contenders)
    }

    pub(crate) fn builtin(launcher: &Launcher, servers: &[Server]) -> Result<Vec<Contender>> {
        let contender = |server: &Server| {
            let benchmarked = LaunchSpec::builtin(launcher, server, &Limits::default())?;
            Ok(Contender { tested: LaunchSpec::builtin_under_test(launcher, server), benchmarked })
        };
        servers.iter().map(contender).collect()
    }

    /// Returns one contender per pattern. The calculator is tested, because most cases apply to it.
    /// The echo server is benchmarked, because its replies need no computation.
    fn patterns(launcher: &Launcher) -> Result<Vec<Contender>> {
        let contender = |pattern: &'static Pattern| {
            let tested = Server { pattern, service: Service::Calc };
            let benchmarked = Server { pattern, service: Service::Echo };
            let aliases = [&tested, &benchmarked].map(|server| server.alias());
            let aliases: Vec<&str> = aliases.into_iter().flatten().collect();
            let tested = LaunchSpec {
                name: pattern.id.to_owned(),
                alias: (!aliases.is_empty()).then(|| aliases.join(", ")),
                ..LaunchSpec::builtin_under_test(launcher, &tested)
            };
            let benchmarked = LaunchSpec::builtin(launcher, &benchmarked, &Limits::default())?;
            Ok(Contender { tested, benchmarked })
        };
        patterns_in_report_order().into_iter().map(contender).collect()
    }

    /// Returns contenders for servers of a manifest. Both configurations of each are the same.
    pub(crate) fn described(specs: Vec<LaunchSpec>) -> impl Iterator<Item = Contender> {
        specs.into_iter().map(|spec| Contender { tested: spec.clone(), benchmarked: spec })
    }

    /// Returns the project's servers in other languages. If the source directory does not exist,
    /// the servers are marked as unavailable.
    fn external(root: &Path) -> Result<Vec<Contender>> {
        let file = root.join(EXTERNAL);
        let specs = if file.exists() {
            // A relative path, as a user in the source directory would type it.
            let here = std::env::current_dir()?;
            manifest::specs(file.strip_prefix(&here).unwrap_or(&file), &[])?
        } else {
            let reason = format!("{} does not exist; run from a checkout", file.display());
            let unavailable = |spec| LaunchSpec { unavailable: Some(reason.clone()), ..spec };
            manifest::specs_in(EXTERNAL, EXTERNAL_AS_BUILT)?.into_iter().map(unavailable).collect()
        };
        Ok(Contender::described(specs).collect())
    }
}

/// Returns the patterns in the order of the report: the patterns of `server1` to `server4`, then
/// one pattern of each other family, then the rest.
fn patterns_in_report_order() -> Vec<&'static Pattern> {
    let is_original = |pattern: &'static Pattern| {
        Service::ALL.iter().any(|&service| Server { pattern, service }.alias().is_some())
    };
    let (mut ordered, others): (Vec<&Pattern>, Vec<&Pattern>) =
        PATTERNS.iter().partition(|pattern| is_original(pattern));
    ordered.sort_by_key(|pattern| {
        let aliases =
            Service::ALL.iter().filter_map(|&service| Server { pattern, service }.alias());
        aliases.min()
    });
    let is_new = |family: Family, listed: &[&Pattern]| listed.iter().all(|it| it.family != family);
    let mut rest = Vec::new();
    for pattern in others {
        let list = if is_new(pattern.family, &ordered) { &mut ordered } else { &mut rest };
        list.push(pattern);
    }
    ordered.extend(rest);
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_pattern_has_one_row_originals_first_then_one_per_family() {
        let contenders = Contender::patterns(&Launcher::new("harness")).expect("rows");
        let rows: Vec<(&str, Option<&str>)> = contenders
            .iter()
            .map(|contender| (contender.tested.name.as_str(), contender.tested.alias.as_deref()))
            .collect();
        assert_eq!(
            rows[..3],
            [
                ("iterative-refuse", Some("server1")),
                ("thread-per-connection", Some("server2")),
                ("select", Some("server3, server4")),
            ]
        );
        assert!(rows[3..].iter().all(|(_, aliases)| aliases.is_none()));
        let names: HashSet<&str> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, PATTERNS.iter().map(|pattern| pattern.id).collect());
        assert_eq!(rows.len(), PATTERNS.len());
        let families = |count| {
            let first = patterns_in_report_order().into_iter().take(count);
            first.map(|pattern| pattern.family.name()).collect::<HashSet<_>>()
        };
        assert_eq!(families(Family::ALL.len()).len(), Family::ALL.len());
    }

    #[test]
    fn a_row_is_tested_as_a_calculator_and_benchmarked_as_an_echo_server() {
        for contender in Contender::patterns(&Launcher::new("harness")).expect("rows") {
            let services =
                [&contender.tested, &contender.benchmarked].map(|it| it.contract.service);
            assert_eq!(services, [Service::Calc, Service::Echo], "{}", contender.tested.name);
        }
    }

    #[test]
    fn without_a_checkout_the_external_servers_are_shown_as_not_run() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let names = |contenders: &[Contender]| -> Vec<String> {
            contenders.iter().map(|contender| contender.tested.name.clone()).collect()
        };
        let present = Contender::external(root).expect("a manifest");
        let missing = Contender::external(Path::new("/no/such/checkout")).expect("a manifest");
        assert_eq!(names(&missing), names(&present));
        for contender in missing {
            let reason = contender.tested.unavailable.unwrap_or_default();
            assert!(reason.contains("/no/such/checkout"), "{}: {reason}", contender.tested.name);
        }
    }
}
