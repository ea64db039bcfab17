//! Requests with precomputed replies, so that checking a reply is a comparison of bytes.

use servers::Service;

use crate::contract::Contract;

/// A request with its only correct reply, both with their delimiters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestReply {
    /// Bytes to send.
    pub request: Vec<u8>,
    /// Bytes to receive.
    pub reply: Vec<u8>,
}

/// Number of standard requests. They differ, so that a reply to another client's request or to an
/// earlier request is detected.
const STANDARD_COUNT: i64 = 251;

/// Maximum number of requests sent with one system call.
pub(super) const MAX_BATCH: usize = 256;

/// Returns the standard requests of a service, all different.
pub fn exchanges(service: Service) -> Vec<RequestReply> {
    distinct_exchanges(service, STANDARD_COUNT)
}

/// Returns the standard requests for a server, in the line protocol. They are sums of two numbers
/// if the server's dialect has no `1*4+1`.
pub fn exchanges_for(contract: &Contract) -> Vec<RequestReply> {
    if contract.service == Service::Echo || contract.dialect.reads("1*4+1") {
        return exchanges(contract.service);
    }
    let sum = |number: i64| RequestReply {
        request: line(format!("{number}+{}", number % 7)),
        reply: line((number + number % 7).to_string()),
    };
    (0..STANDARD_COUNT).map(|number| sum(number * 8)).collect()
}

/// Returns `count` different requests.
pub(super) fn distinct_exchanges(service: Service, count: i64) -> Vec<RequestReply> {
    (0..count)
        .map(|number| {
            let (request, reply) = match service {
                // Simple: conformance cases cover signs and precedence, other workloads cover long
                // calculations.
                Service::Calc => (format!("{number}*4+{}", number % 7), number * 4 + number % 7),
                Service::Echo => (format!("{}", 1_000_000 + number), 1_000_000 + number),
            };
            RequestReply { request: line(request), reply: line(reply.to_string()) }
        })
        .collect()
}

/// Returns requests of many sizes. The size doubles from request to request, starts again at 8
/// bytes, and stays below `longest` bytes.
pub(super) fn mixed_sizes(service: Service, longest: usize) -> Vec<RequestReply> {
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

/// Returns requests that take long to calculate: each is a chain of `operators` additions.
pub(super) fn long_sums(operators: usize) -> Vec<RequestReply> {
    (0..STANDARD_COUNT)
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

/// Requests and replies in a cycle, in contiguous memory: one write sends several requests, and
/// received bytes are compared without a copy.
#[derive(Debug)]
pub(super) struct Cycle {
    /// All requests, followed by a copy of the first [`MAX_BATCH`] requests.
    requests: Vec<u8>,
    /// Start of each request in `requests`, and the end of the last request.
    request_starts: Vec<u32>,
    /// All replies.
    replies: Vec<u8>,
    /// End of each reply in `replies`.
    reply_ends: Vec<u32>,
    /// Last byte of all replies, if it is the same and not alphanumeric: the delimiter.
    end: Option<u8>,
}

impl Cycle {
    pub(super) fn new(exchanges: &[RequestReply]) -> Cycle {
        let (mut requests, mut request_starts) = (Vec::new(), vec![0]);
        for exchange in exchanges.iter().cycle().take(exchanges.len() + MAX_BATCH) {
            requests.extend_from_slice(&exchange.request);
            request_starts.push(requests.len() as u32);
        }
        let (mut replies, mut reply_ends) = (Vec::new(), Vec::new());
        for exchange in exchanges {
            replies.extend_from_slice(&exchange.reply);
            reply_ends.push(replies.len() as u32);
        }
        let last = |exchange: &RequestReply| exchange.reply.last().copied();
        let end = exchanges.first().and_then(last).filter(|end| {
            !end.is_ascii_alphanumeric()
                && exchanges.iter().all(|exchange| last(exchange) == Some(*end))
        });
        Cycle { requests, request_starts, replies, reply_ends, end }
    }

    /// Returns the delimiter of all replies, if known. Without a delimiter, the bytes of one read
    /// count as an unexpected reply.
    pub(super) fn end(&self) -> Option<u8> {
        self.end
    }

    /// Returns the number of requests in the cycle.
    pub(super) fn len(&self) -> u32 {
        self.reply_ends.len() as u32
    }

    /// Returns the bytes of `count` consecutive requests, at most [`MAX_BATCH`], from index `from`.
    pub(super) fn requests(&self, from: u32, count: u32) -> &[u8] {
        let [start, end] = [from, from + count].map(|at| self.request_starts[at as usize] as usize);
        &self.requests[start..end]
    }

    /// Returns the rest of a backlog of requests after `sent` bytes were sent: number of requests
    /// that are not sent completely, and number of bytes sent of the first of these.
    pub(super) fn remaining(&self, from: u32, backlog: u32, sent: u32) -> (u32, u32) {
        let start = self.request_starts[from as usize];
        let mut complete = 0;
        while complete < backlog
            && self.request_starts[(from + complete + 1) as usize] - start <= sent
        {
            complete += 1;
        }
        (backlog - complete, sent - (self.request_starts[(from + complete) as usize] - start))
    }

    /// Returns the expected bytes after the first `received` bytes of reply `from`, up to the end
    /// of the cycle.
    pub(super) fn replies(&self, from: u32, received: u32) -> &[u8] {
        &self.replies[self.reply_start(from) + received as usize..]
    }

    /// Returns the first `received` bytes of a reply.
    pub(super) fn reply(&self, index: u32, received: u32) -> &[u8] {
        let start = self.reply_start(index);
        &self.replies[start..start + received as usize]
    }

    /// Returns the length of a reply, in bytes.
    pub(super) fn reply_len(&self, index: u32) -> u32 {
        self.reply_ends[index as usize] - self.reply_start(index) as u32
    }

    fn reply_start(&self, index: u32) -> usize {
        if index == 0 { 0 } else { self.reply_ends[index as usize - 1] as usize }
    }

    /// Returns the index `count` requests after `index`.
    pub(super) fn after(&self, index: u32, count: u32) -> u32 {
        (index + count) % self.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn precomputed_replies_are_correct_and_distinct() {
        for &service in Service::ALL {
            let sets = [exchanges(service), mixed_sizes(service, 4096)];
            for exchanges in sets {
                assert_correct_and_distinct(service, &exchanges);
            }
        }
        assert_correct_and_distinct(Service::Calc, &long_sums(200));
    }

    fn assert_correct_and_distinct(service: Service, exchanges: &[RequestReply]) {
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
    fn a_cycle_yields_the_requests_and_replies_of_its_exchanges() {
        let exchanges = mixed_sizes(Service::Echo, 1024);
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
            let reply = &exchanges[from].reply;
            assert!(cycle.replies(from as u32, 2).starts_with(&reply[2..]));
            assert_eq!(cycle.reply(from as u32, 3), &reply[..3]);
            assert_eq!(cycle.reply_len(from as u32) as usize, reply.len());
        }
        assert_eq!(cycle.after(cycle.len() - 1, 1), 0);
    }
}
