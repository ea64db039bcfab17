//! Cases for fairness between clients with high and low load.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::conformance::case::Case;
use crate::conformance::context::{beside, request};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::wire::ReplyEnd;

/// Requests of the client with low load.
const REQUESTS: usize = 50;

/// Clients with equal load, and the duration of their load.
const EQUALS: usize = 4;
const SHARED: Duration = Duration::from_millis(10);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "fairness/shares",
        requirement: "clients that want the same get the same: this tells how nearly",
        source: "Jain, Chiu and Hawe: A Quantitative Measure of Fairness (DEC-TR-301)",
        needs: &[Precondition::Clients(EQUALS), Precondition::EndedReplies],
        check: |ctx| {
            let mut clients = Vec::new();
            for number in 0..EQUALS {
                let mut client = ctx.connect()?;
                client.learn(&request(number))?;
                clients.push(client);
            }
            let streams: Vec<TcpStream> = clients
                .iter()
                .map(|client| client.client.stream())
                .collect::<Result<_, _>>()
                .map_err(|trouble| Failure::trouble("a clone", &trouble))?;
            let ReplyEnd::Bytes(end) = &ctx.contract.wire.reply_end else {
                return Err(Failure::vacuous("its replies end otherwise"));
            };
            let requests: Vec<Vec<u8>> =
                (0..EQUALS).map(|number| ctx.sent(&request(number))).collect();
            let until = Instant::now() + SHARED;
            let answered: Vec<io::Result<usize>> = thread::scope(|scope| {
                let asking: Result<Vec<_>, Failure> = streams
                    .into_iter()
                    .zip(&requests)
                    .map(|(stream, request)| {
                        beside(scope, move || ask_until(until, &stream, request, end))
                    })
                    .collect();
                let join = |one: ScopedJoinHandle<'_, _>| one.join().expect("it does not panic");
                asking.map(|asking| asking.into_iter().map(join).collect())
            })?;
            let shares: Vec<usize> = answered
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(|error| Failure::vacuous(format!("a client was not answered: {error}")))?;
            ctx.inform(format!(
                "answered in {} ms: {shares:?}, Jain's index {:.3}",
                SHARED.as_millis(),
                jain(&shares)
            ));
            Ok(())
        },
    },
    Case {
        name: "fairness/flood",
        requirement: "a client that floods the server does not keep a modest one from its replies",
        source: "CWE-400 (uncontrolled resource consumption)",
        needs: &[Precondition::Clients(2), Precondition::Pipelining],
        check: |ctx| {
            let mut flooding = ctx.connect()?;
            flooding.learn(&request(1))?;
            let mut modest = ctx.connect()?;
            ctx.tells_apart(&mut flooding, &mut modest)?;
            let reply = modest.learn(&request(2))?;
            let mut slowest = Duration::ZERO;
            let asked = flooding.while_it_floods(|| {
                (0..REQUESTS).try_for_each(|_| {
                    let began = Instant::now();
                    modest.request(&request(2))?;
                    modest.expect(&reply)?;
                    slowest = slowest.max(began.elapsed());
                    Ok(())
                })
            })?;
            ctx.observe(format!("its slowest reply of {REQUESTS} took {} µs", slowest.as_micros()));
            asked.map_err(|finding: Failure| {
                finding.hint(
                    "does it serve one client until that has nothing more to ask? give each a turn",
                )
            })?;
            modest.close();
            ctx.outlives(flooding)
        },
    },
];

/// Sends requests in a closed loop until `until` and returns the number of replies.
fn ask_until(
    until: Instant,
    mut stream: &TcpStream,
    request: &[u8],
    end: &[u8],
) -> io::Result<usize> {
    let last = *end.last().expect("a reply has an end");
    let mut replies = BufReader::new(stream);
    let mut line = Vec::new();
    let mut answered = 0;
    while Instant::now() < until {
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

/// Returns Jain's fairness index: 1 if all shares are equal, 1/n if one of n has everything.
fn jain(shares: &[usize]) -> f64 {
    let sum: f64 = shares.iter().map(|&share| share as f64).sum();
    let squares: f64 = shares.iter().map(|&share| (share as f64).powi(2)).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::jain;

    #[test]
    fn equal_shares_are_1_and_all_for_one_is_one_over_their_number() {
        assert_eq!(jain(&[7, 7, 7, 7]), 1.0);
        assert_eq!(jain(&[9, 0, 0, 0]), 0.25);
    }
}
