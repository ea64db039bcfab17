//! Expectations of a client. A fulfilled expectation counts as a verified requirement.

use super::{QUIET, TestClient};
use crate::client::ClientError;
use crate::conformance::assumptions::PIPELINING;
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::results::Fault;
use crate::text::{number, printable};

impl TestClient<'_> {
    /// Requires that `reply` equals the learned reply to this request.
    ///
    /// # Errors
    /// The reply differs.
    pub fn expect_learned_reply(&self, request: &[u8], reply: &[u8]) -> Result<(), Failure> {
        match self.ctx.learned_replies().get(request) {
            Some(learned) if learned == reply => {
                self.ctx.evidence().record_verified();
                Ok(())
            }
            Some(learned) => Err(self.ctx.wrong_reply(printable(&learned), &learned, reply)),
            None => {
                Err(Failure::inconclusive("no reply to this request was learned to compare with"))
            }
        }
    }

    /// Requires that the next reply equals `reply`.
    ///
    /// # Errors
    /// Another reply arrives, or none.
    pub fn expect(&mut self, reply: &[u8]) -> Result<(), Failure> {
        let expected = format!("the reply {}", printable(reply));
        match self.reply() {
            Ok(line) if line == reply => {
                self.ctx.evidence().record_verified();
                Ok(())
            }
            Ok(line) => Err(self.ctx.wrong_reply(expected, reply, &line)),
            Err(error) => Err(Failure::client_error(expected, &error)),
        }
    }

    /// Requires that the next reply is an error, and returns it. Accepts any reply if the contract
    /// does not define error replies.
    ///
    /// # Errors
    /// Another reply arrives, or none.
    pub fn expect_error(&mut self) -> Result<Vec<u8>, Failure> {
        let contract = self.ctx.contract;
        let expected = match (&contract.error_prefix, &contract.wire.error) {
            (Some(prefix), _) => {
                format!("one line with the error prefix {}", printable(prefix.as_bytes()))
            }
            (None, Some(error)) => {
                format!("a reply that matches the error pattern {}", error.as_str())
            }
            (None, None) => "an error message of one line".to_owned(),
        };
        match self.reply() {
            // A number is no error message.
            Ok(line)
                if contract
                    .is_error(&line)
                    .unwrap_or_else(|| !number(&line).is_some_and(f64::is_finite)) =>
            {
                self.ctx.evidence().record_verified();
                Ok(line)
            }
            Ok(line) => Err(Failure::fail(expected, printable(&line)).fault(Fault::NoErrorReply)),
            Err(error) => Err(Failure::client_error(expected, &error)),
        }
    }

    /// Requires any reply line.
    ///
    /// # Errors
    /// No line arrives.
    pub fn expect_any_reply(&mut self) -> Result<(), Failure> {
        self.reply().map_err(|error| Failure::client_error("one reply line", &error))?;
        self.ctx.evidence().record_verified();
        Ok(())
    }

    /// Requires that the server sends nothing for 120 ms and a round trip. `when` completes the
    /// sentence "the server sends nothing …".
    ///
    /// # Errors
    /// The server sends data or closes the connection.
    pub fn expect_silence(&mut self, when: &str) -> Result<(), Failure> {
        let expected = format!("the server sends nothing {when}");
        match self.read_for(QUIET + self.ctx.round_trip()) {
            Ok(bytes) if bytes.is_empty() => {
                self.ctx.evidence().record_verified();
                Ok(())
            }
            Ok(bytes) => Err(Failure::fail(expected, printable(&bytes)).fault(Fault::ExtraBytes)),
            // The server may close a connection that has carried all requests of its contract.
            Err(ClientError::Closed(rest)) if rest.is_empty() && self.is_used_up() => Ok(()),
            Err(error) => {
                let failure = Failure::client_error(expected, &error);
                Err(match &error {
                    ClientError::Closed(rest) if rest.is_empty() => {
                        failure.fault(Fault::ClosesEarly)
                    }
                    ClientError::Closed(_) => failure.fault(Fault::ExtraBytes),
                    _ => failure,
                })
            }
        }
    }

    /// Requires that the server sends no more data and closes with a FIN.
    ///
    /// # Errors
    /// The server sends more data, resets the connection, or leaves it open.
    pub fn expect_end(&mut self) -> Result<(), Failure> {
        let expected = "the server sends no more data and closes cleanly (FIN)";
        match self.rest() {
            Ok(rest) if rest.is_empty() => {
                self.ctx.evidence().record_verified();
                Ok(())
            }
            Ok(rest) => Err(Failure::fail(expected, printable(&rest)).fault(Fault::ExtraBytes)),
            Err(error) => Err(Failure::not_closed(expected, &error)),
        }
    }

    /// Requires replies to `requests` pipelined requests. Cases with many requests assume this.
    ///
    /// The reply to `request(1)` must have been learned.
    ///
    /// # Errors
    /// A reply is missing or differs. The case is then inconclusive.
    pub fn check_pipelining(&mut self, requests: usize) -> Result<(), Failure> {
        let inconclusive = |seen: String| {
            Failure::assumption_failed(PIPELINING, format!("pipelined requests: {seen}"))
        };
        let pipelined = self.ctx.contract.sent(&request(1)).repeat(requests);
        self.client.send(&pipelined).map_err(|error| inconclusive(error.to_string()))?;
        for _ in 0..requests {
            let reply = self.reply().map_err(|error| inconclusive(error.to_string()))?;
            self.expect_learned_reply(&request(1), &reply)
                .map_err(|failure| inconclusive(failure.observed))?;
        }
        Ok(())
    }
}
