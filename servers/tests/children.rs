//! What children do to their parent. Each claim is made in the main thread of the process, because
//! a process of several threads does not fork: hence no `#[test]`.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use servers::children::Children;
use servers::stop::Stop;

fn main() {
    a_child_never_returns_into_its_parents_code();
    children_that_end_at_once_are_not_forked_for_ever();
}

fn children() -> Children {
    Children::new(Stop::install().expect("handlers")).expect("one thread")
}

fn a_child_never_returns_into_its_parents_code() {
    let (mut read, write) = UnixStream::pair().expect("a pair");
    let mut children = children();
    let bodies: [fn() -> io::Result<()>; 3] =
        [|| Ok(()), || Err(io::Error::other("on purpose")), || panic!("on purpose")];
    let own = std::process::id().to_ne_bytes();
    for body in bodies {
        children.fork(&[write.as_raw_fd()], body).expect("a child");
        // A child that came to this would write another number.
        (&write).write_all(&std::process::id().to_ne_bytes()).expect("there is room");
    }
    let mut ended = 0;
    let deadline = Instant::now() + Duration::from_secs(20);
    while ended < bodies.len() {
        assert!(Instant::now() < deadline, "they do not end");
        children.wait(&[]).expect("an end");
        ended += children.reap().len();
    }
    assert_eq!(children.serving(), 0);
    drop(write);
    let mut written = Vec::new();
    read.read_to_end(&mut written).expect("nobody else has the other side");
    assert_eq!(written, own.repeat(bodies.len()));
}

fn children_that_end_at_once_are_not_forked_for_ever() {
    let (read, write) = UnixStream::pair().expect("a pair");
    read.set_nonblocking(true).expect("it can be");
    let mut children = children();
    let error = children
        .keep(3, &[write.as_raw_fd()], || (&write).write_all(b"."))
        .expect_err("they end at once");
    assert!(error.to_string().contains("again and again"), "{error}");
    let mut forked = 0;
    loop {
        match (&read).read(&mut [0; 64]) {
            Ok(count) => forked += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((3..=3 * 20).contains(&forked), "{forked} were forked");
}
