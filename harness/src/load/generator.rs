//! A generator: one thread that sends requests at their scheduled times and receives the replies.

mod connect;
pub(super) mod quota;
mod ticks;

use std::io;

use quota::{Quota, Until};

use super::connections::Connections;
use super::connections::events::{Event, Events, Handled};
use super::load_spec::{ArrivalProcess, Schedule};
use super::lost_time::gaps::Gaps;
use super::recorder::Recorder;
use crate::results::{LocalErrors, Outcome, Outcomes};

/// Maximum oversleep of a wait in the kernel, in nanoseconds. The generator waits in the kernel
/// only until this long before the next scheduled time.
const MAX_OVERSLEEP: u64 = 1_000_000;

/// Time before a scheduled time, in nanoseconds, in which the generator starts no system call: the
/// call might return too late.
const BUSY_WAIT: u64 = 1_500;

/// Maximum number of open-loop requests that are sent before events are handled. A generator that
/// is behind schedule would otherwise never receive the replies.
const MAX_IN_A_ROW: u32 = 64;

/// Maximum wait for events, in milliseconds.
const MAX_WAIT_MS: u16 = 20;

/// A generator with its connections.
#[derive(Debug)]
pub struct Generator {
    connections: Connections,
    groups: Vec<Members>,
    events: Events,
    /// Index in `events` of the next event to handle.
    next_event_index: usize,
    /// Number of events from the last wait.
    event_count: usize,
    /// Number of open-loop requests since the last wait for events.
    in_a_row: u32,
    reply_timeout: u64,
    gaps: Gaps,
    /// Time before which no reply times out: after a gap in the loop, replies may have arrived and
    /// be unread.
    no_timeouts_until: u64,
}

/// The connections of a group: `count` indices from `first` on.
#[derive(Debug)]
struct Members {
    arrival_process: ArrivalProcess,
    first: usize,
    count: usize,
    /// Offset of the connection that sends the next open-loop request.
    turn: usize,
    schedule: Option<Schedule>,
    /// Time of the group's next periodic action.
    tick: u64,
    /// Indices of connections to open again.
    to_reconnect: Vec<usize>,
    /// Whether clients connect again when their connection closes.
    reconnects: bool,
    /// Whether open-loop requests are held back, because no connection is open.
    is_held: bool,
}

impl Generator {
    /// Spaces the constant arrivals of several generators evenly. `phase` is the offset of this
    /// generator from the common time, as a share of an interarrival time.
    pub(super) fn align_schedules(&mut self, common: u64, phase: f64) {
        for schedule in self.groups.iter_mut().filter_map(|members| members.schedule.as_mut()) {
            schedule.align(common, phase);
        }
    }

    /// Returns the next event, if one occurs within this number of milliseconds.
    fn next_event(&mut self, milliseconds: u16) -> io::Result<Option<Event>> {
        if self.next_event_index == self.event_count {
            self.event_count = self.connections.wait(&mut self.events, milliseconds)?;
            self.next_event_index = 0;
            if self.event_count == 0 {
                self.no_timeouts_until = 0;
            }
        }
        Ok(self.next_pending_event())
    }

    /// Returns the next event of the last wait, if any is left.
    fn next_pending_event(&mut self) -> Option<Event> {
        let event = (self.next_event_index < self.event_count)
            .then(|| self.events.get(self.next_event_index))?;
        self.next_event_index += 1;
        Some(event)
    }

