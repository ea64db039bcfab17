//! Connecting the clients of a generator.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::{Generator, MAX_WAIT_MS, Members};
use crate::load::clock::Clock;
use crate::load::connections::Connections;
use crate::load::connections::events::{Events, Handled};
use crate::load::load_spec::{ArrivalProcess, LoadSpec, Schedule};
use crate::load::lost_time::gaps::Gaps;
use crate::load::recorder::Recorder;
use crate::load::request_reply::Cycle;
use crate::server::proc;

/// Maximum number of connections that connect at the same time: smaller than usual listen backlogs.
const CONNECTED_AT_ONCE: usize = 64;

/// Maximum wait until the server has accepted the earlier connections, as a share of the timeout:
/// 1 s of 5 s. A server at its connection limit leaves connections in the accept queue for longer.
const ACCEPT_PATIENCE: u32 = 5;

/// Time for which the accept queue is polled without a wait in the kernel: servers usually accept
/// within some 10 µs.
const ACCEPT_POLL: Duration = Duration::from_millis(1);

impl Generator {
    /// Opens the connections. A failed connection is an outcome, not an error. `recorders` has one
    /// recorder per group.
    ///
    /// # Errors
    /// The kernel denies the generator a resource.
    pub fn connect(load_spec: &LoadSpec, recorders: &mut [Recorder]) -> io::Result<Generator> {
        Generator::connect_by(load_spec, recorders, Clock::start(), &AtomicBool::new(false))
    }

    /// As [`connect`](Self::connect), but stops connecting when interrupted.
    pub(in crate::load) fn connect_by(
        load_spec: &LoadSpec,
        recorders: &mut [Recorder],
        clock: Clock,
        interrupted: &AtomicBool,
    ) -> io::Result<Generator> {
        let cycles = load_spec.groups.iter().map(|group| Cycle::new(&group.requests)).collect();
        let mut connections =
            Connections::new(load_spec.address, cycles, load_spec.reply_timeout, clock)?;
        connections.open_with(load_spec.opening.clone());
        connections.allow_close(load_spec.may_close);
        if load_spec.groups.iter().any(|group| group.arrival_process.reconnects()) {
            connections.connect_from_all();
            connections.list_freed();
        }
        if load_spec.reconnect {
            connections.allow_reconnects(load_spec.requests_per_connection);
        }
        let mut first = 0;
        let groups = load_spec.groups.iter().enumerate().map(|(number, group)| {
            let schedule = match group.arrival_process {
                ArrivalProcess::Open { arrivals, per_s } => {
                    Some(Schedule::new(arrivals, per_s, load_spec.seed.wrapping_add(number as u64)))
                }
                _ => None,
            };
            let members = Members {
                arrival_process: group.arrival_process,
                first,
                count: group.connections,
                turn: 0,
                schedule,
                tick: 0,
                to_reconnect: Vec::new(),
                reconnects: load_spec.reconnect && group.arrival_process.is_loop(),
                is_held: false,
            };
            first += group.connections;
            members
        });
        let groups: Vec<Members> = groups.collect();
        let reply_timeout = load_spec.reply_timeout.as_nanos() as u64;
        let events = Events::new();
        let (next_event_index, event_count, in_a_row) = (0, 0, 0);
        let mut generator = Generator {
            connections,
            groups,
            events,
            next_event_index,
            event_count,
            in_a_row,
            reply_timeout,
            gaps: Gaps::default(),
            no_timeouts_until: 0,
        };
        generator.connect_all(recorders, interrupted)?;
        Ok(generator)
    }

    fn connect_all(
        &mut self,
        recorders: &mut [Recorder],
        interrupted: &AtomicBool,
    ) -> io::Result<()> {
        let keep_going = || !interrupted.load(Relaxed);
        let mut waits_for_accept = true;
        for group in 0..self.groups.len() {
            for _ in 0..self.groups[group].count {
                if self.groups[group].arrival_process.reconnects() || !keep_going() {
                    self.connections.add_slot(group as u16);
                    continue;
                }
                // Each further connection would also take the full timeout.
                if self.connections.has_timed_out(group) {
                    self.connections.count_as_timed_out(group as u16);
                    continue;
                }
                if let Some(error) = self.connections.lasting_error() {
                    self.connections.count_as_failed(group as u16, error);
                    continue;
                }
                if waits_for_accept {
                    waits_for_accept = self.wait_for_accept(recorders, &keep_going)?;
                }
                let index = self.connections.connect(group as u16, &mut recorders[group])?;
                self.send_first_if_idle(index, recorders);
                while self.connections.connecting() >= CONNECTED_AT_ONCE && keep_going() {
                    self.handle_events(MAX_WAIT_MS, recorders)?;
                }
            }
        }
        // This loop ends when the missing replies are overdue, if not before.
        let idle: Vec<usize> = (0..self.groups.len())
            .filter(|&it| self.groups[it].arrival_process == ArrivalProcess::Idle)
            .collect();
        while keep_going()
            && (self.connections.connecting() > 0
                || idle.iter().any(|&group| self.connections.in_flight(group) > 0))
        {
            self.handle_events(MAX_WAIT_MS, recorders)?;
        }
        Ok(())
    }

    /// Waits until the accept queue of the server is empty. A server with a short listen backlog
    /// would lose the SYNs of connections that come at once: the kernel repeats them after 1 s, 3 s
    /// and 7 s, and the connections that lose again time out.
    ///
    /// Returns whether to wait before the next connection too: not if the accept queue cannot be
    /// seen, as that of a remote server, or if the server accepts no more connections.
    fn wait_for_accept(
        &mut self,
        recorders: &mut [Recorder],
        keep_going: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let address = self.connections.address();
        let patience = Duration::from_nanos(self.reply_timeout) / ACCEPT_PATIENCE;
        let began = Instant::now();
        loop {
            match proc::accept_queue(address) {
                None => return Ok(false),
                Some(0) => return Ok(true),
                Some(_) if began.elapsed() > patience => return Ok(false),
                Some(_) if !keep_going() => return Ok(false),
                Some(_) if began.elapsed() < ACCEPT_POLL => thread::yield_now(),
                Some(_) => self.handle_events(1, recorders)?,
            }
        }
    }

    fn send_first_if_idle(&mut self, index: usize, recorders: &mut [Recorder]) {
        let group = self.connections.group(index);
        if self.groups[group].arrival_process == ArrivalProcess::Idle
            && self.connections.is_open(index)
        {
            self.send_first(index, None, recorders);
        }
    }

    /// Waits for events and handles them, before the load starts.
    fn handle_events(&mut self, wait_ms: u16, recorders: &mut [Recorder]) -> io::Result<()> {
        let mut event = self.next_event(wait_ms)?;
        while let Some(it) = event {
            let group = self.connections.group(it.index);
            if self.connections.handle(it, &mut recorders[group])? == Handled::Connected {
                self.send_first_if_idle(it.index, recorders);
            }
            event = self.next_pending_event();
        }
        self.connections.close_overdue(self.now(), recorders);
        Ok(())
    }
}
