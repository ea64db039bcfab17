//! Figures of compared reports.

use super::*;

pub(super) fn a_slowdown_fails_only_if_it_is_conclusive_and_beyond_the_limit() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = |name: &str, second, runs, throughput| {
        let one = of_measurements(vec![measured(runs, throughput, 1e6, 2e4)]);
        write(folder.path(), name, &report(second, vec![one]))
    };
    let (old, slower) = (run("old", 1, 6, 10_000.0), run("slower", 2, 6, 8_000.0));
    let (few, faster) = (run("few", 3, 4, 8_000.0), run("faster", 4, 6, 12_000.0));
    let code = |new: &str, limit: &[&str]| {
        let output = harness(&["compare", &old, "--with", new]).args(limit).output();
        output.expect("the harness runs").status.code().expect("an exit code")
    };
    assert_eq!(code(&slower, &[]), 0);
    // 0.8 is below 1 / 1.2 = 0.833, and above 1 / 1.3 = 0.769.
    assert_eq!(code(&slower, &["--fail-if-slower", "20"]), 1);
    assert_eq!(code(&slower, &["--fail-if-slower", "30"]), 0);
    assert_eq!(code(&few, &["--fail-if-slower", "1"]), 0);
    assert_eq!(code(&faster, &["--fail-if-slower", "1"]), 0);
    harness(&["compare", &old, "--with", &slower])
        .assert()
        .stdout(contains("slower       one-echo closed-8 throughput: 10,000/s → 8,000/s; 0.80"))
        .stdout(contains("1 slower, 0 faster"));
}

pub(super) fn every_figure_has_its_own_direction() {
    use Figure::{CpuPerRequest, MemoryPerConnection, P99, Throughput};
    use FigureVerdict::{Equal, Faster, Larger, Slower, Smaller};
    let of = |second, throughput, p99, cpu, bytes| {
        let measurements = vec![measured(6, throughput, p99, cpu), idle(6, bytes)];
        report(second, vec![of_measurements(measurements)])
    };
    let old = of(1, 1e4, 1e6, 2e4, 4000);
    for (new, expected, slower) in [
        (of(2, 2e4, 1e6, 2e4, 4000), [Faster, Equal, Equal, Equal], 0),
        (of(2, 5e3, 1e6, 2e4, 4000), [Slower, Equal, Equal, Equal], 1),
        (of(2, 1e4, 2e6, 1e4, 4000), [Equal, Slower, Faster, Equal], 1),
        (of(2, 1e4, 5e5, 4e4, 4000), [Equal, Faster, Slower, Equal], 1),
        // More memory is not a slowdown.
        (of(2, 1e4, 1e6, 2e4, 8000), [Equal, Equal, Equal, Larger], 0),
        (of(2, 1e4, 1e6, 2e4, 2000), [Equal, Equal, Equal, Smaller], 0),
    ] {
        let all = compared(&old, &new);
        let figures = [Throughput, P99, CpuPerRequest, MemoryPerConnection];
        let expected: Vec<_> = figures.into_iter().zip(expected).collect();
        assert_eq!(verdicts(&all), expected, "{all:?}");
        assert_eq!(all.slower_than(0.5).count(), slower, "{all:?}");
        assert_eq!(all.inconclusive_times().count(), 0);
    }
}

pub(super) fn the_samples_are_the_runs_of_all_reports_of_a_side() {
    let single = |second: u32, throughput: f64| {
        let noise = 1.0 + 0.002 * f64::from(second % 7);
        report(second, vec![of_measurements(vec![measured(1, throughput * noise, 1e6, 2e4)])])
    };
    let old: Vec<Report> = (0..6).map(|second| single(second, 1e4)).collect();
    let new: Vec<Report> = (10..15).map(|second| single(second, 9e3)).collect();
    let all = ReportComparison::of(&old, &new, Settings::default());
    let throughput = &all.figures[0];
    assert_eq!((throughput.old.runs, throughput.new.runs), (6, 5));
    assert_eq!(throughput.verdict, FigureVerdict::Slower, "{throughput:?}");
    assert_eq!((all.old.reports, all.new.reports), (6, 5));
    // A change of the machine between the old and the new runs would look the same.
    assert_eq!(all.notes, [Note::NotAlternating]);
    let interleaved: Vec<Report> = (0..6).map(|second| single(10 * second, 1e4)).collect();
    let all = ReportComparison::of(&interleaved, &new, Settings::default());
    assert_eq!((all.figures[0].verdict, all.notes.len()), (FigureVerdict::Slower, 0), "{all:?}");
}

