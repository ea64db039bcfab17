//! An echo server with one fault. It has a thread per connection and three connection slots.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const SLOTS: usize = 3;

/// Runs the server and exits, if this process was started as one: `replay FAULT PORT`.
pub(crate) fn take_role() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, fault, port] = &words[..]
        && role == "replay"
    {
        serve(fault, port);
        process::exit(0);
    }
}

fn serve(fault: &str, port: &str) {
    let port = port.parse().expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let used_slots = Arc::new(Mutex::new(0));
    let shared = Arc::new(Mutex::new(Vec::new()));
    for client in listener.incoming().flatten() {
        let count = *used_slots.lock().unwrap_or_else(PoisonError::into_inner);
        if count >= SLOTS && fault != "serves-all" {
            thread::spawn(move || reject(client));
            continue;
        }
        *used_slots.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let (fault, used_slots, shared) =
            (fault.to_owned(), Arc::clone(&used_slots), Arc::clone(&shared));
        thread::spawn(move || {
            let buffer = if fault == "one-buffer" { shared } else { Arc::default() };
            serve_connection(&client, &fault, &buffer);
            let all_answered = buffer.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if all_answered || fault != "keeps-slots-of-unfinished-requests" {
                *used_slots.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            }
        });
    }
}

fn serve_connection(mut client: &TcpStream, fault: &str, buffer: &Mutex<Vec<u8>>) {
    let mut read = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut read) {
        let mut replies = Vec::new();
        {
            let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            buffer.extend_from_slice(&read[..count]);
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = buffer.drain(..=end).collect();
                if line.iter().any(|byte| !byte.is_ascii()) {
                    spoil(&mut line, fault);
                }
                replies.extend(line);
                if fault == "answers-one-request-a-read" {
                    buffer.clear();
                }
            }
        }
        if client.write_all(&replies).is_err() {
            return;
        }
    }
}

/// Applies the fault to a line that is not ASCII.
fn spoil(line: &mut Vec<u8>, fault: &str) {
    match fault.split_once('=').unwrap_or((fault, "")) {
        ("is-for-ascii", _) => line.insert(0, b'?'),
        ("dies", _) => process::exit(9),
        ("hangs", _) => line.clear(),
        ("errs-once", file) if !Path::new(file).exists() => {
            std::fs::write(file, "").expect("a writable temporary directory");
            line.insert(0, b'?');
        }
        _ => {}
    }
}

fn reject(mut client: TcpStream) {
    // A close with unread input would reset the connection.
    let _ = client
        .write_all(b"error: busy\n")
        .and_then(|()| client.shutdown(Shutdown::Write))
        .and_then(|()| client.set_read_timeout(Some(Duration::from_secs(1))));
    while matches!(client.read(&mut [0; 64]), Ok(1..)) {}
}
