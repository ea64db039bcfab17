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
    "chart",
];

/// Returns the id of a server: its name, unless a section has this name.
pub(super) fn server_id(name: &str) -> String {
    match SECTIONS.contains(&name) {
        true => format!("server-{name}"),
        false => name.to_owned(),
    }
}

/// Returns the id of a result.
pub(super) fn result_id(server: &str, case: &str) -> String {
    format!("{}/{case}", server_id(server))
}

/// Returns a link to an id, with percent-encoding.
pub(super) fn link(id: &str) -> String {
    let mut link = String::from("#");
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'/'
            | b'?'
            | b'='
            | b'&' => link.push(byte.into()),
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
        assert_eq!(server_link("matrix"), "#server-matrix");
        assert_eq!(server_link("a \"b\" %<ü>"), "#a%20%22b%22%20%25%3C%C3%BC%3E");
    }
}
