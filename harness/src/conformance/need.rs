//! When a case applies: what the server must have declared. It is decided before the case is
//! run, so that a failure can never turn into "not applicable".

use servers::{OverloadPolicy, Service};

use crate::contract::{Contract, Ending};
use crate::wire::{ReplyEnd, Wire};

/// The most clients that a case opens in order to fill a server.
pub(super) const MOST_CLIENTS: usize = 256;

/// Something that a contract must say for a case to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It calculates.
    Calc,
    /// It echoes.
    Echo,
    /// It serves this many clients at once.
    Clients(usize),
    /// It can be filled, and says what one client more meets.
    Full,
    /// It does not say that it serves more clients than a case opens.
    Fillable,
    /// It takes in clients to wait for a place.
    Queue,
    /// What one client more meets is this.
    WhenFull(OverloadPolicy),
    /// One client more is turned away rather than left to wait.
    TurnsAway,
    /// It says how long a request may be.
    MaxLine,
    /// It does not say that requests must be shorter than this.
    LinesOf(usize),
    /// Whole numbers are of 64 bits.
    Overflow,
    /// It says what errors begin with.
    ErrorPrefix,
    /// It closes silent clients.
    IdleTimeout,
    /// It ends at SIGTERM and SIGINT.
    Ends,
    /// It drains then.
    Drain,
    /// It ends at once then.
    Abort,
    /// It can be told on which host to listen.
    Host,
    /// It can be told to listen on ::1.
    Ipv6,
    /// There are requests that it must answer with an error.
    Mistakes,
    /// It calculates what is written so.
    Reads(&'static str),
    /// It is seen on the wire where a request ends.
    Delimited,
    /// Requests are lines, and nothing else.
    Lines,
    /// A request may have this byte in it.
    Passes(u8),
    /// Several requests may be sent at once.
    Pipelining,
    /// It is seen on the wire where a reply ends.
    EndedReplies,
    /// A connection is for any number of requests.
    Lasting,
    /// It serves client after client.
    Lives,
    /// It is launched here.
    Launched,
    /// It can be told on which port to listen.
    Port,
    /// It greets, or shakes hands.
    Greets,
    /// It knows a word that ends the connection.
    Quits,
    /// A connection is for so many requests and no more.
    Bounded,
    /// It ends after so many clients.
    Mortal,
    /// The case tries more where this is met; it applies in any case.
    Preferably(&'static Need),
}

impl Need {
    /// Whether the contract says so.
    ///
    /// # Errors
    /// Why the case does not apply.
    pub fn met_by(self, contract: &Contract) -> Result<(), String> {
        let undeclared = |what: &str, flag: &str| Err(format!("{what} is not declared ({flag})"));
        match self {
            Need::Calc if contract.service != Service::Calc => {
                Err("it is no calculator".to_owned())
            }
            Need::Echo if contract.service != Service::Echo => Err("it does not echo".to_owned()),
            Need::Clients(_) | Need::Full if Need::Lasting.met_by(contract).is_err() => {
                Need::Lasting.met_by(contract)
            }
            Need::Clients(_) | Need::Full if Need::Lives.met_by(contract).is_err() => {
                Need::Lives.met_by(contract)
            }
            Need::Clients(clients) => match contract.capacity {
                None => undeclared("how many clients it serves at once", "--capacity"),
                Some(capacity) if capacity < clients => {
                    Err(format!("it serves {}, and the case needs {clients}", at_once(capacity)))
                }
                Some(_) => Ok(()),
            },
            Need::Full => match (contract.capacity, contract.when_full) {
                (None, _) => undeclared("how many clients it serves at once", "--capacity"),
                (_, None) => undeclared("what a client meets when it is full", "--when-full"),
                _ => Need::Fillable.met_by(contract),
            },
            Need::Fillable => match contract.capacity {
                Some(capacity) if capacity + contract.queue.unwrap_or(0) > MOST_CLIENTS => {
                    Err(format!(
                        "it serves {}, and a case opens {MOST_CLIENTS} at most",
                        at_once(capacity)
                    ))
                }
                _ => Ok(()),
            },
            Need::WhenFull(wanted) => match contract.when_full {
                Some(declared) if declared == wanted => Ok(()),
                Some(declared) => Err(declared_when_full(declared)),
                None => undeclared("what a client meets when it is full", "--when-full"),
            },
            Need::TurnsAway => match contract.when_full {
                Some(OverloadPolicy::Wait) => Err(declared_when_full(OverloadPolicy::Wait)),
                Some(_) => Ok(()),
                None => undeclared("what a client meets when it is full", "--when-full"),
            },
            Need::Queue => match contract.queue {
                None => undeclared("how many clients it takes in to wait", "--queue"),
                Some(0) => Err("it takes in no clients to wait".to_owned()),
                Some(_) => Ok(()),
            },
            Need::MaxLine if contract.max_line.is_none() => {
                undeclared("how long a request may be", "--max-line")
            }
            Need::LinesOf(bytes) => match contract.max_line {
                Some(limit) if limit < bytes => {
                    Err(format!("its requests are of {limit} bytes at most"))
                }
                _ => Ok(()),
            },
            Need::Overflow if !contract.dialect.overflow_is_error => {
                Err("whole numbers of 64 bits are not declared (--overflow)".to_owned())
            }
            Need::ErrorPrefix if contract.error_prefix.is_none() => {
                undeclared("what an error reply begins with", "--error-prefix")
            }
            Need::IdleTimeout if contract.idle_timeout.is_none() => {
                Err("no idle timeout is declared (--idle-timeout)".to_owned())
            }
            Need::Mistakes if contract.service == Service::Echo && contract.max_line.is_none() => {
                Err("an echo has no errors but for long lines, and how long is not declared (--max-line)".to_owned())
            }
            Need::Ends | Need::Drain | Need::Abort if !contract.is_launched => {
                Need::Launched.met_by(contract)
            }
            Need::Host | Need::Ipv6 if !contract.is_launched => Need::Launched.met_by(contract),
            Need::Ends | Need::Drain | Need::Abort if contract.ending.is_none() => {
                undeclared("what SIGTERM does", "--ending")
            }
            Need::Drain if contract.ending == Some(Ending::Abort) => {
                Err("it declares to end at once".to_owned())
            }
            Need::Abort if contract.ending == Some(Ending::Drain) => {
                Err("it declares to drain".to_owned())
            }
            Need::Host if !contract.takes_host => {
                Err("its command does not say where {host} is to be filled in".to_owned())
            }
            Need::Ipv6 if !contract.ipv6 => {
                Err("that it can listen on ::1 is not declared (--ipv6)".to_owned())
            }
            Need::Reads(expression) if !contract.dialect.reads(expression) => {
                Err(format!("its dialect has no `{expression}`"))
            }
            Need::Launched if !contract.is_launched => {
                Err("it was not launched here (--connect), so its processes are not known".into())
            }
            Need::Port if !contract.takes_port => {
                Err("it always listens on the same port".to_owned())
            }
            _ => self.met_by_wire(&contract.wire),
        }
    }

    /// Whether the wire lets one try it.
    fn met_by_wire(self, wire: &Wire) -> Result<(), String> {
        let unless = |is_so: bool, words: &str| if is_so { Ok(()) } else { Err(words.to_owned()) };
        match self {
            Need::Delimited => unless(
                wire.is_delimited(),
                "by its wire requests have no end: what one read returns is one request",
            ),
            Need::Lines => unless(wire.has_lines(), "by its wire requests are no lines"),
            Need::Passes(byte) => unless(wire.passes(byte), "by its wire that byte ends a request"),
            Need::Pipelining => unless(
                wire.is_pipelined(),
                "by its wire a request must wait for the reply to the one before it",
            ),
            Need::EndedReplies => unless(
                matches!(wire.reply_end, ReplyEnd::Bytes(_)),
                "by its wire replies do not end in certain bytes",
            ),
            Need::Lasting => match wire.requests() {
                Some(most) => Err(format!("by its wire a connection is for {most} request(s)")),
                None => Ok(()),
            },
            Need::Lives => match wire.clients_per_life {
                Some(most) => Err(format!("it declares to end after {most} client(s)")),
                None => Ok(()),
            },
            Need::Greets => unless(
                wire.greeting.is_some() || !wire.handshake.is_empty(),
                "it declares no greeting and no handshake",
            ),
            Need::Quits => {
                unless(wire.quit.is_some(), "it declares no word that ends a connection")
            }
            Need::Bounded => unless(
                wire.requests().is_some(),
                "it does not declare for how many requests a connection is",
            ),
            Need::Mortal => unless(
                wire.clients_per_life.is_some(),
                "it does not declare to end after some clients",
            ),
            _ => Ok(()),
        }
    }
}

impl Need {
    /// What servers do that it holds for, after "servers that …".
    pub fn words(self) -> String {
        let words = match self {
            Need::Calc => "calculate",
            Need::Echo => "echo",
            Need::Clients(clients) => return format!("serve {clients} clients at once or more"),
            Need::Full => "declare how many clients they serve at once and what one more meets",
            Need::Fillable => "do not declare more clients than a case opens",
            Need::Queue => "take in clients to wait",
            Need::WhenFull(OverloadPolicy::Wait) => "let one client more wait",
            Need::WhenFull(OverloadPolicy::Refuse) => "refuse one client more",
            Need::WhenFull(OverloadPolicy::Reset) => "reset one client more",
            Need::WhenFull(OverloadPolicy::Busy) => "tell one client more that they are busy",
            Need::TurnsAway => "turn one client more away",
            Need::MaxLine => "declare their longest line",
            Need::LinesOf(bytes) => return format!("take lines of {bytes} bytes"),
            Need::Overflow => "declare numbers of 64 bits",
            Need::ErrorPrefix => "declare what errors begin with",
            Need::IdleTimeout => "declare an idle timeout",
            Need::Mistakes => "have errors to answer with",
            Need::Preferably(other) => return format!("better {}", other.words()),
            Need::Ends => "declare what SIGTERM does",
            Need::Drain => "drain at SIGTERM",
            Need::Abort => "end at once at SIGTERM",
            Need::Host => "can be told on which host to listen",
            Need::Ipv6 => "can be told to listen on ::1",
            Need::Reads(expression) => return format!("calculate `{expression}`"),
            Need::Delimited => "end their requests on the wire",
            Need::Lines => "take lines",
            Need::Passes(_) => "take any byte in a request",
            Need::Pipelining => "take several requests at once",
            Need::EndedReplies => "end their replies in certain bytes",
            Need::Lasting => "take any number of requests on a connection",
            Need::Lives => "serve client after client",
            Need::Launched => "are launched by the harness",
            Need::Port => "can be told on which port to listen",
            Need::Greets => "greet or shake hands",
            Need::Quits => "know a word that ends the connection",
            Need::Bounded => "take so many requests on a connection and no more",
            Need::Mortal => "end after some clients",
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
