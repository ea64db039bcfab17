//! `--expected FILE`: known failures of servers, with reasons. A known failure is accepted. A known
//! failure that now passes is reported, so that the file stays up to date.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use toml::Spanned;

use crate::config_source::Source;
use crate::conformance::known_failures::{Entry, covers};
use crate::conformance::{self, CaseResult, Known, KnownFailures, KnownVerdict, State};
use crate::report::ServerResult;
use crate::usage_error::UsageError;

/// Content of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    expected: Vec<Spanned<WrittenEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    server: Option<Spanned<String>>,
    case: Spanned<String>,
    #[serde(default)]
    verdict: KnownVerdict,
    reason: Spanned<String>,
}

impl KnownFailures {
    /// Reads a file with entries for built-in servers, for commands, and for servers with these
    /// names.
    ///
    /// # Errors
    /// The file cannot be read or is invalid. The message has the line and the valid values.
    pub fn read(file: &Path, names: &[String]) -> Result<KnownFailures> {
        let source = Source::read(file, "--expected").map_err(UsageError)?;
        Ok(KnownFailures::parse(&source, names).map_err(UsageError)?)
    }

    fn parse(source: &Source, names: &[String]) -> Result<KnownFailures, String> {
        let written: Written = source.parse()?;
        let entry = |written: Spanned<WrittenEntry>| {
            let at = written.span().start;
            let WrittenEntry { server, case, verdict, reason } = written.into_inner();
            if reason.get_ref().trim().is_empty() {
                return Err(source.wrong(reason.span().start, "the reason is empty: say why"));
            }
            let server = server
                .map(|name| {
                    full_name(name.get_ref(), names)
                        .map_err(|e| source.wrong(name.span().start, &e))
                })
                .transpose()?;
            let covers_some = conformance::cases().any(|one| covers(case.get_ref(), one.name));
            if !covers_some {
                let words = format!(
                    "there is no case `{}`: write a case's name (`harness list cases` has them), or \
                     a topic such as `refusal/`",
                    case.get_ref()
                );
                return Err(source.wrong(case.span().start, &words));
            }
            let (reason, place) = (reason.into_inner(), source.place(at));
            let known = Known { verdict, reason, place, cause: None };
            Ok(Entry { server, case: case.into_inner(), known })
        };
        let entries = written.expected.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(KnownFailures { entries })
    }

    /// Returns a message for each entry about a server that is neither built in nor the command
    /// under test. Most likely the command has changed since.
    pub fn of_others<'e>(&'e self, command: &'e str) -> impl Iterator<Item = String> + 'e {
        self.entries.iter().filter_map(move |entry| {
            let server = entry.server.as_deref()?;
            let is_other = server != command && servers::find(server).is_none();
            let place = &entry.known.place;
            is_other.then(|| format!("{place} is about another server: `{server}`"))
        })
    }

    /// Marks stale entries once all servers are tested. An entry for several servers or cases is
    /// stale if none of their results is as expected. The mark goes to the first of them that
    /// applies, or to the first if none does. An entry whose cases were not all run is not marked.
    pub fn mark_stale(&self, servers: &mut [ServerResult]) {
        for entry in &self.entries {
            let wanted = conformance::cases().filter(|case| covers(&entry.case, case.name)).count();
            let mut about: Vec<&mut CaseResult> = Vec::new();
            for server in servers.iter_mut() {
                let is_about = |one: &CaseResult| entry.is_about(&server.name, one.name);
                if server.cases.iter().filter(|one| is_about(one)).count() == wanted {
                    let name = &server.name;
                    let cases = server.cases.iter_mut();
                    about.extend(cases.filter(|one| entry.is_about(name, one.name)));
                }
            }
            let is_over =
                |one: &&mut CaseResult| one.found().is_fine() && !entry.known.verdict.is_of(one);
            if about.iter().all(is_over) {
                let first = about.iter().position(|one| one.state != State::NotApplicable);
                about
                    .into_iter()
                    .nth(first.unwrap_or(0))
                    .into_iter()
                    .for_each(|one| entry.mark(one));
            }
        }
    }
}

