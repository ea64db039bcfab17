//! Cases for fairness between clients with high and low load.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::conformance::case::Case;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::threads::spawn_scoped;
use crate::results::{Fault, Level};
use crate::wire::ReplyFraming;

/// Maximum number of requests of the client with low load.
const REQUESTS: usize = 50;

/// Time after which the client with low load sends no further request.
const FLOOD_DURATION: Duration = Duration::from_secs(2);

/// Number of clients with equal load.
const EQUAL_CLIENTS: usize = 4;

/// Duration of the load of these clients.
const LOAD_DURATION: Duration = Duration::from_millis(10);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "fairness/shares",
        requirement: "clients with equal load get equal shares of the throughput (the case reports Jain's index)",
        source: "Jain, Chiu and Hawe: A Quantitative Measure of Fairness (DEC-TR-301)",
        preconditions: &[Precondition::Clients(EQUAL_CLIENTS), Precondition::TerminatedReplies],
        level: Level::Required,
        check: |ctx| {
            let mut clients = Vec::new();
            for number in 0..EQUAL_CLIENTS {
                let mut client = ctx.clients().connect()?;
                client.learn_reply(&request(number))?;
                clients.push(client);
            }
            let streams: Vec<TcpStream> = clients
                .iter()
                .map(|client| client.client.stream())
                .collect::<Result<_, _>>()
                .map_err(|error| Failure::client_error("a duplicate of the socket", &error))?;
            let ReplyFraming::Bytes(end) = &ctx.contract.wire.reply_end else {
                return Err(Failure::inconclusive(
                    "the server's replies do not end with fixed bytes",
                ));
            };
            let requests: Vec<Vec<u8>> =
                (0..EQUAL_CLIENTS).map(|number| ctx.contract.sent(&request(number))).collect();
            let end_time = Instant::now() + LOAD_DURATION;
            let counts: Vec<io::Result<usize>> = thread::scope(|scope| {
                let threads: Result<Vec<_>, Failure> = streams
                    .into_iter()
                    .zip(&requests)
                    .map(|(stream, request)| {
                        spawn_scoped(scope, move || ask_until(end_time, &stream, request, end))
                    })
                    .collect();
                let join = |thread: ScopedJoinHandle<'_, _>| {
                    thread.join().expect("the thread does not panic")
                };
                threads.map(|threads| threads.into_iter().map(join).collect())
            })?;
            let shares: Vec<usize> =
                counts.into_iter().collect::<Result<_, _>>().map_err(|error| {
                    Failure::inconclusive(format!("a client got no reply: {error}"))
                })?;
            ctx.evidence().inform(format!(
                "replies per client in {} ms: {shares:?}; Jain's fairness index {:.3}",
                LOAD_DURATION.as_millis(),
                jain(&shares)
            ));
            Ok(())
        },
    },
    Case {
        name: "fairness/flood",
        requirement: "a client that floods the server does not block a client with low load",
        source: "CWE-400 (uncontrolled resource consumption)",
        preconditions: &[Precondition::Clients(2), Precondition::Pipelining],
        level: Level::Hardening,
        check: |ctx| {
            let mut flooding = ctx.clients().connect()?;
            flooding.learn_reply(&request(1))?;
            let mut light = ctx.clients().connect()?;
            ctx.clients().check_isolation(&mut flooding, &mut light)?;
            let reply = light.learn_reply(&request(2))?;
            let (mut replies, mut slowest) = (0, Duration::ZERO);
            let outcome = flooding.while_flooding(|| {
                let began = Instant::now();
                while replies < REQUESTS && began.elapsed() < FLOOD_DURATION {
                    let asked = Instant::now();
                    light.request(&request(2))?;
                    light.expect(&reply)?;
                    slowest = slowest.max(asked.elapsed());
                    replies += 1;
                }
                Ok(())
            })?;
            ctx.evidence().observe(format!(
                "the slowest of {replies} replies took {} µs",
                slowest.as_micros()
            ));
            outcome.map_err(|failure: Failure| {
                failure.hint_if(
                    Fault::is_hang,
                    "does the server serve one client until it has no more requests? serve the clients round-robin",
                )
            })?;
            light.close();
            ctx.clients().expect_service_after_reset(flooding)
        },
    },
];

/// Sends requests in a closed loop until `end_time` and returns the number of replies.
///
/// # Errors
/// The connection fails or closes.
fn ask_until(
    end_time: Instant,
    mut stream: &TcpStream,
    request: &[u8],
    end: &[u8],
) -> io::Result<usize> {
    let last = *end.last().expect("the end of a reply is not empty");
    let mut replies = BufReader::new(stream);
    let mut line = Vec::new();
    let mut answered = 0;
    while Instant::now() < end_time {
        stream.write_all(request)?;
        line.clear();
        while !line.ends_with(end) {
            if replies.read_until(last, &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answered += 1;
    }
    Ok(answered)
}

/// Returns Jain's fairness index: 1 if all n shares are equal, 1/n if all but one are 0.
fn jain(shares: &[usize]) -> f64 {
    let sum: f64 = shares.iter().map(|&share| share as f64).sum();
    let squares: f64 = shares.iter().map(|&share| (share as f64).powi(2)).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::jain;

    #[test]
    fn jains_index_is_1_for_equal_shares_and_1_over_n_for_a_single_share() {
        assert_eq!(jain(&[7, 7, 7, 7]), 1.0);
        assert_eq!(jain(&[9, 0, 0, 0]), 0.25);
    }
}
