//! Cases for the wire format besides requests and replies: greeting, handshake, quit.

use crate::conformance::case::Case;
use crate::conformance::context::request;
use crate::conformance::experiments::GONE;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::exit::Exit;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "wire/greeting",
        requirement: "each client is greeted, and its handshake answered, as the server declares",
        source: "the contract: greeting, handshake",
        needs: &[Precondition::Greets],
        check: |ctx| {
            for number in 0..3 {
                let mut client = ctx.connect()?;
                client.be_greeted().map_err(|trouble| {
                    Failure::trouble("the greeting and the handshake, as declared", &trouble)
                })?;
                ctx.was_met();
                client.learn(&request(number))?;
            }
            Ok(())
        },
    },
    Case {
        name: "wire/quit",
        requirement: "the word that ends a connection ends it cleanly",
        source: "the contract: quit",
        needs: &[Precondition::Quits],
        check: |ctx| {
            let mut client = ctx.connect()?;
            client.learn(&request(1))?;
            client.quit().map_err(|trouble| Failure::trouble("it takes the word", &trouble))?;
            // A goodbye message is permitted.
            match client.rest() {
                Ok(_) => {
                    ctx.was_met();
                    Ok(())
                }
                Err(trouble) => Err(Failure::trouble("the connection ends (FIN)", &trouble)),
            }
        },
    },
    Case {
        name: "wire/requests-per-connection",
        requirement: "after as many requests as a connection is for, the server ends it cleanly",
        source: "the contract: requests per connection",
        needs: &[Precondition::Bounded],
        check: |ctx| {
            let mut client = ctx.connect()?;
            for number in 0..ctx.contract.wire.requests().unwrap_or(1) {
                client.learn(&request(number as usize))?;
            }
            client.expect_end()
        },
    },
    Case {
        name: "wire/clients-per-life",
        requirement: "after as many clients as the server lives for, it ends by itself with exit code 0",
        source: "the contract: clients per life; POSIX (exit status)",
        needs: &[Precondition::Launched, Precondition::Mortal],
        check: |ctx| {
            for number in 0..ctx.contract.wire.clients_per_life.unwrap_or(1) {
                let mut client = ctx.connect()?;
                client.learn(&request(number as usize))?;
                client.close();
            }
            let expected = "it ends with exit code 0";
            match ctx.exits_within(ctx.patience * GONE) {
                Some(Exit::Code(0)) => {
                    ctx.was_met();
                    Ok(())
                }
                Some(exit) => Err(Failure::fail(expected, exit.to_string())),
                None => Err(Failure::fail(expected, "it goes on")),
            }
        },
    },
];
