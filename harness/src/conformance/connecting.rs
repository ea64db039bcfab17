//! Connects the clients of a case and checks what several of them get.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{PROMPT, TRY_EVERY, TestContext, request};
use super::failure::Failure;
use super::test_client::TestClient;
use crate::client::{Client, ClientError, Window};
use crate::server::diag;

impl TestContext<'_> {
    /// Connects a client.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect(&self) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_within(self.patience)
    }

    /// Same as [`try_connect`](Self::try_connect), with a timeout.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect_within(&self, patience: Duration) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_with(self.living()?, Window::Usual, patience)
    }

    /// Connects a client to another instance of the server, such as one that the case started.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect_to(&self, address: SocketAddr) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_with(address, Window::Usual, self.patience)
    }

    fn try_connect_with(
        &self,
        address: SocketAddr,
        window: Window,
        patience: Duration,
    ) -> Result<TestClient<'_>, ClientError> {
        self.clients.set(self.clients.get() + 1);
        let number = self.clients.get();
        let patience = self.patience_left()?.min(patience);
        let client = Client::connect(number, address, window, patience, &self.transcript)?;
        Ok(TestClient { ctx: self, client, is_greeted: false, asked: 0 })
    }

    /// Connects a client whose first bytes reach the server before it accepts the connection.
    ///
    /// The case must send them at once.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect_with_data(&self) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_with(self.living()?, Window::OpensWithData, self.patience)
    }

    /// Connects a client with a small receive window, so that the kernel buffers little.
    ///
    /// # Errors
    /// The connection fails. The case is then inconclusive.
    pub fn connect_with_small_window(&self) -> Result<TestClient<'_>, Failure> {
        self.living()
            .and_then(|address| self.try_connect_with(address, Window::Small, self.patience))
            .map_err(|trouble| self.not_served("a client is connected", &trouble))
    }

    /// Connects a client in a case that assumes that connecting works.
    ///
    /// # Errors
    /// The connection fails. The case is then inconclusive.
    pub fn connect(&self) -> Result<TestClient<'_>, Failure> {
        self.try_connect().map_err(|trouble| self.not_served("a client is connected", &trouble))
    }

    /// Connects a client and learns the reply to a request. Retries if the server rejects the
    /// client, as it may not have seen the last one leave.
    ///
    /// # Errors
    /// No client gets a reply within the timeout. The case is then inconclusive.
    pub fn connect_soon(&self, request: &[u8]) -> Result<TestClient<'_>, Failure> {
        let deadline = Instant::now() + self.hurry.get().unwrap_or(self.patience);
        let before = self.learned.borrow().get(request).cloned();
        loop {
            let mut is_turned_away = false;
            let served = self.connect().and_then(|mut party| {
                let reply = party.learn(request)?;
                is_turned_away = before.as_ref().is_some_and(|before| *before != reply);
                Ok(party)
            });
            if served.is_ok() && !is_turned_away || Instant::now() > deadline {
                return served;
            }
            if let Some(before) = before.clone().filter(|_| is_turned_away) {
                // A rejected client may have stored the busy message as the reply.
                self.learned.borrow_mut().insert(request.to_vec(), before);
            }
            thread::sleep(TRY_EVERY);
        }
    }

    /// Requires that two clients with interleaved requests each get their own reply. Most cases
    /// with two clients assume this.
    ///
    /// The first client must have learned the reply to `request(1)`; the second learns the reply to
    /// `request(2)`.
    ///
    /// # Errors
    /// A client does not get its own reply. The case is then inconclusive.
    pub fn tells_apart<'p>(
        &self,
        one: &mut TestClient<'p>,
        other: &mut TestClient<'p>,
    ) -> Result<(), Failure> {
        let mut try_it = || {
            other.learn(&request(2))?;
            self.in_turns(&mut [&mut *one, &mut *other], &[request(1), request(2)])?;
            for (party, asked) in [(&mut *one, request(1)), (&mut *other, request(2))] {
                let reply = party.line().map_err(|it| Failure::trouble("a reply", &it))?;
                party.is_as_learned(&asked, &reply)?;
            }
            Ok(())
        };
        try_it().map_err(|finding: Failure| {
            let seen = finding.observed;
            Failure::blocked(&["isolation/own-answers"], format!("two clients in turns: {seen}"))
        })
    }

    /// Sends the first half of each request before the second half of any.
    ///
    /// Sends whole requests if the wire format treats one read as one request.
    ///
    /// # Errors
    /// The server does not accept the bytes.
    pub(super) fn in_turns(
        &self,
        parties: &mut [&mut TestClient<'_>],
        requests: &[Vec<u8>],
    ) -> Result<(), Failure> {
        if !self.contract.wire.is_delimited() {
            return parties.iter_mut().zip(requests).try_for_each(|(it, asked)| it.request(asked));
        }
        let halves = || requests.iter().map(|asked| self.halves(asked));
        for (party, (half, _)) in parties.iter_mut().zip(halves()) {
            party.send(&half)?;
        }
        // A server that has not read the first halves yet would read whole requests.
        self.let_it_rest();
        for (party, (_, half)) in parties.iter_mut().zip(halves()) {
            party.send(&half)?;
        }
        Ok(())
    }

    /// Resets a client that may be owed replies, and requires that another one is served.
    ///
    /// # Errors
    /// No other client is served.
    pub fn outlives(&self, client: TestClient<'_>) -> Result<(), Failure> {
        client.reset();
        // The server has handled the reset after this.
        self.let_it_rest();
        self.serves_soon("a client is served once that one is gone")
    }

    /// Fills the server: connects as many served clients as its connection limit, and as many
    /// waiting clients as its queue.
    ///
    /// # Errors
    /// Fewer clients are served. The case is then inconclusive.
    pub fn fill(&self) -> Result<Incumbents<'_>, Failure> {
        let capacity = self.contract.capacity.unwrap_or(1);
        let served: Result<_, _> =
            (0..capacity).map(|number| self.connect_soon(&request(number))).collect();
        let waiting: Result<_, _> =
            (0..self.contract.queue.unwrap_or(0)).map(|_| self.connect()).collect();
        Ok(Incumbents { served: served?, waiting: waiting? })
    }

    /// Requires that a new client is served without a retry.
    ///
    /// # Errors
    /// It is not.
    pub fn still_serves(&self, expected: &str) -> Result<(), Failure> {
        let served = self.try_connect().and_then(|mut party| party.ask(&request(7)));
        self.judge_service(expected, served)
    }

    /// Requires that a new client is served soon. A rejected client tries again.
    ///
    /// # Errors
    /// No client is served within the timeout of the case.
    pub fn serves_soon(&self, expected: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let served = self.try_connect().and_then(|mut party| party.ask(&request(7)));
            let again = match &served {
                Ok(reply) => self.contract.is_busy(reply),
                Err(ClientError::Refused | ClientError::Reset | ClientError::Closed(_)) => true,
                Err(_) => false,
            };
            if !again || Instant::now() > deadline {
                return self.judge_service(expected, served);
            }
            thread::sleep(TRY_EVERY);
        }
    }

    /// Waits until the server can make no progress on the bytes of these clients, at most for
    /// `quiet`.
    pub(super) fn let_it_be_still(&self, clients: &[TestClient<'_>], quiet: Duration) {
        let began = Instant::now();
        while began.elapsed() < quiet {
            thread::sleep(TRY_EVERY);
            if self.is_still_since(began) && clients.iter().all(TestClient::is_delivered) {
                break;
            }
        }
    }

    /// Returns whether the server has accepted the connection. Otherwise it is still in the
    /// kernel's accept queue.
    pub fn has_accepted(&self, client: &TestClient<'_>) -> bool {
        client.client.ends().is_some_and(|(client, server)| diag::is_accepted(server, client))
    }

    /// Waits until the connection is established on the server's side.
    ///
    /// The next segments of the client then cannot overtake the end of the TCP handshake.
    pub fn wait_until_established(&self, client: &TestClient<'_>) {
        let Some((own, server)) = client.client.ends() else { return };
        let deadline = Instant::now() + PROMPT;
        while diag::server_end(server, own).is_some_and(|end| end.is_under_way)
            && Instant::now() < deadline
        {
            thread::sleep(TRY_EVERY);
        }
    }
}

/// The clients of a full server.
pub struct Incumbents<'s> {
    /// Clients that hold a connection slot.
    pub served: Vec<TestClient<'s>>,
    /// Clients that wait for a slot, in the order of their connections.
    pub waiting: Vec<TestClient<'s>>,
}

impl<'s> Incumbents<'s> {
    /// Removes a served client and closes all waiting ones, so that the next connection gets a
    /// slot.
    pub fn make_room(&mut self) -> TestClient<'s> {
        self.waiting.clear();
        self.served.pop().expect("a capacity of at least one")
    }
}
