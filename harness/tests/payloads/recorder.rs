//! A calculator that records the payloads of its requests.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use servers::Service;

use super::{KINDS, Kind, MAX_LINE, record_path};

/// Maximum length of a buffered request, in bytes. The rest of a longer one is discarded.
const MAX_BUFFERED: usize = 4 * MAX_LINE;

/// Runs the server and exits, if this process was started as one: `recorder KIND FOLDER HOST PORT`.
pub(crate) fn take_role() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, kind, folder, host, port] = &arguments[..] else { return };
    if role != "recorder" {
        return;
    }
    let kind = KINDS.iter().find(|it| it.name == kind).expect("a kind of wire protocol");
    let served = Record::create(Path::new(folder)).and_then(|record| {
        let record = Arc::new(record);
        let listener = TcpListener::bind(format!("{host}:{port}"))?;
        for client in listener.incoming() {
            let (client, record) = (client?, Arc::clone(&record));
            thread::spawn(move || serve(&client, kind, &record));
        }
        Ok(())
    });
    std::process::exit(i32::from(served.is_err()));
}

/// File with the distinct payloads of a server, each with its length.
struct Record(Mutex<(File, HashSet<Vec<u8>>)>);

impl Record {
    fn create(folder: &Path) -> io::Result<Record> {
        let file = File::create(record_path(folder))?;
        Ok(Record(Mutex::new((file, HashSet::new()))))
    }

    fn add(&self, payload: &[u8]) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, known) = &mut *record;
        if known.insert(payload.to_vec()) {
            let length = (payload.len() as u64).to_le_bytes();
            file.write_all(&[&length[..], payload].concat()).expect("the record is writable");
        }
    }
}

/// Reads the payloads of a record. The last one may be incomplete.
pub(super) fn read(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path)?;
    let (mut rest, mut payloads) = (&bytes[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        let length = u64::from_le_bytes(*length) as usize;
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        payloads.push(payload.to_vec());
        rest = after;
    }
    Ok(payloads)
}

/// Answers the requests of a connection.
fn serve(mut client: &TcpStream, kind: &Kind, record: &Record) {
    let (mut input, mut buffer) = (vec![0; 64 * 1024], Vec::new());
    while let Ok(count @ 1..) = client.read(&mut input) {
        let mut replies = Vec::new();
        for &byte in &input[..count] {
            if buffer.len() < MAX_BUFFERED {
                buffer.push(byte);
                // The server may be ended before it reads the rest of an endless request.
                if buffer.len() == MAX_BUFFERED {
                    record
                        .add(&buffer.strip_prefix(kind.before).unwrap_or(&buffer)[..MAX_LINE + 1]);
                }
            } else {
                // Keep the end, so that the terminator is found.
                buffer.remove(MAX_BUFFERED - 8);
                buffer.push(byte);
            }
            if !kind.after.is_empty() && buffer.ends_with(kind.after) {
                buffer.truncate(buffer.len() - kind.after.len());
                answer(&buffer, kind, record, &mut replies);
                buffer.clear();
            }
        }
        if kind.after.is_empty() {
            answer(&buffer, kind, record, &mut replies);
            buffer.clear();
        }
        if client.write_all(&replies).is_err() {
            return;
        }
    }
    // The end of the input may be that of the server, so an incomplete request is not recorded.
    if !buffer.is_empty() {
        let mut replies = Vec::new();
        reply(buffer.strip_prefix(kind.before).unwrap_or(&buffer), &mut replies);
        let _ = client.write_all(&replies);
    }
}

/// Records the payload of a request, and appends its reply.
fn answer(request: &[u8], kind: &Kind, record: &Record, replies: &mut Vec<u8>) {
    let payload = request.strip_prefix(kind.before).unwrap_or(request);
    // Of a request that was cut off, only the start is comparable.
    let is_cut_off = payload.len() > MAX_BUFFERED / 2;
    record.add(if is_cut_off { &payload[..MAX_LINE + 1] } else { payload });
    reply(payload, replies);
}

/// Appends the reply to a payload.
fn reply(payload: &[u8], replies: &mut Vec<u8>) {
    match payload.len() {
        ..=MAX_LINE => Service::Calc.answer(payload, replies),
        _ => replies.extend(b"error: line too long"),
    }
    replies.push(b'\n');
}
