//! Requests whose replies are known beforehand, so that checking a reply is a comparison.

use servers::Service;

/// A request and its one right reply, both with their line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// To be sent.
    pub request: Vec<u8>,
    /// To be received.
    pub reply: Vec<u8>,
}

/// How many different exchanges there are: enough that a reply to another client's request, or
/// to an earlier one, is noticed.
const DIFFERENT: i64 = 251;

/// The exchanges of a service, all different.
pub fn exchanges(service: Service) -> Vec<Exchange> {
    different(service, DIFFERENT)
}

/// So many of them.
pub(super) fn different(service: Service, count: i64) -> Vec<Exchange> {
    (0..count)
        .map(|number| {
            let (request, reply) = match service {
                // Signs and precedence are the matter of cases, work that of other workloads.
                Service::Calc => (format!("{number}*4+{}", number % 7), number * 4 + number % 7),
                Service::Echo => (format!("{}", 1_000_000 + number), 1_000_000 + number),
            };
            Exchange { request: line(request), reply: line(reply.to_string()) }
        })
        .collect()
}

fn line(text: String) -> Vec<u8> {
    let mut line = text.into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_known_replies_are_right_and_all_different() {
        for &service in Service::ALL {
            let exchanges = exchanges(service);
            let replies: HashSet<&[u8]> = exchanges.iter().map(|one| &one.reply[..]).collect();
            assert_eq!(replies.len(), exchanges.len());
            for Exchange { request, reply } in &exchanges {
                let mut answer = Vec::new();
                service.answer(&request[..request.len() - 1], &mut answer);
                answer.push(b'\n');
                assert_eq!(answer, *reply);
            }
        }
    }
}
