//! `harness calibrate`: compares the load engine with reference load generators.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;

use crate::calibrate::{LOADS, REFERENCE_GENERATORS, ReferenceError, compare};
use crate::cli;
use crate::interrupt;
use crate::load::placement::{Pin, Placement};
use crate::server::{Launcher, raise_descriptor_limit};
use crate::stdio;

/// Runs the load engine and each installed reference load generator in turn, and prints the ratios.
///
/// # Errors
/// The server cannot be launched, or a run fails.
pub fn calibrate(arguments: &cli::Calibrate) -> Result<ExitCode> {
    raise_descriptor_limit();
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(Pin::default(), 1)?;
    let tell =
        |words: &str| if arguments.json { stdio::error_line(words) } else { stdio::line(words) };
    tell(&placement.words());
    let mut all = Vec::new();
    'rivals: for rival in REFERENCE_GENERATORS {
        for &(connections, depth) in LOADS {
            let compared = compare(
                rival,
                &launcher,
                &placement,
                (connections, depth),
                arguments.rounds,
                arguments.duration,
            );
            // The results of interrupted rounds are invalid.
            if interrupt::flag().load(Relaxed) {
                break 'rivals;
            }
            match compared {
                Ok(one) => {
                    tell(&one.to_string());
                    all.push(one);
                }
                Err(error) => match error.downcast_ref() {
                    Some(missing @ ReferenceError::NotInstalled { .. }) => {
                        tell(&format!("not run: {missing}"));
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
    }
    if arguments.json {
        stdio::line(&serde_json::to_string_pretty(&all)?);
    }
    Ok(interrupt::exit_code().unwrap_or(ExitCode::SUCCESS))
}
