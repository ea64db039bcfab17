//! Reference load generators: their command lines, and the parsers of their output.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Load that a reference generator puts on a server, from one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceLoad {
    /// Number of connections, all open for the whole run.
    pub connections: usize,
    /// Number of requests that a connection sends at once. It sends the next batch when the whole
    /// batch is answered.
    pub depth: usize,
    /// Duration. wrk runs for whole seconds, rounded up. redis-benchmark takes a number of requests
    /// instead, which is estimated by shorter runs.
    pub duration: Duration,
    /// CPU for all threads of the reference generator; `None` for all CPUs.
    pub processor: Option<usize>,
}

/// A load generator that may be installed.
#[derive(Debug)]
pub struct ReferenceGenerator {
    /// Stable name: the name of the program.
    pub name: &'static str,
    /// Debian package of the program.
    pub package: &'static str,
    /// Bytes of one request. An echo server sends them back, so they must also be a valid reply.
    /// All requests on the measured connections have these bytes.
    pub request: &'static [u8],
    /// Whether the program takes a number of requests instead of a duration.
    pub(super) takes_request_count: bool,
    pub(super) arguments: fn(&Invocation<'_>, &mut Command),
    pub(super) parse: fn(&str, u64) -> Option<Printed>,
}

/// Reference generators, in the order of reports.
pub const REFERENCE_GENERATORS: &[ReferenceGenerator] = &[
    ReferenceGenerator {
        name: "wrk",
        package: "wrk",
        request: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        takes_request_count: false,
        arguments: for_wrk,
        parse: from_wrk,
    },
    ReferenceGenerator {
        name: "redis-benchmark",
        package: "redis-tools",
        request: b"*1\r\n$4\r\nPING\r\n",
        takes_request_count: true,
        arguments: for_redis_benchmark,
        parse: from_redis_benchmark,
    },
];

/// Input for a reference generator's command line.
pub(super) struct Invocation<'a> {
    pub(super) address: SocketAddr,
    pub(super) load: ReferenceLoad,
    pub(super) request: &'a [u8],
    /// Number of requests, if the program takes one.
    pub(super) requests: u64,
    /// File with wrk's script.
    pub(super) script: &'a Path,
}

/// Results printed by a reference generator.
#[derive(Debug, PartialEq)]
pub(super) struct Printed {
    pub(super) requests: u64,
    pub(super) per_s: f64,
    pub(super) p99: Option<Duration>,
    pub(super) errors: u64,
}

fn for_wrk(invocation: &Invocation<'_>, command: &mut Command) {
    let Invocation { address, load, .. } = invocation;
    command.args(["-t1", "--latency"]);
    command.arg(format!("-c{}", load.connections));
    command.arg(format!("-d{}s", load.duration.as_secs_f64().ceil().max(1.0)));
    command.arg("-s").arg(invocation.script);
    command.args([format!("http://{address}"), "--".to_owned(), load.depth.to_string()]);
    command.arg(OsStr::from_bytes(invocation.request));
}

fn from_wrk(output: &str, _: u64) -> Option<Printed> {
    let after = |start: &str| output.lines().find_map(|line| line.trim().strip_prefix(start));
    let requests = output.lines().find_map(|line| line.split_once(" requests in "))?.0;
    let failed = after("Socket errors:").unwrap_or_default();
    let refused = after("Non-2xx or 3xx responses:").unwrap_or_default();
    let numbers = [failed, refused].into_iter().flat_map(|text| text.split([' ', ',']));
    Some(Printed {
        requests: requests.trim().parse().ok()?,
        // Without any request the ratio would be infinite.
        per_s: after("Requests/sec:")?.trim().parse().ok().filter(|it: &f64| it.is_normal())?,
        // With many connections wrk sometimes prints 0.00us.
        p99: after("99%").and_then(time_of_wrk).filter(|p99| !p99.is_zero()),
        errors: numbers.filter_map(|word| word.parse::<u64>().ok()).sum(),
    })
}

