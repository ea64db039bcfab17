//! `--known-failures FILE`: accepted failures of servers, with reasons. A known failure that now
//! passes is reported, so that the file stays up to date.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use toml::Spanned;

use crate::config_source::{FileKind, Source};
use crate::conformance::known_failures::{Entry, covers};
use crate::conformance::{self, KnownFailures};
use crate::renamed;
use crate::results::{CaseResult, KnownFailure, KnownVerdict, ServerResult, State};
use crate::usage_error::UsageError;

/// Content of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default, rename = "known-failure")]
    known_failures: Vec<Spanned<EntryContent>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryContent {
    server: Option<Spanned<String>>,
    case: Spanned<String>,
    #[serde(default)]
    verdict: KnownVerdict,
    reason: Spanned<String>,
}

/// A file of known failures, as the value of `--known-failures`.
const KIND: FileKind = FileKind {
    flag: "--known-failures",
    entries: "known-failure",
    help: "--known-failures takes a TOML file with a [[known-failure]] entry for each known \
           failure: `case`, `reason`, and optionally `server` and `verdict` (docs/ci.md)",
};

impl KnownFailures {
    /// Reads a file. Each entry is about a built-in server, the command of a server, or a server
    /// with one of these names; or about all servers.
    ///
    /// # Errors
    /// The file cannot be read or is invalid. The message has the line and the valid values.
    pub fn read(file: &Path, names: &[String]) -> Result<KnownFailures> {
        let source = Source::read(file, &KIND).map_err(UsageError)?;
        Ok(KnownFailures::parse(&source, names).map_err(UsageError)?)
    }

    fn parse(source: &Source, names: &[String]) -> Result<KnownFailures, String> {
        let content: Content = source.parse()?;
        let entry = |entry: Spanned<EntryContent>| {
            let at = entry.span().start;
            let EntryContent { server, case, verdict, reason } = entry.into_inner();
            if reason.get_ref().trim().is_empty() {
                return Err(source.error_at(
                    reason.span().start,
                    "the reason is empty: say why the failure is accepted",
                ));
            }
            let server = server
                .map(|name| {
                    report_name(name.get_ref(), names)
                        .map_err(|e| source.error_at(name.span().start, &e))
                })
                .transpose()?;
            let covers_any = conformance::cases().any(|other| covers(case.get_ref(), other.name));
            if !covers_any {
                let name = case.get_ref();
                let is_case = |new: &str| conformance::cases().any(|case| case.name == new);
                let message = renamed::hint(name, is_case).unwrap_or_else(|| {
                    format!(
                        "there is no case `{name}`: write the name of a case (see `harness list \
                         cases`), or a topic such as `refusal/`"
                    )
                });
                return Err(source.error_at(case.span().start, &message));
            }
            let (reason, location) = (reason.into_inner(), source.location(at));
            let known = KnownFailure { verdict, reason, location, cause: None };
            Ok(Entry { server, case: case.into_inner(), known })
        };
        let entries = content.known_failures.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(KnownFailures { entries })
    }

    /// Returns a message for each entry about a server that is neither built in nor `command`.
    /// The most likely reason is that the command was changed.
    pub fn about_other_servers<'e>(
        &'e self,
        command: &'e str,
    ) -> impl Iterator<Item = String> + 'e {
        self.entries.iter().filter_map(move |entry| {
            let server = entry.server.as_deref()?;
            let is_other = server != command && servers::find(server).is_none();
            let location = &entry.known.location;
            is_other.then(|| format!("{location} is about another server: `{server}`"))
        })
    }

    /// Returns whether a case passed although an entry expects another verdict. Only
    /// [`mark_stale`](Self::mark_stale) decides, when all servers are tested.
    pub fn may_be_stale(&self, server: &str, result: &CaseResult) -> bool {
        let differs = |entry: &Entry| {
            entry.applies_to(server, &result.name) && entry.known.verdict.kind() != result.found()
        };
        result.found().is_fine() && self.entries.iter().any(differs)
    }

    /// Marks stale entries. Call this when all servers are tested. An entry for several servers or
    /// cases is stale if none of their results is as expected. The mark goes to the first result
    /// whose case applies, or to the first result if no case applies. An entry is ignored if some
    /// of its cases were not run.
    pub fn mark_stale(&self, servers: &mut [ServerResult]) {
        for entry in &self.entries {
            let case_count =
                conformance::cases().filter(|case| covers(&entry.case, case.name)).count();
            let mut covered: Vec<&mut CaseResult> = Vec::new();
            for server in servers.iter_mut() {
                let name = &server.name;
                let applies = |result: &CaseResult| entry.applies_to(name, &result.name);
                if server.cases.iter().filter(|result| applies(result)).count() == case_count {
                    let cases = server.cases.iter_mut();
                    covered.extend(cases.filter(|result| entry.applies_to(name, &result.name)));
                }
            }
            let is_unexpected_pass = |result: &&mut CaseResult| {
                result.found().is_fine() && entry.known.verdict.kind() != result.found()
            };
            if covered.iter().all(is_unexpected_pass) {
                let first = covered.iter().position(|result| result.state != State::NotApplicable);
                covered
                    .into_iter()
                    .nth(first.unwrap_or(0))
                    .into_iter()
                    .for_each(|result| entry.mark_stale(result));
            }
        }
    }
}

