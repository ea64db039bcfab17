//! `harness list`.

use clap::{Args, ValueEnum};

use super::value_enum::Named;

/// Arguments of `harness list`.
#[derive(Debug, Args)]
pub struct List {
    /// Table to list.
    #[arg(value_parser = Named::<Table>::new())]
    pub table: Table,
    /// Print one JSON document: an array of objects.
    #[arg(long)]
    pub json: bool,
}

/// A table that `harness list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// Built-in servers.
    Servers,
    /// Test cases.
    Cases,
    /// Workloads of the benchmarks.
    Workloads,
    /// Report formats, with their file names.
    Formats,
}
