//! Addresses in the page: `#select-echo`, `#select-echo/framing/crlf`, `#chart/throughput`.

/// Names of sections, which a server may have as well.
const SECTIONS: &[&str] = &[
    "run",
    "summary",
    "failures",
    "when-full",
    "curves",
    "matrix",
    "comparison",
    "servers",
    "method",
    "baseline",
    "summary-table",
    "matrix-table",
];

/// Prefixes of other ids of the page.
const PREFIXES: &[&str] = &["server-", "answer-", "chart", "series-", "evidence-"];

/// Returns the id of a server: its name, unless another part of the page has, or could have, this
/// id.
pub(super) fn server_id(name: &str) -> String {
    let is_checkbox = name.strip_prefix('t').is_some_and(|rest| rest.parse::<usize>().is_ok());
    let is_taken =
        SECTIONS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    match is_taken || is_checkbox {
        true => format!("server-{name}"),
        false => name.to_owned(),
    }
}

/// Returns the id of a result.
pub(super) fn result_id(server: &str, case: &str) -> String {
    format!("{}/{case}", server_id(server))
}

/// Returns a link to an id, with percent-encoding.
fn link(id: &str) -> String {
    let mut link = String::from("#");
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                link.push(byte.into())
            }
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

/// Returns a link to a server.
pub(super) fn server_link(name: &str) -> String {
    link(&server_id(name))
}

/// Returns a link to a result.
pub(in crate::report) fn result_link(server: &str, case: &str) -> String {
    link(&result_id(server, case))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_and_result_has_an_address_of_its_own() {
        assert_eq!(result_link("select-echo", "framing/crlf"), "#select-echo/framing/crlf");
        for taken in ["matrix", "t1", "evidence-data", "answer-idle", "chart-style", "server-a"] {
            assert_eq!(server_id(taken), format!("server-{taken}"));
        }
        assert_eq!(server_id("t1-echo"), "t1-echo");
        assert_eq!(server_link("a?b=c&d"), "#a%3Fb%3Dc%26d");
        assert_eq!(server_link("a \"b\" %<ü>"), "#a%20%22b%22%20%25%3C%C3%BC%3E");
    }
}
