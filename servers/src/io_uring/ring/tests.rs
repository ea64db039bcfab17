use std::io::{ErrorKind, Read, Write};
use std::net::{self, TcpStream};

use socket2::SockRef;

use super::*;
use crate::io_uring::{MAX_BUFFERS, unavailable};

/// Deadline for every expected event.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns a listener, or None if io_uring is unavailable.
fn listener() -> Option<Listener> {
    if let Some(words) = unavailable() {
        eprintln!("not run: {words}");
        return None;
    }
    let listener = Listener::bind("127.0.0.1", 0, 1024).expect("a free port");
    listener.listen().expect("listening");
    Some(listener)
}

/// Waits for the next event.
fn next(ring: &mut Ring<'_, TcpStream>) -> Event {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(event) = ring.next_event() {
            return event;
        }
        assert!(Instant::now() < deadline, "timed out");
        ring.wait(Some(Duration::from_millis(50))).expect("io_uring_enter");
    }
}

/// Returns a connection that the ring has accepted, and its client.
fn connected(ring: &mut Ring<'_, TcpStream>, listener: &Listener) -> (Key, TcpStream) {
    let client = TcpStream::connect(listener.address()).expect("listening");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    client.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    match next(ring) {
        Event::Accepted(accepted) => (ring.add(accepted), client),
        other => panic!("{other:?} instead of a client"),
    }
}

fn receives(ring: &mut Ring<'_, TcpStream>, key: Key) -> Vec<u8> {
    match next(ring) {
        Event::Received(from) if from == key => ring.received(key).expect("present").1.to_vec(),
        other => panic!("{other:?} instead of bytes from {key}"),
    }
}

#[test]
fn bytes_come_and_go_and_the_end_comes_after_them() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    for silently in [false, true] {
        let (key, mut client) = connected(&mut ring, &listener);
        ring.receive(key, true);
        // Often enough to reuse every buffer.
        for _ in 0..=MAX_BUFFERS {
            client.write_all(b"hello").expect("a complete write");
            assert_eq!(receives(&mut ring, key), b"hello");
            ring.send(key, silently, |_| b"reply");
            ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
            client.read_exact(&mut [0; 5]).expect("a reply");
            assert!(matches!(next(&mut ring), Event::Sent(to, 5) if to == key));
        }
        client.shutdown(net::Shutdown::Write).expect("a shutdown");
        assert_eq!(receives(&mut ring, key), b"");
        ring.close(key);
        assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    }
}

#[test]
fn input_of_more_clients_than_buffers_arrives() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let clients: Vec<(Key, TcpStream)> =
        (0..300).map(|_| connected(&mut ring, &listener)).collect();
    for (key, client) in &clients {
        (&mut &*client).write_all(&key.to_be_bytes()).expect("a complete write");
        ring.receive(*key, true);
    }
    let mut heard = vec![false; clients.len()];
    for _ in &clients {
        let Event::Received(key) = next(&mut ring) else { panic!("unexpected event") };
        assert_eq!(ring.received(key).expect("present").1, key.to_be_bytes());
        assert!(!std::mem::replace(&mut heard[key], true), "{key} has sent but once");
    }
}

#[test]
fn stopped_receives_deliver_nothing_and_lose_nothing() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connected(&mut ring, &listener);
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| client.write_all(&sent).expect("a complete write"));
        while received.len() < sent.len() {
            ring.receive(key, true);
            received.extend(receives(&mut ring, key));
            ring.receive(key, false);
            // Input that the kernel had received by then.
            ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
            let mut late = 0;
            while let Some(event) = ring.next_event() {
                assert!(matches!(event, Event::Received(_)), "{event:?}");
                let bytes = ring.received(key).expect("present").1;
                received.extend_from_slice(bytes);
                late += bytes.len();
            }
            assert!(late <= usize::from(MAX_BUFFERS) * BUFFER);
            ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
            assert!(ring.next_event().is_none(), "receiving was stopped");
        }
    });
    assert!(received == sent, "{} of {} bytes came", received.len(), sent.len());
}