    /// Returns the current time of the run's clock, in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        self.connections.clock.now()
    }

    /// Returns the outcomes of a group's connections so far. Open connections with a reply count as
    /// answered.
    pub fn connection_outcomes(&self, group: usize) -> Outcomes {
        self.connections.outcomes(group)
    }

    /// Returns the errors of this machine and of the network so far.
    pub(super) fn local_errors(&self) -> &LocalErrors {
        self.connections.local_errors()
    }

    /// Sends requests until `until`, then waits for the missing replies to the measured group.
    ///
    /// Abandons the requests in flight of the other groups. Returns the time at which the sending
    /// stopped. `recorders` has one recorder per group.
    ///
    /// # Errors
    /// The kernel denies the generator a resource.
    pub fn run(&mut self, until: Until<'_>, recorders: &mut [Recorder]) -> io::Result<u64> {
        let began = self.now();
        let mut quota = Quota::new(until, began);
        self.start(began, &mut quota, recorders);
        let (mut stopped, mut waited_ms) = (None, 0);
        loop {
            let now = self.connections.read_clock(0, &mut recorders[0]);
            self.check_for_gap(now, waited_ms, stopped.is_some(), recorders[0].since());
            waited_ms = 0;
            if stopped.is_none() && (quota.is_used_up(now) || !self.can_send()) {
                stopped = Some(now.min(quota.end()));
                recorders.iter_mut().for_each(|recorder| recorder.finish(now));
            }
            if now >= self.no_timeouts_until {
                self.connections.close_overdue(now, recorders);
            }
            self.reopen_freed(stopped.is_none(), recorders)?;
            let (due, tick) = match stopped {
                None => {
                    recorders.iter_mut().for_each(|recorder| recorder.roll_over(now));
                    self.perform_due_actions(now, quota.end(), recorders)?;
                    self.reopen_freed(true, recorders)?;
                    (self.next_due(u64::MAX), self.next_tick())
                }
                Some(end) => {
                    // Sends all requests that were scheduled before the end, even if late.
                    self.send_due(now, end, recorders);
                    let due = self.next_due(end);
                    if self.is_over(end, now, due) {
                        self.abandon_missing(end, recorders);
                        return Ok(end);
                    }
                    (due, u64::MAX)
                }
            };
            let is_behind = self.in_a_row >= MAX_IN_A_ROW;
            let wait = if is_behind { Some(0) } else { self.wait_time_ms(due, tick) };
            let Some(milliseconds) = wait else { continue };
            self.in_a_row = 0;
            waited_ms = milliseconds;
            let mut event = self.next_event(milliseconds)?;
            while let Some(it) = event {
                self.handle(it, stopped.is_none().then_some(&mut quota), recorders)?;
                // In an open loop, handles one event per wait: a batch might delay the next
                // request. If no request is scheduled, or if the generator is behind schedule,
                // handles all.
                event = match due == u64::MAX || is_behind {
                    true => self.next_pending_event(),
                    false => None,
                };
            }
        }
    }

    /// Returns whether the run is complete: every request scheduled before the end has its reply,
    /// or the timeout after the end has passed.
    fn is_over(&self, end: u64, now: u64, due: u64) -> bool {
        let is_answered = self.connections.in_flight(0) == 0 && due == u64::MAX;
        let abandons_at = end.saturating_add(self.reply_timeout).max(self.no_timeouts_until);
        is_answered || now > abandons_at
    }

    /// Checks for a gap in the loop. A gap after the end of the run does not count as lost time.
    fn check_for_gap(&mut self, now: u64, waited_ms: u16, is_over: bool, since: u64) {
        let counts_from = if is_over { u64::MAX } else { since };
        if self.gaps.check(now, u64::from(waited_ms) * 1_000_000, counts_from) > 0 {
            self.no_timeouts_until = now + self.reply_timeout;
        }
    }

    /// Returns the gaps in the loop so far.
    pub(super) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Abandons the requests without a reply. Requests that were scheduled before the end but not
    /// sent count as in flight: a client would not notice the difference.
    fn abandon_missing(&mut self, end: u64, recorders: &mut [Recorder]) {
        let now = self.now();
        self.connections.record_down(end, recorders);
        for (group, recorder) in recorders.iter_mut().enumerate() {
            self.connections.abandon(group, recorder);
            let members = &mut self.groups[group];
            let Some(schedule) = &mut members.schedule else { continue };
            while schedule.due() < end {
                match members.is_held {
                    true => recorder.record_held(schedule.due(), now),
                    false => recorder.record_unsent(Outcome::InFlight, schedule.due(), now),
                }
                schedule.advance();
            }
        }
    }

    /// Returns the milliseconds that the generator may wait in the kernel, or `None` if a wait
    /// might delay the next request. Periodic actions may be late.
    fn wait_time_ms(&self, due: u64, tick: u64) -> Option<u16> {
        if due.min(tick) == u64::MAX {
            return Some(MAX_WAIT_MS);
        }
        let now = self.now();
        let left = due.saturating_sub(now);
        let before_due = left.saturating_sub(MAX_OVERSLEEP) / 1_000_000;
        let milliseconds = before_due.min(tick.saturating_sub(now).div_ceil(1_000_000));
        (left > BUSY_WAIT).then_some(milliseconds.min(MAX_WAIT_MS.into()) as u16)
    }

    /// Starts all groups.
    fn start(&mut self, now: u64, quota: &mut Quota<'_>, recorders: &mut [Recorder]) {
        for group in 0..self.groups.len() {
            let members = &mut self.groups[group];
            members.tick = now;
            if let Some(schedule) = &mut members.schedule {
                schedule.begin(now);
            }
            for index in members.first..members.first + members.count {
                match self.groups[group].arrival_process {
                    ArrivalProcess::Churn => self.groups[group].to_reconnect.push(index),
                    // Idle clients sent their requests while connecting.
                    ArrivalProcess::Idle => {}
                    _ if self.connections.is_open(index) => {
                        self.send_first(index, Some(quota), recorders);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends the first requests on a connection, within the quota.
    fn send_first(
        &mut self,
        index: usize,
        quota: Option<&mut Quota<'_>>,
        recorders: &mut [Recorder],
    ) {
        let (group, now) = (self.connections.group(index), self.now());
        let recorder = &mut recorders[group];
        let requests = match self.groups[group].arrival_process {
            ArrivalProcess::Closed { depth } => depth,
            ArrivalProcess::Open { .. } => return,
            _ => 1,
        };
        let requests = requests.min(self.connections.requests_left(index));
        let count = match quota {
            Some(quota) if group == 0 => quota.take(requests, now),
            _ => requests,
        };
        match self.groups[group].arrival_process {
            _ if count == 0 => {}
            ArrivalProcess::Drip { .. } => {
                self.connections.enqueue(index, count, None, now, recorder);
            }
            _ => self.connections.send_requests(index, count, None, now, recorder),
        }
    }

    /// Returns whether any connection of the measured group can still send.
    fn can_send(&self) -> bool {
        let measured = &self.groups[0];
        measured.arrival_process.reconnects()
            || measured.reconnects
            || (measured.first..measured.first + measured.count)
                .any(|index| !self.connections.is_free(index))
    }

    /// Returns the scheduled time of the next open-loop request before the end; `u64::MAX` if there
    /// is none, or if no connection is open to send it on.
    fn next_due(&self, end: u64) -> u64 {
        let sending = self.groups.iter().filter(|members| !members.is_held);
        let due = sending.filter_map(|members| Some(members.schedule.as_ref()?.due()));
        due.filter(|&due| due < end).min().unwrap_or(u64::MAX)
    }

    /// Sends the open-loop requests that are due, each on the next open connection. Excludes
    /// requests scheduled after `end`. Stops after [`MAX_IN_A_ROW`] requests.
    fn send_due(&mut self, mut now: u64, end: u64, recorders: &mut [Recorder]) {
        for (members, recorder) in self.groups.iter_mut().zip(recorders) {
            let Some(schedule) = &mut members.schedule else { continue };
            while schedule.due() <= now && schedule.due() < end && self.in_a_row < MAX_IN_A_ROW {
                let next = (0..members.count)
                    .map(|step| members.first + (members.turn + step) % members.count)
                    .find(|&index| {
                        self.connections.is_open(index) && self.connections.requests_left(index) > 0
                    });
                let was_held =
                    std::mem::replace(&mut members.is_held, next.is_none() && members.reconnects);
                if was_held && !members.is_held {
                    recorder.set_connected_since(now);
                }
                let scheduled = schedule.due();
                match next {
                    Some(index) => {
                        members.turn = index - members.first + 1;
                        self.connections.send_requests(index, 1, Some(scheduled), now, recorder);
                    }
                    // Sent as soon as a connection is open.
                    None if members.is_held => break,
                    None => recorder.record_unsent(Outcome::Closed, scheduled, now),
                }
                schedule.advance();
                self.in_a_row += 1;
                now = self.connections.clock.now();
            }
        }
    }

    /// Handles an event, and sends the next requests on its connection. With a quota of `None`,
    /// sends no requests.
    fn handle(
        &mut self,
        event: Event,
        quota: Option<&mut Quota<'_>>,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        let (index, group) = (event.index, self.connections.group(event.index));
        let recorder = &mut recorders[group];
        let handled = self.connections.handle(event, recorder)?;
        let Some(quota) = quota else { return Ok(()) };
        match (self.groups[group].arrival_process, handled) {
            (ArrivalProcess::Closed { .. }, Handled::Connected) => {
                self.send_first(index, Some(quota), recorders)
            }
            (ArrivalProcess::Closed { .. }, Handled::Replied(count, at)) => {
                let count = count.min(self.connections.requests_left(index));
                let count = if group > 0 { count } else { quota.take(count, at) };
                if count > 0 && self.connections.is_open(index) {
                    self.connections.send_requests(index, count, None, at, recorder);
                }
            }
            (ArrivalProcess::Churn, Handled::Replied(_, at)) => {
                if self.connections.is_open(index) {
                    self.connections.close(index, recorder);
                }
                if !quota.is_used_up(at) {
                    self.connect_again(index, recorders)?;
                }
            }
            (ArrivalProcess::Open { .. }, _) | (_, Handled::Nothing | Handled::Closed) => {}
            (_, Handled::Connected) => self.send_first(index, None, recorders),
            (_, Handled::Replied(..)) => {}
        }
        if self.groups[group].reconnects {
            self.connections.close_if_used_up(index, &mut recorders[group]);
        }
        self.schedule_reconnect(index);
        Ok(())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.connections.reset_all_on_close();
    }
}

#[cfg(test)]
mod tests;