pub(super) fn fewer_than_five_runs_are_inconclusive_and_fail_on_request() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = |name: &str, second, runs| {
        let one = of_measurements(vec![measured(runs, 1e4, 1e6, 2e4)]);
        write(folder.path(), name, &report(second, vec![one]))
    };
    let (four, five, six) = (run("four", 1, 4), run("five", 2, 5), run("six", 3, 6));
    let strict = ["--fail-on", "inconclusive"];
    for (old, new, code) in [(&four, &six, 1), (&six, &four, 1), (&five, &six, 0)] {
        let output = harness(&["compare", old, "--with", new]).args(strict).assert().code(code);
        let words = "3 inconclusive: a side has fewer than 5 runs with this figure";
        output.stdout(if code == 1 { contains(words) } else { contains("3 equal within ±5 %") });
        harness(&["compare", old, "--with", new]).assert().code(0);
    }
}

pub(super) fn equal_times_are_inconclusive_if_the_generator_limited_them() {
    let mut limited = measured(6, 1e4, 1e6, 2e4);
    limited.runs[2].validity = ValidityLabel::GeneratorBound;
    let old = report(1, vec![of_measurements(vec![measured(6, 1e4, 1e6, 2e4)])]);
    let new = report(2, vec![of_measurements(vec![limited])]);
    let all = compared(&old, &new);
    assert_eq!(all.inconclusive_times().count(), 3, "{all:?}");
    assert_eq!((all.figures[0].old.not_valid, all.figures[0].new.not_valid), (0, 1));
}

pub(super) fn times_of_different_machines_are_compared_only_on_request() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = |second, throughput| {
        let cases = vec![result("a/b", Some(Verdict::Pass), State::Completed)];
        let measurements = vec![measured(6, throughput, 1e6, 2e4)];
        report(second, vec![ServerResult { measurements, ..of_cases(cases) }])
    };
    let old = write(folder.path(), "old", &run(1, 1e4));
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 4] = [
        ("Other CPU", |it| it.environment.cpu_model = "Other CPU".to_owned()),
        ("64 CPUs", |it| it.environment.cpus = 64),
        ("Linux 9.9", |it| it.environment.kernel = "Linux 9.9".to_owned()),
        ("debug build", |it| it.environment.build = "debug".to_owned()),
    ];
    for (words, change) in changes {
        let mut new = run(2, 5e3);
        change(&mut new);
        let new = write(folder.path(), "new", &new);
        let compare = ["compare", &old, "--with", &new, "--fail-if-slower", "5"];
        harness(&compare)
            .assert()
            .code(0)
            .stdout(contains("times and memory are not compared").and(contains(words)))
            .stdout(contains("1 unchanged").and(contains("slower").not()));
        harness(&compare).args(["--fail-on", "inconclusive"]).assert().code(1);
        harness(&compare)
            .arg("--allow-different-machines")
            .assert()
            .code(1)
            .stdout(contains("a difference may be that of the machines").and(contains("1 slower")));
    }
    // The size of the memory and the commit may differ.
    let mut new = run(2, 5e3);
    (new.environment.memory_mib, new.environment.commit) = (1, Some("feed".to_owned()));
    assert!(compared(&run(1, 1e4), &new).figures_compared);
}

pub(super) fn a_report_that_is_given_twice_counts_once() {
    let one = report(1, vec![of_measurements(vec![measured(3, 1e4, 1e6, 2e4)])]);
    let all = ReportComparison::of(
        &[one.clone(), one.clone()],
        std::slice::from_ref(&one),
        Settings::default(),
    );
    assert!(matches!(all.notes[..], [Note::DuplicateReport { .. }]), "{:?}", all.notes);
    assert_eq!((all.old.reports, all.figures[0].old.runs), (1, 3));
    let incomplete = Report { complete: false, ..one.clone() };
    let notes = compared(&incomplete, &one).notes;
    assert!(matches!(notes[..], [Note::IncompleteReport { .. }]), "{notes:?}");
}

pub(super) fn figures_of_other_numbers_of_connections_are_not_compared() {
    let of = |second, clients| {
        let measurement = Measurement { clients, ..measured(6, 1e4, 1e6, 2e4) };
        report(second, vec![of_measurements(vec![measurement])])
    };
    let all = compared(&of(1, 8), &of(2, 64));
    assert!(all.figures.is_empty());
    assert!(matches!(all.notes[..], [Note::DifferentConnections { old: 8, new: 64, .. }]));
}
