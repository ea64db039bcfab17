//! Requests with precomputed replies, so that checking a reply is a comparison.

use servers::Service;

use crate::contract::Contract;

/// A request with its only correct reply, both with their line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestReply {
    /// Bytes to send.
    pub request: Vec<u8>,
    /// Bytes to receive.
    pub reply: Vec<u8>,
}

/// Number of different requests: enough to detect a reply to another client's or an earlier
/// request.
const DIFFERENT: i64 = 251;

/// Maximum number of requests sent with one system call.
pub(super) const MOST_AT_ONCE: usize = 256;

/// Returns the standard requests of a service, all different.
pub fn exchanges(service: Service) -> Vec<RequestReply> {
    different(service, DIFFERENT)
}

/// Returns the standard requests of a server, in the line protocol: only sums if it reads no more.
pub fn usual(contract: &Contract) -> Vec<RequestReply> {
    if contract.service == Service::Echo || contract.dialect.reads("1*4+1") {
        return exchanges(contract.service);
    }
    let sum = |number: i64| RequestReply {
        request: line(format!("{number}+{}", number % 7)),
        reply: line((number + number % 7).to_string()),
    };
    (0..DIFFERENT).map(|number| sum(number * 8)).collect()
}

/// Returns `count` different requests.
pub(super) fn different(service: Service, count: i64) -> Vec<RequestReply> {
    (0..count)
        .map(|number| {
            let (request, reply) = match service {
                // Simple on purpose: conformance cases cover signs and precedence, other workloads
                // cover long calculations.
                Service::Calc => (format!("{number}*4+{}", number % 7), number * 4 + number % 7),
                Service::Echo => (format!("{}", 1_000_000 + number), 1_000_000 + number),
            };
            RequestReply { request: line(request), reply: line(reply.to_string()) }
        })
        .collect()
}

/// Returns requests of many sizes, in cycles of doubling size, up to `longest` bytes a line.
pub(super) fn mixed(service: Service, longest: usize) -> Vec<RequestReply> {
    let sizes: Vec<usize> = std::iter::successors(Some(8), |size| Some(size * 2))
        .take_while(|&it| it < longest)
        .collect();
    let pad = |number: usize, exchange: RequestReply| {
        let size = sizes.get(number % sizes.len().max(1)).copied().unwrap_or(8);
        let short = exchange.request.len() - 1;
        let fill = vec![b' '; size.saturating_sub(short)];
        let padded = |text: &[u8]| [&text[..text.len() - 1], &fill, b"\n"].concat();
        let request = padded(&exchange.request);
        let reply = match service {
            Service::Calc => exchange.reply,
            Service::Echo => request.clone(),
        };
        RequestReply { request, reply }
    };
    exchanges(service).into_iter().enumerate().map(|(at, one)| pad(at, one)).collect()
}

/// Returns requests that take long to calculate, all with the same operators: a chain of
/// `operators` additions.
pub(super) fn heavy(operators: usize) -> Vec<RequestReply> {
    (0..DIFFERENT)
        .map(|number| {
            let request = format!("{number}{}", "+1".repeat(operators));
            RequestReply {
                request: line(request),
                reply: line((number + operators as i64).to_string()),
            }
        })
        .collect()
}

fn line(text: String) -> Vec<u8> {
    let mut line = text.into_bytes();
    line.push(b'\n');
    line
}

/// Requests and replies in a cycle. Consecutive requests from any index on are one slice, and
/// received bytes are compared in place.
#[derive(Debug)]
pub(super) struct Cycle {
    /// All requests, and the first [`MOST_AT_ONCE`] once more.
    requests: Vec<u8>,
    /// Start of each of these requests, and the end of the last one.
    request_starts: Vec<u32>,
    /// All replies, once.
    replies: Vec<u8>,
    reply_ends: Vec<u32>,
    /// Delimiter of every reply, if it is one byte that occurs in no value.
    end: Option<u8>,
}

