//! The commands in a container that forbids io_uring.

use super::*;

/// Runs the harness with a seccomp filter that forbids io_uring, as containers do.
#[allow(unsafe_code, reason = "a seccomp filter, installed between fork and exec")]
fn without_io_uring(arguments: &[&str]) -> std::process::Output {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| {
        let code = u16::try_from(code).expect("an instruction code of 16 bits");
        libc::sock_filter { code, jt, jf, k }
    };
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        // The system call number is the first field of the filter's input.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(equals, 0, 1, libc::SYS_io_uring_setup as u32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let mut command = common::harness();
    command.args(arguments);
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: prctl(2) is a plain system call, allowed between fork and exec. The filter
        // program and its instructions live in this closure, and the kernel only reads them.
        let is_installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        if is_installed { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and nothing else.
    unsafe { command.pre_exec(install) };
    command.output().expect("the harness runs")
}

pub(super) fn if_io_uring_is_forbidden_its_servers_are_skipped_not_failed() {
    let remedy = "seccomp profile that allows io_uring_setup";
    let text = |output: &[u8]| String::from_utf8_lossy(output).into_owned();

    let served = without_io_uring(&["serve", "uring", "127.0.0.1", "0"]);
    assert_eq!(served.status.code(), Some(3));
    let output = text(&served.stderr);
    assert!(
        output.contains(remedy) && output.lines().count() == 1 && served.stdout.is_empty(),
        "{output}"
    );

    let alone = without_io_uring(&["check", "uring-echo", "--json"]);
    assert_eq!(alone.status.code(), Some(3));
    let document: serde_json::Value =
        serde_json::from_slice(&alone.stdout).expect("a JSON document");
    assert_eq!(document["cases"], serde_json::json!([]));
    assert!(document["not_run"].as_str().is_some_and(|words| words.contains(remedy)), "{document}");
    assert!(text(&alone.stderr).contains("uring-echo: not run: "));

    let with_other = ["check", "uring-echo", "select-echo", "--case", "framing/single"];
    let with_other = without_io_uring(&with_other);
    assert_eq!(with_other.status.code(), Some(0));
    let output = text(&with_other.stdout);
    assert!(
        output.contains("uring-echo: not run: ") && output.contains("1 passed, 0 failed"),
        "{output}"
    );

    let folder = tempfile::tempdir().expect("a temporary directory");
    let output = folder.path().to_str().expect("a UTF-8 path");
    let run = ["run", "uring", "iterative", "--plan", "quick", "--output", output];
    let run = without_io_uring(&run);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stdout));
    assert!(text(&run.stdout).contains("uring-calc: not run: "));
    for file in ["report.json", "index.html", "summary.md"] {
        let page = std::fs::read_to_string(folder.path().join(file)).expect("a readable file");
        assert!(page.contains("is forbidden, as in many containers"), "{file}");
    }
}
