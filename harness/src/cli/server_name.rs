//! Names of built-in servers.

use std::ffi::OsStr;
use std::path::Path;

use servers::Server;

/// Returns the built-in server with this name. The error lists the valid names.
pub(crate) fn server(name: &str) -> Result<Server, String> {
    servers::find(name).ok_or_else(|| {
        if Path::new(name).is_file() {
            return format!(
                "`{name}` is a file, not a built-in server: test it with the command that starts it, as in \
                 harness check --cmd \"{} {{host}} {{port}}\"",
                command_for(name)
            );
        }
        let ids: Vec<&str> = servers::PATTERNS.iter().map(|pattern| pattern.id).collect();
        format!(
            "`{name}` is no server; choose one of {} (each optionally followed by -calc or -echo), or server1 to server4",
            ids.join(", ")
        )
    })
}

/// Returns the command that runs a program file, without arguments.
fn command_for(file: &str) -> String {
    let interpreter = match Path::new(file).extension().and_then(OsStr::to_str) {
        Some("py") => "python3 ",
        Some("js" | "mjs") => "node ",
        Some("rb") => "ruby ",
        Some("pl") => "perl ",
        _ if file.contains('/') => "",
        _ => "./",
    };
    format!("{interpreter}{file}")
}
