//! Periodic actions of the generator: reconnects, and requests that are sent byte by byte.

use std::io;
use std::time::Duration;

use super::{Generator, Members};
use crate::load::connections::slots::Freed;
use crate::load::load_spec::ArrivalProcess;
use crate::load::recorder::Recorder;

/// Interval between attempts to connect after a failed connect of a churning client.
const RECONNECT_AFTER: Duration = Duration::from_millis(1);

/// Interval between attempts to connect, if a server of a closed or open loop does not accept
/// connections: it bounds the error of the length of an outage.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// Maximum number of these attempts in one interval.
const RETRIES_AT_ONCE: usize = 64;

impl Generator {
    /// Returns the time of the next periodic action.
    pub(super) fn next_tick(&self) -> u64 {
        let tick = |members: &Members| match members.arrival_process {
            ArrivalProcess::Storm { .. } | ArrivalProcess::Drip { .. } => members.tick,
            _ if !members.to_reconnect.is_empty() => members.tick,
            _ => u64::MAX,
        };
        self.groups.iter().map(tick).min().unwrap_or(u64::MAX)
    }

    /// Sends the requests and performs the periodic actions that are due.
    pub(super) fn perform_due_actions(
        &mut self,
        now: u64,
        end: u64,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        self.send_due(now, end, recorders);
        for group in 0..self.groups.len() {
            let recorder = &mut recorders[group];
            match self.groups[group].arrival_process {
                ArrivalProcess::Drip { every } if self.groups[group].tick <= now => {
                    self.drip(group, now, recorder);
                    self.groups[group].tick = now + every.as_nanos() as u64;
                }
                ArrivalProcess::Storm { every } if self.groups[group].tick <= now => {
                    self.storm(group, recorders)?;
                    self.groups[group].tick = now + every.as_nanos() as u64;
                }
                _ if self.groups[group].reconnects && self.groups[group].tick <= now => {
                    let waiting = &mut self.groups[group].to_reconnect;
                    let count = waiting.len().min(RETRIES_AT_ONCE);
                    for index in waiting.drain(..count).collect::<Vec<_>>() {
                        self.connect_again(index, recorders)?;
                    }
                    self.groups[group].tick = now + RETRY_AFTER.as_nanos() as u64;
                }
                ArrivalProcess::Churn if self.groups[group].tick <= now => {
                    for index in std::mem::take(&mut self.groups[group].to_reconnect) {
                        self.connect_again(index, recorders)?;
                    }
                    self.groups[group].tick = now + RECONNECT_AFTER.as_nanos() as u64;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends one byte of a request on each connection.
    fn drip(&mut self, group: usize, now: u64, recorder: &mut Recorder) {
        let members = &self.groups[group];
        for index in members.first..members.first + members.count {
            if self.connections.in_flight_on(index) == 0 && self.connections.is_open(index) {
                self.connections.enqueue(index, 1, None, now, recorder);
            }
            self.connections.send(index, 1, recorder);
        }
    }

    /// Resets all connections and opens them again at once.
    fn storm(&mut self, group: usize, recorders: &mut [Recorder]) -> io::Result<()> {
        let members = &self.groups[group];
        let all = members.first..members.first + members.count;
        for index in all.clone() {
            self.connections.reset(index, &mut recorders[group]);
        }
        for index in all {
            self.connect_again(index, recorders)?;
        }
        Ok(())
    }

    /// Connects in the slot of a closed connection. If the connect completes at once, sends the
    /// first request.
    pub(super) fn connect_again(
        &mut self,
        index: usize,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        let group = self.connections.group(index);
        self.connections.reconnect(index, &mut recorders[group])?;
        if self.connections.is_open(index) {
            self.send_first(index, None, recorders);
        }
        self.schedule_reconnect(index);
        Ok(())
    }

    /// Connects again in the slots that have become free, if their clients reconnect: at once if
    /// the connection had got a reply, otherwise at the group's next periodic action. Call this
    /// after operations that may have closed connections, before [`next_tick`](Self::next_tick).
    pub(super) fn reopen_freed(
        &mut self,
        is_running: bool,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        while let Some(Freed { index, has_answered }) = self.connections.take_freed() {
            let members = &mut self.groups[self.connections.group(index)];
            if !is_running || !self.connections.is_free(index) {
                continue;
            }
            match members.reconnects {
                true if has_answered => self.connect_again(index, recorders)?,
                true => members.to_reconnect.push(index),
                false => self.schedule_reconnect(index),
            }
        }
        Ok(())
    }

    /// Schedules a reconnect if the client reconnects and its connection is closed. Call this after
    /// an operation that may have closed the connection.
    pub(super) fn schedule_reconnect(&mut self, index: usize) {
        let members = &mut self.groups[self.connections.group(index)];
        let must_reconnect =
            members.arrival_process == ArrivalProcess::Churn && self.connections.is_free(index);
        if must_reconnect && !members.to_reconnect.contains(&index) {
            members.to_reconnect.push(index);
        }
    }
}
