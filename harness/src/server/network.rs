//! Networks of their own (network_namespaces(7)): in each of them a server finds its port free,
//! whoever else listens there, and reaches nobody but whoever is in it.
//!
//! A network is a thread's. What the thread starts, threads and processes, is in the same one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use super::namespace;

/// By which a thread can come back to its network.
const THIS: &str = "/proc/thread-self/ns/net";

// Constants of linux/netlink.h, linux/rtnetlink.h and linux/if_addr.h.
const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const IFA_LOCAL: u16 = 2;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
/// The loopback interface has this number in every network.
const LOOPBACK: u32 = 1;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A network that this thread is in. When it is dropped, the thread is where it was before.
#[derive(Debug)]
pub struct Network {
    former: File,
    /// It is this thread's.
    _thread: PhantomData<*const ()>,
}

impl Network {
    /// Takes this thread into a new network. There is a loopback interface in it, which has all
    /// the addresses of this machine, so that a server that wants one of them can have it, and
    /// nothing else.
    ///
    /// # Errors
    /// This process may not: see [`prepare`].
    pub fn of_its_own() -> io::Result<Network> {
        let network = Network { former: File::open(THIS)?, _thread: PhantomData };
        enter_new()?;
        Ok(network)
    }

    /// Takes this thread into another new network: what lingers in the one before is out of the
    /// way. That one lives for as long as others are in it.
    ///
    /// # Errors
    /// As before.
    pub fn renew(&self) -> io::Result<()> {
        enter_new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Who could leave it may enter it again.
        let _ = setns(&self.former, CloneFlags::CLONE_NEWNET);
    }
}

fn enter_new() -> io::Result<()> {
    let addresses = addresses();
    unshare(CloneFlags::CLONE_NEWNET)?;
    // Family and kind, interface, flags, and which of them are meant.
    ask(RTM_NEWLINK, 0, &[0, LOOPBACK, IFF_UP, IFF_UP].map(u32::to_ne_bytes))?;
    addresses.into_iter().try_for_each(add)
}

/// Lets threads of this process have networks of their own. Where that takes a user namespace, this
/// process is given one, which it can only have while there is no other thread: so this is called
/// from main, before any other thread exists, and only where it is needed. The whole process is in a
/// network of its own then, as it could not come back to the machine's, and programs that change
/// the user, as sudo does, work no more.
///
/// # Errors
/// Words for why they cannot.
pub fn prepare() -> Result<(), String> {
    match Network::of_its_own() {
        Ok(_) => Ok(()),
        Err(error) if namespace::is_not_permitted(&error) => {
            namespace::own_user().and_then(|()| enter_new()).map_err(|error| words(&error))
        }
        Err(error) => Err(words(&error)),
    }
}

/// Whether threads of this process can have networks of their own.
///
/// # Errors
/// Words for why they cannot.
pub fn available() -> Result<(), String> {
    // On a thread of its own: this one may be in a network already.
    let tried = thread::Builder::new().spawn(|| Network::of_its_own().map(drop));
    tried
        .and_then(|trial| trial.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        .map_err(|error| words(&error))
}

fn words(error: &io::Error) -> String {
    format!("no network of its own for a server: {error} (it takes root or a user namespace)")
}

/// The addresses of this machine, other than those of the loopback network.
fn addresses() -> Vec<Ipv4Addr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let mut addresses: Vec<Ipv4Addr> = interfaces
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .filter(|address| !address.is_loopback())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Gives the loopback interface one more address.
fn add(address: Ipv4Addr) -> io::Result<()> {
    // Family, length of the network's part, flags, scope (the machine's), interface.
    let [one, two] = [[AF_INET, 32, 0, 0], LOOPBACK.to_ne_bytes()];
    let [length, kind] = [8u16, IFA_LOCAL].map(u16::to_ne_bytes);
    let attribute = [length[0], length[1], kind[0], kind[1]];
    ask(RTM_NEWADDR, NLM_F_CREATE, &[one, two, attribute, address.octets()])
}

/// Asks the kernel for something about an interface, and waits until it is done.
fn ask(kind: u16, flags: u16, body: &[[u8; 4]]) -> io::Result<()> {
    let mut message = Vec::new();
    message.extend(((HEADER + body.len() * 4) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    // Sequence number and port id.
    message.extend([0; 8]);
    message.extend(body.concat());
    let domain = Domain::from(AF_NETLINK);
    let mut socket = Socket::new(domain, Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(&message)?;
    let mut answer = [0; 512];
    let length = socket.read(&mut answer)?;
    // An acknowledgement is an error of number 0.
    match answer[..length].get(HEADER..HEADER + 4).map(|word| word.try_into()) {
        Some(Ok(word)) if answer[4..6] == NLMSG_ERROR.to_ne_bytes() => {
            match i32::from_ne_bytes(word) {
                0 => Ok(()),
                number => Err(io::Error::from_raw_os_error(-number)),
            }
        }
        _ => Err(io::Error::other("the kernel's answer is none")),
    }
}
