use std::io::{ErrorKind, Read, Write};
use std::net::{self, TcpStream};

use socket2::SockRef;

use super::*;
use crate::io_uring::{MAX_BUFFERS, unavailable};

/// Deadline for every expected completion.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns a listener, or `None` if io_uring is unavailable.
fn listener() -> Option<Listener> {
    if let Some(reason) = unavailable() {
        eprintln!("not run: {reason}");
        return None;
    }
    let listener = Listener::bind("127.0.0.1", 0, 1024).expect("a free port");
    listener.listen().expect("listening");
    Some(listener)
}

/// Waits for the next completion.
fn next_completion(ring: &mut Ring<'_, TcpStream>) -> Completion {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        assert!(Instant::now() < deadline, "timed out");
        ring.wait(Some(Duration::from_millis(50))).expect("io_uring_enter");
    }
}

/// Returns a connection that the ring has accepted, and its client.
fn connect(ring: &mut Ring<'_, TcpStream>, listener: &Listener) -> (Key, TcpStream) {
    let client = TcpStream::connect(listener.address()).expect("listening");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    client.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    match next_completion(ring) {
        Completion::Accepted(accepted) => (ring.add(accepted), client),
        other => panic!("{other:?} instead of a client"),
    }
}

fn receive(ring: &mut Ring<'_, TcpStream>, key: Key) -> Vec<u8> {
    match next_completion(ring) {
        Completion::Received(from) if from == key => {
            ring.received(key).expect("the connection").1.to_vec()
        }
        other => panic!("{other:?} instead of bytes from {key}"),
    }
}

#[test]
fn bytes_are_received_and_sent_and_end_of_input_comes_last() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    for skip_success in [false, true] {
        let (key, mut client) = connect(&mut ring, &listener);
        ring.receive(key, true);
        // More often than there are buffers, so that buffers are reused.
        for _ in 0..=MAX_BUFFERS {
            client.write_all(b"hello").expect("a complete write");
            assert_eq!(receive(&mut ring, key), b"hello");
            ring.send(key, skip_success, |_| b"reply");
            ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
            client.read_exact(&mut [0; 5]).expect("a reply");
            assert!(matches!(next_completion(&mut ring), Completion::Sent(to, 5) if to == key));
        }
        client.shutdown(net::Shutdown::Write).expect("a FIN");
        assert_eq!(receive(&mut ring, key), b"");
        ring.close(key);
        assert_eq!(client.read(&mut [0]).expect("a clean close"), 0);
    }
}

#[test]
fn input_arrives_from_more_clients_than_buffers() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let clients: Vec<(Key, TcpStream)> = (0..300).map(|_| connect(&mut ring, &listener)).collect();
    for (key, client) in &clients {
        (&mut &*client).write_all(&key.to_be_bytes()).expect("a complete write");
        ring.receive(*key, true);
    }
    let mut has_arrived = vec![false; clients.len()];
    for _ in &clients {
        let Completion::Received(key) = next_completion(&mut ring) else {
            panic!("unexpected completion")
        };
        assert_eq!(ring.received(key).expect("the connection").1, key.to_be_bytes());
        assert!(!std::mem::replace(&mut has_arrived[key], true), "input of {key} arrived twice");
    }
}

#[test]
fn stopped_receives_deliver_nothing_and_lose_nothing() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connect(&mut ring, &listener);
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| client.write_all(&sent).expect("a complete write"));
        while received.len() < sent.len() {
            ring.receive(key, true);
            received.extend(receive(&mut ring, key));
            ring.receive(key, false);
            // Delivers the input that the kernel received before the stop.
            ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
            let mut late = 0;
            while let Some(completion) = ring.next_completion() {
                assert!(matches!(completion, Completion::Received(_)), "{completion:?}");
                let bytes = ring.received(key).expect("the connection").1;
                received.extend_from_slice(bytes);
                late += bytes.len();
            }
            assert!(late <= usize::from(MAX_BUFFERS) * BUFFER);
            ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
            assert!(ring.next_completion().is_none(), "receiving was stopped");
        }
    });
    assert!(received == sent, "{} of {} bytes arrived", received.len(), sent.len());
}

