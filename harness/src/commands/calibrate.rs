//! `harness calibrate`: compares the load generator with reference load generators.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;

use crate::calibrate::{LOADS, REFERENCE_GENERATORS, ReferenceError, compare};
use crate::cli;
use crate::interrupt;
use crate::load::placement::{Pin, Placement};
use crate::server::{Launcher, raise_descriptor_limit};
use crate::stdio;

/// Runs the load generator and each installed reference load generator in turn, and prints the
/// ratios.
///
/// # Errors
/// The known-answer server cannot be launched, or a run fails.
pub fn calibrate(arguments: &cli::Calibrate) -> Result<ExitCode> {
    raise_descriptor_limit();
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(Pin::default(), 1)?;
    let print =
        |line: &str| if arguments.json { stdio::error_line(line) } else { stdio::line(line) };
    print(&placement.description());
    let mut all = Vec::new();
    'generators: for generator in REFERENCE_GENERATORS {
        for &(connections, depth) in LOADS {
            let compared = compare(
                generator,
                &launcher,
                &placement,
                (connections, depth),
                arguments.rounds,
                arguments.duration,
            );
            // The results of interrupted rounds are invalid.
            if interrupt::flag().load(Relaxed) {
                break 'generators;
            }
            match compared {
                Ok(comparison) => {
                    print(&comparison.to_string());
                    all.push(comparison);
                }
                Err(error) => match error.downcast_ref() {
                    Some(missing @ ReferenceError::NotInstalled { .. }) => {
                        print(&format!("not run: {missing}"));
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
    }
    if arguments.json {
        stdio::json(&serde_json::to_string_pretty(&all)?);
    }
    Ok(interrupt::exit_code().unwrap_or(ExitCode::SUCCESS))
}
