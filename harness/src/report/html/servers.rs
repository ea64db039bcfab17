//! The table of servers, with their declared and their observed properties.

use maud::{Markup, html};

use super::cases::class;
use crate::results::{Report, ServerResult, State};

pub(super) fn servers(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Servers" }
            div.scroll {
                table.servers {
                    thead { tr { th { "server" } th { "declares" } th { "observed" } th { "tested command" } th { "measured command" } } }
                    tbody {
                        @for server in &report.servers {
                            tr {
                                th scope="row" { (server.label()) }
                                td { (server.contract) }
                                td { (observed(server)) }
                                td {
                                    @if server.not_run.is_some() { "not run" }
                                    @else { code { (server.command) } }
                                }
                                td {
                                    @if let Some(command) = &server.measured_command { code { (command) } }
                                    @for reason in &server.not_measured { br; (reason) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Renders the observations of the cases of the topic `contract`.
fn observed(server: &ServerResult) -> Markup {
    let observed = server.cases.iter().filter_map(|result| {
        let property = result.name.strip_prefix("contract/")?;
        (result.state != State::NotApplicable).then_some((property, result))
    });
    html! {
        @for (property, result) in observed {
            div { span class=(class(result.kind())) { (property) } ": " (result.observed) }
        }
    }
}
