//! Servers in several languages, each with one fault. The grading report must name the true cause
//! first, and no fault that the server does not have.
//!
//! Each file in `tests/causes` is a server. The comments at its beginning are its row:
//!
//! - `check:` flags of `harness check`, such as `--service echo`, or the word `probed`: the check then
//!   uses the manifest entry that `harness probe` writes;
//! - `cases:` the cases or topics to test, separated by spaces. A variant of the test runs all;
//! - `fault:` the title of a fault, one line each, in the order of the grading report. A server
//!   without this line has no fault;
//! - `cause:` a part of the likely cause of any of these faults, one line each;
//! - `also:` the title of a further fault of the server, which only a run of all cases may show;
//! - `probe:` a line that the manifest entry of `harness probe`, or its findings, must contain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::manifest::specs;
use harness::report::grading::Grading;
use harness::results::{CaseResult, Kind, Obstacle, Report, ServerResult};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::common::{self, Test};

/// Expectations on one server.
#[derive(Default)]
struct Row {
    check: Vec<String>,
    cases: Vec<String>,
    faults: Vec<String>,
    causes: Vec<String>,
    also: Vec<String>,
    probe: Vec<String>,
}

impl Row {
    /// Reads the comments at the beginning of a program.
    fn read(path: &Path) -> Row {
        let text = fs::read_to_string(path).expect("a readable program");
        let mut row = Row::default();
        let words = |value: &str| value.split_whitespace().map(str::to_owned).collect();
        let comment = |line: &'_ str| {
            Some(line.strip_prefix("//").or(line.strip_prefix('#'))?.trim().to_owned())
        };
        for line in text.lines().map_while(comment) {
            match line.split_once(": ") {
                Some(("check", value)) => row.check = shlex::split(value).expect("valid flags"),
                Some(("cases", value)) => row.cases = words(value),
                Some(("fault", value)) => row.faults.push(value.to_owned()),
                Some(("cause", value)) => row.causes.push(value.to_owned()),
                Some(("also", value)) => row.also.push(value.to_owned()),
                Some(("probe", value)) => row.probe.push(value.to_owned()),
                Some((key, _)) if !key.contains(' ') => {
                    panic!("{}: the key {key} is unknown", path.display())
                }
                // The description of the server.
                _ => {}
            }
        }
        row
    }

    /// Returns whether the check uses the manifest entry of a probe.
    fn is_probed(&self) -> bool {
        self.check == ["probed"]
    }
}

/// How to run the programs of one language.
struct Language {
    extension: &'static str,
    /// The program that compiles or runs a server.
    needs: &'static str,
    /// Command that compiles `SOURCE` to the directory `TARGET`, if any.
    compile: &'static [&'static str],
    /// Command that starts the server. `NAME` is the file name without its extension.
    run: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language {
        extension: "py",
        needs: "python3",
        compile: &[],
        run: "python3 -S -E SOURCE {host} {port}",
    },
    Language { extension: "mjs", needs: "node", compile: &[], run: "node SOURCE {host} {port}" },
    Language { extension: "pl", needs: "perl", compile: &[], run: "perl SOURCE {host} {port}" },
    Language {
        extension: "java",
        needs: "javac",
        compile: &["javac", "-d", "TARGET", "SOURCE"],
        run: "java -XX:TieredStopAtLevel=1 -Xshare:auto -cp TARGET NAME {host} {port}",
    },
    Language {
        extension: "c",
        needs: "cc",
        compile: &["cc", "-O1", "-pthread", "-o", "TARGET/NAME", "SOURCE"],
        run: "TARGET/NAME {host} {port}",
    },
];

/// A server that is ready to run.
struct Program {
    command: String,
    /// Directory with the compiled program and all output.
    folder: TempDir,
}

impl Program {
    fn prepare(language: &Language, source: &Path) -> Result<Program, Failed> {
        let folder = tempfile::tempdir()?;
        let name = source.file_stem().and_then(|name| name.to_str()).ok_or("a UTF-8 name")?;
        let filled = |word: &str| {
            word.replace("SOURCE", &source.display().to_string())
                .replace("TARGET", &folder.path().display().to_string())
                .replace("NAME", name)
        };
        if let [compiler, arguments @ ..] = language.compile {
            let output =
                Command::new(compiler).args(arguments.iter().map(|it| filled(it))).output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
        }
        Ok(Program { command: filled(language.run), folder })
    }
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (number, path) in programs().into_iter().enumerate() {
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        let language = LANGUAGES.iter().find(|it| it.extension == extension);
        let language = language.unwrap_or_else(|| panic!("no language for {}", path.display()));
        let row = Row::read(&path);
        let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name");
        let mut add = |claim: &str, is_variant, run: fn(&Row, &Program) -> Result<(), Failed>| {
            let path = path.clone();
            let run = move || run(&Row::read(&path), &Program::prepare(language, &path)?);
            let test = Test::new(format!("{name}::{claim}"), run);
            tests.push(test.needing(language.needs).variant(is_variant));
        };
        let is_partial = !row.cases.is_empty();
        // By default, every second one.
        add("its_faults_are_named", number % 2 == 1, |row, program| {
            faults_are_named(row, program, &row.cases)
        });
        if is_partial {
            add("its_faults_are_named_by_all_cases", true, |row, program| {
                faults_are_named(row, program, &[])
            });
        }
        // A check of a probed server probes it anyway.
        if !row.probe.is_empty() && !row.is_probed() {
            add("its_properties_are_probed", false, |row, program| {
                probed_entry(row, program).map(|_| ())
            });
        }
    }
    tests
}

