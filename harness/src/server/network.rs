//! Network namespaces (network_namespaces(7)). In each, a server finds its port free, and reaches
//! only processes in the same namespace.
//!
//! A network namespace belongs to a thread. Threads and processes that it starts inherit it.

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

/// Path of the thread's network namespace, for the way back.
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
/// The loopback interface has this index in every network namespace.
const LOOPBACK: u32 = 1;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// The network namespace that this thread is in. Dropping it moves the thread back.
#[derive(Debug)]
pub struct Network {
    former: File,
    /// Not `Send`: it belongs to this thread.
    _thread: PhantomData<*const ()>,
}

impl Network {
    /// Moves this thread into a new network namespace. It has only a loopback interface, with all
    /// addresses of this machine, so that a server can bind any of them.
    ///
    /// # Errors
    /// The process is not permitted to do so (see [`prepare`]), or the kernel lacks resources.
    pub fn of_its_own() -> io::Result<Network> {
        let network = Network { former: File::open(THIS)?, _thread: PhantomData };
        enter_new()?;
        Ok(network)
    }

    /// Moves this thread into another new network namespace, away from connections in TIME_WAIT.
    /// The previous one lasts as long as other threads or processes are in it.
    ///
    /// # Errors
    /// As [`Network::of_its_own`].
    pub fn renew(&self) -> io::Result<()> {
        enter_new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A thread that was permitted to leave the namespace may enter it again.
        let _ = setns(&self.former, CloneFlags::CLONE_NEWNET);
    }
}

fn enter_new() -> io::Result<()> {
    let addresses = addresses();
    unshare(CloneFlags::CLONE_NEWNET)?;
    // Family and type, interface index, flags, mask of flags to change.
    ask(RTM_NEWLINK, 0, &[0, LOOPBACK, IFF_UP, IFF_UP].map(u32::to_ne_bytes))?;
    addresses.into_iter().try_for_each(add)
}

/// Makes network namespaces available to the threads of this process. If that takes a user
/// namespace, the process enters one, which is possible only with a single thread. So call it from
/// main, before there is another thread, and only if needed. The whole process is then in a network
/// namespace of its own, because it could not return to the machine's. Programs that change the
/// user, such as sudo, no longer work.
///
/// # Errors
/// A message that says why it is not possible.
pub fn prepare() -> Result<(), String> {
    match Network::of_its_own() {
        Ok(_) => Ok(()),
        Err(error) if namespace::is_not_permitted(&error) => {
            namespace::own_user().and_then(|()| enter_new()).map_err(|error| words(&error))
        }
        Err(error) => Err(words(&error)),
    }
}

/// Returns whether threads of this process can have network namespaces.
///
/// # Errors
/// A message that says why they cannot.
pub fn available() -> Result<(), String> {
    // On a separate thread: this one may be in a network namespace already.
    let tried = thread::Builder::new().spawn(|| Network::of_its_own().map(drop));
    tried
        .and_then(|trial| trial.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        .map_err(|error| words(&error))
}

fn words(error: &io::Error) -> String {
    format!("no network of its own for a server: {error} (it takes root or a user namespace)")
}

/// Returns the IPv4 addresses of this machine outside the loopback network.
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

/// Adds an address to the loopback interface.
fn add(address: Ipv4Addr) -> io::Result<()> {
    // Family, prefix length, flags, scope (RT_SCOPE_UNIVERSE), interface index.
    let [one, two] = [[AF_INET, 32, 0, 0], LOOPBACK.to_ne_bytes()];
    let [length, kind] = [8u16, IFA_LOCAL].map(u16::to_ne_bytes);
    let attribute = [length[0], length[1], kind[0], kind[1]];
    ask(RTM_NEWADDR, NLM_F_CREATE, &[one, two, attribute, address.octets()])
}

/// Sends a request about an interface to the kernel and waits for the acknowledgement.
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
    // An acknowledgement is an error with number 0.
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
