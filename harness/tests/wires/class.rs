//! A class of submissions to one exercise. Some are hostile.

use harness::report::grading::Grading;
use harness::results::ServerResult;

use super::*;

/// A submission in `tests/class`.
struct Submission {
    name: &'static str,
    /// A case that the submission fails, and the expected state of the case (empty for any state).
    fails: Option<(&'static str, &'static str)>,
    /// Title of the first fault in the grading report.
    first_fault: &'static str,
}

const fn correct(name: &'static str) -> Submission {
    Submission { name, fails: None, first_fault: "" }
}

const fn faulty(
    name: &'static str,
    case: &'static str,
    state: &'static str,
    first_fault: &'static str,
) -> Submission {
    Submission { name, fails: Some((case, state)), first_fault }
}

#[rustfmt::skip]
const CLASS: &[Submission] = &[
    correct("anna"),
    correct("bert"),
    correct("clara"),
    faulty("dora", "results/precedence", "completed", "Operators are not applied in the usual order"),
    faulty("emil", "disconnects/reset-in-request", "crash", "The server exits when a client connects and resets the connection"),
    faulty("fritz", "framing/byte-by-byte", "", "A request that arrives byte by byte is not treated as one request"),
    faulty("gerda", "framing/single", "crash", "The server exits before it listens"),
    faulty("jakob", "framing/single", "hang", "The server sends no reply when it receives its first request"),
];

/// The topics with the faults of the class.
pub(super) const FAULT_TOPICS: &[&str] = &["disconnects/", "framing/", "results/"];

/// Hostile submissions, without expected results. The harness must test them and leave no process.
pub(super) const HOSTILE: &[&str] = &["hans", "ida"];

pub(super) fn class_is_tested(topics: &[&str]) -> Result<(), Failed> {
    let names: Vec<&str> = CLASS.iter().map(|submission| submission.name).collect();
    check_submissions(&names, "40s", topics)
}

/// Tests submissions in these topics, or in all cases if there are none, each `within` this time.
/// Checks their results, and that no process of theirs is left.
pub(super) fn check_submissions(
    names: &[&str],
    within: &str,
    topics: &[&str],
) -> Result<(), Failed> {
    // Each test has a copy of the class, so that it finds only the processes of that copy.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let class = folder.path().join("class");
    copy(&package().join("tests/class"), &class)?;
    let file = class.join("class.toml").display().to_string();
    let flags = ["--confine", "--within", within, "--json", "--output", "page"];
    let topics: Vec<&str> = topics.iter().flat_map(|&topic| ["--case", topic]).collect();
    let check = [&["check", "--manifest", &file], names, &flags, &topics].concat();
    let output = harness(folder.path(), &check)?;
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", text(&output.stderr)))?;
    for name in names {
        let document = documents.iter().find(|server| server["name"] == *name);
        let document = document.ok_or_else(|| format!("{name} has no results"))?;
        let Some(submission) = CLASS.iter().find(|it| it.name == *name) else { continue };
        let cases = document["cases"].as_array().cloned().unwrap_or_default();
        let fails: Vec<&Value> = cases.iter().filter(|case| case["verdict"] == "fail").collect();
        let is_expected = match submission.fails {
            None => fails.is_empty(),
            Some((case, state)) => fails
                .iter()
                .any(|fail| fail["name"] == case && (state.is_empty() || fail["state"] == state)),
        };
        if !is_expected {
            let names: Vec<String> =
                fails.iter().map(|fail| format!("{} {}", fail["name"], fail["state"])).collect();
            return Err(format!("{name} fails {names:?}: {}", text(&output.stderr)).into());
        }
        let server: ServerResult = serde_json::from_value(document.clone())?;
        let faults = Grading::of(&server).faults;
        let first_fault = faults.first().map_or("", |fault| fault.title.as_str());
        if first_fault != submission.first_fault {
            let expected = submission.first_fault;
            return Err(
                format!("the first fault of {name} is {first_fault:?}, not {expected:?}").into()
            );
        }
    }
    let pages = ["page/grading.html", "page/grading.md", "page/index.html"];
    if let Some(page) = pages.iter().find(|page| !folder.path().join(page).exists()) {
        return Err(format!("there is no {page}").into());
    }
    let left = leftover_processes(&class);
    if left.is_empty() { Ok(()) } else { Err(format!("leftover processes: {left:?}").into()) }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// Returns the command lines of the processes that run in or from this directory.
fn leftover_processes(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| {
            entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
        })
        .filter_map(|entry| {
            let cwd = fs::read_link(entry.path().join("cwd")).ok()?.display().to_string();
            let line = text(&fs::read(entry.path().join("cmdline")).ok()?);
            (cwd.starts_with(&folder) || line.contains(&folder)).then_some(line)
        })
        .collect()
}
