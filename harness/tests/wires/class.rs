//! A class of submissions to one exercise. Some are hostile.

use super::*;

/// Submissions in `tests/class`: the name, a case that the submission fails (empty if it passes),
/// and the expected state of that case (empty for any state).
const CLASS: &[(&str, &str, &str)] = &[
    ("anna", "", ""),
    ("bert", "", ""),
    ("clara", "", ""),
    ("dora", "results/precedence", "completed"),
    ("emil", "disconnects/reset-in-request", "crash"),
    ("fritz", "framing/byte-by-byte", ""),
    ("gerda", "framing/single", "crash"),
    ("jakob", "framing/single", "hang"),
];

/// Hostile submissions, without expected results. The harness must test them and leave no process.
pub(super) const HOSTILE: &[&str] = &["hans", "ida"];

pub(super) fn class_is_tested() -> Result<(), Failed> {
    let names: Vec<&str> = CLASS.iter().map(|(name, ..)| *name).collect();
    check_submissions(&names, "40s")
}

/// Tests submissions, each `within` this time. Checks their results, and that no process of theirs
/// is left.
pub(super) fn check_submissions(names: &[&str], within: &str) -> Result<(), Failed> {
    // Each test has a copy of the class, so that it finds only the processes of that copy.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let class = folder.path().join("class");
    copy(&package().join("tests/class"), &class)?;
    let file = class.join("class.toml").display().to_string();
    let flags = ["--confine", "--within", within, "--json", "--output", "page"];
    let check = [&["check", "--manifest", &file], names, &flags].concat();
    let output = harness(folder.path(), &check)?;
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", text(&output.stderr)))?;
    for name in names {
        let document = documents.iter().find(|server| server["name"] == *name);
        let document = document.ok_or_else(|| format!("{name} has no results"))?;
        let Some((_, case, state)) = CLASS.iter().find(|(known, ..)| known == name) else {
            continue;
        };
        let cases = document["cases"].as_array().cloned().unwrap_or_default();
        let fails: Vec<&Value> = cases.iter().filter(|case| case["verdict"] == "fail").collect();
        let is_expected = match *case {
            "" => fails.is_empty(),
            case => fails
                .iter()
                .any(|fail| fail["name"] == case && (state.is_empty() || fail["state"] == *state)),
        };
        if !is_expected {
            let names: Vec<String> =
                fails.iter().map(|fail| format!("{} {}", fail["name"], fail["state"])).collect();
            return Err(format!("{name} fails {names:?}: {}", text(&output.stderr)).into());
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
