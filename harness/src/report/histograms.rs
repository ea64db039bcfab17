//! `histograms/SERVER--WORKLOAD.hlog`: latencies for HdrHistogram's tools.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::file_names;
use super::folder::{Folder, FolderFile};
use super::markup::plain;
use crate::results::{Measurement, Report};

pub(super) const FOLDER: Folder = Folder {
    name: "histograms",
    pattern: "SERVER--WORKLOAD.hlog",
    extension: "hlog",
    summary: "latencies of each measurement as an HdrHistogram log (V2), for its plotter and other tools",
    files: |report, _| files(report),
};

/// Divisor of the printed values: by convention, programs that read the log show milliseconds.
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

fn files(report: &Report) -> Vec<FolderFile> {
    let mut files = Vec::new();
    for (server, name) in report.servers.iter().zip(file_names::of_servers(report)) {
        for measurement in &server.measurements {
            if let Some(log) = log(report, &server.name, measurement) {
                files.push(FolderFile {
                    name: format!("{name}--{}.hlog", measurement.workload),
                    server: server.name.clone(),
                    subject: measurement.workload.clone(),
                    content: Some(log),
                });
            }
        }
    }
    files
}

/// Formats the log, with one histogram. Returns `None` if the measurement has none.
fn log(report: &Report, server: &str, measurement: &Measurement) -> Option<String> {
    let histogram = measurement.latency_histogram.as_ref()?.decode()?;
    let started = humantime::parse_rfc3339(&report.environment.started_at);
    let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!("server: {}", plain(server)))
        .add_comment(&format!("workload: {}", measurement.workload))
        .add_comment("latency of correct replies from the scheduled time, in nanoseconds");
    if !report.complete {
        builder.add_comment("the run is incomplete");
    }
    builder
        .with_max_value_divisor(NANOSECONDS_PER_MILLISECOND)
        .with_start_time(started.unwrap_or(SystemTime::UNIX_EPOCH))
        .begin_log_with(&mut log, &mut serializer)
        .ok()?
        .write_histogram(
            &histogram,
            Duration::ZERO,
            Duration::from_millis(measurement.duration_ms),
            Tag::new("intended"),
        )
        .ok()?;
    String::from_utf8(log).ok()
}
