//! The request to stop, which a process has once: a process of its own, for a signal ends the drain of
//! all of it.

use std::sync::Barrier;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use servers::shutdown::Shutdown;

const THREADS: usize = 64;

#[test]
fn of_threads_that_ask_for_it_at_once_each_is_told() {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            Shutdown::install().expect("handlers")
        };
        let asked: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        let shutdowns: Vec<Shutdown> =
            asked.into_iter().map(|one| one.join().expect("a stop")).collect();
        shutdowns[0].request();
        for shutdown in shutdowns {
            assert!(shutdown.is_requested());
            let mut waited = [PollFd::new(shutdown.fd(), PollFlags::POLLIN)];
            // The handler has told of the event that all of them have.
            assert_eq!(poll(&mut waited, PollTimeout::from(20_000u16)), Ok(1));
        }
    });
}
