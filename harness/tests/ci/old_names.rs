//! Names of earlier versions in flags and files.

use super::*;

pub(super) fn an_error_about_an_old_name_gives_the_new_name() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (old, new) in [("undecided", "inconclusive"), ("loose", "warn")] {
        let hint = format!("`{old}` is now `{new}`");
        for kinds in [old.to_owned(), format!("fail,{old}")] {
            let message = contains(format!("'--fail-on <RESULTS>': {hint}\n"));
            failing().args(["--fail-on", &kinds]).assert().code(2).stdout("").stderr(message);
        }
        failing().args(["--fail-on", new]).assert().code(0);
        let entry = |verdict: &str| format!("{KNOWN}verdict = \"{verdict}\"\n");
        let expected = file(folder.path(), "old.toml", &entry(old));
        let message = contains(format!("old.toml, line 4 (`verdict`): {hint}\n"));
        failing().args(["--known-failures", &expected]).assert().code(2).stdout("").stderr(message);
        let expected = file(folder.path(), "new.toml", &entry(new));
        failing().args(["--known-failures", &expected]).assert().code(1);
    }
    let flags = [
        ("--ending=drain", "`--ending` is now `--shutdown`"),
        ("--expect=select", "`--expect` is now `--concurrency-model`"),
        ("--expected=known.toml", "`--expected` is now `--known-failures`"),
        ("--replays=folder", "`--replays` is now `--counterexamples`"),
    ];
    for (flag, hint) in flags {
        failing().arg(flag).assert().code(2).stdout("").stderr(format!("error: {hint}\n"));
    }
    let case = harness().args(["check", "server1", "--case", "contract/ending"]).assert().code(2);
    case.stderr(contains("`contract/ending` is now `contract/shutdown`"));
    let workload = harness().args(["bench", "select", "--workload", "held"]).assert().code(2);
    workload.stderr(contains("`held` is now `idle-memory`"));
    // A command without the new flag does not suggest the flag.
    let other = harness().args(["bench", "--ending=drain"]).assert().code(2);
    other.stderr(contains("unexpected argument").and(contains("--shutdown").not()));
    let manifest = "[[server]]\nname = 'one'\ncommand = 'one {port}'\n";
    let files = [
        (
            "--known-failures",
            KNOWN.replace("known-failure", "expected"),
            "`expected` is now `known-failure`",
        ),
        (
            "--known-failures",
            KNOWN.replace("refusal/as-declared", "contract/ending"),
            "`contract/ending` is now `contract/shutdown`",
        ),
        (
            "--manifest",
            format!("{manifest}expect = 'fork'\n"),
            "`expect` is now `concurrency-model`",
        ),
        (
            "--manifest",
            format!("{manifest}contract = {{ ending = 'drain' }}\n"),
            "`ending` is now `shutdown`",
        ),
        (
            "--manifest",
            format!("{manifest}dialect = {{ shape = 'binary' }}\n"),
            "`binary` is now `two-operands`",
        ),
        (
            "--manifest",
            format!("{manifest}wire = {{ clients-per-life = 1 }}\n"),
            "`clients-per-life` is now `connections-before-exit`",
        ),
        ("--manifest", format!("[limits]\ntasks = 9\n{manifest}"), "`limits` is now `confinement`"),
    ];
    for (flag, text, hint) in files {
        let file = file(folder.path(), "old.toml", &text);
        harness().args(["check", flag, &file]).assert().code(2).stderr(contains(hint));
    }
}
