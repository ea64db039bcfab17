//! Tests concurrent calls of `Shutdown::install`. A separate test program, because the signal
//! affects the whole process.

use std::sync::Barrier;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use servers::shutdown::Shutdown;

const THREADS: usize = 64;

#[test]
fn concurrent_installs_share_one_shutdown_request() {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let install = || {
            barrier.wait();
            Shutdown::install().expect("handlers")
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(install)).collect();
        let shutdowns: Vec<Shutdown> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        shutdowns[0].request();
        for shutdown in shutdowns {
            assert!(shutdown.is_requested());
            let mut waited = [PollFd::new(shutdown.fd(), PollFlags::POLLIN)];
            // All of them have the eventfd that the handler notifies.
            assert_eq!(poll(&mut waited, PollTimeout::from(20_000u16)), Ok(1));
        }
    });
}