#[test]
fn a_silent_send_without_buffer_space_fails_visibly_and_loses_nothing() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connected(&mut ring, &listener);
    let accepted = SockRef::from(&*ring.client(key).expect("present"));
    accepted.set_send_buffer_size(8 * 1024).expect("a small buffer");
    let output: &'static [u8] =
        (0..500_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>().leak();
    let mut received = Vec::new();
    let mut sent = 0;
    let mut partly = 0;
    while received.len() < output.len() {
        // First while the kernel takes everything at once, then until it waits for the client.
        ring.send(key, true, |_| &output[sent..(sent + 10_000).min(output.len())]);
        ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
        while let Some(event) = ring.next_event() {
            let Event::Sent(_, count) = event else { panic!("{event:?}") };
            sent += count;
            partly += usize::from(count % 10_000 != 0);
        }
        client.set_nonblocking(true).expect("a non-blocking socket");
        let mut buffer = [0; 4096];
        match client.read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(partly > 0, "the kernel always had room: nothing was tried");
    assert!(received == output, "{} of {} bytes came", received.len(), output.len());
}

#[test]
fn a_receiving_connection_is_closed_and_its_key_reused() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connected(&mut ring, &listener);
    ring.receive(key, true);
    ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
    ring.close(key);
    assert!(ring.client(key).is_none());
    ring.wait(Some(DEADLINE)).expect("io_uring_enter");
    assert!(ring.next_event().is_none());
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    let (again, mut client) = connected(&mut ring, &listener);
    assert_eq!(again, key);
    ring.receive(again, true);
    client.write_all(b"hello").expect("a complete write");
    assert_eq!(receives(&mut ring, again), b"hello");
}

#[test]
fn a_closed_ring_returns_its_connections_and_their_input() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connected(&mut ring, &listener);
    ring.receive(key, true);
    ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
    client.write_all(b"hello").expect("a complete write");
    ring.cancel_all();
    let mut received = Vec::new();
    while !ring.is_idle() {
        ring.wait(Some(DEADLINE)).expect("io_uring_enter");
        while let Some(event) = ring.next_event() {
            assert!(matches!(event, Event::Received(_)), "{event:?}");
            received.extend_from_slice(ring.received(key).expect("present").1);
        }
    }
    let mut clients = ring.into_connections();
    assert_eq!(clients.len(), 1);
    while received.len() < 5 {
        let mut buffer = [0; 5];
        let count = clients[0].read(&mut buffer).expect("the rest");
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
    let (key, mut client) = connected(&mut ring, &listener);
    fill_buffers(&mut ring, key);
    ring.close(key);
    ring.wait(Some(DEADLINE)).expect("io_uring_enter");
    assert!(ring.next_event().is_none());
    std::io::copy(&mut client, &mut std::io::sink()).expect("a clean end");
}

#[test]
fn a_dropped_ring_closes_its_connections() {
    let Some(listener) = listener() else { return };
    let mut ring = Ring::new(&listener, 64).expect("a ring");
    ring.accept();
    let (key, mut client) = connected(&mut ring, &listener);
    ring.receive(key, true);
    fill_buffers(&mut ring, key);
    // Never submitted.
    ring.watch();
    drop(ring);
    std::io::copy(&mut client, &mut std::io::sink()).expect("a clean end");
}

/// Sends until the kernel waits for the client to read.
fn fill_buffers(ring: &mut Ring<'_, TcpStream>, key: Key) {
    for _ in 0..10_000 {
        ring.send(key, false, |_| &[0; SEND_SIZE]);
        ring.wait(Some(Duration::ZERO)).expect("io_uring_enter");
        if ring.next_event().is_none() {
            return;
        }
    }
    panic!("the kernel takes in everything");
}

#[test]
fn the_completion_queue_fits_the_connections_up_to_a_bound() {
    let rooms = [1, 64, 1_000, 10_000, usize::MAX].map(super::completions);
    assert_eq!(rooms, [2_048, 2_048, 16_384, 16_384, 16_384]);
}
