//! Network namespaces (network_namespaces(7)). In a new namespace, all ports are free, and a server
//! reaches only processes of the namespace.
//!
//! Each thread is in one network namespace. Threads and processes inherit the namespace of the
//! thread that starts them.

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

/// Path of the calling thread's network namespace.
const CURRENT: &str = "/proc/thread-self/ns/net";

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
/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Guard of a thread in a new network namespace. Dropping the guard moves the thread back.
#[derive(Debug)]
pub struct Network {
    previous: File,
    /// Makes the guard `!Send`, because it belongs to this thread.
    _thread: PhantomData<*const ()>,
}

impl Network {
    /// Moves this thread into a new network namespace. The only interface is loopback. It has all
    /// IPv4 addresses of this machine, so that a server can bind any of them.
    ///
    /// # Errors
    /// The process may not create network namespaces (see [`prepare`]), or the kernel lacks
    /// resources.
    pub fn enter() -> io::Result<Network> {
        let network = Network { previous: File::open(CURRENT)?, _thread: PhantomData };
        enter_new()?;
        Ok(network)
    }

    /// Moves this thread into another new network namespace, which has no connections in TIME_WAIT.
    /// The namespace that the thread leaves exists as long as other threads or processes are in it.
    ///
    /// # Errors
    /// See [`Network::enter`].
    pub fn renew(&self) -> io::Result<()> {
        enter_new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Cannot fail for lack of permission: the thread was permitted to leave this namespace.
        let _ = setns(&self.previous, CloneFlags::CLONE_NEWNET);
    }
}

fn enter_new() -> io::Result<()> {
    let addresses = addresses();
    unshare(CloneFlags::CLONE_NEWNET)?;
    // Family and type, interface index, flags, mask of flags to change.
    request(RTM_NEWLINK, 0, &[0, LOOPBACK, IFF_UP, IFF_UP].map(u32::to_ne_bytes))?;
    addresses.into_iter().try_for_each(add)
}

/// Makes network namespaces available to the threads of this process. Call this function from main,
/// before the process starts threads, and only if a server needs a network namespace.
///
/// Without root, the process enters a user namespace, which requires that it has a single thread.
/// The process then also enters a new network namespace, because its threads could not return to
/// the network namespace of the machine. Programs that change the user, such as sudo, no longer
/// work.
///
/// # Errors
/// Returns the reason that network namespaces are not available.
pub fn prepare() -> Result<(), String> {
    match Network::enter() {
        Ok(_) => Ok(()),
        Err(error) if namespace::is_not_permitted(&error) => namespace::enter_user_namespace()
            .and_then(|()| enter_new())
            .map_err(|error| message(&error)),
        Err(error) => Err(message(&error)),
    }
}

/// Checks that threads of this process can enter network namespaces.
///
/// # Errors
/// Returns the reason that they cannot.
pub fn available() -> Result<(), String> {
    // Use a separate thread, because this thread may already be in a network namespace.
    let trial = thread::Builder::new().spawn(|| Network::enter().map(drop));
    trial
        .and_then(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        .map_err(|error| message(&error))
}

fn message(error: &io::Error) -> String {
    format!("cannot create a network namespace: {error} (needs root or user namespaces)")
}

/// Returns the IPv4 addresses of this machine, except loopback addresses.
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
    let [fields, index] = [[AF_INET, 32, 0, 0], LOOPBACK.to_ne_bytes()];
    let [length, kind] = [8u16, IFA_LOCAL].map(u16::to_ne_bytes);
    let attribute = [length[0], length[1], kind[0], kind[1]];
    request(RTM_NEWADDR, NLM_F_CREATE, &[fields, index, attribute, address.octets()])
}

/// Sends a request about an interface to the kernel and waits for the acknowledgement.
fn request(kind: u16, flags: u16, body: &[[u8; 4]]) -> io::Result<()> {
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
    // An acknowledgement is an error message with number 0.
    match answer[..length].get(HEADER..HEADER + 4).map(|word| word.try_into()) {
        Some(Ok(word)) if answer[4..6] == NLMSG_ERROR.to_ne_bytes() => {
            match i32::from_ne_bytes(word) {
                0 => Ok(()),
                number => Err(io::Error::from_raw_os_error(-number)),
            }
        }
        _ => Err(io::Error::other("the kernel sent no acknowledgement")),
    }
}