/// Returns the server's name in reports. A built-in server has short names too; a command is its
/// own name.
fn full_name(name: &str, names: &[String]) -> Result<String, String> {
    match servers::find(name) {
        Some(server) => Ok(server.name()),
        None if name.contains("{port}") || names.iter().any(|one| one == name) => {
            Ok(name.to_owned())
        }
        None => Err(format!(
            "there is no built-in server `{name}` (`harness list servers` has them); one of your own \
             is named by its command, with {{port}} in it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Kind, Verdict};

    const FILE: &str = "
[[expected]]
server = 'server3' # select-calc
case = 'framing/crlf'
reason = 'no carriage returns here'

[[expected]]
case = 'refusal/'
verdict = 'undecided'
reason = 'it cannot be filled'
";

    fn expected() -> KnownFailures {
        let (name, text) = ("known.toml".to_owned(), FILE.to_owned());
        KnownFailures::parse(&Source { name, text }, &[]).expect("it is right")
    }

    fn judgement(name: &'static str, verdict: Option<Verdict>) -> CaseResult {
        CaseResult {
            verdict,
            state: if verdict.is_some() { State::Ok } else { State::Vacuous },
            ..CaseResult::new(name, "")
        }
    }

    /// A server with this verdict in the cases with this name prefix.
    fn server(name: &str, begin: &str, verdict: impl Fn(&str) -> Option<Verdict>) -> ServerResult {
        let judge = |name: &'static str| {
            let mut judgement = judgement(name, verdict(name));
            judgement.known = expected().known("select-calc", &judgement);
            judgement
        };
        let names = conformance::cases().map(|case| case.name);
        ServerResult {
            name: name.to_owned(),
            original: None,
            command: String::new(),
            foreign: false,
            contract: String::new(),
            mechanism: None,
            not_run: None,
            cases: names.filter(|name| name.starts_with(begin)).map(judge).collect(),
            took_ms: None,
            measured_command: None,
            measurements: Vec::new(),
            not_measured: Vec::new(),
            problem: None,
        }
    }

    fn stale(mut servers: Vec<ServerResult>) -> Vec<&'static str> {
        expected().mark_stale(&mut servers);
        let cases = servers.iter().flat_map(|server| &server.cases);
        cases.filter(|one| one.kind() == Kind::Stale).map(|one| one.name).collect()
    }

    #[test]
    fn a_failure_is_known_by_server_case_and_verdict() {
        let kind = |server: &str, name, verdict| {
            let mut judgement = judgement(name, verdict);
            judgement.known = expected().known(server, &judgement);
            judgement.kind()
        };
        let fail = Some(Verdict::Fail);
        assert_eq!(kind("select-calc", "framing/crlf", fail), Kind::Known);
        // A pattern's name stands for its calculator.
        assert_eq!(kind("select", "framing/crlf", fail), Kind::Known);
        assert_eq!(kind("poll", "framing/crlf", fail), Kind::Fail);
        assert_eq!(kind("select-echo", "framing/crlf", fail), Kind::Fail);
        assert_eq!(kind("select-calc", "framing/single", fail), Kind::Fail);
        assert_eq!(kind("select-calc", "framing/crlf", None), Kind::Undecided);
        for server in ["select-calc", "./my {port}"] {
            assert_eq!(kind(server, "refusal/as-declared", None), Kind::Known);
            assert_eq!(kind(server, "refusal/as-declared", fail), Kind::Fail);
        }
    }

    #[test]
    fn what_passes_now_is_out_of_date_and_the_file_and_line_are_named() {
        let mut servers = vec![server("select-calc", "framing/crlf", |_| Some(Verdict::Pass))];
        expected().mark_stale(&mut servers);
        let judgement = &servers[0].cases[0];
        assert_eq!((judgement.kind(), judgement.is_fine()), (Kind::Stale, false));
        assert_eq!(judgement.words(), "unexpected pass");
        let hint = judgement.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("remove the entry from known.toml, line 2"), "{hint}");
    }

    #[test]
    fn a_topic_is_out_of_date_when_none_of_its_cases_is_as_expected() {
        let passes = |_: &str| Some(Verdict::Pass);
        let first = conformance::cases().find(|case| case.name.starts_with("refusal/"));
        let first = first.expect("there is one").name;
        assert_eq!(stale(vec![server("a", "refusal/", passes)]), [first]);
        let one_is_not = |name: &str| (name != "refusal/as-declared").then_some(Verdict::Pass);
        assert!(stale(vec![server("a", "refusal/", one_is_not)]).is_empty());
        let both = vec![server("a", "refusal/", passes), server("b", "refusal/", one_is_not)];
        assert!(stale(both).is_empty());
    }

    #[test]
    fn a_case_that_does_not_apply_is_marked_only_where_none_does() {
        let judged = |rules_out: fn(usize) -> bool| {
            let mut server = server("a", "refusal/", |_| Some(Verdict::Pass));
            for (at, one) in server.cases.iter_mut().enumerate() {
                if rules_out(at) {
                    (one.verdict, one.state) = (None, State::NotApplicable);
                }
            }
            let mut servers = vec![server];
            expected().mark_stale(&mut servers);
            let marked = servers[0].cases.iter().position(|one| one.kind() == Kind::Stale);
            let marked = &servers[0].cases[marked.expect("one is")];
            (marked.words(), marked.hint.clone().unwrap_or_default())
        };
        let (words, hint) = judged(|at| at == 0);
        assert!(words == "unexpected pass" && hint.contains("mended"), "{words}: {hint}");
        let (words, hint) = judged(|_| true);
        assert_eq!(words, "stale: not applicable");
        assert!(
            hint.contains("does not apply: remove the entry from known.toml, line 7"),
            "{hint}"
        );
    }

    #[test]
    fn nothing_is_said_of_what_was_not_judged() {
        let passes = |_: &str| Some(Verdict::Pass);
        assert!(stale(vec![server("select-echo", "framing/", passes)]).is_empty());
        assert!(stale(vec![server("select-calc", "framing/single", passes)]).is_empty());
        assert!(stale(vec![server("select-calc", "refusal/as-declared", passes)]).is_empty());
    }
}
