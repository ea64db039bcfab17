//! What a server and its clients have agreed on beside requests and replies.

use crate::conformance::case::Case;
use crate::conformance::finding::Finding;
use crate::conformance::need::Need;
use crate::conformance::observe::GONE;
use crate::conformance::subject::request;
use crate::exit::Exit;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "wire/greeting",
        requirement: "each client is greeted, and its handshake answered, as the server declares",
        source: "the contract: greeting, handshake",
        needs: &[Need::Greets],
        check: |subject| {
            for number in 0..3 {
                let mut client = subject.connect()?;
                client.be_greeted().map_err(|trouble| {
                    Finding::trouble("the greeting and the handshake, as declared", &trouble)
                })?;
                subject.was_met();
                client.learn(&request(number))?;
            }
            Ok(())
        },
    },
    Case {
        name: "wire/quit",
        requirement: "the word that ends a connection ends it cleanly",
        source: "the contract: quit",
        needs: &[Need::Quits],
        check: |subject| {
            let mut client = subject.connect()?;
            client.learn(&request(1))?;
            client.quit().map_err(|trouble| Finding::trouble("it takes the word", &trouble))?;
            // A word of farewell is no fault.
            match client.rest() {
                Ok(_) => {
                    subject.was_met();
                    Ok(())
                }
                Err(trouble) => Err(Finding::trouble("the connection ends (FIN)", &trouble)),
            }
        },
    },
    Case {
        name: "wire/requests-per-connection",
        requirement: "after as many requests as a connection is for, the server ends it cleanly",
        source: "the contract: requests per connection",
        needs: &[Need::Bounded],
        check: |subject| {
            let mut client = subject.connect()?;
            for number in 0..subject.contract.wire.requests().unwrap_or(1) {
                client.learn(&request(number as usize))?;
            }
            client.expect_end()
        },
    },
    Case {
        name: "wire/clients-per-life",
        requirement: "after as many clients as the server lives for, it ends by itself with exit code 0",
        source: "the contract: clients per life; POSIX (exit status)",
        needs: &[Need::Launched, Need::Mortal],
        check: |subject| {
            for number in 0..subject.contract.wire.clients_per_life.unwrap_or(1) {
                let mut client = subject.connect()?;
                client.learn(&request(number as usize))?;
                client.close();
            }
            let expected = "it ends with exit code 0";
            match subject.exits_within(subject.patience * GONE) {
                Some(Exit::Code(0)) => {
                    subject.was_met();
                    Ok(())
                }
                Some(exit) => Err(Finding::fail(expected, exit.to_string())),
                None => Err(Finding::fail(expected, "it goes on")),
            }
        },
    },
];
