//! Preconditions: what a contract must declare for a case to apply.
//!
//! They are checked before the case runs, so that a failure can never turn into "not applicable".

use servers::{OverloadPolicy, Service};

use crate::contract::{Contract, Ending};
use crate::wire::{ReplyEnd, Wire};

/// The most connections that a case opens to reach a server's connection limit.
pub(super) const MOST_CLIENTS: usize = 256;

/// A declaration that a case needs in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The server is a calculator.
    Calc,
    /// The server is an echo server.
    Echo,
    /// The connection limit is at least this number.
    Clients(usize),
    /// The connection limit and the overload policy are declared, and a case can reach the limit.
    Full,
    /// The declared connection limit plus queue is at most what a case opens.
    Fillable,
    /// The server accepts connections over the limit and lets them wait for a slot.
    Queue,
    /// The overload policy is this one.
    WhenFull(OverloadPolicy),
    /// The overload policy rejects connections over the limit rather than letting them wait.
    TurnsAway,
    /// The longest permitted request is declared.
    MaxLine,
    /// Requests of this size are not declared too long.
    LinesOf(usize),
    /// Integers have 64 bits, and overflow is an error.
    Overflow,
    /// The prefix of error replies is declared.
    ErrorPrefix,
    /// The server closes idle connections.
    IdleTimeout,
    /// The behaviour on SIGTERM and SIGINT is declared.
    Ends,
    /// The server drains connections on SIGTERM.
    Drain,
    /// The server exits at once on SIGTERM.
    Abort,
    /// The host to listen on can be set.
    Host,
    /// The server can listen on ::1.
    Ipv6,
    /// Some requests must get an error reply.
    Mistakes,
    /// The calculator's dialect has this expression.
    Reads(&'static str),
    /// Requests have a boundary on the wire.
    Delimited,
    /// Requests are lines.
    Lines,
    /// A request may contain this byte.
    Passes(u8),
    /// Requests can be pipelined.
    Pipelining,
    /// Replies end with a fixed byte sequence.
    EndedReplies,
    /// A connection has no limit of requests.
    Lasting,
    /// The server has no limit of clients after which it exits.
    Lives,
    /// The harness launches the server.
    Launched,
    /// The port to listen on can be set.
    Port,
    /// The server sends a greeting or needs a handshake.
    Greets,
    /// The server has a quit command.
    Quits,
    /// A connection carries a limited number of requests.
    Bounded,
    /// The server exits after a number of clients.
    Mortal,
    /// The case tests more if this holds, but applies in any case.
    Preferably(&'static Precondition),
}

impl Precondition {
    /// Checks this precondition against a contract.
    ///
    /// # Errors
    /// Returns why the case does not apply.
    pub fn met_by(self, contract: &Contract) -> Result<(), String> {
        let undeclared = |what: &str, flag: &str| Err(format!("{what} is not declared ({flag})"));
        match self {
            Precondition::Calc if contract.service != Service::Calc => {
                Err("it is no calculator".to_owned())
            }
            Precondition::Echo if contract.service != Service::Echo => Err("it does not echo".to_owned()),
            Precondition::Clients(_) | Precondition::Full if Precondition::Lasting.met_by(contract).is_err() => {
                Precondition::Lasting.met_by(contract)
            }
            Precondition::Clients(_) | Precondition::Full if Precondition::Lives.met_by(contract).is_err() => {
                Precondition::Lives.met_by(contract)
            }
            Precondition::Clients(clients) => match contract.capacity {
                None => undeclared("how many clients it serves at once", "--capacity"),
                Some(capacity) if capacity < clients => {
                    Err(format!("it serves {}, and the case needs {clients}", at_once(capacity)))
                }
                Some(_) => Ok(()),
            },
            Precondition::Full => match (contract.capacity, contract.when_full) {
                (None, _) => undeclared("how many clients it serves at once", "--capacity"),
                (_, None) => undeclared("what a client meets when it is full", "--when-full"),
                _ => Precondition::Fillable.met_by(contract),
            },
            Precondition::Fillable => match contract.capacity {
                Some(capacity) if capacity + contract.queue.unwrap_or(0) > MOST_CLIENTS => {
                    Err(format!(
                        "it serves {}, and a case opens {MOST_CLIENTS} at most",
                        at_once(capacity)
                    ))
                }
                _ => Ok(()),
            },
            Precondition::WhenFull(wanted) => match contract.when_full {
                Some(declared) if declared == wanted => Ok(()),
                Some(declared) => Err(declared_when_full(declared)),
                None => undeclared("what a client meets when it is full", "--when-full"),
            },
            Precondition::TurnsAway => match contract.when_full {
                Some(OverloadPolicy::Wait) => Err(declared_when_full(OverloadPolicy::Wait)),
                Some(_) => Ok(()),
                None => undeclared("what a client meets when it is full", "--when-full"),
            },
            Precondition::Queue => match contract.queue {
                None => undeclared("how many clients it takes in to wait", "--queue"),
                Some(0) => Err("it takes in no clients to wait".to_owned()),
                Some(_) => Ok(()),
            },
            Precondition::MaxLine if contract.max_line.is_none() => {
                undeclared("how long a request may be", "--max-line")
            }
            Precondition::LinesOf(bytes) => match contract.max_line {
                Some(limit) if limit < bytes => {
                    Err(format!("its requests are of {limit} bytes at most"))
                }
                _ => Ok(()),
            },
            Precondition::Overflow if !contract.dialect.overflow_is_error => {
                Err("whole numbers of 64 bits are not declared (--overflow)".to_owned())
            }
            Precondition::ErrorPrefix if contract.error_prefix.is_none() => {
                undeclared("what an error reply begins with", "--error-prefix")
            }
            Precondition::IdleTimeout if contract.idle_timeout.is_none() => {
                Err("no idle timeout is declared (--idle-timeout)".to_owned())
            }
            Precondition::Mistakes if contract.service == Service::Echo && contract.max_line.is_none() => {
                Err("an echo has no errors but for long lines, and how long is not declared (--max-line)".to_owned())
            }
            Precondition::Ends | Precondition::Drain | Precondition::Abort if !contract.is_launched => {
                Precondition::Launched.met_by(contract)
            }
            Precondition::Host | Precondition::Ipv6 if !contract.is_launched => Precondition::Launched.met_by(contract),
            Precondition::Ends | Precondition::Drain | Precondition::Abort if contract.ending.is_none() => {
                undeclared("what SIGTERM does", "--ending")
            }
            Precondition::Drain if contract.ending == Some(Ending::Abort) => {
                Err("it declares to end at once".to_owned())
            }
            Precondition::Abort if contract.ending == Some(Ending::Drain) => {
                Err("it declares to drain".to_owned())
            }
            Precondition::Host if !contract.takes_host => {
                Err("its command does not say where {host} is to be filled in".to_owned())
            }
            Precondition::Ipv6 if !contract.ipv6 => {
                Err("that it can listen on ::1 is not declared (--ipv6)".to_owned())
            }
            Precondition::Reads(expression) if !contract.dialect.reads(expression) => {
                Err(format!("its dialect has no `{expression}`"))
            }
            Precondition::Launched if !contract.is_launched => {
                Err("it was not launched here (--connect), so its processes are not known".into())
            }
            Precondition::Port if !contract.takes_port => {
                Err("it always listens on the same port".to_owned())
            }
            _ => self.met_by_wire(&contract.wire),
        }
    }

    /// Checks this precondition against the wire format.
    fn met_by_wire(self, wire: &Wire) -> Result<(), String> {
        let unless = |is_so: bool, words: &str| if is_so { Ok(()) } else { Err(words.to_owned()) };
        match self {
            Precondition::Delimited => unless(
                wire.is_delimited(),
                "by its wire requests have no end: what one read returns is one request",
            ),
            Precondition::Lines => unless(wire.has_lines(), "by its wire requests are no lines"),
            Precondition::Passes(byte) => {
                unless(wire.passes(byte), "by its wire that byte ends a request")
            }
            Precondition::Pipelining => unless(
                wire.is_pipelined(),
                "by its wire a request must wait for the reply to the one before it",
            ),
            Precondition::EndedReplies => unless(
                matches!(wire.reply_end, ReplyEnd::Bytes(_)),
                "by its wire replies do not end in certain bytes",
            ),
            Precondition::Lasting => match wire.requests() {
                Some(most) => Err(format!("by its wire a connection is for {most} request(s)")),
                None => Ok(()),
            },
            Precondition::Lives => match wire.clients_per_life {
                Some(most) => Err(format!("it declares to end after {most} client(s)")),
                None => Ok(()),
            },
            Precondition::Greets => unless(
                wire.greeting.is_some() || !wire.handshake.is_empty(),
                "it declares no greeting and no handshake",
            ),
            Precondition::Quits => {
                unless(wire.quit.is_some(), "it declares no word that ends a connection")
            }
            Precondition::Bounded => unless(
                wire.requests().is_some(),
                "it does not declare for how many requests a connection is",
            ),
            Precondition::Mortal => unless(
                wire.clients_per_life.is_some(),
                "it does not declare to end after some clients",
            ),
            _ => Ok(()),
        }
    }
}

impl Precondition {
    /// Describes the servers that meet it, to follow "servers that …".
    pub fn words(self) -> String {
        let words = match self {
            Precondition::Calc => "calculate",
            Precondition::Echo => "echo",
            Precondition::Clients(clients) => {
                return format!("serve {clients} clients at once or more");
            }
            Precondition::Full => {
                "declare how many clients they serve at once and what one more meets"
            }
            Precondition::Fillable => "do not declare more clients than a case opens",
            Precondition::Queue => "take in clients to wait",
            Precondition::WhenFull(OverloadPolicy::Wait) => "let one client more wait",
            Precondition::WhenFull(OverloadPolicy::Refuse) => "refuse one client more",
            Precondition::WhenFull(OverloadPolicy::Reset) => "reset one client more",
            Precondition::WhenFull(OverloadPolicy::Busy) => {
                "tell one client more that they are busy"
            }
            Precondition::TurnsAway => "turn one client more away",
            Precondition::MaxLine => "declare their longest line",
            Precondition::LinesOf(bytes) => return format!("take lines of {bytes} bytes"),
            Precondition::Overflow => "declare numbers of 64 bits",
            Precondition::ErrorPrefix => "declare what errors begin with",
            Precondition::IdleTimeout => "declare an idle timeout",
            Precondition::Mistakes => "have errors to answer with",
            Precondition::Preferably(other) => return format!("better {}", other.words()),
            Precondition::Ends => "declare what SIGTERM does",
            Precondition::Drain => "drain at SIGTERM",
            Precondition::Abort => "end at once at SIGTERM",
            Precondition::Host => "can be told on which host to listen",
            Precondition::Ipv6 => "can be told to listen on ::1",
            Precondition::Reads(expression) => return format!("calculate `{expression}`"),
            Precondition::Delimited => "end their requests on the wire",
            Precondition::Lines => "take lines",
            Precondition::Passes(_) => "take any byte in a request",
            Precondition::Pipelining => "take several requests at once",
            Precondition::EndedReplies => "end their replies in certain bytes",
            Precondition::Lasting => "take any number of requests on a connection",
            Precondition::Lives => "serve client after client",
            Precondition::Launched => "are launched by the harness",
            Precondition::Port => "can be told on which port to listen",
            Precondition::Greets => "greet or shake hands",
            Precondition::Quits => "know a word that ends the connection",
            Precondition::Bounded => "take so many requests on a connection and no more",
            Precondition::Mortal => "end after some clients",
        };
        words.to_owned()
    }
}

fn at_once(capacity: usize) -> String {
    match capacity {
        1 => "one client at a time".to_owned(),
        clients => format!("{clients} clients at once"),
    }
}

fn declared_when_full(declared: OverloadPolicy) -> String {
    format!("when it is full it declares `{}`", declared.name())
}
