//! The generator: one thread that sends requests when they are due and receives the replies.

mod ticks;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::connections::{Connections, Event, Events, Happened};
use super::load_spec::{ArrivalProcess, LoadSpec, Schedule};
use super::lost_time::Gaps;
use super::outcome::{Outcome, Outcomes};
use super::recorder::{Clock, Recorder};
use super::request_reply::Cycle;

/// How late a sleep may end, in nanoseconds. Closer due times are awaited without sleeping.
const SLEEP_NOT: u64 = 1_000_000;

/// Time before a due time, in nanoseconds, in which nothing else starts: a system call takes as
/// long.
const STAND_BY: u64 = 1_500;

/// Maximum number of consecutive requests of open loops. A generator that is behind schedule would
/// otherwise never receive the replies.
const MOST_IN_A_ROW: u32 = 64;

/// Maximum wait in milliseconds when nothing is due.
const LOOK_EVERY_MS: u16 = 20;

/// Maximum number of connections connecting at once: fewer than any usual listen backlog.
const CONNECTED_AT_ONCE: usize = 64;

/// Local addresses to connect from in workloads that reconnect. Each has 28,000 ports with the
/// usual Linux setting (`ip_local_port_range`), and a used port stays in TIME_WAIT for a minute.
const SOURCES: u32 = 250;

/// A generator with its connections.
#[derive(Debug)]
pub struct Generator {
    connections: Connections,
    groups: Vec<Members>,
    events: Events,
    /// Index of the next event to handle, and number of events.
    next: usize,
    told: usize,
    /// Requests of open loops since the last wait for events.
    in_a_row: u32,
    patience: u64,
    gaps: Gaps,
    /// Until this time no reply is given up as overdue: it may have arrived during a gap and be
    /// unread.
    catches_up_until: u64,
}

/// The connections of a group: `count` indices from `first` on.
#[derive(Debug)]
struct Members {
    pace: ArrivalProcess,
    first: usize,
    count: usize,
    /// Offset of the connection whose turn is next.
    turn: usize,
    schedule: Option<Schedule>,
    /// Time of the next action for the whole group.
    tick: u64,
    /// Connections to open again.
    gone: Vec<usize>,
}

/// When to stop sending.
#[derive(Clone, Copy, Debug)]
pub enum Until<'a> {
    /// After this time.
    Past(Duration),
    /// After this many requests of the measured group.
    Sent(u64),
    /// When the clock reaches this many nanoseconds; the value may change during the run.
    Told(&'a AtomicU64),
}

impl Generator {
    /// Opens the connections. A failed connection is an outcome, not an error. The recorders are by
    /// group.
    ///
    /// # Errors
    /// The kernel denies the generator a resource.
    pub fn connect(demand: &LoadSpec, recorders: &mut [Recorder]) -> io::Result<Generator> {
        Generator::connect_by(demand, recorders, Clock::start(), &AtomicBool::new(false))
    }

    /// As [`connect`](Self::connect), but stops connecting when interrupted.
    pub(super) fn connect_by(
        demand: &LoadSpec,
        recorders: &mut [Recorder],
        clock: Clock,
        interrupted: &AtomicBool,
    ) -> io::Result<Generator> {
        let cycles = demand.groups.iter().map(|group| Cycle::new(&group.exchanges)).collect();
        let mut connections = Connections::new(demand.address, cycles, demand.patience, clock)?;
        connections.open_with(demand.opening.clone());
        connections.let_end(demand.may_end);
        if demand.groups.iter().any(|group| group.pace.reconnects()) {
            connections.connect_from(SOURCES);
        }
        let mut first = 0;
        let groups = demand.groups.iter().enumerate().map(|(number, group)| {
            let schedule = match group.pace {
                ArrivalProcess::Open { arrivals, per_s } => {
                    Some(Schedule::new(arrivals, per_s, demand.seed.wrapping_add(number as u64)))
                }
                _ => None,
            };
            let members = Members {
                pace: group.pace,
                first,
                count: group.connections,
                turn: 0,
                schedule,
                tick: 0,
                gone: Vec::new(),
            };
            first += group.connections;
            members
        });
        let groups: Vec<Members> = groups.collect();
        let patience = demand.patience.as_nanos() as u64;
        let events = Events::new();
        let (next, told, in_a_row) = (0, 0, 0);
        let mut generator = Generator {
            connections,
            groups,
            events,
            next,
            told,
            in_a_row,
            patience,
            gaps: Gaps::default(),
            catches_up_until: 0,
        };
        generator.connect_all(recorders, interrupted)?;
        Ok(generator)
    }