impl Cycle {
    pub(super) fn new(exchanges: &[RequestReply]) -> Cycle {
        let (mut requests, mut request_starts) = (Vec::new(), vec![0]);
        for one in exchanges.iter().cycle().take(exchanges.len() + MOST_AT_ONCE) {
            requests.extend_from_slice(&one.request);
            request_starts.push(requests.len() as u32);
        }
        let (mut replies, mut reply_ends) = (Vec::new(), Vec::new());
        for one in exchanges {
            replies.extend_from_slice(&one.reply);
            reply_ends.push(replies.len() as u32);
        }
        let last = |one: &RequestReply| one.reply.last().copied();
        let end = exchanges.first().and_then(last).filter(|end| {
            !end.is_ascii_alphanumeric() && exchanges.iter().all(|one| last(one) == Some(*end))
        });
        Cycle { requests, request_starts, replies, reply_ends, end }
    }

    /// Returns the delimiter of every reply. Without one, the bytes of one read count as a reply.
    pub(super) fn end(&self) -> Option<u8> {
        self.end
    }

    /// Returns the number of different requests.
    pub(super) fn len(&self) -> u32 {
        self.reply_ends.len() as u32
    }

    /// Returns the bytes of `count` requests from this index on, at most [`MOST_AT_ONCE`].
    pub(super) fn requests(&self, from: u32, count: u32) -> &[u8] {
        let [start, end] = [from, from + count].map(|at| self.request_starts[at as usize] as usize);
        &self.requests[start..end]
    }

    /// Returns what is left of `backlog` requests after `sent` bytes: the number of unsent
    /// requests, and the bytes sent of the first of them.
    pub(super) fn left(&self, from: u32, backlog: u32, sent: u32) -> (u32, u32) {
        let start = self.request_starts[from as usize];
        let mut done = 0;
        while done < backlog && self.request_starts[(from + done + 1) as usize] - start <= sent {
            done += 1;
        }
        (backlog - done, sent - (self.request_starts[(from + done) as usize] - start))
    }

    /// Returns the expected bytes after `received` bytes of this reply, up to the end of the cycle.
    pub(super) fn replies(&self, from: u32, received: u32) -> &[u8] {
        &self.replies[self.reply_start(from) + received as usize..]
    }

    /// Returns the first `received` bytes of this reply.
    pub(super) fn reply(&self, of: u32, received: u32) -> &[u8] {
        let start = self.reply_start(of);
        &self.replies[start..start + received as usize]
    }

    /// Returns the length of this reply, in bytes.
    pub(super) fn reply_len(&self, of: u32) -> u32 {
        self.reply_ends[of as usize] - self.reply_start(of) as u32
    }

    fn reply_start(&self, of: u32) -> usize {
        if of == 0 { 0 } else { self.reply_ends[of as usize - 1] as usize }
    }

    pub(super) fn after(&self, one: u32, count: u32) -> u32 {
        (one + count) % self.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_known_replies_are_right_and_all_different() {
        for &service in Service::ALL {
            let sets = [exchanges(service), mixed(service, 4096)];
            for exchanges in sets {
                are_right_and_different(service, &exchanges);
            }
        }
        are_right_and_different(Service::Calc, &heavy(200));
    }

    fn are_right_and_different(service: Service, exchanges: &[RequestReply]) {
        let replies: HashSet<&[u8]> = exchanges.iter().map(|one| &one.reply[..]).collect();
        assert_eq!(replies.len(), exchanges.len());
        for RequestReply { request, reply } in exchanges {
            let mut answer = Vec::new();
            service.answer(&request[..request.len() - 1], &mut answer);
            answer.push(b'\n');
            assert_eq!(answer, *reply);
        }
    }

    #[test]
    fn a_cycle_gives_the_same_as_its_exchanges() {
        let exchanges = mixed(Service::Echo, 1024);
        let cycle = Cycle::new(&exchanges);
        for from in 0..exchanges.len() {
            let expected: Vec<u8> = exchanges
                .iter()
                .cycle()
                .skip(from)
                .take(5)
                .flat_map(|one| one.request.clone())
                .collect();
            assert_eq!(cycle.requests(from as u32, 5), expected);
            let one = &exchanges[from].reply;
            assert!(cycle.replies(from as u32, 2).starts_with(&one[2..]));
            assert_eq!(cycle.reply(from as u32, 3), &one[..3]);
            assert_eq!(cycle.reply_len(from as u32) as usize, one.len());
        }
        assert_eq!(cycle.after(cycle.len() - 1, 1), 0);
    }
}