/// Returns the programs, in the order of their names.
fn programs() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/causes");
    let entries = fs::read_dir(directory).expect("the directory of servers");
    let mut programs: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory entry").path()).collect();
    programs.sort();
    programs
}

/// Checks the server, and compares the faults of its grading report with its row.
fn faults_are_named(row: &Row, program: &Program, cases: &[String]) -> Result<(), Failed> {
    let mut server = check(row, program, cases)?;
    for _ in 0..OVERLOADED_REPETITIONS {
        if !server.cases.iter().any(is_overloaded) {
            break;
        }
        server = check(row, program, cases)?;
    }
    are_as_in_row(row, &server, cases)
}

/// Number of further checks if the machine was too busy for a case. That is no fault of the harness,
/// but such a case names no fault.
const OVERLOADED_REPETITIONS: usize = 2;

fn is_overloaded(result: &CaseResult) -> bool {
    matches!(result.obstacle, Some(Obstacle::Overload { .. }))
}

/// Checks the server.
fn check(row: &Row, program: &Program, cases: &[String]) -> Result<ServerResult, Failed> {
    let folder = program.folder.path();
    let mut check = common::harness();
    match row.is_probed() {
        true => check.args(["check", "--manifest"]).arg(probed_entry(row, program)?),
        false => check.args(["check", "--cmd", &program.command]).args(&row.check),
    };
    let output = check
        .args(["--seed", "1", "--output"])
        .arg(folder.join("report"))
        .arg("--counterexamples")
        .arg(folder.join("counterexamples"))
        .args(cases.iter().flat_map(|case| ["--case", case]))
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = Report::read(&folder.join("report/report.json"))
        .map_err(|error| format!("{error}: {stderr}"))?;
    Ok(report.servers.into_iter().next().ok_or("the report has no server")?)
}

/// Compares the faults of the grading report with the row.
fn are_as_in_row(row: &Row, server: &ServerResult, cases: &[String]) -> Result<(), Failed> {
    let grading = Grading::of(server);
    let titles: Vec<&str> = grading.faults.iter().map(|fault| fault.title.as_str()).collect();
    let inconclusive: Vec<&str> = server
        .cases
        .iter()
        .filter(|result| result.kind() == Kind::Inconclusive && result.blocked_by.is_empty())
        // A machine that is too busy for a case is no fault of the harness.
        .filter(|result| !is_overloaded(result))
        .map(|result| result.name.as_str())
        .collect();
    let all: Vec<&str> = row.faults.iter().chain(&row.also).map(String::as_str).collect();
    let are_expected = match cases {
        // The order of further faults may vary, and not each run finds all.
        [] => {
            let first = row.faults.first();
            first.is_none_or(|fault| titles.first() == Some(&fault.as_str()))
                && row.faults.iter().all(|fault| titles.contains(&fault.as_str()))
                && titles.iter().all(|title| all.contains(title))
        }
        _ => titles == row.faults,
    };
    let is_named =
        |cause: &String| grading.faults.iter().any(|fault| fault.cause.contains(cause.as_str()));
    let are_expected = are_expected && row.causes.iter().all(is_named);
    if !are_expected || !inconclusive.is_empty() {
        let faults = serde_json::to_string_pretty(&grading.faults)?;
        let results: Vec<String> = server
            .cases
            .iter()
            .map(|it| format!("{} {:?} {:?} {}", it.name, it.kind(), it.obstacle, it.observed))
            .collect();
        return Err(format!(
            "the grading report has these faults:\n{titles:#?}\ninconclusive: {inconclusive:?}\n\
             {faults}\n{}",
            results.join("\n")
        )
        .into());
    }
    if server.cases.iter().all(|result| result.kind() != Kind::Pass) && row.faults.is_empty() {
        return Err("no case passed".into());
    }
    Ok(())
}

/// Probes the server, and checks the manifest entry, which must be one that `check` accepts. Returns
/// its file.
fn probed_entry(row: &Row, program: &Program) -> Result<PathBuf, Failed> {
    let output = common::harness().args(["probe", "--cmd", &program.command]).output()?;
    let (entry, findings) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let file = program.folder.path().join("servers.toml");
    fs::write(&file, &output.stdout)?;
    if !output.stdout.is_empty() {
        specs(&file, &[]).map_err(|error| format!("{error}:\n{entry}"))?;
    }
    let has_line = |line: &&String| entry.lines().chain(findings.lines()).any(|it| it == *line);
    match row.probe.iter().find(|line| !has_line(line)) {
        None => Ok(file),
        Some(line) => {
            Err(format!("`{line}` is not in the entry or the findings:\n{entry}\n{findings}")
                .into())
        }
    }
}