    /// Aligns the constant arrivals of this generator between those of the others. `part` is its
    /// offset from the common time, as a share of an interarrival time.
    pub(super) fn ask_between_others(&mut self, common: u64, part: f64) {
        for schedule in self.groups.iter_mut().filter_map(|members| members.schedule.as_mut()) {
            schedule.keep_in_step_with(common, part);
        }
    }

    fn connect_all(
        &mut self,
        recorders: &mut [Recorder],
        interrupted: &AtomicBool,
    ) -> io::Result<()> {
        let goes_on = || !interrupted.load(Relaxed);
        for group in 0..self.groups.len() {
            for _ in 0..self.groups[group].count {
                if self.groups[group].pace.reconnects() || !goes_on() {
                    self.connections.place(group as u16);
                    continue;
                }
                // Each further connection would take the full timeout, too.
                if self.connections.has_timed_out(group) {
                    self.connections.despair(group as u16);
                    continue;
                }
                let index = self.connections.connect(group as u16, &mut recorders[group])?;
                self.begin_if_idle(index, recorders);
                while self.connections.connecting() >= CONNECTED_AT_ONCE && goes_on() {
                    self.take_in(recorders)?;
                }
            }
        }
        // Ends at the latest when the missing replies are overdue.
        let idle: Vec<usize> = (0..self.groups.len())
            .filter(|&it| self.groups[it].pace == ArrivalProcess::Idle)
            .collect();
        while goes_on()
            && (self.connections.connecting() > 0
                || idle.iter().any(|&group| self.connections.under_way(group) > 0))
        {
            self.take_in(recorders)?;
        }
        Ok(())
    }

    fn begin_if_idle(&mut self, index: usize, recorders: &mut [Recorder]) {
        let group = self.connections.group(index);
        if self.groups[group].pace == ArrivalProcess::Idle && self.connections.is_open(index) {
            self.begin(index, None, recorders);
        }
    }

    /// Handles events while no requests are due.
    fn take_in(&mut self, recorders: &mut [Recorder]) -> io::Result<()> {
        let mut event = self.next_event(LOOK_EVERY_MS)?;
        while let Some(it) = event {
            let group = self.connections.group(it.index);
            if self.connections.happen(it, &mut recorders[group])? == Happened::Connected {
                self.begin_if_idle(it.index, recorders);
            }
            event = self.pending();
        }
        self.connections.give_up_overdue(self.now(), recorders);
        Ok(())
    }

    /// Returns the next event, and waits for it for at most this many milliseconds.
    fn next_event(&mut self, milliseconds: u16) -> io::Result<Option<Event>> {
        if self.next == self.told {
            self.told = self.connections.wait(&mut self.events, milliseconds)?;
            self.next = 0;
            if self.told == 0 {
                self.catches_up_until = 0;
            }
        }
        Ok(self.pending())
    }

