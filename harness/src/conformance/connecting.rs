//! The clients of a case: how they connect, and what is true of several of them.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{PROMPT, TRY_EVERY, TestContext, request};
use super::failure::Failure;
use super::test_client::TestClient;
use crate::client::{Client, ClientError, Window};
use crate::server::diag;

impl TestContext<'_> {
    /// Connects another client.
    ///
    /// # Errors
    /// How the connection failed.
    pub fn try_connect(&self) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_within(self.patience)
    }

    /// As [`try_connect`](Self::try_connect), for so long at the most.
    ///
    /// # Errors
    /// How the connection failed.
    pub fn try_connect_within(&self, patience: Duration) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_with(self.living()?, Window::Usual, patience)
    }

    /// Connects a client to another of the servers that were started.
    ///
    /// # Errors
    /// How the connection failed.
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

    /// As [`try_connect`](Self::try_connect), for a client whose first bytes the server is to have
    /// received when it accepts the connection: they must be sent at once.
    ///
    /// # Errors
    /// How the connection failed.
    pub fn try_connect_with_data(&self) -> Result<TestClient<'_>, ClientError> {
        self.try_connect_with(self.living()?, Window::OpensWithData, self.patience)
    }

    /// Connects a client with a small window, for which the kernel takes in little.
    ///
    /// # Errors
    /// It cannot: then nothing can be exercised.
    pub fn connect_with_small_window(&self) -> Result<TestClient<'_>, Failure> {
        self.living()
            .and_then(|address| self.try_connect_with(address, Window::Small, self.patience))
            .map_err(|trouble| self.not_served("a client is connected", &trouble))
    }

    /// Connects a client for what the case is about, where connecting is taken for granted.
    ///
    /// # Errors
    /// It cannot: then nothing can be exercised.
    pub fn connect(&self) -> Result<TestClient<'_>, Failure> {
        self.try_connect().map_err(|trouble| self.not_served("a client is connected", &trouble))
    }

    /// Connects a client that is served, again and again if it is turned away: the one before it
    /// may not have been seen off yet. It has learned the reply to the request.
    ///
    /// # Errors
    /// None is served within the patience of the case: then nothing can be exercised.
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
                // What it was told is no reply.
                self.learned.borrow_mut().insert(request.to_vec(), before);
            }
            thread::sleep(TRY_EVERY);
        }
    }

    /// Two clients get their own replies, although their requests arrive in turns: what most cases
    /// of two clients take for granted. The first has learned the reply to `request(1)`, the other
    /// learns the one to `request(2)`.
    ///
    /// # Errors
    /// They do not: then nothing can be exercised.
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

    /// Each sends the first half of its request before any sends the second; whole requests, where
    /// one read is one request.
    ///
    /// # Errors
    /// The server does not take them.
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
        // One that has not read them yet would read the halves as a whole.
        self.let_it_rest();
        for (party, (_, half)) in parties.iter_mut().zip(halves()) {
            party.send(&half)?;
        }
        Ok(())
    }

    /// A client goes while it is owed replies, and then another is served.
    ///
    /// # Errors
    /// None is.
    pub fn outlives(&self, client: TestClient<'_>) -> Result<(), Failure> {
        client.reset();
        // Now it has noticed.
        self.let_it_rest();
        self.serves_soon("a client is served once that one is gone")
    }

    /// As many clients as the server declares to serve at once, each of them served, and as many
    /// more as it declares to take in to wait.
    ///
    /// # Errors
    /// Fewer are served: then nothing can be exercised.
    pub fn fill(&self) -> Result<Incumbents<'_>, Failure> {
        let capacity = self.contract.capacity.unwrap_or(1);
        let served: Result<_, _> =
            (0..capacity).map(|number| self.connect_soon(&request(number))).collect();
        let waiting: Result<_, _> =
            (0..self.contract.queue.unwrap_or(0)).map(|_| self.connect()).collect();
        Ok(Incumbents { served: served?, waiting: waiting? })
    }

    /// A client that comes now is served, at once.
    ///
    /// # Errors
    /// It is not.
    pub fn still_serves(&self, expected: &str) -> Result<(), Failure> {
        let served = self.try_connect().and_then(|mut party| party.ask(&request(7)));
        self.judge_service(expected, served)
    }

    /// A client is served within a short time from now: one that is turned away tries again.
    ///
    /// # Errors
    /// None is within the patience of the case.
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

    /// Waits until the server can do nothing by itself any more about what these clients have sent,
    /// or else for `quiet`.
    pub(super) fn let_it_be_still(&self, clients: &[TestClient<'_>], quiet: Duration) {
        let began = Instant::now();
        while began.elapsed() < quiet {
            thread::sleep(TRY_EVERY);
            if self.is_still_since(began) && clients.iter().all(TestClient::is_delivered) {
                break;
            }
        }
    }

    /// Whether the server has taken the client in, rather than the kernel's queue alone.
    pub fn has_accepted(&self, client: &TestClient<'_>) -> bool {
        client.client.ends().is_some_and(|(client, server)| diag::is_accepted(server, client))
    }

    /// Waits until the server's kernel has the connection, so that nothing that the client does
    /// next can overtake the end of the handshake.
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

/// The clients of a server that is full.
pub struct Incumbents<'s> {
    /// Those that are served.
    pub served: Vec<TestClient<'s>>,
    /// Those that were taken in and wait, the first of them first.
    pub waiting: Vec<TestClient<'s>>,
}

impl<'s> Incumbents<'s> {
    /// One that is served leaves, and so do all that wait: the next one that comes has a place.
    pub fn make_room(&mut self) -> TestClient<'s> {
        self.waiting.clear();
        self.served.pop().expect("a capacity of at least one")
    }
}
