//! The `[confinement]` table of a manifest, which applies to all its servers.

use std::num::NonZero;
use std::time::Duration;

use serde::Deserialize;

use super::optional_time;
use crate::server::Confinement;

/// The `[confinement]` table of a manifest. A missing key means no limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct ConfinementTable {
    memory: Option<Size>,
    tasks: Option<NonZero<usize>>,
    #[serde(deserialize_with = "optional_time::deserialize")]
    cpu_time: Option<Duration>,
    file_size: Option<Size>,
    #[serde(deserialize_with = "optional_time::deserialize")]
    lifetime: Option<Duration>,
    network: Option<Network>,
    file_system: Option<FileSystem>,
}

/// A number of bytes, such as `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Size(u64);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Network {
    /// Only the loopback interface of a new network namespace.
    Loopback,
    /// All addresses that the harness can reach.
    All,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FileSystem {
    /// The server can write only to a private /tmp.
    ReadOnly,
    /// The server can write to all files that the harness can write to.
    All,
}

impl ConfinementTable {
    pub(super) fn confinement(&self) -> Confinement {
        Confinement {
            memory_bytes: self.memory.map(|size| size.0),
            tasks: self.tasks.map(NonZero::get),
            cpu_seconds: self.cpu_time.map(|time| time.as_secs().max(1)),
            file_bytes: self.file_size.map(|size| size.0),
            lifetime: self.lifetime,
            network_alone: matches!(self.network, Some(Network::Loopback)),
            read_only: matches!(self.file_system, Some(FileSystem::ReadOnly)),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Size, String> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let (digits, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
            .unwrap_or((&text, 0));
        let bytes = digits.trim().parse::<u64>().ok().and_then(|it| it.checked_mul(1 << shift));
        match bytes {
            Some(bytes @ 1..) => Ok(Size(bytes)),
            _ => Err("write a size such as \"65536\", \"16MiB\" or \"1GiB\"".to_owned()),
        }
    }
}