/// Parses a time in wrk's format: `355.00us`, `1.04ms`, `1.20s`, `2.00m`, `1.00h`.
fn time_of_wrk(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// Builds the command line. `-t ping_mbulk` sends PING as an array, which is also a valid reply. So
/// is CONFIG GET, which the program first sends on an additional connection.
fn for_redis_benchmark(invocation: &Invocation<'_>, command: &mut Command) {
    let Invocation { address, load, requests, .. } = invocation;
    command.args(["-t", "ping_mbulk", "--csv"]);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-c", &load.connections.to_string(), "-P", &load.depth.to_string()]);
    command.args(["-n", &requests.to_string()]);
}

/// Parses the output. The program exits when all requests are answered, or with an error when a
/// connection fails. So its output has no error counts.
fn from_redis_benchmark(output: &str, requests: u64) -> Option<Printed> {
    let rows = |start: &str| output.lines().find(|line| line.starts_with(start)).map(cells);
    let (names, values) = (rows("\"test\"")?, rows("\"PING_MBULK\"")?);
    let cell = |name: &str| values.get(names.iter().position(|it| *it == name)?)?.parse().ok();
    let per_s = cell("rps").filter(|per_s: &f64| per_s.is_normal())?;
    let p99 = cell("p99_latency_ms")
        .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1e3).ok());
    Some(Printed { requests, per_s, p99, errors: 0 })
}

fn cells(row: &str) -> Vec<&str> {
    row.split(',').map(|cell| cell.trim_matches('"')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of wrk 4.1.0 and redis-benchmark 7.0.15.
    const WRK: &str = include_str!("../../tests/calibrate/wrk.txt");
    const WRK_WITH_ERRORS: &str = include_str!("../../tests/calibrate/wrk-errors.txt");
    const REDIS_BENCHMARK: &str = include_str!("../../tests/calibrate/redis-benchmark.csv");

    #[test]
    fn the_output_of_wrk_is_parsed() {
        let p99 = Some(Duration::from_micros(115_740));
        let printed = Printed { requests: 830_288, per_s: 395_754.6, p99, errors: 0 };
        assert_eq!(from_wrk(WRK, 0), Some(printed));
    }

    #[test]
    fn errors_of_all_kinds_are_summed() {
        let printed = from_wrk(WRK_WITH_ERRORS, 0).expect("valid output");
        assert_eq!((printed.requests, printed.errors), (12_442, 24 + 98));
    }

    #[test]
    fn a_zero_or_non_finite_rate_is_rejected() {
        for rate in ["0.00", "nan", "inf"] {
            let idle: Vec<String> = WRK
                .lines()
                .map(|line| match line.starts_with("Requests/sec:") {
                    true => format!("Requests/sec:  {rate}"),
                    false => line.to_owned(),
                })
                .collect();
            assert_eq!(from_wrk(&idle.join("\n"), 0), None, "{rate}");
        }
    }

    #[test]
    fn times_in_all_units_are_parsed() {
        let times =
            [("57.00us", 57), ("5.00ms", 5_000), ("1.20s", 1_200_000), ("2.00m", 120_000_000)];
        for (text, micros) in times {
            assert_eq!(time_of_wrk(text), Some(Duration::from_micros(micros)), "{text}");
        }
        assert_eq!(time_of_wrk("5.00"), None);
        assert_eq!(time_of_wrk("5.00 parsecs"), None);
    }

    #[test]
    fn the_output_of_redis_benchmark_is_parsed() {
        let p99 = Some(Duration::from_micros(13_311));
        let printed = Printed { requests: 100_000, per_s: 27_019.72, p99, errors: 0 };
        assert_eq!(from_redis_benchmark(REDIS_BENCHMARK, 100_000), Some(printed));
    }

    #[test]
    fn output_without_a_p99_is_parsed() {
        let without = "\"test\",\"rps\"\n\"PING_MBULK\",\"12.50\"\n";
        let printed = from_redis_benchmark(without, 7).expect("valid output");
        assert_eq!((printed.per_s, printed.p99), (12.5, None));
        for without in [WRK.replace("99%", "??%"), WRK.replace("115.74ms", "0.00us")] {
            assert_eq!(from_wrk(&without, 0).expect("valid output").p99, None);
        }
    }

    #[test]
    fn other_output_is_rejected() {
        for text in
            ["", "\n\n", "Requests/sec: many\n", "\"test\",\"rps\"\n\"PING_MBULK\",\"inf\"\n"]
        {
            assert_eq!(from_wrk(text, 0), None, "{text}");
            assert_eq!(from_redis_benchmark(text, 0), None, "{text}");
        }
        assert_eq!(from_wrk(&WRK.replace(" requests in ", " in "), 0), None);
    }
}