#[test]
fn a_skip_success_send_without_buffer_space_fails_visibly_and_loses_nothing() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connect(&mut ring, &listener);
    let accepted = SockRef::from(&*ring.client(key).expect("the connection"));
    accepted.set_send_buffer_size(8 * 1024).expect("a small buffer");
    let output: &'static [u8] =
        (0..500_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>().leak();
    let mut received = Vec::new();
    let mut sent = 0;
    let mut partial_sends = 0;
    while received.len() < output.len() {
        // At first the kernel accepts the whole output; once the send buffer is full, it does not.
        ring.send(key, true, |_| &output[sent..(sent + 10_000).min(output.len())]);
        ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
        while let Some(completion) = ring.next_completion() {
            let Completion::Sent(_, count) = completion else { panic!("{completion:?}") };
            sent += count;
            partial_sends += usize::from(count % 10_000 != 0);
        }
        client.set_nonblocking(true).expect("a non-blocking socket");
        let mut buffer = [0; 4096];
        match client.read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(partial_sends > 0, "the send buffer was never full");
    assert!(received == output, "{} of {} bytes arrived", received.len(), output.len());
}

#[test]
fn a_receiving_connection_is_closed_and_its_key_reused() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connect(&mut ring, &listener);
    ring.receive(key, true);
    ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
    ring.close(key);
    assert!(ring.client(key).is_none());
    ring.wait(Some(DEADLINE)).expect("io_uring_enter");
    assert!(ring.next_completion().is_none());
    assert_eq!(client.read(&mut [0]).expect("a clean close"), 0);
    let (new_key, mut client) = connect(&mut ring, &listener);
    assert_eq!(new_key, key);
    ring.receive(new_key, true);
    client.write_all(b"hello").expect("a complete write");
    assert_eq!(receive(&mut ring, new_key), b"hello");
}

#[test]
fn a_closed_ring_returns_its_connections_and_their_input() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connect(&mut ring, &listener);
    ring.receive(key, true);
    ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
    client.write_all(b"hello").expect("a complete write");
    ring.cancel_all();
    let mut received = Vec::new();
    while !ring.is_idle() {
        ring.wait(Some(DEADLINE)).expect("io_uring_enter");
        while let Some(completion) = ring.next_completion() {
            assert!(matches!(completion, Completion::Received(_)), "{completion:?}");
            received.extend_from_slice(ring.received(key).expect("the connection").1);
        }
    }
    let mut clients = ring.into_connections();
    assert_eq!(clients.len(), 1);
    while received.len() < 5 {
        let mut buffer = [0; 5];
        let count = clients[0].read(&mut buffer).expect("the remaining input");
        received.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(received, b"hello");
    clients[0].write_all(b"reply").expect("a complete write");
    client.read_exact(&mut [0; 5]).expect("a reply");
}

#[test]
fn a_connection_with_a_send_in_flight_is_closed() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connect(&mut ring, &listener);
    fill_buffers(&mut ring, key);
    ring.close(key);
    ring.wait(Some(DEADLINE)).expect("io_uring_enter");
    assert!(ring.next_completion().is_none());
    std::io::copy(&mut client, &mut std::io::sink()).expect("a clean close");
}

#[test]
fn a_dropped_ring_closes_its_connections() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connect(&mut ring, &listener);
    ring.receive(key, true);
    fill_buffers(&mut ring, key);
    // This operation is queued but not submitted.
    ring.watch();
    drop(ring);
    std::io::copy(&mut client, &mut std::io::sink()).expect("a clean close");
}

/// Sends until the kernel waits for the client to read.
fn fill_buffers(ring: &mut Ring<'_, TcpStream>, key: Key) {
    for _ in 0..10_000 {
        ring.send(key, false, |_| &[0; SEND_SIZE]);
        ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
        if ring.next_completion().is_none() {
            return;
        }
    }
    panic!("the kernel accepts all output");
}

#[test]
fn the_completion_queue_fits_the_connections_up_to_a_bound() {
    let sizes = [1, 64, 1_000, 10_000, usize::MAX].map(super::completions);
    assert_eq!(sizes, [2_048, 2_048, 16_384, 16_384, 16_384]);
}