    fn pending(&mut self) -> Option<Event> {
        let event = (self.next < self.told).then(|| self.events.get(self.next))?;
        self.next += 1;
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

    /// Sends requests until it is time to stop, then waits for the replies to the measured group.
    ///
    /// Requests in flight of the other groups are abandoned. Returns the time at which the sending
    /// stopped. The recorders are by group.
    ///
    /// # Errors
    /// The kernel denies the generator a resource.
    pub fn run(&mut self, until: Until<'_>, recorders: &mut [Recorder]) -> io::Result<u64> {
        let began = self.now();
        let mut quota = Quota::new(until, began);
        self.start(began, &mut quota, recorders);
        let (mut stopped, mut waited_ms) = (None, 0);
        loop {
            let now = self.connections.look_at_clock(0, &mut recorders[0]);
            self.look_for_gap(now, waited_ms, stopped.is_some(), recorders[0].since());
            waited_ms = 0;
            if stopped.is_none() && (quota.is_used_up(now) || !self.has_hope()) {
                stopped = Some(now.min(quota.end()));
                recorders.iter_mut().for_each(|recorder| recorder.finish(now));
            }
            if now >= self.catches_up_until {
                self.connections.give_up_overdue(now, recorders);
            }
            let (due, tick) = match stopped {
                None => {
                    recorders.iter_mut().for_each(|recorder| recorder.look(now));
                    self.do_what_is_due(now, quota.end(), recorders)?;
                    (self.next_due(u64::MAX), self.next_tick())
                }
                Some(end) => {
                    // Requests due before the end are sent, however late.
                    self.ask_what_is_due(now, end, recorders);
                    let due = self.next_due(end);
                    if self.is_over(end, now, due) {
                        self.give_up(end, recorders);
                        return Ok(end);
                    }
                    (due, u64::MAX)
                }
            };
            let is_behind = self.in_a_row >= MOST_IN_A_ROW;
            let wait = if is_behind { Some(0) } else { self.may_wait(due, tick) };
            let Some(milliseconds) = wait else { continue };
            self.in_a_row = 0;
            waited_ms = milliseconds;
            let mut event = self.next_event(milliseconds)?;
            while let Some(it) = event {
                self.take(it, stopped.is_none().then_some(&mut quota), recorders)?;
                // One event per wait in an open loop, to meet the next due time. A batch is safe
                // when nothing will be due, or when the generator is behind schedule anyway.
                event = if due == u64::MAX || is_behind { self.pending() } else { None };
            }
        }
    }

    /// Returns whether the run is complete: every request due before the end has its reply, or the
    /// timeout after the end has passed.
    fn is_over(&self, end: u64, now: u64, due: u64) -> bool {
        let is_answered = self.connections.under_way(0) == 0 && due == u64::MAX;
        let gives_up_at = end.saturating_add(self.patience).max(self.catches_up_until);
        is_answered || now > gives_up_at
    }

    /// Looks for a gap in the loop. A gap after the end of the run affects no figure.
    fn look_for_gap(&mut self, now: u64, waited_ms: u16, is_over: bool, since: u64) {
        let counts_from = if is_over { u64::MAX } else { since };
        if self.gaps.look(now, u64::from(waited_ms) * 1_000_000, counts_from) > 0 {
            self.catches_up_until = now + self.patience;
        }
    }

    /// Returns the gaps of the loop so far.
    pub(super) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Stops waiting. Requests due before the end but not sent count as in flight, as their clients
    /// would see them.
    fn give_up(&mut self, end: u64, recorders: &mut [Recorder]) {
        let now = self.now();
        for (group, recorder) in recorders.iter_mut().enumerate() {
            self.connections.abandon(group, recorder);
            let Some(schedule) = &mut self.groups[group].schedule else { continue };
            while schedule.due() < end {
                recorder.not_sent(Outcome::InFlight, schedule.due(), now);
                schedule.advance();
            }
        }
    }

    /// Returns the milliseconds that the generator may wait in the kernel, or `None` if a wait
    /// might delay the next request. Actions at a tick may be late.
    fn may_wait(&self, due: u64, tick: u64) -> Option<u16> {
        if due.min(tick) == u64::MAX {
            return Some(LOOK_EVERY_MS);
        }
        let now = self.now();
        let left = due.saturating_sub(now);
        let before_due = left.saturating_sub(SLEEP_NOT) / 1_000_000;
        let milliseconds = before_due.min(tick.saturating_sub(now).div_ceil(1_000_000));
        (left > STAND_BY).then_some(milliseconds.min(LOOK_EVERY_MS.into()) as u16)
    }

    /// Starts every group.
    fn start(&mut self, now: u64, quota: &mut Quota<'_>, recorders: &mut [Recorder]) {
        for group in 0..self.groups.len() {
            let members = &mut self.groups[group];
            members.tick = now;
            if let Some(schedule) = &mut members.schedule {
                schedule.begin(now);
            }
            for index in members.first..members.first + members.count {
                match self.groups[group].pace {
                    ArrivalProcess::Churn => self.groups[group].gone.push(index),
                    // Idle clients sent their requests while connecting.
                    ArrivalProcess::Idle => {}
                    _ if self.connections.is_open(index) => {
                        self.begin(index, Some(quota), recorders);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends the first requests on a connection, within the quota.
    fn begin(&mut self, index: usize, quota: Option<&mut Quota<'_>>, recorders: &mut [Recorder]) {
        let (group, now) = (self.connections.group(index), self.now());
        let recorder = &mut recorders[group];
        let wanted = match self.groups[group].pace {
            ArrivalProcess::Closed { depth } => depth,
            ArrivalProcess::Open { .. } => return,
            _ => 1,
        };
        let count = match quota {
            Some(quota) if group == 0 => quota.take(wanted, now),
            _ => wanted,
        };
        match self.groups[group].pace {
            _ if count == 0 => {}
            ArrivalProcess::Drip { .. } => {
                self.connections.promise(index, count, None, now, recorder);
            }
            _ => self.connections.ask(index, count, None, now, recorder),
        }
    }

    /// Returns whether any connection of the measured group can still send.
    fn has_hope(&self) -> bool {
        let measured = &self.groups[0];
        measured.pace.reconnects()
            || (measured.first..measured.first + measured.count)
                .any(|index| !self.connections.is_free(index))
    }

    /// Returns the due time of the next request of an open loop, if that is before the end.
    fn next_due(&self, end: u64) -> u64 {
        let due = self.groups.iter().filter_map(|members| Some(members.schedule.as_ref()?.due()));
        due.filter(|&due| due < end).min().unwrap_or(u64::MAX)
    }

    /// Sends the requests of open loops that are due before the end, each on the next open
    /// connection, up to [`MOST_IN_A_ROW`] in a row.
    fn ask_what_is_due(&mut self, mut now: u64, end: u64, recorders: &mut [Recorder]) {
        for (members, recorder) in self.groups.iter_mut().zip(recorders) {
            let Some(schedule) = &mut members.schedule else { continue };
            while schedule.due() <= now && schedule.due() < end && self.in_a_row < MOST_IN_A_ROW {
                let next = (0..members.count)
                    .map(|step| members.first + (members.turn + step) % members.count)
                    .find(|&index| self.connections.is_open(index));
                let intended = schedule.due();
                match next {
                    Some(index) => {
                        members.turn = index - members.first + 1;
                        self.connections.ask(index, 1, Some(intended), now, recorder);
                    }
                    // No connection is open.
                    None => recorder.not_sent(Outcome::Closed, intended, now),
                }
                schedule.advance();
                self.in_a_row += 1;
                now = self.connections.clock.now();
            }
        }
    }

    /// Handles an event and sends the next requests on its connection, within the quota.
    fn take(
        &mut self,
        event: Event,
        quota: Option<&mut Quota<'_>>,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        let (index, group) = (event.index, self.connections.group(event.index));
        let recorder = &mut recorders[group];
        let happened = self.connections.happen(event, recorder)?;
        let Some(quota) = quota else { return Ok(()) };
        match (self.groups[group].pace, happened) {
            (ArrivalProcess::Closed { .. }, Happened::Connected) => {
                self.begin(index, Some(quota), recorders)
            }
            (ArrivalProcess::Closed { .. }, Happened::Replied(count, at)) => {
                let count = if group > 0 { count } else { quota.take(count, at) };
                if count > 0 && self.connections.is_open(index) {
                    self.connections.ask(index, count, None, at, recorder);
                }
            }
            (ArrivalProcess::Churn, Happened::Replied(_, at)) => {
                if self.connections.is_open(index) {
                    self.connections.close(index, recorder);
                }
                if !quota.is_used_up(at) {
                    self.connect_again(index, recorders)?;
                }
            }
            (ArrivalProcess::Open { .. }, _) | (_, Happened::Nothing | Happened::Ended) => {}
            (_, Happened::Connected) => self.begin(index, None, recorders),
            (_, Happened::Replied(..)) => {}
        }
        self.come_again(index);
        Ok(())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.connections.reset_at_the_end();
    }
}

/// Quota of requests that may still be sent.
struct Quota<'a> {
    until: Until<'a>,
    began: u64,
    sent: u64,
}

impl Quota<'_> {
    fn new(until: Until<'_>, began: u64) -> Quota<'_> {
        Quota { until, began, sent: 0 }
    }

    /// Returns the time at which the quota ends, or `u64::MAX` for a quota by number.
    fn end(&self) -> u64 {
        match self.until {
            Until::Past(time) => self.began + time.as_nanos() as u64,
            Until::Sent(_) => u64::MAX,
            Until::Told(end) => end.load(Relaxed),
        }
    }

    fn is_used_up(&self, now: u64) -> bool {
        match self.until {
            Until::Sent(most) => self.sent >= most,
            _ => now >= self.end(),
        }
    }

    /// Takes at most `wanted` requests from the quota, and returns their number.
    fn take(&mut self, wanted: u32, now: u64) -> u32 {
        let granted = match self.until {
            Until::Sent(most) => u64::from(wanted).min(most - self.sent) as u32,
            _ if now >= self.end() => 0,
            _ => wanted,
        };
        self.sent += u64::from(granted);
        granted
    }
}

#[cfg(test)]
mod tests;