/// Returns the server's name in reports. For a built-in server, `name` may be an alias. A server
/// given by a command has the command as its name.
fn report_name(name: &str, names: &[String]) -> Result<String, String> {
    match servers::find(name) {
        Some(server) => Ok(server.name()),
        None if name.contains("{port}") || names.iter().any(|other| other == name) => {
            Ok(name.to_owned())
        }
        None => {
            let others: Vec<&str> = names
                .iter()
                .map(String::as_str)
                .filter(|name| servers::find(name).is_none() && !name.contains("{port}"))
                .collect();
            let manifest_names = match &others[..] {
                [] => String::new(),
                names => format!(", of a server of the manifest ({})", names.join(", ")),
            };
            Err(format!(
                "there is no server `{name}`: write the name of a built-in server (see `harness \
                 list servers`){manifest_names}, or the command of a server, which contains \
                 {{port}}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Kind, Verdict};

    const FILE: &str = "
[[known-failure]]
server = 'server3' # select-calc
case = 'framing/crlf'
reason = 'no carriage returns here'

[[known-failure]]
case = 'refusal/'
verdict = 'inconclusive'
reason = 'the connection limit cannot be reached'
";

    fn known_failures() -> KnownFailures {
        let (name, text) = ("known.toml".to_owned(), FILE.to_owned());
        KnownFailures::parse(&Source { name, text, kind: &KIND }, &[]).expect("a valid file")
    }

    fn result(name: &'static str, verdict: Option<Verdict>) -> CaseResult {
        CaseResult {
            verdict,
            state: if verdict.is_some() { State::Completed } else { State::Inconclusive },
            ..CaseResult::new(name, "")
        }
    }

    /// A server with these verdicts, in the cases with this prefix.
    fn server(name: &str, prefix: &str, verdict: impl Fn(&str) -> Option<Verdict>) -> ServerResult {
        let case_result = |name: &'static str| {
            let mut result = result(name, verdict(name));
            result.known_failure = known_failures().known("select-calc", &result);
            result
        };
        let names = conformance::cases().map(|case| case.name);
        ServerResult {
            name: name.to_owned(),
            command: String::new(),
            contract: String::new(),
            cases: names.filter(|name| name.starts_with(prefix)).map(case_result).collect(),
            ..ServerResult::default()
        }
    }

    /// Marks stale entries, and returns the names of the marked cases.
    fn stale(mut servers: Vec<ServerResult>) -> Vec<String> {
        known_failures().mark_stale(&mut servers);
        let cases = servers.iter().flat_map(|server| &server.cases);
        cases.filter(|case| case.kind() == Kind::Stale).map(|case| case.name.clone()).collect()
    }

    #[test]
    fn a_known_failure_matches_by_server_case_and_verdict() {
        let kind = |server: &str, name, verdict| {
            let mut result = result(name, verdict);
            result.known_failure = known_failures().known(server, &result);
            result.kind()
        };
        let fail = Some(Verdict::Fail);
        assert_eq!(kind("select-calc", "framing/crlf", fail), Kind::Known);
        // A bare pattern name means its `calc` server.
        assert_eq!(kind("select", "framing/crlf", fail), Kind::Known);
        assert_eq!(kind("poll", "framing/crlf", fail), Kind::Fail);
        assert_eq!(kind("select-echo", "framing/crlf", fail), Kind::Fail);
        assert_eq!(kind("select-calc", "framing/single", fail), Kind::Fail);
        assert_eq!(kind("select-calc", "framing/crlf", None), Kind::Inconclusive);
        for server in ["select-calc", "./my {port}"] {
            assert_eq!(kind(server, "refusal/as-declared", None), Kind::Known);
            assert_eq!(kind(server, "refusal/as-declared", fail), Kind::Fail);
        }
    }

    #[test]
    fn an_unexpected_pass_is_stale_and_names_the_file_and_line() {
        let mut servers = vec![server("select-calc", "framing/crlf", |_| Some(Verdict::Pass))];
        known_failures().mark_stale(&mut servers);
        let result = &servers[0].cases[0];
        assert_eq!((result.kind(), result.is_fine()), (Kind::Stale, false));
        assert_eq!(result.label(), "unexpected pass");
        let hint = result.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("remove the entry at known.toml, line 2"), "{hint}");
    }

    #[test]
    fn a_topic_entry_is_stale_only_if_no_case_has_the_expected_verdict() {
        let passes = |_: &str| Some(Verdict::Pass);
        let first = conformance::cases().find(|case| case.name.starts_with("refusal/"));
        let first = first.expect("a case of the topic").name;
        assert_eq!(stale(vec![server("a", "refusal/", passes)]), [first]);
        let one_is_inconclusive =
            |name: &str| (name != "refusal/as-declared").then_some(Verdict::Pass);
        assert!(stale(vec![server("a", "refusal/", one_is_inconclusive)]).is_empty());
        let both =
            vec![server("a", "refusal/", passes), server("b", "refusal/", one_is_inconclusive)];
        assert!(stale(both).is_empty());
    }

    #[test]
    fn an_inapplicable_case_is_marked_stale_only_if_no_case_applies() {
        let stale_mark = |is_inapplicable: fn(usize) -> bool| {
            let mut server = server("a", "refusal/", |_| Some(Verdict::Pass));
            for (index, case) in server.cases.iter_mut().enumerate() {
                if is_inapplicable(index) {
                    (case.verdict, case.state) = (None, State::NotApplicable);
                }
            }
            let mut servers = vec![server];
            known_failures().mark_stale(&mut servers);
            let marked = servers[0].cases.iter().position(|case| case.kind() == Kind::Stale);
            let marked = &servers[0].cases[marked.expect("a marked case")];
            (marked.label(), marked.hint.clone().unwrap_or_default())
        };
        let (label, hint) = stale_mark(|index| index == 0);
        assert!(label == "unexpected pass" && hint.contains("no longer occurs"), "{label}: {hint}");
        let (label, hint) = stale_mark(|_| true);
        assert_eq!(label, "stale: not applicable");
        assert!(
            hint.contains(
                "does not apply to what is declared: remove the entry at known.toml, line 7"
            ),
            "{hint}"
        );
    }

    #[test]
    fn the_error_for_a_renamed_verdict_names_the_new_one() {
        for (old, new) in [("undecided", "inconclusive"), ("loose", "warn")] {
            let parse = |verdict: &str| {
                let entry = "[[known-failure]]\ncase = 'refusal/'\nreason = 'x'\n";
                let text = format!("{entry}verdict = '{verdict}'\n");
                KnownFailures::parse(&Source { name: "f".to_owned(), text, kind: &KIND }, &[])
            };
            assert_eq!(parse(new).expect("a verdict").entries[0].known.verdict.name(), new);
            let error = parse(old).expect_err("an old name");
            assert_eq!(error, format!("f, line 4 (`verdict`): `{old}` is now `{new}`"));
        }
    }

    #[test]
    fn an_entry_is_stale_only_if_all_its_cases_were_tested() {
        let passes = |_: &str| Some(Verdict::Pass);
        assert!(stale(vec![server("select-echo", "framing/", passes)]).is_empty());
        assert!(stale(vec![server("select-calc", "framing/single", passes)]).is_empty());
        assert!(stale(vec![server("select-calc", "refusal/as-declared", passes)]).is_empty());
    }
}
